//! What the stored trees hold that a container stands on, and is to stand on.

use std::io;
use std::path::{Path, PathBuf};

use super::LARGEST;
use crate::host::files;
use crate::plan::{EntryId, StorageMode};
use crate::record::{self, Record};
use crate::store::{Entry, Store};
use crate::tree::Listing;

/// The listings of stored trees that an upgrade compares. They are read while the container runs, and hold on.
#[derive(Debug)]
pub(crate) struct Listings {
    /// What the container was made of.
    pub(super) old: Listing,
    /// Of an overlay what it is to stand on: where that is stored, and what it holds.
    pub(super) new: Option<(PathBuf, Listing)>,
}

impl Listings {
    /// Reads those for a container that was made of the entry `old`, and whose next generation was made in a directory.
    ///
    /// # Errors
    ///
    /// What cannot be read, or is damaged.
    pub(crate) fn read(store: &Store, old: &Entry, staged: &Path) -> io::Result<Self> {
        let record = Record::parse(&files::read_regular(&staged.join(record::NAME), LARGEST)?)?;
        let old = old.list(store)?;
        let new = record.stored.as_ref().and_then(|stored| EntryId::parse(&stored.entry));
        // A copy of what is not stored could never be upgraded again.
        let new = new.ok_or_else(|| io::Error::other("what the role makes is not stored"))?;
        if record.storage() != StorageMode::Overlay {
            return Ok(Self { old, new: None });
        }
        let new = Entry::read(store, new)?;
        let listing = new.list(store)?;
        Ok(Self { old, new: Some((store.rootfs(new.id), listing)) })
    }
}
