//! Locks between runs.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

/// A lock on a file; it is open again when this is dropped, or the process ends however it does.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: RefCell<File>,
}

impl Lock {
    /// Opens a lock, and makes its file where there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), file: RefCell::new(open(path)?) })
    }

    /// Returns a word that no other lock has.
    pub(crate) fn token(&self) -> io::Result<String> {
        let metadata = self.file.borrow().metadata()?;
        Ok(format!("{:x}-{:x}", metadata.dev(), metadata.ino()))
    }

    /// Takes it alone; false where somebody else has it.
    pub(crate) fn take(&self) -> io::Result<bool> {
        while try_lock(&*self.file.borrow(), FlockOperation::NonBlockingLockExclusive)? {
            if self.is_current()? {
                return Ok(true);
            }
            // Who cleans the store has removed the file meanwhile: others lock the one there is now.
            let new = open(&self.path)?;
            *self.file.borrow_mut() = new;
        }
        Ok(false)
    }

    fn is_current(&self) -> io::Result<bool> {
        let held = self.file.borrow().metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::RUSR | Mode::WUSR) {
        // What is there can be read under a lock all the same.
        Err(Errno::ROFS) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(CWD, path, flags, Mode::empty())
        }
        opened => opened,
    };
    Ok(file?.into())
}

/// Asks for a lock on what is open; false where somebody has one that does not go with it.
pub(super) fn try_lock(file: impl AsFd, operation: FlockOperation) -> io::Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_whose_file_is_gone_is_taken_on_the_one_that_took_its_place() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        let waiting = Lock::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = Lock::open(&path).unwrap();
        assert!(other.take().unwrap());
        assert!(!waiting.take().unwrap(), "two have one lock");
        drop(other);
        assert!(waiting.take().unwrap());
    }
}
