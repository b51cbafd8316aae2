//! What of a role has changed since it was locked.

use std::collections::BTreeMap;

use super::{Lock, LockedSlot, RoleInputs};
use crate::cache::PinnedEntry;
use crate::digest::Digest;

/// A role that was compared with its lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// What is not as it was locked, a line each.
    pub differences: Vec<String>,
    /// What each slot of the plan has to be, from the innermost on; `None`, or nothing, where the lock does
    /// not say.
    pub pins: Vec<Option<PinnedEntry>>,
}

impl Lock {
    /// Says what of the files that define a role is not as it was locked, field by field.
    pub(crate) fn differences_of_files(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("manifest", &self.manifests, &now.manifests, &mut lines);
        compare("reusable layer", &self.used, &now.used, &mut lines);
        compare("source", &self.sources, &now.sources, &mut lines);
        compare("script", &self.scripts, &now.scripts, &mut lines);
        compare("url", &self.urls, &now.urls, &mut lines);
        lines
    }

    /// Compares a role with it, field by field.
    pub(crate) fn hold(&self, role: RoleInputs<'_>) -> Held {
        let now = Self::inputs(role);
        let mut differences = self.differences_of_files(&now);
        let mut held = Held::default();
        let Some(cache) = role.cache else { return Held { differences, ..held } };
        // What it made is locked, and stored or not.
        if !role.facts.is_absent {
            compare("template", &self.template, &now.template, &mut differences);
        }
        compare("template's", &self.inputs, &now.inputs, &mut differences);
        compare("variable", &self.variables, &now.variables, &mut differences);
        held.differences = differences;
        let mut parent = None;
        // Where a run decides what a layer is made of, its key is known only then.
        let slots = cache.slots.iter().take_while(|slot| slot.decided_by.is_none());
        for (number, slot) in slots.enumerate() {
            let Some(LockedSlot { key: Some(key), entry, document, .. }) = self.slot(slot) else {
                // One that stands on what was not built has no key yet.
                if parent.is_some() || number == 0 {
                    held.differences.push(format!("{} is not in the lock", slot.label()));
                }
                break;
            };
            let (_, now) = cache.lookup(number, parent, &|_| Vec::new());
            if now != key && !(number == 0 && role.facts.is_absent) {
                // What has changed is told already, unless it is a variable or an argument.
                if held.differences.is_empty() {
                    held.differences.push(changed(&slot.label(), "key", key, now));
                }
                break;
            }
            // Somebody has put two locks together, and not whole.
            if let Some(entry) = entry.filter(|entry| entry.key != key) {
                let (label, name) = (slot.label(), entry.name());
                held.differences.push(format!("{label}: the lock names {name}, of another key"));
                break;
            }
            held.pins.push(entry.map(|entry| PinnedEntry { entry, document }));
            parent = entry;
            if parent.is_none() {
                break;
            }
        }
        held
    }
}

fn compare(
    what: &str,
    locked: &BTreeMap<String, Digest>,
    now: &BTreeMap<String, Digest>,
    lines: &mut Vec<String>,
) {
    for (name, digest) in now {
        let label = format!("{what} {}", crate::shell::word(name));
        match locked.get(name) {
            Some(before) if before == digest => {}
            Some(before) => lines.push(changed(&label, "digest", *before, *digest)),
            None => lines.push(format!("{label} is not in the lock")),
        }
    }
    for name in locked.keys().filter(|name| !now.contains_key(*name)) {
        lines.push(format!("{what} {} is gone", crate::shell::word(name)));
    }
}

fn changed(what: &str, field: &str, before: Digest, now: Digest) -> String {
    format!("{what}: {field} {}… → {}…", before.short(), now.short())
}
