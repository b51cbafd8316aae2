//! Reads all of an entry again.

use std::io;
use std::os::fd::AsFd;

use super::commit::list_sidecar;
use super::entry::Entry;
use super::layout::{Store, form, open};
use crate::host::fault::{about, is_shortage};
use crate::plan::EntryId;
use crate::tree::{Difference, Interrupt, Marks, Search};

/// Returns what is not as it was stored: nothing, where all is sound.
///
/// # Errors
///
/// What keeps this process from looking, and says nothing of the entry.
pub(crate) fn verify(store: &Store, id: EntryId) -> io::Result<Vec<String>> {
    let entry = Entry::read(store, id).map_err(|error| about("the document of the entry", error));
    match entry.and_then(|entry| findings(store, &entry)) {
        Err(error) if !is_shortage(&error) => Ok(vec![error.to_string()]),
        found => found,
    }
}

fn findings(store: &Store, entry: &Entry) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let listing = entry.list(store)?;
    let tree = open(&store.rootfs(entry.id)).map_err(|error| about("its tree", error))?;
    for finding in listing.verify(tree.as_fd(), Marks::Stored(form()))? {
        let path = String::from_utf8_lossy(&finding.path);
        let path = crate::shell::word(format!("/{path}"));
        lines.push(match finding.difference {
            Difference::Missing => format!("{path}: it is missing"),
            Difference::Unexpected => format!("{path}: it was not there when it was stored"),
            Difference::Changed(what) => format!("{path}: changed: {}", what.join(", ")),
        });
    }
    if list_sidecar(&store.sidecar(entry.id), &Search::NOTHING, Interrupt::NEVER)?
        .map(|(digest, _)| digest)
        != entry.sidecar
    {
        lines.push("what stands beside its rootfs has changed".to_owned());
    }
    Ok(lines)
}
