//! What is stored of a role, held to what its lock pins: another host may have given something else the name of an
//! entry.

use super::within::within_store;
use crate::cache::CachePlan;
use crate::digest::Digest;
use crate::export::{has_content, told};
use crate::lock::{Lock, LockedSlot};
use crate::plan::Plan;
use crate::store::{Entry, Store};

/// Says which entries that a lock pins are stored here, and are not what was locked. Unless it `reads` trees, what is
/// not known of one is left open.
pub(super) fn differences(
    (lock, cache): (&Lock, &CachePlan),
    store: &Store,
    plan: &Plan,
    reads: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    for slot in &cache.slots {
        let Some(locked @ LockedSlot { entry: Some(id), .. }) = lock.slot(slot) else { continue };
        let Ok(entry) = Entry::read(store, id) else { continue };
        let (label, name) = (slot.label(), id.name());
        match is_locked(store, &entry, locked, plan, reads) {
            Ok(true) => {}
            Ok(false) => {
                let why = "is not what was locked";
                lines.push(format!("{label}: what is stored here as {name} {why}"));
            }
            Err(error) => {
                let why = format!("cannot be compared with what was locked: {error}");
                lines.push(format!("{label}: what is stored here as {name} {why}"));
            }
        }
    }
    lines
}

fn is_locked(
    store: &Store,
    entry: &Entry,
    locked: LockedSlot,
    plan: &Plan,
    reads: bool,
) -> Result<bool, String> {
    let Some(content) = locked.content else { return Ok(true) };
    let container = &plan.container;
    let is_told =
        |document| told(entry, content, &container.arch).is_ok_and(|told: Digest| told == document);
    if !locked.document.is_none_or(is_told) {
        return Ok(false);
    }
    let known = store.contents(entry).map_err(|error| error.to_string())?;
    if !reads || known.iter().any(|known| known.digest == content) {
        return Ok(true);
    }
    within_store(store, || {
        has_content(store, entry, content, container).map_err(|error| error.to_string())
    })
}
