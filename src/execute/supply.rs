//! Where the container's rootfs comes from: its template, or the layer store.
//!
//! All pre steps have run when the store is asked. What it can do is a [`crate::cache::Ladder`], and
//! that is done act by act: at the place of the template, and after each layer. Nothing here decides.
//! Where an act shows something that was not known, such as the entry that was built, the ladder is
//! asked for again.

mod build;
mod filled;
mod install;
mod personalise;
mod pull;
mod session;
mod view;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;
use std::{io, mem};

pub(crate) use filled::Filled;
use session::Held;
pub(super) use session::Session;

use super::failure::{Failure, status};
use super::observe::{Doing, Event, Subject};
use super::{Handed, Run, full_disk};
use crate::cache::{
    self, Cache, CacheAct, CheckSees, Index, Lack, Ladder, LadderContext, Planned, Progress,
    Pulling, Purpose, SlotKind, Unfit, Wanted,
};
use crate::host::{clock, files};
use crate::plan::{Act, EntryId, Layer, StorageMode};
use crate::record;
use crate::registry::Remote;
use crate::tree::{Interrupt, Patience};

/// Where the container's rootfs comes from.
#[derive(Debug)]
pub(super) enum Supply<'a> {
    /// The template makes it in the container itself; what is still to be done.
    Template(VecDeque<Planned>),
    /// The layer store.
    Store(Box<Session<'a>>),
}

impl Supply<'_> {
    /// What there is before the innermost layer is reached.
    pub(super) const NONE: Self = Self::Template(VecDeque::new());

    /// Returns the session with the store.
    pub(super) fn session(&self) -> Option<&Session<'_>> {
        match self {
            Self::Template(_) => None,
            Self::Store(session) => Some(session),
        }
    }
}

impl<'a> Run<'a> {
    /// Does what is done in the place of the upstream: it is called, or the store is asked.
    pub(super) fn innermost(&mut self, layer: &Layer) -> Result<(), Box<Failure>> {
        self.supply = match self.cache {
            Cache::Usable(cache) if !cache.slots.is_empty() => match Session::open(self, cache) {
                Ok(session) => Supply::Store(Box::new(session)),
                Err(why) => self.without(&Cache::Unusable { wanted: cache.wanted, why }),
            },
            cache => self.without(cache),
        };
        self.climb(layer, &Vec::new(), 0)
    }

    /// Returns what is done where the store is not used.
    fn without(&self, cache: &Cache) -> Supply<'a> {
        let (index, progress) = (&Index::default(), Progress::default());
        let context = LadderContext { index, handed: None, progress, limit: None, config: &[] };
        Supply::Template(Ladder::of(self.plan, cache, &context).acts.into())
    }

    /// Does what is done after what a layer wraps.
    pub(super) fn after(&mut self, layer: &Layer, handed: &Handed) -> Result<(), Box<Failure>> {
        self.climb(layer, handed, layer.all().count())?;
        Ok(self.uninterrupted()?)
    }

    /// Does the acts of the ladder that are due.
    fn climb(&mut self, layer: &Layer, handed: &Handed, at: usize) -> Result<(), Box<Failure>> {
        match mem::replace(&mut self.supply, Supply::NONE) {
            Supply::Template(mut acts) => {
                let mut result = Ok(());
                while result.is_ok()
                    && acts.front().is_some_and(|planned| planned.at <= at)
                    && let Some(planned) = acts.pop_front()
                {
                    self.context.observer.event(&Event::Act(&planned));
                    result = self.act_in_container(layer, handed, &planned);
                }
                self.supply = Supply::Template(acts);
                result
            }
            Supply::Store(mut session) => {
                session.progress.at = at;
                let mut result = Ok(());
                while result.is_ok()
                    && let Some(planned) = session.next_at(at)
                {
                    result = self.act(&mut session, layer, handed, planned);
                }
                self.supply = Supply::Store(session);
                result
            }
        }
    }

    /// Does an act in the container itself.
    fn act_in_container(
        &mut self,
        layer: &Layer,
        handed: &Handed,
        planned: &Planned,
    ) -> Result<(), Box<Failure>> {
        self.uninterrupted()?;
        match &planned.act {
            CacheAct::Without { why } => {
                self.note_without_store(why, 0);
                Ok(())
            }
            CacheAct::Refuse { why, lack } => match self.cache.wanted().copied() {
                Some(wanted) => Err(self.refused(layer, &wanted, why, *lack)),
                None => Ok(()),
            },
            CacheAct::Make { .. } if planned.at == 0 => {
                Ok(self.upstream(layer, self.plan.upstream(), false)?)
            }
            _ => self.acts(layer, handed, |_| true),
        }
    }

    fn act(
        &mut self,
        session: &mut Session<'a>,
        layer: &Layer,
        handed: &Handed,
        planned: Planned,
    ) -> Result<(), Box<Failure>> {
        self.uninterrupted()?;
        // What is built may turn out to be there, or not to be stored, and what is taken to be gone: that
        // is told when it is.
        if !matches!(
            planned.act,
            CacheAct::Build { .. } | CacheAct::Pull { .. } | CacheAct::Take { .. }
        ) {
            self.context.observer.event(&Event::Act(&planned));
        }
        let wanted = session.cache.wanted;
        match planned.act {
            CacheAct::Without { why } => {
                self.note_without_store(&why, session.progress.done);
                Ok(())
            }
            CacheAct::Refuse { why, lack } => {
                Err(self.refused(session.cache.twin_of(&planned.layer), &wanted, &why, lack))
            }
            CacheAct::Distrust { why, unfit } => {
                Err(unfit_for(session.cache.twin_of(&planned.layer), &why, unfit))
            }
            CacheAct::Take { entry, .. } => self.take(session, &planned, entry),
            CacheAct::Build { .. } | CacheAct::Pull { .. } => self.build(session),
            CacheAct::Make { .. } => self.act_in_container(layer, handed, &planned),
            CacheAct::Install { entry: Some(entry), by, .. } => self.install(session, entry, by),
            CacheAct::WriteName { files, names } => self.write_name(session, &names, &files),
            CacheAct::PutSidecar { files, names } => self.put_sidecar(session, &names, &files),
            CacheAct::WriteConfig { text } => self.write_config(session, &text),
            CacheAct::MakeKeys { keys } => self.make_keys(session, &keys),
            // Before the run, what is built decides these; now it is built.
            CacheAct::Install { entry: None, .. }
            | CacheAct::Personalise { .. }
            | CacheAct::Leave { .. } => Ok(()),
            CacheAct::Check { sees: CheckSees::Container, .. } => {
                self.acts(layer, handed, Act::is_check_on_host)
            }
            CacheAct::Check { within, .. } => self.check_in_view(session, layer, handed, within),
        }
    }

    /// Uses an entry of the store, unless it was removed meanwhile. What is to be done then is asked
    /// again.
    fn take(
        &mut self,
        session: &mut Session<'a>,
        planned: &Planned,
        entry: EntryId,
    ) -> Result<(), Box<Failure>> {
        let slot = &session.cache.slots[session.progress.done];
        let label = slot.label();
        let mut held = Held::NotYet;
        let taken = self.wait(&format!("`gc` is removing {label}"), Patience::silent(), || {
            held = session.hold(entry)?;
            Ok(held != Held::NotYet)
        });
        match taken {
            Ok(()) if held == Held::Yes => {}
            Ok(()) => {
                let layer = session.cache.twin_of(&slot.layer);
                return session
                    .look_again(self)
                    .map_err(|error| fault(layer, "cannot be looked for in the store", &error));
            }
            Err(error) => {
                self.heard(&error)?;
                session.stop(self, format!("{label} cannot be kept from `gc`: {error}"), true);
                return Ok(());
            }
        }
        self.context.observer.event(&Event::Act(planned));
        let kept = session.index.looked_at.get(&entry).map(|stored| stored.kept_names.clone());
        self.tell_of_names_kept(&label, &kept.unwrap_or_default());
        self.log(format!("{label}: in the store as {entry}\n").as_bytes());
        if let Some(advice) = session.index.advice(slot, entry.key) {
            self.note(&advice);
        }
        session.has_done(entry, None);
        Ok(())
    }

    /// Says that the run goes on without the store, and why.
    fn note_without_store(&mut self, why: &str, done: usize) {
        let used = if done > 0 { "used no further" } else { "not used" };
        self.note(&format!("the layer store is {used}: {why}"));
    }

    /// Returns the failure of a run that cannot do what it should without the store.
    fn refused(&self, layer: &Layer, wanted: &Wanted, why: &str, lack: Lack) -> Box<Failure> {
        let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
        let failure = |reason: String| Failure::of(status::STORE, subject, &layer.at, reason);
        let why = match said_of(layer, why) {
            Said::Layer(rest) => rest.to_owned(),
            Said::Template(rest) => format!("cannot be made: its template {rest}"),
            Said::Else => why.to_owned(),
        };
        let only_pulls = wanted.pulling == Pulling::Only;
        Box::new(match lack {
            Lack::Layer if wanted.locked => failure(why).hint(match self.context.remote {
                None => "`--from` pulls it from a registry; without `--locked` it is built",
                Some(remote) if remote.is_down() => "without `--locked` it is built",
                Some(_) => "push the locked layer there, or lock again and review",
            }),
            Lack::Layer => {
                let hint = if let Some(hint) = self.context.remote.and_then(Remote::hint) {
                    hint
                } else if wanted.fills() {
                    let manifest = crate::shell::word(&self.plan.manifest.path);
                    format!("`layered-template build {manifest}` builds it")
                } else {
                    "without `--only-pull` it is built".to_owned()
                };
                failure(why).hint(hint)
            }
            Lack::Store if wanted.fills() || wanted.purpose == Purpose::Upgrade => {
                failure(format!("cannot be stored: {why}"))
            }
            Lack::Store if wanted.locked || only_pulls => {
                let failure = failure(format!("cannot be taken from the layer store: {why}"));
                let option = if wanted.locked { "--locked" } else { "--only-pull" };
                match wanted.mode {
                    StorageMode::Copy => failure.hint(format!(
                        "without `{option}` the container is made without the store"
                    )),
                    _ => failure,
                }
            }
            Lack::Store | Lack::Overlay => failure(format!("cannot have an overlay: {why}"))
                .hint("`--storage=copy` gives the container a rootfs of its own"),
        })
    }

    /// Says what a failed layer stands on, where that was found in the store: it may be too old for it.
    pub(super) fn dated(&self, failure: Failure) -> Failure {
        let is_of_layer = matches!(failure.status, status::FILES | status::POST | status::CHECK);
        // That the container's own disk is full, or the like, says nothing of what is stored.
        let is_of_store =
            failure.subject.as_ref().is_some_and(|subject| subject.doing == Doing::Store);
        if !is_of_layer || is_of_store {
            return failure;
        }
        let stands_on = self.supply.session().and_then(Session::oldest_taken);
        Failure { stands_on, ..failure }
    }

    /// Returns what the container has of the store, for its record.
    pub(super) fn of_store(&self) -> Option<record::Stored> {
        self.supply.session().and_then(Session::record)
    }

    /// Returns where each layer of the container came from.
    pub(super) fn supplies(&self) -> record::Supplies {
        self.supply.session().map(Session::supplies).unwrap_or_default()
    }

    /// Waits until `take` has what another has, and tells of that where it takes long.
    ///
    /// # Errors
    ///
    /// Those of `take`, and [`io::ErrorKind::Interrupted`] once a signal has come.
    fn wait(
        &mut self,
        what: &str,
        mut patience: Patience,
        mut take: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        while !take()? {
            if patience.is_news() {
                self.note(&format!("{what}; waiting for it"));
            }
            patience.pause(Interrupt::of(self.context.events.as_fd()))?;
        }
        Ok(())
    }

    /// Tells of something that the store does for a layer.
    fn store_act<T>(
        &mut self,
        layer: &Layer,
        text: &str,
        status: u8,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Result<T, Box<Failure>> {
        let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
        self.log(format!("{} {subject}: {text}\n", clock::present()).as_bytes());
        let started = Instant::now();
        self.context.observer.event(&Event::Begun { subject: &subject, at: &layer.at, text });
        let result = act(self);
        let (succeeded, elapsed) = (result.is_ok(), started.elapsed());
        self.context.observer.event(&Event::Ended { subject: &subject, succeeded, elapsed });
        let error = match result {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        self.heard(&error)?;
        let reason = format!("failed ({text}): {error}");
        let failure = Failure::of(status, subject, &layer.at, reason);
        Err(Box::new(full_disk::by(failure, &error)))
    }

    /// Fails by the signal that has ended what failed with `error`, if one has.
    fn heard(&mut self, error: &io::Error) -> Result<(), Failure> {
        if error.kind() == io::ErrorKind::Interrupted { self.uninterrupted() } else { Ok(()) }
    }
}

/// Returns the failure of a layer that a registry has and that must not be used.
fn unfit_for(layer: &Layer, why: &str, unfit: Unfit) -> Box<Failure> {
    let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
    let why = match said_of(layer, why) {
        Said::Layer(rest) => format!("it {rest}"),
        Said::Template(rest) => format!("its template {rest}"),
        Said::Else => why.to_owned(),
    };
    let status = if unfit.is_of_layer() { status::TRUST } else { status::STORE };
    let failure = Failure::of(status, subject, &layer.at, format!("cannot be pulled: {why}"));
    Box::new(match unfit.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// What is said of a layer, without its name.
enum Said<'a> {
    Layer(&'a str),
    Template(&'a str),
    Else,
}

/// Returns what a text says of a layer, whose name its reader knows.
fn said_of<'a>(layer: &Layer, why: &'a str) -> Said<'a> {
    let label = |kind| format!("{} ", cache::label(&layer.name, kind));
    if let Some(rest) = why.strip_prefix(&label(SlotKind::Layer)) {
        Said::Layer(rest)
    } else if let Some(rest) = why.strip_prefix(&label(SlotKind::Upstream)) {
        Said::Template(rest)
    } else {
        Said::Else
    }
}

/// Returns a failure of the store at a layer.
fn fault(layer: &Layer, what: &str, error: &io::Error) -> Box<Failure> {
    let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
    let failure = Failure::of(status::STORE, subject, &layer.at, format!("{what}: {error}"));
    Box::new(full_disk::by(failure, error))
}

/// Says that nothing can be built in the store at `top`, and what to do where its disk is full.
fn cannot_build(top: &Path, error: &io::Error) -> String {
    let advice =
        if files::is_full(error) { format!("; {}", full_disk::HINT) } else { String::new() };
    format!("nothing can be built for it in `{}`: {error}{advice}", top.display())
}
