//! Takes layers from the store, and makes those for it that it lacks.
//!
//! All pre steps have run by then. What is stored of the chain is one entry, that of the outermost
//! layer that is found; the layers outside of it are made one by one on their way out, each on the
//! tree of the one before, until nothing more is stored. Then the container comes to its rootfs, and
//! the rest of the chain runs there.

mod filled;
mod identity;
mod make;
mod settle;

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use super::failure::{Failure, status};
use super::observe::{Doing, Event, Subject};
use super::workspace::Workspace;
use super::{Handed, Run, config};
use crate::host::caller::Caller;
use crate::host::contain;
use crate::host::files;
use crate::host::rootfs::Rootfs;
use crate::host::template;
use crate::manifest::LayerName;
use crate::plan::{
    Act, EntryId, Ground, Known, Layer, Mode, PLACEHOLDER, Part, Pattern, Rung, Stock, Storable,
};
use crate::record;
use crate::store::{self, Lock, Overlay, Store};
pub use filled::Filled;
use make::Ended;

/// How often it is looked whether another run has done with what this one waits for.
const PATIENCE: Duration = Duration::from_millis(20);

/// How far a run has come with what is stored.
#[derive(Debug)]
pub(super) struct Stored {
    store: Store,
    /// Held, so that gc waits until the container stands on its tree, or has its copy.
    shared: Option<Lock>,
    ground: Ground,
    /// What the config of the container's own starts with.
    initial: Vec<u8>,
    stock: Stock,
    /// Entries that cannot be used.
    damaged: Vec<EntryId>,
    /// The word for the lock of the key that is being made.
    making: Option<String>,
    /// How many of the storables are done.
    done: usize,
    /// The entry of the last of them.
    base: Option<EntryId>,
    /// All of them, the innermost first.
    filled: Vec<Filled>,
    /// Whether the container has its rootfs.
    settled: bool,
    /// The overlay that the container's rootfs is, while the run goes on.
    overlay: Option<Overlay>,
}

impl Run<'_> {
    /// Takes the place of the upstream, where it is stored; false, where it has to run in the
    /// container.
    pub(super) fn enter_store(&mut self, layer: &Layer) -> Result<bool, Box<Failure>> {
        let Some(pattern) = self.pattern() else {
            return match &self.plan.storage.unused {
                Some(why) if self.plan.storage.mode != Mode::None => {
                    let why = why.clone();
                    self.without_store(layer, &why)
                }
                _ => Ok(false),
            };
        };
        if pattern.stored.is_empty() {
            if self.needs_store() {
                let why = pattern.end.clone().unwrap_or_default();
                return Err(self.no_store(layer, &format!("nothing is stored: {why}")));
            }
            return Ok(false);
        }
        let stored = match self.open_store() {
            Ok(stored) => stored,
            Err(Denied::Why(why)) => return self.without_store(layer, &why),
            Err(Denied::Failure(failure)) => return Err(failure),
        };
        self.stored = Some(stored);
        self.climb(pattern);
        if self.stored().is_some_and(|stored| stored.done == 0)
            && let Ended::NoPlace(error) = self.make(pattern, 0)?
        {
            self.stored = None;
            return self.without_store(layer, &no_place(&error));
        }
        self.settle_at_last(layer, pattern)?;
        Ok(true)
    }

    /// Does what is to be done for a layer after what it wraps, where that is stored or not.
    pub(super) fn after_stored(
        &mut self,
        layer: &Layer,
        handed: &Handed,
    ) -> Result<(), Box<Failure>> {
        let Some(pattern) = self.pattern() else { return self.acts(layer, handed, |_| true) };
        let index = pattern.layer(&layer.name).map(|(index, _)| index);
        let fills = self.plan.storage.mode == Mode::Fill;
        let Some(stored) = self.stored() else { return self.acts(layer, handed, |_| true) };
        match index {
            None if fills && !pattern.stores_all_of(&layer.name) => {
                return Ok(self.uninterrupted()?);
            }
            None if !layer.leaves_nothing() => return self.acts(layer, handed, |_| true),
            Some(index) if index >= stored.done => {
                if stored.settled {
                    return self.acts(layer, handed, |_| true);
                }
                if let Ended::NoPlace(error) = self.make(pattern, index)? {
                    self.without_store(layer, &no_place(&error))?;
                    self.settle(layer, pattern)?;
                    return self.acts(layer, handed, |_| true);
                }
                self.settle_at_last(layer, pattern)?;
            }
            _ => {}
        }
        if !layer.after.iter().any(Act::is_check_on_host) {
            return Ok(self.uninterrupted()?);
        }
        // A check sees what its layer has left, and nothing of those outside of it.
        let within = pattern.stored_within(&layer.name);
        match self.stored() {
            Some(stored) if stored.settled && within >= stored.done => {
                self.acts(layer, handed, Act::is_check_on_host)
            }
            _ => self.in_view(layer, pattern, within, handed),
        }
    }

    /// Lets the container have its rootfs, if all that is stored is done.
    fn settle_at_last(&mut self, layer: &Layer, pattern: &Pattern) -> Result<(), Box<Failure>> {
        match self.stored() {
            // There is no container.
            _ if self.plan.storage.mode == Mode::Fill => Ok(()),
            Some(stored) if stored.done == pattern.stored.len() && !stored.settled => {
                self.settle(layer, pattern)
            }
            _ => Ok(()),
        }
    }

    /// Finds the outermost entry.
    fn climb(&mut self, pattern: &Pattern) {
        while let Some((index, base)) = self.position()
            && index < pattern.stored.len()
        {
            let rung = self.rung(pattern, index, base);
            match rung.found {
                Some(entry) if self.is_damaged(entry, &pattern.stored[index].slot()) => {}
                Some(entry) => {
                    let slot = pattern.stored[index].slot();
                    self.log(format!("{slot}: in the store as {entry}\n").as_bytes());
                    let stock = self.stored().map(|stored| &stored.stock);
                    let advice = stock.and_then(|s| s.advice(&pattern.stored[index], entry.key));
                    if let Some(advice) = advice {
                        self.note(&advice);
                    }
                    self.found(pattern, index, entry, None);
                }
                None => {
                    self.misses(pattern, index, &rung);
                    return;
                }
            }
        }
    }

    /// Says what a failed layer stands on, where that was found in the store: it may be too old for it.
    pub(super) fn dated(&self, failure: Failure) -> Failure {
        if !matches!(failure.status, status::FILES | status::POST | status::CHECK) {
            return failure;
        }
        let stands_on = || {
            let (stored, pattern) = (self.stored()?, self.pattern()?);
            let found = stored.filled.iter().zip(&pattern.stored);
            let found = found.filter(|(filled, _)| filled.took.is_none());
            let oldest = found.max_by_key(|(filled, _)| stored.stock.age(filled.entry.key))?;
            stored.stock.dated(oldest.1, oldest.0.entry.key)
        };
        Failure { stands_on: stands_on(), ..failure }
    }

    /// Tells whether an entry cannot be used, and lets it be made anew.
    fn is_damaged(&mut self, entry: EntryId, slot: &str) -> bool {
        let Some(stored) = &mut self.stored else { return false };
        let Some(error) = stored.store.fault(entry) else { return false };
        stored.stock.entries.remove(&entry.key);
        stored.damaged.push(entry);
        self.note(&format!(
            "{slot} is made anew: what is stored of it cannot be used: {error} (`layered-template \
             store remove {}`)",
            entry.name()
        ));
        true
    }

    /// Takes an entry for what is done; what was made `took` so long.
    fn found(&mut self, pattern: &Pattern, index: usize, entry: EntryId, took: Option<Duration>) {
        if let Some(stored) = &mut self.stored {
            stored.done = index + 1;
            stored.base = Some(entry);
            let layer = pattern.stored[index].name.to_string();
            stored.filled.push(Filled { layer, entry, took });
        }
    }

    /// Says why something is not found.
    fn misses(&mut self, pattern: &Pattern, index: usize, rung: &Rung) {
        let storable = &pattern.stored[index];
        let slot = storable.slot();
        let Some(stored) = &self.stored else { return };
        let lines = stored.stock.why(storable, rung, &self.plan.storage);
        for line in lines {
            self.log(format!("{slot}: misses: {line}\n").as_bytes());
            tracing::info!(slot, line, "misses");
        }
    }

    fn rung(&self, pattern: &Pattern, index: usize, base: Option<EntryId>) -> Rung {
        let empty = Stock::default();
        let none = Ground::default();
        let (ground, stock) = match &self.stored {
            Some(stored) => (&stored.ground, &stored.stock),
            None => (&none, &empty),
        };
        let handed = |name: &LayerName| self.handed_of(pattern, name);
        let known = Known { ground, handed: &handed, stock, since: self.plan.storage.since };
        pattern.rung(index, base, &known)
    }

    /// Returns what a layer sees of what pre steps have handed inward.
    fn handed_of(&self, pattern: &Pattern, name: &LayerName) -> Handed {
        let Some(layer) = pattern.nest_layer(name) else { return Handed::new() };
        let handed = self.handed.get(name).map(Vec::as_slice).unwrap_or_default();
        handed
            .iter()
            .filter(|(name, _)| layer.sees.iter().any(|seen| name == seen.as_str()))
            .cloned()
            .collect()
    }

    /// Returns what the container has of the store, for its record.
    pub(super) fn of_store(&self) -> Option<record::Stored> {
        let entry = self.stored.as_ref().filter(|stored| stored.settled)?.base?;
        let done = self.position()?.0;
        let layer = self.pattern()?.stored.get(done.checked_sub(1)?)?.name.to_string();
        let storage = self.plan.storage.mode;
        Some(record::Stored { storage, entry: entry.to_string(), layer })
    }

    fn position(&self) -> Option<(usize, Option<EntryId>)> {
        self.stored.as_ref().map(|stored| (stored.done, stored.base))
    }

    fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref()
    }

    /// Opens the store for this run.
    fn open_store(&mut self) -> Result<Stored, Denied> {
        let why = |error: io::Error| Denied::Why(error.to_string());
        let initial = config::read(&self.workspace.container).map_err(why)?;
        if self.plan.storage.mode == Mode::Overlay
            && let Some(fault) = settle::no_overlay(&initial, &self.workspace)
        {
            return Err(Denied::Why(fault));
        }
        let found = Rootfs::open(&self.workspace.rootfs).and_then(|rootfs| rootfs.fingerprint());
        match found {
            Ok(found) if found.is_empty() => {}
            Ok(_) if self.was_empty => {
                return Err(Denied::Why("a pre step has written into the rootfs".to_owned()));
            }
            Ok(_) => return Err(Denied::Why("the rootfs is not empty".to_owned())),
            // The directory of `--dir` is the template's to make.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir(&self.workspace.rootfs).map_err(why)?;
            }
            Err(error) => return Err(why(error)),
        }
        if let Some(name) = self.workspace.new_names().map_err(why)?.first() {
            let name = crate::shell::word(name);
            return Err(Denied::Why(format!(
                "a pre step has written {name} into the container's directory"
            )));
        }
        if !contain::has_own_mounts() {
            let why = "it cannot have mounts of its own here";
            return Err(Denied::Why(why.to_owned()));
        }
        let target = &self.workspace.target;
        let top = store::directory(&Caller::observe())
            .ok_or_else(|| Denied::Why("no directory for it is known".to_owned()))?;
        let map = store::map_of(crate::host::userns::Ids::of_this_process());
        let store = Store::new(&top, &map);
        let owner = target.mapped.map(|mapped| (mapped.uid, mapped.gid));
        let place = top.display().to_string();
        store.make(owner).map_err(|error| Denied::Why(format!("`{place}`: {error}")))?;
        let Some(pattern) = self.pattern() else {
            return Err(Denied::Why("there is no pattern".to_owned()));
        };
        let ground = pattern.ground.clone();
        let shared = self.share(&store)?;
        for reading in &self.plan.storage.readings {
            if let Err(error) = store.remember(reading) {
                tracing::debug!(%error, "what was read will be read again");
            }
        }
        let slots: Vec<_> = pattern.stored.iter().map(Storable::slot).collect();
        let stock = store.stock(&self.plan.manifest.absolute, &slots).map_err(why)?;
        Ok(Stored {
            store,
            shared: Some(shared),
            ground,
            initial,
            stock,
            damaged: Vec::new(),
            making: None,
            done: 0,
            base: None,
            filled: Vec::new(),
            settled: false,
            overlay: None,
        })
    }

    /// Takes the lock that every run shares.
    fn share(&mut self, store: &Store) -> Result<Lock, Denied> {
        let why = |error: io::Error| Denied::Why(error.to_string());
        let (gate, shared) = (store.gate().map_err(why)?, store.lock().map_err(why)?);
        let what = "the store is being cleaned";
        // Whoever has the gate may wait for a run that this is part of.
        let word = shared.token().map_err(why)?;
        if !template::held().contains(&word) {
            self.wait(what, || gate.share()).map_err(Denied::Failure)?;
        }
        self.wait(what, || shared.share()).map_err(Denied::Failure)?;
        Ok(shared)
    }

    /// Returns what a run within this one must not wait for.
    pub(in crate::execute) fn held(&self) -> Vec<String> {
        let mut held = template::held();
        if let Some(Stored { shared: Some(shared), making, .. }) = &self.stored {
            held.extend(shared.token());
            held.extend(making.iter().cloned());
        }
        held
    }

    /// Waits until `take` has what another run has.
    fn wait(
        &mut self,
        what: &str,
        take: impl Fn() -> io::Result<bool>,
    ) -> Result<(), Box<Failure>> {
        let mut told = false;
        loop {
            let taken = take().map_err(|error| {
                Failure::of_run(status::STORE, format!("the layer store: {error}"))
            })?;
            if taken {
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                self.note(&format!("{what}; waiting for it"));
            }
            self.uninterrupted()?;
            sleep(PATIENCE);
        }
    }

    /// Goes on without the store where the container needs none, and says why.
    fn without_store(&mut self, layer: &Layer, why: &str) -> Result<bool, Box<Failure>> {
        if self.needs_store() {
            return Err(self.no_store(layer, why));
        }
        let used = match self.stored() {
            Some(stored) if stored.done > 0 => "used no further",
            _ => "not used",
        };
        self.note(&format!("the layer store is {used}: {why}"));
        Ok(false)
    }

    /// Tells whether nothing can be done without the store.
    fn needs_store(&self) -> bool {
        matches!(self.plan.storage.mode, Mode::Overlay | Mode::Fill)
    }

    fn no_store(&self, layer: &Layer, why: &str) -> Box<Failure> {
        let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
        let failure = |reason: String| Failure::of(status::STORE, subject, &layer.at, reason);
        Box::new(match self.plan.storage.mode {
            Mode::Fill => failure(format!("cannot be stored: {why}")),
            _ => failure(format!("cannot have an overlay: {why}"))
                .hint("`--storage=copy` gives the container a rootfs of its own"),
        })
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
        self.log(format!("{subject}: {text}\n").as_bytes());
        let started = std::time::Instant::now();
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
        Err(Box::new(Failure::of(status, subject, &layer.at, reason)))
    }

    /// Fails by the signal that has ended what failed with `error`, if one has.
    fn heard(&mut self, error: &io::Error) -> Result<(), Failure> {
        if error.kind() == io::ErrorKind::Interrupted { self.uninterrupted() } else { Ok(()) }
    }

    /// Does something where another workspace is the run's; what it fails with is kept before that is
    /// gone.
    fn in_workspace<T>(
        &mut self,
        workspace: Workspace,
        act: impl FnOnce(&mut Self) -> Result<T, Box<Failure>>,
    ) -> Result<T, Box<Failure>> {
        let own = std::mem::replace(&mut self.workspace, Rc::new(workspace));
        let result = act(self);
        if result.as_ref().is_err_and(|failure| !failure.informational())
            && self.context.keep_failed
            && self.kept_rootfs.is_none()
        {
            self.kept_rootfs = self.keep_rootfs();
        }
        self.workspace = own;
        let name = &self.workspace.target.name;
        result.map_err(|failure| {
            let reason = failure.reason.replace(PLACEHOLDER, name);
            let hint = match failure.hint {
                None if failure.signal().is_none() => self.full_store(),
                hint => hint,
            };
            Box::new(Failure { reason, hint, ..*failure })
        })
    }

    /// Says so, where the disk is full on which a layer is made: it is not the container's.
    fn full_store(&self) -> Option<String> {
        let top = self.stored.as_ref()?.store.top();
        files::is_on_full_disk(top).ok()?.then(|| {
            format!(
                "the disk of the layer store, `{}`, is full; `layered-template store gc` makes \
                 room, and `--storage=none` does without it",
                top.display()
            )
        })
    }
}

impl<'a> Run<'a> {
    /// Returns what is stored of the plan, where the store is wanted.
    fn pattern(&self) -> Option<&'a Pattern> {
        let storage = &self.plan.storage;
        storage.pattern.as_ref().filter(|_| storage.mode != Mode::None)
    }
}

/// Why the store cannot be used.
enum Denied {
    /// The host does not let it.
    Why(String),
    /// The run is at its end.
    Failure(Box<Failure>),
}

/// Variables handed inward, by the layer at which they were seen.
pub(super) type HandedAt = BTreeMap<LayerName, Handed>;

/// Returns a failure of the store at a layer.
fn fault(layer: &Layer, what: &str, error: &io::Error) -> Box<Failure> {
    let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
    let failure = Failure::of(status::STORE, subject, &layer.at, format!("{what}: {error}"));
    Box::new(failure.hint(if files::is_full(error) {
        "`layered-template store gc` removes what no container stands on"
    } else {
        "`--storage=none` makes the container without the store"
    }))
}

fn no_place(error: &io::Error) -> String {
    format!("nothing can be made for it here: {error}")
}

/// Tells whether something is the upstream's.
fn is_upstream(pattern: &Pattern, index: usize) -> bool {
    pattern.stored[index].part == Part::Upstream
}
