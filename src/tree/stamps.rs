//! What the files of a tree are known by, to tell later which of them nobody has touched.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Stat, fstatfs, statat};
use rustix::time::{ClockId, clock_gettime};

use super::dir_path::DirPath;
use super::directory::{self, Name};
use super::interrupt::Interrupt;
use super::workers::{self, lock};
use crate::digest::Stamp;
use crate::host::filesystem;

/// The stamps of files, by their paths.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    files: HashMap<Vec<u8>, Stamp>,
}

impl Stamps {
    /// Takes the stamps of all files of a tree that have one name. There are none where the filesystem
    /// does not tell of every change, and none of a file that was changed just now: the clock may show
    /// the same time at its next change. The `interrupt` ends it.
    pub(crate) fn of(tree: BorrowedFd<'_>, interrupt: Interrupt<'_>) -> io::Result<Self> {
        if !filesystem::is_reliable(&fstatfs(tree)?) {
            return Ok(Self::default());
        }
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let now = (now.tv_sec, now.tv_nsec);
        let files = Mutex::new(HashMap::new());
        let top = (Arc::new(directory::reopen(tree)?), Arc::<DirPath>::default());
        workers::run(
            interrupt,
            top,
            |(open, dir_path): (Arc<OwnedFd>, Arc<DirPath>), queue, _| {
                let mut found = Vec::new();
                for Name { name, kind } in directory::names(open.as_fd())? {
                    if kind == FileType::Directory {
                        let below = directory::open(open.as_fd(), &name)?;
                        queue.add((Arc::new(below), dir_path.below(&name)));
                    } else if kind == FileType::RegularFile {
                        let stat = statat(&open, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                        let stamp = filesystem::stamp(&stat);
                        // Where times have whole seconds, one second has many changes.
                        let is_exact = stamp.changed.1 != 0;
                        if stat.st_nlink == 1 && is_exact && stamp.changed < now {
                            found.push((dir_path.path(&name), stamp));
                        }
                    }
                }
                lock(&files).extend(found);
                Ok(())
            },
        )?;
        Ok(Self { files: files.into_inner().unwrap_or_default() })
    }

    /// Tells whether the file at a path is the one that was there, and as it was.
    pub(super) fn holds(&self, path: &[u8], stat: &Stat) -> bool {
        self.files.get(path).is_some_and(|stamp| *stamp == filesystem::stamp(stat))
    }
}
