//! From a request to a plan, and to what of it the layer store can have.

use std::env;
use std::io;
use std::mem;
use std::rc::Rc;

use super::load::Loaded;
use super::lock_file::LockFile;
use super::options::Options;
use super::refused_run::RefusedRun;
use super::request::{ContainerIds, LockUse, Request};
use super::variables::warn_of_variables;
use super::{locked_content, output};
use crate::cache::{
    self, Answer, AskRegistry, Cache, Index, Ladder, LadderContext, Observed, OverlayHost,
    PLACEHOLDER, Progress, Pulling,
};
use crate::chain::{Chain, Secrets};
use crate::diagnostic::Report;
use crate::digest::{Digest, Stamp};
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::passage::{self, Passer};
use crate::lock::{Held, Lock, RoleInputs};
use crate::observe::base_inputs;
use crate::observe::probe::Probe;
use crate::observe::secret;
use crate::plan::{self, Facts, Plan, StorageMode};
use crate::registry::Remote;
use crate::shell;
use crate::store::{self, Store};
use crate::tree::Interrupt;

/// A plan that can be run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) chain: Chain,
    pub(super) cache: Cache,
    pub(super) store: Option<Store>,
    /// Whether a run would refuse a file of it.
    pub(super) is_untrusted: bool,
    /// The lock, where it is for something.
    pub(super) lock: Option<LockFile>,
    /// How the role differs from that.
    pub(super) held: Held,
    /// What defines the role.
    pub(super) inputs: Lock,
    /// What layers are pulled from that are not stored.
    pub(super) remote: Option<Rc<Remote>>,
}

impl Request {
    /// Makes the plan, and shows what is wrong with the manifest.
    ///
    /// # Errors
    ///
    /// With the exit status, where it cannot be used.
    pub(super) fn prepare(&self) -> Result<Prepared, u8> {
        let (loaded, report) = Loaded::read(&self.manifest, &self.values, &self.trust);
        self.prepare_loaded(loaded.as_ref(), report)
    }

    /// Does the same, and says in a line why it cannot be used.
    ///
    /// # Errors
    ///
    /// With the exit status and that line, where it cannot.
    pub(super) fn prepare_or_why(&self) -> Result<Prepared, (u8, String)> {
        let (loaded, mut report) = Loaded::read(&self.manifest, &self.values, &self.trust);
        self.prepare_reported(loaded.as_ref(), &mut report).map_err(|status| {
            let why = report.first_error().map(|error| error.message.clone());
            (status, why.unwrap_or_else(|| "it does not fit its lock".to_owned()))
        })
    }

    /// Likewise, of a manifest that was read.
    pub(super) fn prepare_loaded(
        &self,
        loaded: Option<&Loaded>,
        mut report: Report,
    ) -> Result<Prepared, u8> {
        self.prepare_reported(loaded, &mut report)
    }

    /// Likewise, for a run: it reads the secrets too, and the history has why nothing is run.
    ///
    /// # Errors
    ///
    /// With the exit status.
    pub(super) fn prepare_run(
        &self,
        loaded: Option<&Loaded>,
        mut report: Report,
        options: Options,
    ) -> Result<(Prepared, Secrets), u8> {
        let refused = |status: u8, report: &Report| {
            RefusedRun::of(self, loaded, options).note(status, report);
            status
        };
        let prepared = self
            .prepare_reported(loaded, &mut report)
            .map_err(|status| refused(status, &report))?;
        // Mapped ids may not read what the caller may.
        match secret::read(&prepared.chain) {
            Ok(secrets) => Ok((prepared, secrets)),
            Err(report) => Err(refused(output::refused(&report), &report)),
        }
    }

    fn prepare_reported(
        &self,
        loaded: Option<&Loaded>,
        report: &mut Report,
    ) -> Result<Prepared, u8> {
        let lock = self.lock_file(report)?;
        let prepared = loaded.and_then(|loaded| self.try_prepare(loaded, lock.as_ref(), report));
        let Some(mut prepared) = prepared else { return Err(output::refused(report)) };
        if let (Some(lock), LockUse::Tell) = (&lock, self.lock) {
            report.extend(lock.outdated(&prepared.held.differences));
        }
        output::diagnostics(report);
        prepared.is_untrusted = report.has_untrusted();
        if let (Some(lock), LockUse::Hold) = (&lock, self.lock) {
            lock.refuse(&prepared.held.differences)?;
            prepared.cache.hold_to(mem::take(&mut prepared.held.pins));
        }
        prepared.lock = lock;
        Ok(prepared)
    }

    /// Makes the plan as [`Self::prepare`] does, and tells nobody.
    ///
    /// # Errors
    ///
    /// With what is wrong, where the manifest cannot be used.
    pub(super) fn look(&self, loaded: &Loaded) -> Result<Prepared, Report> {
        let mut report = Report::default();
        self.try_prepare(loaded, None, &mut report).ok_or(report)
    }

    /// Reads the lock, where it is for something.
    fn lock_file(&self, report: &mut Report) -> Result<Option<LockFile>, u8> {
        match self.lock {
            LockUse::Ignore => Ok(None),
            LockUse::Compare | LockUse::Tell | LockUse::Renew => {
                match LockFile::read(&self.manifest, &self.trust) {
                    Ok(lock) => return Ok(lock),
                    Err(faults) if self.lock == LockUse::Renew => {
                        report.extend(faults.as_warnings());
                    }
                    Err(faults) => report.extend(faults),
                }
                Ok(None)
            }
            LockUse::Hold if self.wanted.mode == StorageMode::None => {
                let message =
                    "`--locked` takes layers from the store, and `--storage=none` uses none";
                output::error(message, None);
                Err(status::USAGE)
            }
            LockUse::Hold if self.wanted.since.is_some() => {
                output::error("`--locked` rebuilds nothing, and `--rebuild` everything", None);
                Err(status::USAGE)
            }
            LockUse::Hold => match LockFile::read(&self.manifest, &self.trust) {
                Ok(Some(lock)) => Ok(Some(lock)),
                // What is wrong with the manifest comes first.
                Ok(None) if report.has_errors() => Ok(None),
                Ok(None) => Err(LockFile::missing(&self.manifest)),
                Err(faults) => {
                    report.extend(faults);
                    Err(output::refused(report))
                }
            },
        }
    }

    fn try_prepare(
        &self,
        loaded: &Loaded,
        lock: Option<&LockFile>,
        report: &mut Report,
    ) -> Option<Prepared> {
        let (chain, faults) = loaded.bind(&self.target.name);
        report.extend(faults);
        let chain = chain?;
        let held_to = lock.filter(|_| self.lock != LockUse::Tell);
        let known = held_to.and_then(|lock| lock.lock.template_of(&chain));
        let known = known.or_else(|| self.template_in_registry(&chain));
        let (facts, faults) = Probe::new(&self.trust).knowing(known).all(&chain, &self.target.args);
        report.extend(faults);
        if let Some(lxcpath) = self.target.path.parent()
            && let Ok(Some(untrusted)) = self.trust.look(lxcpath)
        {
            report.push(untrusted.of_lxcpath(lxcpath));
        }
        let facts = facts.filter(|_| !report.has_errors())?;
        let plan = plan::build(&chain, self.target.clone(), &facts)
            .map_err(|faults| report.extend(faults))
            .ok()?;
        let is_locked = lock.is_some() || [LockUse::Compare, LockUse::Renew].contains(&self.lock);
        let has_twin = is_locked || self.wanted.mode != StorageMode::None;
        let twin = has_twin.then(|| loaded.bind_twin(PLACEHOLDER)).flatten();
        let (cache, store) = match self.wanted.mode {
            StorageMode::None => (Cache::Off, None),
            _ => match self.cache(twin.as_ref(), &plan, &chain, &facts) {
                Ok((cache, store)) => (cache, Some(store)),
                Err(why) => {
                    let why = shell::reason(&why).into_owned();
                    (Cache::Unusable { wanted: self.wanted, why }, None)
                }
            },
        };
        let mut cache = cache;
        if facts.is_absent {
            cache.pull_only();
        }
        let (mut held, mut inputs) = (Held::default(), Lock::new());
        if let Some(twin) = twin.filter(|_| is_locked) {
            let (levels, cache) = (loaded.levels(), cache.plan());
            let role = RoleInputs { levels, chain: &chain, twin: &twin, facts: &facts, cache };
            held = lock.map(|file| file.lock.hold(role)).unwrap_or_default();
            if let (Some(file), Some(cache), Some(store)) = (lock, cache, &store)
                && self.lock != LockUse::Renew
            {
                let reads = self.lock != LockUse::Tell;
                let lines = locked_content::differences((&file.lock, cache), store, &plan, reads);
                held.differences.extend(lines);
            }
            inputs = Lock::inputs(role);
        }
        let (is_untrusted, lock) = (false, None);
        let remote = self.remote.clone();
        Some(Prepared { plan, chain, cache, store, is_untrusted, lock, held, inputs, remote })
    }

    /// Returns the digest of a template that is not on this host, where a registry has what it made.
    fn template_in_registry(&self, chain: &Chain) -> Option<Digest> {
        let remote = self.remote.as_ref().filter(|_| Probe::lacks_template(chain))?;
        remote.template(Interrupt::NEVER).unwrap_or_else(|error| {
            output::say(&format!("warning: the template is not known: {error}"));
            None
        })
    }

    /// Finds out what of a plan the store can have, or why it cannot be used.
    fn cache(
        &self,
        twin: Option<&Chain>,
        plan: &Plan,
        chain: &Chain,
        facts: &Facts,
    ) -> Result<(Cache, Store), String> {
        let ContainerIds { map: Some(map), is_mapped } = &self.ids else {
            return Err("the container's ids are mapped in several pieces".to_owned());
        };
        // Its faults are those of the container's own, which are told already.
        let Some(twin) = twin else {
            return Err("it cannot be bound for a container of another name".to_owned());
        };
        let caller = Caller::observe();
        warn_of_variables();
        let top = store::directory(&caller).ok_or_else(|| store::NO_DIRECTORY.to_owned())?;
        // Behind an id map the caller has the id that stands for it there.
        let behind = self.target.mapped.filter(|_| caller.map.is_some());
        let uid = behind.map_or(caller.uid, |mapped| mapped.uid);
        store::check(&top, uid).map_err(|error| format!("`{}`: {error}", top.display()))?;
        let store = Store::new(&top, map);
        // What is rebuilt is no reason to trust what was known.
        let recall = |stamp: &Stamp| store.recall(stamp).filter(|_| !self.wanted.rebuild);
        let (inputs, readings) = base_inputs::observe((chain, plan), facts, &recall);
        let clone_hook =
            clone_hook().map_err(|error| format!("this program cannot find itself: {error}"))?;
        let trees = store.trees();
        let closed = store::ids_of(map)
            .flatten()
            .and_then(|ids| passage::closed_to(Some(Passer::root_of(ids, &caller)), &trees));
        let host = OverlayHost { trees, is_mapped: *is_mapped, closed, clone_hook };
        let observed = Observed { inputs, readings, host, config: self.config.clone() };
        let cache = cache::cache(plan, (chain, twin), facts, self.wanted, observed)
            .map_err(|fault| fault.to_string())?;
        Ok((Cache::Usable(Box::new(cache)), store))
    }
}

impl Prepared {
    /// Finds out whether a run may read and write in the store what it has to.
    pub(super) fn look_into_store(&mut self) {
        let wanted = self.cache.wanted().copied();
        if let Some((store, wanted)) = self.store.as_ref().zip(wanted)
            && let Err(why) = store.access(wanted.mode)
        {
            let why = shell::reason(&why).into_owned();
            self.cache = Cache::Unusable { wanted, why };
        }
    }

    /// Returns what a run would do about the store, as far as that is known before it.
    /// Nothing is asked of a registry.
    pub(super) fn ladder(&self) -> Ladder {
        self.ladder_with(None)
    }

    /// Likewise, and asks the registry for what is not stored.
    pub(super) fn ladder_with_registry(&self) -> Ladder {
        let Some(remote) = &self.remote else { return self.ladder() };
        let mut told = false;
        self.ladder_with(Some(&mut |index: &Index, key| {
            let cache = self.cache.plan();
            let pinned = cache.and_then(|cache| cache.pin_of(key));
            let stored = index.newest_generation(key);
            let answer = remote.answer(key, pinned, stored, Interrupt::NEVER);
            if let Answer::Unreachable(why) = &answer
                && self.wanted_pulling() == Pulling::First
                && !mem::replace(&mut told, true)
            {
                output::say(&format!("warning: {why}: the missing layers are built instead"));
            }
            answer
        }))
    }

    fn wanted_pulling(&self) -> Pulling {
        self.cache.wanted().map(|wanted| wanted.pulling).unwrap_or_default()
    }

    fn ladder_with(&self, registry: Option<AskRegistry<'_>>) -> Ladder {
        let index = self.store.as_ref().map(Store::index);
        let mut index = index.and_then(Result::ok).unwrap_or_default();
        let config = self.cache.plan().map(|cache| cache.config.as_slice()).unwrap_or_default();
        let ask = |index: &Index| {
            let progress = Progress::default();
            let context = LadderContext { index, handed: None, progress, limit: None, config };
            Ladder::of(&self.plan, &self.cache, &context)
        };
        match &self.store {
            Some(store) => store.ladder(&self.plan.manifest.absolute, &mut index, ask, registry),
            None => ask(&index),
        }
    }
}

/// Returns the hook that notes clones and snapshots. It never fails a copy: the program may be gone
/// by then. There is none where its path holds what a shell reads otherwise.
fn clone_hook() -> io::Result<Option<String>> {
    let program = env::current_exe()?;
    let program = program.to_str().filter(|path| {
        path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte))
    });
    Ok(program.map(|program| format!("/bin/sh -c '{program} --clone-hook \"$@\" || :' sh")))
}
