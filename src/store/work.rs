//! The directories in which entries are made, and what killed runs have left of them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::layout::{Store, open, unique};
use super::lock::Lock;
use crate::digest::Digest;
use crate::tree::{self, Interrupt, Patience};

/// Makes a directory to work in, and removes those that killed runs have left.
/// `lock` is [`Store::work_lock`], taken.
pub(super) fn make_directory(store: &Store, lock: Lock) -> io::Result<(PathBuf, OwnedFd)> {
    let work = store.work();
    let rubbish = rubbish(&work)?;
    let directory = work.join(unique()?);
    DirBuilder::new().mode(0o700).create(&directory)?;
    let held = open(&directory)?;
    // What the store's own directory may have would go on to all that is made here.
    tree::disinherit(held.as_fd())?;
    flock(&held, FlockOperation::LockExclusive)?;
    drop(lock);
    clear(&work, rubbish);
    Ok((directory, held))
}

/// Removes what killed runs have left in the place where entries are made, and returns how many. `wait` says
/// that it has to be waited for.
pub(super) fn sweep(store: &Store, wait: &dyn Fn()) -> io::Result<usize> {
    let work = store.work();
    if !work.try_exists()? || !store.locks().try_exists()? {
        return Ok(0);
    }
    let lock = store.work_lock()?;
    let mut patience = Patience::silent();
    while !lock.take()? {
        if patience.is_news() {
            wait();
        }
        patience.pause(Interrupt::NEVER)?;
    }
    let rubbish = rubbish(&work)?;
    drop(lock);
    let mut count = rubbish.len();
    clear(&work, rubbish);
    // What is no directory was made by nobody of this program.
    let opened = open(&work)?;
    for entry in fs::read_dir(&work)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            tree::remove(opened.as_fd(), &entry.file_name())?;
            count += 1;
        }
    }
    Ok(count)
}

impl Store {
    /// Returns the lock under which directories are made to work in: one that is not held yet is no rubbish.
    pub(crate) fn work_lock(&self) -> io::Result<Lock> {
        self.lock_of(Digest::of(b"work"))
    }
}

/// Takes what nobody holds any more, so that nobody else removes it.
fn rubbish(work: &Path) -> io::Result<Vec<(OsString, OwnedFd)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(work)? {
        let name = entry?.file_name();
        if let Ok(directory) = open(&work.join(&name))
            && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            found.push((name, directory));
        }
    }
    Ok(found)
}

fn clear(work: &Path, rubbish: Vec<(OsString, OwnedFd)>) {
    let Ok(work) = open(work) else { return };
    for (name, _held) in rubbish {
        if let Err(error) = tree::remove(work.as_fd(), &name) {
            let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
            tracing::debug!(%error, name, "rubbish stays");
        }
    }
}
