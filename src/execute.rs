//! Runs a plan.
//!
//! One recursive function over the nest, `Run::layer`: a layer is a wrapper, what it wraps runs
//! in its middle, and its `finally` is its way out. Nothing here decides anything: what is done
//! stands in the plan.

mod busybox;
mod config;
mod drop;
mod failure;
mod fetch;
mod full_disk;
mod generation;
mod handed;
mod inside;
mod keep;
mod meanwhile;
mod observe;
mod output_tail;
mod rebase;
mod step;
mod supply;
mod upstream;
mod workspace;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

pub(crate) use drop::look_up_owner;
pub(crate) use failure::{Cause, Failure, status};
pub(crate) use full_disk::{HINT as FULL_DISK_HINT, beside as full_disk_beside};
pub(crate) use generation::{Generations, tree_name};
pub(crate) use observe::{Doing, Event, Observer, Subject};
pub(crate) use rebase::{
    Choices, Difference, FileConflict, Listings, PathChange, Rebase, Rebased, rebase,
};
use rustix::fs::fstat;
pub(crate) use supply::Filled;
use supply::Supply;
use workspace::Workspace;

use crate::cache::Cache;
use crate::chain::Secrets;
use crate::host::caller::Caller;
use crate::host::event_loop::EventLoop;
use crate::host::interrupts::Work;
use crate::host::mounts::{self, Mount};
use crate::host::rootfs::Rootfs;
use crate::host::state::RunDirectory;
use crate::host::{child, clock, contain, files, lxcpath};
use crate::manifest::{LayerName, Phase};
use crate::plan::{Act, Inner, Layer, Plan, Step};
use crate::record::{self, Outcome, Record};
use crate::registry::Remote;
use crate::store::GENERATIONS;
use crate::tree;

/// What a run works with besides its plan.
#[derive(Debug)]
pub(crate) struct RunContext<'a> {
    /// Who is told what happens.
    pub observer: &'a mut dyn Observer,
    /// What runs commands, and hears the signals that ask for the end.
    pub events: &'a mut EventLoop,
    /// The values of the secrets that layers list.
    pub secrets: Secrets,
    /// Where the log goes, and what is kept of a failure; nothing, where no directory can be had.
    pub directory: Option<RunDirectory>,
    /// Whether the rootfs of a failed run is kept there.
    pub keep_failed: bool,
    /// Whether steps have the host's network where nothing keeps them from its containers.
    pub allow_untrusted: bool,
    /// What layers are pulled from that are not stored.
    pub remote: Option<&'a Remote>,
    /// The directory that is shown in the place of the container's, where it is made in another one.
    pub shown: Option<&'a Path>,
}

/// Runs a plan to its end, and writes the record; where only the store is filled, what is there by now.
///
/// # Errors
///
/// The first thing that failed; every `finally` of the layers that had begun has run by then.
pub(crate) fn run<'a>(
    plan: &'a Plan,
    cache: &'a Cache,
    context: RunContext<'a>,
) -> Result<(), Failure> {
    let mut run = Run::open(plan, cache, context)?;
    let result =
        run.pinned().and_then(|()| run.layer(&plan.layer, &Vec::new()).map_err(|failure| *failure));
    run.note_role();
    let result = match cache.fills() {
        true => result.and(run.leave_word()),
        false => result,
    };
    let result = result.map_err(|failure| run.kept_of(failure));
    if run.context.events.has_left_out()
        && let Some(directory) = &mut run.context.directory
    {
        // It is where that can be read.
        directory.keep();
    }
    let ended = match run.leave_overlay() {
        Err(error) if result.is_ok() => Err(Failure::of_run(
            status::STORE,
            format!("the container's overlay is still in use: {error}"),
        )),
        _ => result,
    };
    // Nothing of the container is changed after its record: what is later is drift.
    let ended = match cache.fills() {
        true => ended,
        false => ended
            .and_then(|()| {
                let recorded = run.check_names().and_then(|()| run.record());
                recorded.map_err(|failure| run.kept_of(failure))
            })
            .and_then(|()| run.reach_disk()),
    };
    if let Some(Err(error)) = run.context.directory.take().map(RunDirectory::remove) {
        run.note(&error.to_string());
    }
    if ended.is_ok() && !cache.fills() {
        let elapsed = run.begun.elapsed();
        run.context.observer.event(&Event::Made { elapsed });
    }
    // What went wrong may have been found in what a step wrote.
    ended.map_err(|failure| run.of_upgrade(failure).masked(&run.context.secrets))
}

struct Run<'a> {
    plan: &'a Plan,
    cache: &'a Cache,
    context: RunContext<'a>,
    workspace: Rc<Workspace>,
    upstream_record: Option<serde_json::Value>,
    /// The lines that the config had when the run began; nothing, where it could not be read.
    given: Option<Vec<String>>,
    /// Whether the rootfs was empty when the run began.
    was_empty: bool,
    /// What was handed inward, by the layer at which it was known.
    handed: HandedAt,
    /// Where the container's rootfs comes from, as far as that is known yet.
    supply: Supply<'a>,
    /// The locks that are held, by what a run within this one knows them by.
    tokens: Vec<String>,
    /// The rootfs of a layer that failed on its way into the store.
    kept_rootfs: KeptRootfs,
    begun: Instant,
}

impl<'a> Run<'a> {
    /// Begins to work in the container's directory.
    fn open(plan: &'a Plan, cache: &'a Cache, context: RunContext<'a>) -> Result<Self, Failure> {
        if let Some(shown) = context.shown {
            contain::show(shown, &plan.container.path).map_err(|error| {
                let reason = format!("the container cannot be made beside itself: {error}");
                Failure::of_run(status::FILES, reason)
            })?;
        }
        let workspace = Workspace::open(&plan.container).map_err(|error| {
            Failure::of_run(status::FILES, format!("the container's directory: {error}"))
        })?;
        let rootfs = Rootfs::open(&workspace.rootfs);
        let was_empty = rootfs
            .as_ref()
            .is_ok_and(|rootfs| rootfs.fingerprint().is_ok_and(|found| found.is_empty()));
        if let (Ok(rootfs), true) = (&rootfs, was_empty)
            && let Err(error) =
                rootfs.disinherit(lxcpath::group(&Caller::observe(), plan.container.mapped))
        {
            tracing::debug!(%error, "the rootfs keeps what its directory has given it");
        }
        let given = effective_config(&workspace, &context.secrets).ok();
        Ok(Self {
            plan,
            cache,
            context,
            workspace: Rc::new(workspace),
            upstream_record: None,
            given,
            was_empty,
            handed: HandedAt::new(),
            supply: Supply::NONE,
            tokens: Vec::new(),
            kept_rootfs: KeptRootfs::NotTried,
            begun: Instant::now(),
        })
    }
}

/// Returns the lines of the container's config.
fn effective_config(workspace: &Workspace, secrets: &Secrets) -> io::Result<Vec<String>> {
    let text = config::read(workspace)?;
    let lines = crate::lxc::config::effective(&String::from_utf8_lossy(&text));
    Ok(lines.iter().map(|line| secrets.mask(line).into_owned()).collect())
}

/// What became of the rootfs of a layer that failed on its way into the store.
enum KeptRootfs {
    /// None has failed, or it is not to be kept.
    NotTried,
    /// It is kept there, or could not be.
    Tried(Option<PathBuf>),
}

/// Variables that pre steps have handed inward.
type Handed = Vec<(OsString, OsString)>;

/// Variables handed inward, by the layer at which they were seen.
type HandedAt = BTreeMap<LayerName, Handed>;

impl Run<'_> {
    /// Runs a layer with all that it wraps.
    ///
    /// A nest may be deep: the frames of this function and of [`Self::wrapped`] are kept small, and
    /// whatever holds a failure by value is called from them and ended before they go deeper.
    fn layer(&mut self, layer: &Layer, outer: &Handed) -> Result<(), Box<Failure>> {
        let mut handed = outer.clone();
        let result = self.wrapped(layer, &mut handed);
        self.finally(layer, &handed, result)
    }

    fn wrapped(&mut self, layer: &Layer, handed: &mut Handed) -> Result<(), Box<Failure>> {
        self.before(layer, handed)?;
        if self.cache.plan().is_some() {
            self.handed.insert(layer.name.clone(), handed.clone());
        }
        match &layer.inner {
            Inner::Layer(inner) => self.layer(inner, handed)?,
            Inner::Upstream(_) => self.innermost(layer)?,
        }
        self.after(layer, handed)
    }

    /// Does what a layer does after what it wraps, as far as it is `wanted`.
    fn acts(
        &mut self,
        layer: &Layer,
        handed: &Handed,
        wanted: impl Fn(&Act) -> bool,
    ) -> Result<(), Box<Failure>> {
        for act in layer.after.iter().filter(|act| wanted(act)) {
            self.uninterrupted()?;
            match act {
                Act::Config(lines) => self.config(layer, lines)?,
                Act::Drop(file) => self.drop(layer, file)?,
                Act::Step(step) => self.step(layer, step, handed, &[])?,
            }
        }
        Ok(self.uninterrupted()?)
    }

    /// Runs the pre steps, and takes what they hand inward.
    fn before(&mut self, layer: &Layer, handed: &mut Handed) -> Result<(), Box<Failure>> {
        self.uninterrupted()?;
        if layer.hands.is_empty() {
            for step in &layer.before {
                self.step(layer, step, handed, &[])?;
            }
            return Ok(());
        }
        let file = self.handed_file(layer)?;
        let more = [(OsString::from("LAYER_ENV"), file.clone().into_os_string())];
        for step in &layer.before {
            self.step(layer, step, handed, &more)?;
        }
        handed.extend(Self::handed(layer, &file)?);
        Ok(())
    }

    /// Runs the steps on the way out; a failure of theirs hides none before it.
    fn finally(
        &mut self,
        layer: &Layer,
        handed: &Handed,
        mut result: Result<(), Box<Failure>>,
    ) -> Result<(), Box<Failure>> {
        for step in &layer.finally {
            result = result.and_then(|()| Ok(self.uninterrupted()?));
            let status = result.as_ref().err().map_or(0, |failure| failure.status);
            let more = [(OsString::from("LAYER_STATUS"), status.to_string().into())];
            let ended = self.step(layer, step, handed, &more);
            if let (Err(second), Err(_)) = (&ended, &result) {
                self.note(&format!("{second} as well"));
            }
            result = result.and(ended.map_err(Box::new));
        }
        result.and_then(|()| Ok(self.uninterrupted()?))
    }

    /// Fails, if a signal has asked for the end.
    fn uninterrupted(&mut self) -> Result<(), Failure> {
        match self.context.events.asked() {
            None => Ok(()),
            Some(signal) => {
                let (status, reason) = step::interrupted(signal);
                Err(Failure::of_run(status, format!("the run {reason}")))
            }
        }
    }

    /// Fails, where something that was made beside the rootfs has the place in which upgrades keep what was.
    fn check_names(&self) -> Result<(), Failure> {
        let fault = |reason| Failure::of_run(status::FILES, reason);
        let names = self
            .workspace
            .new_names()
            .map_err(|error| fault(format!("the container's directory: {error}")))?;
        match names.iter().any(|name| name == GENERATIONS) {
            true => Err(fault(format!(
                "a template or step has left `{GENERATIONS}` beside the rootfs, where `layered-template \
                 upgrade` keeps its own files"
            ))),
            false => Ok(()),
        }
    }

    fn record(&mut self) -> Result<(), Failure> {
        let config = effective_config(&self.workspace, &self.context.secrets).map_err(|error| {
            let reason = format!("the container's config cannot be read: {error}");
            Failure::of_run(status::FILES, reason)
        })?;
        let outcome = Outcome {
            created: clock::now(),
            ended: clock::given().is_none().then(clock::since_1970),
            took: clock::given().is_none().then(|| self.begun.elapsed()),
            upstream_record: self.upstream_record.take(),
            stored: self.of_store(),
            config: Some(config),
            given: self.given.take(),
            supplies: self.supplies(),
        };
        let record = Record::of(self.plan, outcome);
        let text = serde_json::to_string_pretty(&record).map_err(io::Error::from);
        text.and_then(|text| {
            let text = format!("{}\n", crate::shell::json(&text)).into_bytes();
            let ownership =
                config::ownership(&self.workspace.container, self.workspace.target.mapped)?;
            files::replace_in(&self.workspace.container, record::NAME, &text, ownership)
        })
        .map_err(|error| {
            Failure::of_run(status::FILES, format!("the record cannot be written: {error}"))
        })
    }

    /// Brings the container to the disk: from now on it may be told of as made.
    fn reach_disk(&self) -> Result<(), Failure> {
        let Workspace { container, rootfs, .. } = &*self.workspace;
        let durable = || -> io::Result<()> {
            let rootfs = files::open_directory(rootfs)?;
            if fstat(&rootfs)?.st_dev != fstat(container)?.st_dev {
                tree::make_durable(rootfs.as_fd())?;
            }
            tree::make_durable(container.as_fd())
        };
        durable().map_err(|error| {
            let reason = format!("the container cannot be brought to the disk: {error}");
            Failure::of_run(status::FILES, reason)
        })
    }

    /// Takes away what a command has left mounted over the rootfs, in it or beside it. It would be gone with the run,
    /// and so would be all that is put into it. The rootfs was in those that are `known` before.
    ///
    /// # Errors
    ///
    /// The rest of the container would be made where nobody finds it: one of those is gone.
    fn unmount(&mut self, subject: &Subject, mut known: Vec<Mount>) -> Result<(), String> {
        let now = mounts::all();
        let gone = known.iter().find(|mount| !now.contains(mount));
        let gone = gone.map(|mount| format!("has unmounted {}", self.shown_mount(mount)));
        while let Some(mount) = self.workspace.new_mount(&known) {
            let detached = match mount.point.strip_prefix(&self.workspace.rootfs) {
                Ok(within) if !within.as_os_str().is_empty() => {
                    Rootfs::open(&self.workspace.rootfs).and_then(|rootfs| rootfs.detach(within))
                }
                _ => mount.detach(),
            };
            let outcome = match detached {
                Ok(()) => "it is taken away".to_owned(),
                Err(error) => format!("it cannot be taken away: {error}"),
            };
            let point = self.shown_mount(&mount);
            self.note(&format!("{subject} left a mount at {point}; {outcome}"));
            known.push(mount);
        }
        gone.map_or(Ok(()), Err)
    }

    /// Returns where a mount is, for people.
    fn shown_mount(&self, mount: &Mount) -> String {
        // What is made for the store is made under another name.
        let (seeming, own) = (&self.workspace.target, &self.plan.container);
        let places = [(&self.workspace.rootfs, &own.rootfs), (&seeming.path, &own.path)];
        let shown = places.into_iter().find_map(|(seeming, own)| {
            let within = mount.point.strip_prefix(seeming).ok()?;
            Some(own.iter().chain(within).collect())
        });
        crate::shell::word(shown.unwrap_or(mount.point.clone()))
    }

    fn note(&mut self, text: &str) {
        let text = &crate::shell::reason(text);
        self.log(format!("{text}\n").as_bytes());
        self.context.observer.event(&Event::Note(&self.context.secrets.mask(text)));
    }

    fn log(&mut self, bytes: &[u8]) {
        if let Some(directory) = &mut self.context.directory {
            let text = String::from_utf8_lossy(bytes);
            let text = self.context.secrets.mask(&text);
            directory.write(crate::shell::printable(&text).as_bytes());
        }
    }

    /// Adds to a failure what a full disk or what it stands on has to do with it, and keeps what there is to look
    /// at.
    fn kept_of(&mut self, failure: Failure) -> Failure {
        let failure = self.dated(self.on_full_disk(failure));
        self.kept(failure)
    }

    /// Keeps what there is to look at after a failure, and says where it is.
    fn kept(&mut self, failure: Failure) -> Failure {
        if failure.informational() {
            return failure;
        }
        let rootfs = match std::mem::replace(&mut self.kept_rootfs, KeptRootfs::NotTried) {
            KeptRootfs::NotTried if self.context.keep_failed => self.keep_rootfs(),
            KeptRootfs::NotTried => None,
            KeptRootfs::Tried(kept) => kept,
        };
        // What steps and templates have said stands there already.
        if failure.subject.as_ref().is_none_or(|subject| subject.doing == Doing::Store) {
            self.log(format!("{failure}\n").as_bytes());
            if let Some(hint) = &failure.hint {
                self.log(format!("hint: {hint}\n").as_bytes());
            }
        }
        if let Some(command) = &failure.command {
            self.log(format!("command: {command}\n").as_bytes());
        }
        let took = self.begun.elapsed().as_secs_f64();
        let ended = format!("ended with status {} after {took:.1} s", failure.status);
        self.log(format!("{} the run {ended}\n", clock::present()).as_bytes());
        let Some(directory) = &mut self.context.directory else { return failure };
        directory.keep();
        let log = Some(directory.log());
        if let Some(fault) = directory.fault() {
            let note = format!("the log ends early: {fault}");
            self.note(&note);
        }
        Failure { log, rootfs, ..failure }
    }

    /// Tells whether a step's output is shown on a terminal, where time can be seen to pass.
    fn options(&self, step: &Step) -> child::SpawnOptions {
        child::SpawnOptions {
            timeout: step.timeout.map(Into::into),
            tick: self.context.observer.tick(),
            work: if step.phase == Phase::Finally { Work::Final } else { Work::Ordinary },
            ..child::SpawnOptions::default()
        }
    }
}
