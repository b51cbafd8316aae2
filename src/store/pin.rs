//! Pins on entries: what a run uses stays, and nobody waits for anybody.
//!
//! A pin is a shared lock on the directory of an entry's tree. Who removes an entry locks that directory
//! alone first, and takes the document away before the tree: whoever has a pin, and then finds the
//! document, has the entry until it lets go.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::layout::{Store, open};
use super::lock::try_lock;
use crate::host::descriptor::opened_in;
use crate::host::userns::Ids;
use crate::plan::EntryId;

/// An entry stays as long as somebody has this.
#[derive(Debug)]
pub(crate) struct Pin {
    _tree: OwnedFd,
}

/// What has become of the wish for a [`Pin`].
#[derive(Debug)]
pub(crate) enum Pinned {
    /// It stays.
    Held(Pin),
    /// Somebody removes it just now, and it is to be asked for again.
    Busy,
    /// It is not there any more.
    Gone,
}

/// The right to remove an entry: nobody has a pin on it, or gets one.
#[derive(Debug)]
pub(super) struct Claim {
    /// `None` where it has no tree.
    _tree: Option<OwnedFd>,
}

impl Pin {
    /// Pins a tree that is not in its place yet.
    pub(super) fn new(tree: OwnedFd) -> io::Result<Self> {
        rustix::fs::flock(&tree, FlockOperation::LockShared)?;
        Ok(Self { _tree: tree })
    }
}

impl Store {
    /// Asks for an entry to stay.
    ///
    /// # Errors
    ///
    /// Where its tree cannot be opened or locked, although it is there.
    pub(crate) fn pin(&self, id: EntryId) -> io::Result<Pinned> {
        let Some(tree) = self.tree(id)? else { return Ok(Pinned::Gone) };
        let is_held = try_lock(&tree, FlockOperation::NonBlockingLockShared)?;
        Ok(match (is_held, self.has_document(id)?) {
            (_, false) => Pinned::Gone,
            (true, true) => Pinned::Held(Pin { _tree: tree }),
            (false, true) => Pinned::Busy,
        })
    }

    /// Likewise, where no others than the ids of a user namespace may open trees.
    pub(crate) fn pin_within(&self, ids: Option<Ids>, id: EntryId) -> io::Result<Pinned> {
        let tree = opened_in(ids, || match self.pin(id)? {
            Pinned::Held(Pin { _tree: tree }) => Ok(tree),
            Pinned::Busy => Err(Errno::AGAIN.into()),
            Pinned::Gone => Err(Errno::NOENT.into()),
        });
        match tree {
            Ok(tree) => Ok(Pinned::Held(Pin { _tree: tree })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Pinned::Busy),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pinned::Gone),
            Err(error) => Err(error),
        }
    }

    /// Asks for the right to remove an entry; nothing, where somebody uses it.
    pub(super) fn claim(&self, id: EntryId) -> io::Result<Option<Claim>> {
        let tree = self.tree(id)?;
        let is_free = match &tree {
            Some(tree) => try_lock(tree, FlockOperation::NonBlockingLockExclusive)?,
            None => true,
        };
        Ok(is_free.then_some(Claim { _tree: tree }))
    }

    /// Tells whether an entry is there, whatever stands where its document should.
    pub(super) fn has_document(&self, id: EntryId) -> io::Result<bool> {
        match std::fs::symlink_metadata(self.document(id)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory of an entry's tree; nothing, where there is none.
    fn tree(&self, id: EntryId) -> io::Result<Option<OwnedFd>> {
        match open(&self.trees().join(id.to_string())) {
            // What is no directory is no tree.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) || error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
            {
                Ok(None)
            }
            tree => tree.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn what_is_pinned_cannot_be_claimed_and_what_is_claimed_cannot_be_pinned() {
        let top = tempfile::tempdir().unwrap();
        let store = Store::new(&top.path().join("store"), "host");
        store.make(None).unwrap();
        let id = EntryId { key: Digest::of(b"x"), generation: 7 };
        assert!(matches!(store.pin(id).unwrap(), Pinned::Gone));
        assert!(store.claim(id).unwrap().is_some());
        fs::create_dir(store.trees().join(id.to_string())).unwrap();
        assert!(matches!(store.pin(id).unwrap(), Pinned::Gone), "it has no document");
        fs::write(store.document(id), "").unwrap();

        let Pinned::Held(first) = store.pin(id).unwrap() else { panic!("it is there") };
        let Pinned::Held(second) = store.pin(id).unwrap() else { panic!("many may use it") };
        for pin in [first, second] {
            assert!(store.claim(id).unwrap().is_none());
            drop(pin);
        }
        let claim = store.claim(id).unwrap().expect("nobody uses it");
        assert!(matches!(store.pin(id).unwrap(), Pinned::Busy));
        fs::remove_file(store.document(id)).unwrap();
        assert!(matches!(store.pin(id).unwrap(), Pinned::Gone));
        drop(claim);
    }
}
