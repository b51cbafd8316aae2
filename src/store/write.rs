//! Writes files that are there whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};

use super::layout::unique;
use super::lock::try_lock;

/// How often a file is written anew that was taken for rubbish before it was locked.
const TRIES: usize = 8;

/// Writes a file that is there whole, on the disk, or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_to_write(path, bytes) {
            // Between its making and its lock, somebody has cleaned it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
            Err(error) => return Err(error),
            Ok(()) => return sync_directory(path.parent().unwrap_or(Path::new("/"))),
        }
    }
}

fn try_to_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("new-{}", unique()?));
    let mut file = File::create_new(&temporary)?;
    let written = flock(&file, FlockOperation::LockExclusive)
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all());
    put(&temporary, path, written)
}

/// Does something with a file while nobody writes it, or has its lock; nothing, where somebody does.
pub(super) fn unless_locked<T>(path: &Path, act: impl FnOnce() -> T) -> Option<T> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // What cannot be opened so was made by nobody of this program.
    let file = openat(CWD, path, flags, Mode::empty()).ok();
    let is_locked = file.as_ref().is_some_and(|file| {
        try_lock(file, FlockOperation::NonBlockingLockExclusive).is_ok_and(|is_free| !is_free)
    });
    if is_locked { None } else { Some(act()) }
}

/// Gives a file that was written its name; one that could not be written, or named, goes.
pub(super) fn put(temporary: &Path, path: &Path, written: io::Result<()>) -> io::Result<()> {
    written.and_then(|()| fs::rename(temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
