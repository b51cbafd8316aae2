//! What is stored for an id map that its user has no more.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::gc_roots::GcRoot;
use super::layout::{Store, open};
use crate::tree;

impl Store {
    /// Returns the directory of its trees, which belongs to ids of its map.
    pub(crate) fn place(&self) -> PathBuf {
        self.top().join(self.map())
    }

    /// Forgets all of it: what is known of its trees goes, and they stay, for whoever may remove them.
    /// Returns whether there are some.
    pub(crate) fn abandon(&self) -> io::Result<bool> {
        let top = open(self.top())?;
        for root in GcRoot::all(self.top())?.iter().filter(|root| root.map == self.map()) {
            match std::fs::remove_file(&root.link) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        tree::remove(top.as_fd(), format!("{}.meta", self.map()).as_ref())?;
        Ok(self.place().symlink_metadata().is_ok())
    }
}
