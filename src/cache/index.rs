//! What the layer store holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration as Span;

use serde::{Deserialize, Serialize};

use super::key::KeyInputs;
use super::keys::KeyMaker;
use super::offer::{Answer, Offer, Provenance};
use super::plan::{Slot, SlotKind, Wanted};
use crate::digest::Digest;
use crate::lxc::given;
use crate::manifest::Duration;
use crate::plan::EntryId;

/// How old the upstream of a role may become before that is told, in days.
const OLD: u64 = 30;

/// What the store holds, as it was observed.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// The newest generation of each key.
    pub entries: BTreeMap<Digest, u64>,
    /// Older generations, beside the newest of their keys.
    pub older: BTreeSet<EntryId>,
    /// When the newest of a key was made, where that is not its generation.
    pub made_at: BTreeMap<Digest, u64>,
    /// When that was observed, in milliseconds since 1970.
    pub now: u64,
    /// What defined what was last made for the same role, by [`Slot::label`]; `None` where nothing was.
    /// It is looked up where something is missing.
    pub earlier: BTreeMap<String, Option<KeyInputs>>,
    /// The keys of what was built once and could not be stored, and why, in words that follow what a
    /// person calls it.
    pub refused: BTreeMap<Digest, Refusal>,
    /// Entries that cannot be used.
    pub faults: BTreeMap<EntryId, BadEntry>,
    /// What a registry says to keys that are not stored, where it was asked.
    pub offers: BTreeMap<Digest, Answer>,
    /// Entries that were looked at.
    pub looked_at: BTreeMap<EntryId, StoredEntry>,
}

/// What asks a registry for a key that is not stored.
pub(crate) type AskRegistry<'a> = &'a mut dyn FnMut(&Index, Digest) -> Answer;

/// That something was built once, and could not be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, in words that follow what a person calls it.
    pub why: String,
    /// When that was, in milliseconds since 1970.
    pub at: u64,
}

/// An entry that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// What it is of, by [`Slot::label`].
    pub what: String,
    /// Why it cannot be used.
    pub fault: Fault,
}

/// Why an entry cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another version of the program wrote it.
    Format,
    /// It is damaged; in words that follow "it cannot be used: ".
    Damaged(String),
}

/// What is to be known of an entry for a container to be made from it.
#[derive(Debug, Clone, Default)]
pub struct StoredEntry {
    /// The directories of containers that it, and what is inside it, were built in.
    pub lxcpaths: Vec<PathBuf>,
    /// The config that it left.
    pub config: given::Config,
    /// The files and links of the rootfs that hold the placeholder, without a slash in front.
    pub names: Vec<Vec<u8>>,
    /// Those of what its upstream left beside the rootfs and the config, where it left anything.
    pub sidecar: Option<Vec<Vec<u8>>>,
    /// The files of its own layer that hold the placeholder in a form that cannot be replaced.
    pub kept_names: Vec<Vec<u8>>,
    /// A device 0:0 that it has, which an overlay would hide.
    pub whiteout: Option<Vec<u8>>,
    /// The record that its upstream left, where it is this program again.
    pub record: Option<serde_json::Value>,
    /// What is made for each container.
    pub makers: Vec<KeyMaker>,
    /// Whence it came, where that is another host.
    pub origin: Option<Provenance>,
}

impl Index {
    /// Returns the newest entry of a key that can be used, unless it is older than `refresh`, was made
    /// before `since`, or is from the future.
    pub fn find(
        &self,
        key: Digest,
        refresh: Option<Duration>,
        since: Option<u64>,
    ) -> Option<EntryId> {
        let entry = self.newest(key)?;
        let since = since.map(|since| Span::from_millis(self.now.saturating_sub(since)));
        let mut limits = refresh.map(Span::from).into_iter().chain(since);
        let is_fresh = limits.all(|limit| self.age(key).is_some_and(|age| age <= limit));
        (is_fresh && !self.faults.contains_key(&entry)).then_some(entry)
    }

    /// Notes that an entry is stored, and can be used.
    pub(crate) fn store(&mut self, entry: EntryId) {
        self.faults.remove(&entry);
        let EntryId { key, generation } = entry;
        match self.entries.insert(key, generation) {
            Some(other) if other > generation => {
                self.entries.insert(key, other);
                self.older.insert(entry);
            }
            Some(other) if other < generation => {
                self.older.insert(EntryId { key, generation: other });
            }
            _ => {}
        }
    }

    /// Tells whether this very entry is stored and can be used.
    pub fn has(&self, entry: EntryId) -> bool {
        let is_stored = self.newest(entry.key) == Some(entry) || self.older.contains(&entry);
        is_stored && !self.faults.contains_key(&entry)
    }

    /// Returns what a registry has of a key, unless it is too old, as for [`Self::find`].
    pub(super) fn offer(
        &self,
        key: Digest,
        refresh: Option<Duration>,
        since: Option<u64>,
    ) -> Option<&Offer> {
        let Some(Answer::Offered(offer)) = self.offers.get(&key) else { return None };
        let generation = offer.entry.generation;
        let age = self.now.checked_sub(generation).map(Span::from_millis);
        let is_old = since.is_some_and(|since| generation < since)
            || refresh.is_some_and(|limit| age.is_none_or(|age| age > Span::from(limit)));
        (!is_old).then_some(offer)
    }

    /// Returns the newest generation of a key.
    pub(crate) fn newest_generation(&self, key: Digest) -> Option<u64> {
        self.entries.get(&key).copied()
    }

    /// Returns why something was refused, unless that is too long ago to be true still, as for
    /// [`Self::find`].
    pub(super) fn refusal(
        &self,
        key: Digest,
        refresh: Option<Duration>,
        since: Option<u64>,
    ) -> Option<&str> {
        let refusal = self.refused.get(&key)?;
        let age = self.now.checked_sub(refusal.at).map(Span::from_millis)?;
        let is_old = refresh.is_some_and(|limit| age > Span::from(limit))
            || since.is_some_and(|since| refusal.at < since);
        (!is_old).then_some(refusal.why.as_str())
    }

    fn newest(&self, key: Digest) -> Option<EntryId> {
        Some(EntryId { key, generation: *self.entries.get(&key)? })
    }

    /// Returns how old the newest entry of a key is; `None` where it is from the future.
    pub fn age(&self, key: Digest) -> Option<Span> {
        let made_at = self.made_at.get(&key).or_else(|| self.entries.get(&key))?;
        self.now.checked_sub(*made_at).map(Span::from_millis)
    }

    /// Says that an upstream is old, where nothing says how old it may be: what it installed gets no
    /// fixes any more.
    pub fn advice(&self, slot: &Slot, key: Digest) -> Option<String> {
        if slot.kind != SlotKind::Upstream || slot.refresh.is_some() {
            return None;
        }
        let days = self.age(key)?.as_secs() / (24 * 60 * 60);
        (days > OLD).then(|| {
            format!(
                "what is stored of {} was made {days} days ago, and is used as it is: `refresh = \
                 \"{OLD}d\"` in that layer rebuilds it once it is older than that, and `--rebuild` \
                 does now",
                slot.label()
            )
        })
    }

    /// Says what was stored, and how long ago: `template of layer os, stored 3 days ago`.
    pub fn dated(&self, slot: &Slot, key: Digest) -> Option<String> {
        let (count, unit) = in_largest_unit(self.age(key)?.as_secs());
        let plural = if count == 1 { "" } else { "s" };
        Some(format!("{}, stored {count} {unit}{plural} ago", slot.label()))
    }

    /// Says why a slot is not found.
    pub(super) fn why(
        &self,
        slot: &Slot,
        inputs: &KeyInputs,
        key: Digest,
        wanted: &Wanted,
    ) -> Vec<String> {
        if let Some(entry) = self.newest(key) {
            let is_older =
                |limit: &Duration| self.age(key).is_some_and(|age| age > Span::from(*limit));
            let fault = self.faults.get(&entry).map(|bad| &bad.fault);
            return vec![match (fault, slot.refresh) {
                (Some(Fault::Format), _) => {
                    "what is stored was made by another version of the program".to_owned()
                }
                (Some(Fault::Damaged(fault)), _) => {
                    format!("what is stored cannot be used: {fault}")
                }
                _ if wanted.rebuild => "`--rebuild` rebuilds it".to_owned(),
                _ if self.age(key).is_none() => {
                    "what is stored was made at a time that is still to come".to_owned()
                }
                (None, Some(after)) if is_older(&after) => {
                    format!("what is stored is older than {after}")
                }
                _ => "what is stored is older than `--older-than` allows".to_owned(),
            }];
        }
        match self.earlier.get(&slot.label()) {
            None | Some(None) => vec!["nothing is stored of it".to_owned()],
            Some(Some(earlier)) => match inputs.changes_since(earlier) {
                same if same.is_empty() => vec!["what was stored of it is gone".to_owned()],
                changes => changes,
            },
        }
    }
}

/// Returns a number of seconds in the largest unit of which there are two: `(3, "day")`.
pub fn in_largest_unit(seconds: u64) -> (u64, &'static str) {
    match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    }
}
