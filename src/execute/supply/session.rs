//! A run's use of the layer store, from the moment that the store is open.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::time::Duration;

use super::super::failure::{Failure, status};
use super::super::{Handed, Run, config};
use super::filled::Filled;
use crate::cache::{
    Answer, Cache, CacheAct, CachePlan, Fault, Index, Ladder, LadderContext, Limit, Planned,
    Progress, Provenance, Pulling, Slot, SlotKind, Vouched,
};
use crate::host::caller::Caller;
use crate::host::clock;
use crate::host::contain;
use crate::host::rootfs::Rootfs;
use crate::host::{template, userns};
use crate::manifest::LayerName;
use crate::plan::{EntryId, Layer, Plan, StorageMode};
use crate::record::{self, SuppliedBy, Supply};
use crate::store::{self, Entry, Overlay, Pin, Pinned, Store};
use crate::tree::Interrupt;

/// A run's use of the store.
#[derive(Debug)]
pub(in crate::execute) struct Session<'a> {
    pub(super) store: Store,
    pub(super) cache: &'a CachePlan,
    pub(super) index: Index,
    pub(super) progress: Progress,
    /// What the container's config starts with.
    pub(super) initial: Vec<u8>,
    /// The entries that are done, the innermost first.
    pub(super) filled: Vec<Filled>,
    /// What is mounted as the container's rootfs while the run goes on.
    pub(super) mounted: Mounted,
    /// How far the store can be used on this host, once that has shown.
    limit: Option<Limit>,
    /// What is still to be done.
    acts: VecDeque<Planned>,
    /// What keeps gc from the entries that are done.
    pins: Vec<Pin>,
    /// Whether it was told that the registry cannot be asked.
    told_unreachable: bool,
}

/// Whether an entry is kept from gc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    /// It is being removed.
    NotYet,
    /// It is not there.
    No,
}

/// What is mounted as the container's rootfs.
#[derive(Debug)]
pub(super) enum Mounted {
    /// Nothing: it is a plain directory.
    Nothing,
    /// An overlay.
    Overlay(Overlay),
}

impl<'a> Session<'a> {
    /// Opens the store for a run.
    ///
    /// # Errors
    ///
    /// Why the store cannot be used.
    pub(super) fn open(run: &mut Run<'a>, cache: &'a CachePlan) -> Result<Self, String> {
        let because = |error: io::Error| error.to_string();
        let initial = config::read(&run.workspace).map_err(because)?;
        run.check_untouched()?;
        if !contain::has_own_mounts() {
            let why = "it cannot have mounts of its own here";
            return Err(why.to_owned());
        }
        let target = &run.workspace.target;
        let top =
            store::directory(&Caller::observe()).ok_or_else(|| store::NO_DIRECTORY.to_owned())?;
        let map = store::map_of(userns::Ids::of_this_process());
        let store = Store::new(&top, &map);
        let owner = target.mapped.map(|mapped| (mapped.uid, mapped.gid));
        let place = top.display().to_string();
        store.make(owner).map_err(|error| format!("`{place}`: {error}"))?;
        for reading in &cache.readings {
            if let Err(error) = store.remember(reading) {
                tracing::debug!(%error, "what was read will be read again");
            }
        }
        store.access(cache.wanted.mode)?;
        let index = store.index().map_err(because)?;
        let mut session = Self {
            store,
            cache,
            index,
            progress: Progress::default(),
            initial,
            filled: Vec::new(),
            mounted: Mounted::Nothing,
            limit: None,
            acts: VecDeque::new(),
            pins: Vec::new(),
            told_unreachable: false,
        };
        if let Some(remote) = run.context.remote {
            remote.reconnect();
        }
        session.ask(run);
        Ok(session)
    }

    /// Asks for what is still to be done, by what is known now.
    pub(super) fn ask(&mut self, run: &mut Run<'a>) {
        let known: Vec<_> = self.index.faults.keys().copied().collect();
        let handed = |name: &LayerName| run.handed_of(self.cache, name);
        let (progress, limit) = (self.progress, self.limit.as_ref());
        let (plan, cache, config): (&Plan, &Cache, _) = (run.plan, run.cache, &self.initial);
        let interrupt = Interrupt::of(run.context.events.as_fd());
        let mut unreachable = None;
        let mut registry = run.context.remote.map(|remote| {
            |index: &Index, key| {
                let (pinned, stored) = (self.cache.pin_of(key), index.newest_generation(key));
                let answer = remote.answer(key, pinned, stored, interrupt);
                if let Answer::Unreachable(why) = &answer {
                    unreachable.get_or_insert_with(|| why.clone());
                }
                answer
            }
        });
        let ask = |index: &Index| {
            let handed = Some(&handed as _);
            Ladder::of(plan, cache, &LadderContext { index, handed, progress, limit, config })
        };
        let registry = registry.as_mut().map(|registry| registry as &mut _);
        let manifest = &run.plan.manifest.absolute;
        let ladder = self.store.ladder(manifest, &mut self.index, ask, registry);
        self.acts = ladder.acts.into();
        if let Some(why) = unreachable
            && self.cache.wanted.pulling == Pulling::First
            && !mem::replace(&mut self.told_unreachable, true)
        {
            run.note(&format!("{why}: the missing layers are built instead"));
        }
        for note in self.new_faults(&known) {
            run.note(&note);
        }
    }

    /// Says which entries cannot be used that were not `known` to be such: those of another version of
    /// the program all at once.
    fn new_faults(&self, known: &[EntryId]) -> Vec<String> {
        let is_of_format =
            |id| self.index.faults.get(id).is_some_and(|bad| bad.fault == Fault::Format);
        let mut is_format_told = known.iter().any(is_of_format);
        let mut notes = Vec::new();
        for (id, bad) in self.index.faults.iter().filter(|(id, _)| !known.contains(id)) {
            match &bad.fault {
                Fault::Format if mem::replace(&mut is_format_told, true) => {}
                Fault::Format => notes.push(
                    "what another version of the program has stored is not used; \
                     `layered-template store gc` removes it"
                        .to_owned(),
                ),
                Fault::Damaged(why) if self.cache.wanted.locked => notes.push(format!(
                    "what is stored of {} cannot be used: {why} (`layered-template store remove {}`)",
                    bad.what,
                    id.name()
                )),
                Fault::Damaged(why) => notes.push(format!(
                    "{} is rebuilt: what is stored of it cannot be used: {why} (`layered-template \
                     store remove {}`)",
                    bad.what,
                    id.name()
                )),
            }
        }
        notes
    }

    /// Observes the store again, and asks for what is still to be done.
    pub(super) fn look_again(&mut self, run: &mut Run<'a>) -> io::Result<()> {
        let index = self.store.index()?;
        let earlier = mem::take(&mut self.index.earlier);
        let faults = mem::take(&mut self.index.faults);
        let looked_at = mem::take(&mut self.index.looked_at);
        let offers = mem::take(&mut self.index.offers);
        self.index = Index { earlier, faults, offers, looked_at, ..index };
        self.ask(run);
        Ok(())
    }

    /// Takes what was built for what is done.
    pub(super) fn has_built(&mut self, (entry, pin): (Entry, Pin), took: Duration) {
        self.pins.push(pin);
        self.index.store(entry.id);
        self.index.looked_at.insert(entry.id, entry.contents());
        self.has_done(entry.id, Some(took));
    }

    /// Returns the entry of the last of so many slots, or of all that are done.
    pub(super) fn entry_within(&self, within: usize) -> io::Result<EntryId> {
        let last = within.min(self.filled.len()).checked_sub(1);
        let filled = last.and_then(|last| self.filled.get(last));
        filled.map(|filled| filled.entry).ok_or_else(|| io::Error::other("nothing is stored"))
    }

    /// Returns where the store is.
    pub(in crate::execute) fn store_top(&self) -> &std::path::Path {
        self.store.top()
    }

    /// Returns the exit status where the container cannot be given what is stored.
    pub(super) fn install_status(&self) -> u8 {
        match self.cache.wanted.mode {
            StorageMode::Overlay => status::STORE,
            // It is the container's own place that did not take it.
            _ => status::FILES,
        }
    }

    /// Asks again, where this host has shown that no more can be stored.
    pub(super) fn stop(&mut self, run: &mut Run<'a>, why: String, can_show: bool) {
        let why = crate::shell::reason(&why).into_owned();
        self.limit = Some(Limit { slots: self.progress.done, why, can_show });
        self.ask(run);
    }

    /// Takes the next act, if it is due.
    pub(super) fn next_at(&mut self, at: usize) -> Option<Planned> {
        self.next_if(|planned| planned.at <= at)
    }

    /// Returns the entry that is pulled next, if that is for this slot.
    pub(super) fn next_pull(&self, slot: usize) -> Option<EntryId> {
        match self.acts.front()?.act {
            CacheAct::Pull { slot: next, entry, .. } if next == slot => Some(entry),
            _ => None,
        }
    }

    /// Takes the next act, if it is to build or to pull this slot.
    pub(super) fn next_made(&mut self, slot: usize) -> Option<Planned> {
        self.next_if(|planned| match planned.act {
            CacheAct::Build { slot: next, .. } | CacheAct::Pull { slot: next, .. } => next == slot,
            _ => false,
        })
    }

    /// Takes the next act, if it is what is wanted.
    fn next_if(&mut self, is_wanted: impl Fn(&Planned) -> bool) -> Option<Planned> {
        if is_wanted(self.acts.front()?) { self.acts.pop_front() } else { None }
    }

    /// Returns the next slot.
    pub(super) fn slot(&self) -> &'a Slot {
        &self.cache.slots[self.progress.done]
    }

    /// Takes an entry for what is done; what was built took `took`.
    pub(super) fn has_done(&mut self, entry: EntryId, took: Option<Duration>) {
        let layer = self.slot().layer.to_string();
        let is_pulled = took.is_some() && self.origin_of(entry).is_some();
        self.filled.push(Filled { layer, entry, took, is_pulled });
        self.progress.done += 1;
        self.progress.base = Some(entry);
    }

    /// Returns whence an entry came, where that is another host.
    fn origin_of(&self, entry: EntryId) -> Option<&Provenance> {
        self.index.looked_at.get(&entry)?.origin.as_ref()
    }

    /// Sees that gc leaves an entry. Where it is not there any more, it is forgotten.
    pub(super) fn hold(&mut self, entry: EntryId) -> io::Result<Held> {
        Ok(match self.store.pin(entry)? {
            Pinned::Held(pin) => {
                self.pins.push(pin);
                Held::Yes
            }
            Pinned::Busy => Held::NotYet,
            Pinned::Gone => {
                self.index.looked_at.remove(&entry);
                Held::No
            }
        })
    }

    /// Returns the layer whose slot was done last, as it is built for the store.
    pub(super) fn last_layer(&self) -> &'a Layer {
        let last = self.progress.done.saturating_sub(1);
        self.cache.twin_of(&self.cache.slots[last].layer)
    }

    /// Says what of all that was taken is the oldest, and how old that is.
    pub(super) fn oldest_taken(&self) -> Option<String> {
        let found = self.filled.iter().zip(&self.cache.slots);
        let found = found.filter(|(filled, _)| filled.took.is_none());
        let oldest = found.max_by_key(|(filled, _)| self.index.age(filled.entry.key))?;
        self.index.dated(oldest.1, oldest.0.entry.key)
    }

    /// Returns where each stored layer came from.
    pub(super) fn supplies(&self) -> record::Supplies {
        let mut supplies = record::Supplies::default();
        if !self.progress.installed {
            return supplies;
        }
        for (filled, slot) in self.filled.iter().zip(&self.cache.slots) {
            let by = match (filled.took, filled.is_pulled) {
                (None, _) => SuppliedBy::Store,
                (Some(_), false) => SuppliedBy::Build,
                (Some(_), true) => SuppliedBy::Registry,
            };
            let pulled = self.origin_of(filled.entry).map(pulled);
            let took = filled.took.filter(|_| clock::given().is_none());
            let entry = filled.entry.to_string();
            let took_ms = took.map(record::milliseconds);
            let supply = Supply { by, entry, took_ms, pulled };
            match slot.kind {
                SlotKind::Upstream => supplies.template = Some(supply),
                SlotKind::Layer => {
                    supplies.layers.insert(filled.layer.clone(), supply);
                }
            }
        }
        supplies
    }

    /// Returns what the container has of the store.
    pub(super) fn record(&self) -> Option<record::Stored> {
        let last = self.filled.last().filter(|_| self.progress.installed)?;
        Some(record::Stored {
            storage: self.cache.wanted.mode,
            entry: last.entry.to_string(),
            layer: last.layer.clone(),
        })
    }
}

/// Returns what a record tells of whence an entry came.
fn pulled(origin: &Provenance) -> record::Pulled {
    let Provenance { repository, manifest, vouched } = origin.clone();
    let (vouched_by, signer) = match vouched {
        Vouched::Lock => (record::VouchedBy::Lock, None),
        Vouched::Signature { principal } => (record::VouchedBy::Signature, Some(principal)),
        Vouched::Nobody { .. } => (record::VouchedBy::Nobody, None),
    };
    record::Pulled { repository, manifest, vouched_by, signer }
}

impl Run<'_> {
    /// Checks that no pre step has written where the store would.
    fn check_untouched(&mut self) -> Result<(), String> {
        let because = |error: io::Error| error.to_string();
        let found = Rootfs::open(&self.workspace.rootfs).and_then(|rootfs| rootfs.fingerprint());
        match found {
            Ok(found) if found.is_empty() => {}
            Ok(_) if self.was_empty => {
                let why = "a pre step has written into the rootfs";
                return Err(why.to_owned());
            }
            Ok(_) => return Err("the rootfs is not empty".to_owned()),
            // The directory of `--dir` is the template's to make.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir(&self.workspace.rootfs).map_err(because)?;
            }
            Err(error) => return Err(because(error)),
        }
        if let Some(name) = self.workspace.new_names().map_err(because)?.first() {
            let name = crate::shell::word(name);
            return Err(format!("a pre step has written {name} into the container's directory"));
        }
        Ok(())
    }

    /// Returns what a layer sees of what pre steps have handed inward.
    pub(super) fn handed_of(&self, cache: &CachePlan, name: &LayerName) -> Handed {
        let layer = cache.twin_of(name);
        let handed = self.handed.get(name).map(Vec::as_slice).unwrap_or_default();
        handed
            .iter()
            .filter(|(name, _)| layer.sees.iter().any(|seen| name == seen.as_str()))
            .cloned()
            .collect()
    }

    /// Returns what a run within this one must not wait for.
    pub(in crate::execute) fn held(&self) -> Vec<String> {
        let mut held = template::held();
        held.extend(self.tokens.iter().cloned());
        held
    }

    /// Notes what the role has come to, so that gc keeps it for the next run.
    pub(in crate::execute) fn note_role(&self) {
        let Some(session) = self.supply.session() else { return };
        let Some(last) = session.filled.last() else { return };
        let is_whole = session.progress.installed || session.acts.is_empty();
        let manifest = &self.plan.manifest.absolute;
        if let Err(error) = session.store.note_role(manifest, last.entry, is_whole) {
            tracing::debug!(%error, "gc does not know what the role has come to");
        }
    }

    /// Leaves word of what is stored by now, whether the run goes well or not.
    pub(in crate::execute) fn leave_word(&self) -> Result<(), Failure> {
        let Some(session) = self.supply.session() else { return Ok(()) };
        Filled::write(&session.filled, &self.workspace).map_err(|error| {
            Failure::of_run(status::FILES, format!("what was stored cannot be told: {error}"))
        })
    }

    /// Tells whether a run only fills the store.
    pub(in crate::execute) fn fills(&self) -> bool {
        self.cache.fills()
    }
}
