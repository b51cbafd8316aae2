//! What a run does about the layer store, act by act: take, build, install, personalise, or do without.

use serde::Serialize;

use super::act::{BuildBase, CacheAct, CheckSees, Key, Lack, Planned};
use super::config::{lower, no_overlay, on_overlay};
use super::index::{Fault, Index};
use super::key::KeyInputs;
use super::names::Names;
use super::offer::{Answer, Offer, Unfit, Vouched};
use super::plan::{Cache, CachePlan, Handed, Pulling, SlotKind, label};
use crate::digest::Digest;
use crate::manifest::LayerName;
use crate::plan::{Act, EntryId, Layer, Plan, StorageMode};

/// What a run does about the layer store, in order.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Ladder {
    /// The acts.
    pub acts: Vec<Planned>,
    /// The key that a registry has to be asked for before more is known.
    #[serde(skip)]
    pub unasked: Option<Digest>,
}

/// What acts are made of, besides the plans.
#[derive(Clone, Copy)]
pub struct LadderContext<'a> {
    /// What the store holds.
    pub index: &'a Index,
    /// What pre steps have handed inward; `None` before they have run.
    pub handed: Option<Handed<'a>>,
    /// How far the run has come.
    pub progress: Progress,
    /// How far the store can be used on this host.
    pub limit: Option<&'a Limit>,
    /// The config that the container was given.
    pub config: &'a [u8],
}

impl std::fmt::Debug for LadderContext<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LadderContext")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// How far a run has come with the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// When it is, as in [`Planned::at`].
    pub at: usize,
    /// How many slots are done.
    pub done: usize,
    /// The entry of the last of them.
    pub base: Option<EntryId>,
    /// Whether the container has its rootfs.
    pub installed: bool,
}

/// What a host cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// How many slots can be stored.
    pub slots: usize,
    /// Why no more.
    pub why: String,
    /// Whether checks can be shown what one layer has left.
    pub can_show: bool,
}

impl Ladder {
    /// Returns what is still to be done about the store in the run of a plan.
    pub fn of(plan: &Plan, cache: &Cache, context: &LadderContext<'_>) -> Self {
        let mut layers: Vec<_> = plan.layers().collect();
        layers.reverse();
        let (mut acts, mut unasked) = (Vec::new(), None);
        match cache {
            Cache::Off => made_in_container(&layers, &mut acts),
            Cache::Unusable { wanted, why } => {
                acts.push(first(&layers, unusable(wanted.needs_store(), why.clone())));
                made_in_container(&layers, &mut acts);
            }
            Cache::Usable(cache) => {
                let slots = cache.slots.len();
                let (end, why) = match context.limit {
                    Some(limit) if limit.slots < slots => (limit.slots, None),
                    _ => (slots, cache.end.clone()),
                };
                let mut maker = Maker {
                    cache,
                    context,
                    layers: &layers,
                    progress: context.progress,
                    end,
                    why,
                    unknown: None,
                    unasked: None,
                    acts: Vec::new(),
                };
                maker.make();
                (acts, unasked) = (maker.acts, maker.unasked);
            }
        }
        // That is the end of the run.
        let ends = |planned: &Planned| {
            matches!(planned.act, CacheAct::Refuse { .. } | CacheAct::Distrust { .. })
        };
        if let Some(end) = acts.iter().position(ends) {
            acts.truncate(end + 1);
        }
        Self { acts, unasked }
    }

    /// Tells whether the run ends since a layer that a registry has must not be used.
    pub fn distrusts(&self) -> bool {
        let last = self.acts.last();
        last.is_some_and(|planned| match planned.act {
            CacheAct::Distrust { unfit, .. } => unfit.is_of_layer(),
            _ => false,
        })
    }

    /// Returns the first slot that has to be built and of which the index does not know yet what defined
    /// it before.
    pub fn unexplained(&self, index: &Index) -> Option<String> {
        self.acts.iter().find_map(|planned| match &planned.act {
            CacheAct::Build { what, key: Some(_), .. } => {
                (!index.earlier.contains_key(what)).then(|| what.clone())
            }
            _ => None,
        })
    }

    /// Returns the entries that it uses and of which the index does not know what is in them, with what
    /// they are of.
    pub fn unknown(&self, index: &Index) -> Vec<(EntryId, String)> {
        let used = self.acts.iter().filter_map(|planned| match &planned.act {
            CacheAct::Take { entry, what } | CacheAct::Install { entry: Some(entry), what, .. } => {
                Some((*entry, what.clone()))
            }
            _ => None,
        });
        used.filter(|(entry, _)| !index.looked_at.contains_key(entry)).collect()
    }
}

fn first(layers: &[&Layer], act: CacheAct) -> Planned {
    Planned { at: 0, after: None, layer: layers[0].name.clone(), act }
}

fn unusable(needs_store: bool, why: String) -> CacheAct {
    match needs_store {
        true => CacheAct::Refuse { why, lack: Lack::Store },
        false => CacheAct::Without { why },
    }
}

fn made_in_container(layers: &[&Layer], acts: &mut Vec<Planned>) {
    let what = label(&layers[0].name, SlotKind::Upstream);
    acts.push(first(layers, CacheAct::Make { what, why: None }));
    for (index, layer) in layers.iter().enumerate().filter(|(_, layer)| !layer.after.is_empty()) {
        let act = CacheAct::Make { what: label(&layer.name, SlotKind::Layer), why: None };
        let (after, layer) = (Some(layer.name.clone()), layer.name.clone());
        acts.push(Planned { at: index + 1, after, layer, act });
    }
}

struct Maker<'a> {
    cache: &'a CachePlan,
    context: &'a LadderContext<'a>,
    /// The layers of the container, the innermost first.
    layers: &'a [&'a Layer],
    progress: Progress,
    /// How many slots are stored.
    end: usize,
    /// Why no more; `None` where this host is why, and that is an act of its own.
    why: Option<String>,
    /// The first thing whose entry is not known before the run, which makes all outside it unknown.
    unknown: Option<Unknown>,
    /// The first key that the registry is to be asked for.
    unasked: Option<Digest>,
    acts: Vec<Planned>,
}

#[derive(Clone)]
enum Unknown {
    Built(String),
    Decided(LayerName),
}

impl Maker<'_> {
    fn make(&mut self) {
        let wanted = self.cache.wanted;
        if self.cache.slots.is_empty() {
            if wanted.needs_store() {
                let why = self.why.clone().unwrap_or_default();
                let why = format!("nothing is stored: {why}");
                self.push(CacheAct::Refuse { why, lack: Lack::Store });
            }
            self.make_in_container(0);
            (1..=self.layers.len()).for_each(|at| {
                self.progress.at = at;
                self.make_in_container(at);
            });
            return;
        }
        if wanted.mode == StorageMode::Overlay
            && !self.progress.installed
            && let Some(why) = no_overlay(self.context.config, self.cache)
        {
            self.push(CacheAct::Refuse { why, lack: Lack::Overlay });
        }
        self.take_found();
        for at in self.progress.at..=self.layers.len() {
            self.progress.at = at;
            if at == 0 { self.template() } else { self.layer(self.layers[at - 1]) }
        }
    }

    /// Adds an act of the layer that it is at.
    fn push(&mut self, act: CacheAct) {
        let layer = self.layers[self.progress.at.saturating_sub(1)].name.clone();
        self.push_of(layer, act);
    }

    fn push_of(&mut self, layer: LayerName, act: CacheAct) {
        let at = self.progress.at;
        let after = at.checked_sub(1).map(|index| self.layers[index].name.clone());
        self.acts.push(Planned { at, after, layer, act });
    }

    /// Adds an act of the next slot, which may be of another layer than it is at.
    fn push_of_next(&mut self, act: CacheAct) {
        self.push_of(self.cache.slots[self.progress.done].layer.clone(), act);
    }

    /// Adds an act of the slot that was done last.
    fn push_of_last(&mut self, act: CacheAct) {
        let last = self.progress.done.saturating_sub(1);
        self.push_of(self.cache.slots[last].layer.clone(), act);
    }

    /// Takes what is in the store, until something is not.
    fn take_found(&mut self) {
        while self.progress.done < self.end && self.unknown.is_none() {
            let slot = &self.cache.slots[self.progress.done];
            if slot.decided_by.is_some() && self.context.handed.is_none() {
                return;
            }
            let (index, since) = (self.context.index, self.cache.wanted.since);
            if let Some(pin) = self.cache.pins.get(self.progress.done).copied().flatten() {
                if index.has(pin.entry) {
                    self.take_entry(pin.entry);
                } else if !self.pull_pinned(pin.entry) {
                    return;
                }
                continue;
            }
            let (_, key) = self.lookup();
            let Some(entry) = index.find(key, slot.refresh, since) else {
                match index.offer(key, slot.refresh, since) {
                    Some(offer) if self.pulls() => {
                        if self.pull(offer) {
                            continue;
                        }
                        return;
                    }
                    _ => {}
                }
                if let Some(why) = index.refusal(key, slot.refresh, since) {
                    self.end = self.progress.done;
                    self.why = Some(format!("{} {why}", slot.label()));
                }
                return;
            };
            self.take_entry(entry);
        }
    }

    fn take_entry(&mut self, entry: EntryId) {
        let what = self.cache.slots[self.progress.done].label();
        self.progress.done += 1;
        self.progress.base = Some(entry);
        self.push_of_last(CacheAct::Take { what, entry });
    }

    /// Pulls what the next slot is locked to; false, where that is not to be had.
    fn pull_pinned(&mut self, pin: EntryId) -> bool {
        let (what, name) = (self.cache.slots[self.progress.done].label(), pin.name());
        let index = self.context.index;
        let here = match index.faults.get(&pin).map(|bad| &bad.fault) {
            None => "which is not stored here".to_owned(),
            Some(Fault::Format) => {
                "which another version of this program has stored here".to_owned()
            }
            Some(Fault::Damaged(why)) => {
                format!("and what is stored of that cannot be used: {why}")
            }
        };
        let missing = match index.offers.get(&pin.key) {
            Some(Answer::Offered(offer)) if offer.entry == pin => return self.pull(offer),
            None if self.pulls() => {
                self.unasked.get_or_insert(pin.key);
                here
            }
            Some(Answer::Unfit { why, unfit }) => {
                let (why, unfit) = (why.clone(), *unfit);
                self.push_of_next(CacheAct::Distrust { why, unfit });
                return false;
            }
            Some(Answer::Unreachable(why)) => format!("{here}, and {why}"),
            Some(Answer::Offered(other)) => {
                format!("{here}, and {} has {} in its place", other.repository, other.entry.name())
            }
            Some(Answer::Nothing { repository }) => format!("{here}, nor in {repository}"),
            Some(Answer::Interrupted) | None => here,
        };
        let why = format!("{what} is locked to {name}, {missing}");
        self.push_of_next(CacheAct::Refuse { why, lack: Lack::Layer });
        false
    }

    /// Pulls the next slot; false, where nobody vouches for it.
    fn pull(&mut self, offer: &Offer) -> bool {
        let slot = self.progress.done;
        let what = self.cache.slots[slot].label();
        let Offer { entry, size, repository, vouched, is_signed, is_other, .. } = offer.clone();
        let is_taken = self.cache.wanted.trusts_all && !is_other;
        if let (Vouched::Nobody { why }, false) = (&vouched, is_taken) {
            let why = format!("{what} {why} (in {repository})");
            let unfit = if is_other { Unfit::NotLocked } else { Unfit::Unvouched { is_signed } };
            self.push_of_next(CacheAct::Distrust { why, unfit });
            return false;
        }
        self.progress.done += 1;
        self.progress.base = Some(entry);
        self.push_of_last(CacheAct::Pull { what, slot, entry, size, repository, vouched });
        true
    }

    fn pulls(&self) -> bool {
        self.cache.wanted.pulling != Pulling::No
    }

    /// Ends the run, where nothing is built and the registry does not have what is missing.
    fn refuse_to_build(&mut self, what: &str, key: Option<Digest>) {
        let answer = key.and_then(|key| self.context.index.offers.get(&key));
        let why = match answer {
            Some(Answer::Unfit { why, unfit }) => {
                let (why, unfit) = (why.clone(), *unfit);
                self.push_of_next(CacheAct::Distrust { why, unfit });
                return;
            }
            _ if self.cache.wanted.pulling != Pulling::Only => return,
            // It is asked first.
            None if key.is_some() => return,
            Some(Answer::Unreachable(why)) => why.clone(),
            Some(Answer::Offered(_)) => "what the registry has is too old".to_owned(),
            Some(Answer::Interrupted) => "the registry was not asked".to_owned(),
            Some(Answer::Nothing { repository }) => format!("{repository} does not have it"),
            None => "the registry does not have it".to_owned(),
        };
        let why = format!("{what} is not stored, and nothing is built: {why}");
        self.push_of_next(CacheAct::Refuse { why, lack: Lack::Layer });
    }

    /// Returns what defines the next slot, and its key.
    fn lookup(&self) -> (KeyInputs, Digest) {
        let nothing: Handed<'_> = &|_| Vec::new();
        let handed = self.context.handed.unwrap_or(nothing);
        self.cache.lookup(self.progress.done, self.progress.base, handed)
    }

    fn template(&mut self) {
        if self.progress.done == 0 {
            let fills = self.cache.wanted.fills();
            if self.end == 0 && fills && self.context.limit.is_none() {
                self.leave(SlotKind::Upstream);
                return;
            }
            if self.end == 0 {
                self.stop();
                self.make_in_container(0);
                return;
            }
            self.build();
        }
        self.install_if_complete();
    }

    fn layer(&mut self, layer: &Layer) {
        let fills = self.cache.wanted.fills();
        if self.end == 0 && !fills {
            // Nothing of the container comes from the store, and its checks see it as it is.
            self.make_in_container(self.progress.at);
            return;
        }
        match self.cache.slot_of(&layer.name) {
            None if layer.leaves_nothing() => {
                if fills && self.progress.done < self.within() {
                    return;
                }
            }
            Some(slot) if slot < self.end => {
                if slot >= self.progress.done {
                    self.build();
                }
                self.install_if_complete();
            }
            slot if fills => {
                // A run that is only to fill the store has failed, where this host is why it cannot.
                if slot.is_some() && self.context.limit.is_some() {
                    self.stop();
                } else {
                    self.leave(SlotKind::Layer);
                }
                return;
            }
            _ => {
                self.install_if_complete();
                self.make_in_container(self.progress.at);
                return;
            }
        }
        if !layer.after.iter().any(Act::is_check_on_host) {
            return;
        }
        let within = self.within();
        let can_show = self.context.limit.is_none_or(|limit| limit.can_show);
        let is_whole = self.progress.installed && (within >= self.progress.done || !can_show);
        let sees = if is_whole { CheckSees::Container } else { CheckSees::Layer };
        self.push(CacheAct::Check { sees, within });
    }

    /// Returns how many slots there are in the layer that it is at, and in what that wraps.
    fn within(&self) -> usize {
        let inside = &self.layers[..self.progress.at];
        let is_inside = |name: &LayerName| inside.iter().any(|layer| layer.name == *name);
        let slots = &self.cache.slots;
        slots.iter().take_while(|slot| is_inside(&slot.layer)).count()
    }

    /// Says why the store is used no further, where this host is why.
    fn stop(&mut self) {
        let Some(limit) = self.context.limit else {
            if self.progress.done == 0 && self.cache.wanted.needs_store() {
                let why = self.why.clone().unwrap_or_default();
                let why = format!("nothing is stored: {why}");
                self.push(CacheAct::Refuse { why, lack: Lack::Store });
            }
            return;
        };
        self.push(unusable(self.cache.wanted.needs_store(), limit.why.clone()));
    }

    fn build(&mut self) {
        let index = self.progress.done;
        let slot = &self.cache.slots[index];
        let what = slot.label();
        let decided = slot.decided_by.clone().filter(|_| self.context.handed.is_none());
        let (key, decided_by, why) = match (&self.unknown, decided) {
            (Some(Unknown::Decided(by)), _) => (None, Some(by.clone()), Vec::new()),
            (None, Some(by)) => (None, Some(by), Vec::new()),
            (Some(Unknown::Built(first)), _) => {
                (None, None, vec![format!("{first} inside it is rebuilt")])
            }
            (None, None) => {
                let (inputs, key) = self.lookup();
                let why = self.context.index.why(slot, &inputs, key, &self.cache.wanted);
                (Some(key), None, why)
            }
        };
        if decided_by.is_none() {
            if let Some(key) =
                key.filter(|key| self.pulls() && !self.context.index.offers.contains_key(key))
            {
                self.unasked.get_or_insert(key);
            }
            self.refuse_to_build(&what, key);
        }
        if self.unknown.is_none() {
            self.unknown = Some(match &decided_by {
                Some(by) => Unknown::Decided(by.clone()),
                None => Unknown::Built(what.clone()),
            });
        }
        let has_steps = self.cache.twin_of(&slot.layer).runs_commands();
        let inside = self.progress.base.and_then(|base| self.context.index.looked_at.get(&base));
        // An overlay would hide it.
        let has_whiteout = inside.is_some_and(|inside| inside.whiteout.is_some());
        let on = match (slot.kind, has_steps || has_whiteout) {
            (SlotKind::Upstream, _) => BuildBase::Nothing,
            (SlotKind::Layer, true) => BuildBase::Copy,
            (SlotKind::Layer, false) => BuildBase::Overlay,
        };
        self.push(CacheAct::Build { what, slot: index, key, on, decided_by, why });
        self.progress.done += 1;
        self.progress.base = None;
    }

    fn install_if_complete(&mut self) {
        if self.progress.done == self.end && self.end > 0 && !self.progress.installed {
            if self.end < self.cache.slots.len() {
                self.stop();
            }
            self.install();
        }
    }

    fn install(&mut self) {
        let Some(last) = self.progress.done.checked_sub(1) else { return };
        let by = self.cache.wanted.mode;
        if self.cache.wanted.fills() {
            return;
        }
        self.progress.installed = true;
        let what = self.cache.slots[last].label();
        // What is pulled is known when it is there.
        let entry = self.progress.base.filter(|entry| self.context.index.has(*entry));
        let is_overlay = by == StorageMode::Overlay;
        let stored = entry.and_then(|entry| self.context.index.looked_at.get(&entry));
        if let Some(path) =
            stored.and_then(|stored| stored.whiteout.as_ref()).filter(|_| is_overlay)
        {
            let path = format!("/{}", String::from_utf8_lossy(path));
            let path = crate::shell::word(&path);
            self.push_of_last(CacheAct::Refuse {
                why: format!("{path} is a device 0:0, which an overlay takes for a removed file"),
                lack: Lack::Overlay,
            });
        }
        let below = entry.filter(|_| is_overlay).map(|entry| lower(&self.cache.host, entry));
        self.push_of_last(CacheAct::Install { what: what.clone(), by, entry, lower: below });
        let stored =
            entry.and_then(|entry| Some((entry, self.context.index.looked_at.get(&entry)?)));
        let Some((entry, stored)) = stored else {
            self.push_of_last(CacheAct::Personalise { decided_by: what });
            return;
        };
        let target = &self.cache.container;
        let names = Names::of(&stored.lxcpaths, target);
        if !stored.names.is_empty() {
            let (files, names) = (stored.names.clone(), names.clone());
            self.push_of_last(CacheAct::WriteName { files, names });
        }
        if let Some(files) = stored.sidecar.clone() {
            self.push_of_last(CacheAct::PutSidecar { files, names });
        }
        let mut text = stored.config_of(self.context.config, target);
        if is_overlay {
            text = on_overlay(&text, &self.cache.host, entry, target);
        }
        self.push_of_last(CacheAct::WriteConfig { text });
        if !stored.makers.is_empty() {
            let keys = stored.makers.iter().map(Key::from).collect();
            self.push_of_last(CacheAct::MakeKeys { keys });
        }
    }

    /// Leaves out what is not stored.
    fn leave(&mut self, kind: SlotKind) {
        let layer = self.layers[self.progress.at.saturating_sub(1)];
        let why = self.why.clone().unwrap_or_default();
        self.push(CacheAct::Leave { what: label(&layer.name, kind), why });
    }

    fn make_in_container(&mut self, at: usize) {
        let (layer, kind) = match at.checked_sub(1) {
            None => (self.layers[0], SlotKind::Upstream),
            Some(index) => (self.layers[index], SlotKind::Layer),
        };
        if kind == SlotKind::Layer && layer.after.is_empty() {
            return;
        }
        let why = self.why.clone().or_else(|| Some(self.context.limit?.why.clone()));
        self.push(CacheAct::Make { what: label(&layer.name, kind), why });
    }
}
