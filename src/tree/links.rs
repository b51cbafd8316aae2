//! Files that have several names, and still have them in a new tree.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::{AtFlags, Stat, linkat};
use rustix::io::Errno;

use super::dir_path::DirPath;
use super::target_dir::TargetDir;
use super::workers::lock;

/// A file: the device that it is on, and its number there.
pub(super) type Identity = (u64, u64);

/// Returns which file it is.
pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// The first name in the new tree of each file that has others.
#[derive(Debug, Default)]
pub(super) struct Links {
    first: Mutex<HashMap<Identity, Arc<Mutex<Option<First>>>>>,
}

/// The name that a file of the new tree got first.
#[derive(Debug)]
struct First {
    dir_path: Arc<DirPath>,
    name: CString,
    /// The directory, as long as somebody else has it open: to keep it open for this would take
    /// one descriptor for each directory of a tree that is all links.
    directory: Weak<OwnedFd>,
}

impl First {
    fn link(&self, top: BorrowedFd<'_>, target: &TargetDir, name: &CStr) -> Result<(), io::Error> {
        let directory = match self.directory.upgrade() {
            Some(directory) => directory,
            None => Arc::new(self.dir_path.open(top)?),
        };
        Ok(linkat(directory, &self.name, &target.directory, name, AtFlags::empty())?)
    }
}

impl Links {
    /// Makes a name of a file: by `make` if it is the first, else as a link to that.
    pub(super) fn make(
        &self,
        of: &Stat,
        top: BorrowedFd<'_>,
        target: &TargetDir,
        name: &CStr,
        make: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let slot = Arc::clone(lock(&self.first).entry(identity(of)).or_default());
        // Held while the file is made: another thread that has another name of it must wait.
        let mut first = lock(&slot);
        if let Some(first) = &*first {
            match first.link(top, target, name) {
                // It has as many names as the filesystem permits: one more file takes the others.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::MLINK) => {}
                other => return other,
            }
        }
        make()?;
        *first = Some(First {
            dir_path: Arc::clone(&target.dir_path),
            name: name.to_owned(),
            directory: Arc::downgrade(&target.directory),
        });
        Ok(())
    }
}
