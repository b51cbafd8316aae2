//! Locks between runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

/// A lock; it is open again when this is dropped, or the process ends however it does.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Opens a lock, and makes its file where there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(CWD, path, flags, Mode::RUSR | Mode::WUSR) {
            // What is there can be read under a lock all the same.
            Err(Errno::ROFS) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(CWD, path, flags, Mode::empty())
            }
            opened => opened,
        };
        Ok(Self { file: file?.into() })
    }

    /// Returns a word that no other lock has.
    pub(crate) fn token(&self) -> io::Result<String> {
        let metadata = self.file.metadata()?;
        Ok(format!("{:x}-{:x}", metadata.dev(), metadata.ino()))
    }

    /// Takes it alone; false where somebody else has it.
    pub(crate) fn take(&self) -> io::Result<bool> {
        self.ask(FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes it beside others; false where somebody has it alone.
    pub(crate) fn share(&self) -> io::Result<bool> {
        self.ask(FlockOperation::NonBlockingLockShared)
    }

    fn ask(&self, operation: FlockOperation) -> io::Result<bool> {
        match flock(&self.file, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
