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
use crate::tree;

/// Makes a directory to work in, and removes those that killed runs have left.
pub(super) fn make_directory(store: &Store) -> io::Result<(PathBuf, OwnedFd)> {
    let lock = work_lock(store)?;
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

/// Removes what killed runs have left in the place where entries are made, and returns how many.
pub(super) fn sweep(store: &Store) -> io::Result<usize> {
    let work = store.work();
    if !work.try_exists()? || !store.locks().try_exists()? {
        return Ok(0);
    }
    let lock = work_lock(store)?;
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

/// Takes the lock under which directories are made there: one that is not held yet is no rubbish.
fn work_lock(store: &Store) -> io::Result<Lock> {
    let lock = store.lock_of(Digest::of(b"work"))?;
    while !lock.take()? {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(lock)
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
