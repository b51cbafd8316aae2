//! Shares with a tree what a copy of it still has unchanged.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, futimens, linkat, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;

use super::directory;
use super::interrupt::Interrupt;
use super::links::identity;
use super::listing::{Directory, ListedFile, Listing, Same, Unchanged, unchanged};
use super::sharing::MOST_LINKS;
use super::workers::{self, Queue, lock};

/// How many files of several names one worker takes at once.
const BATCH: usize = 64;

/// Makes each file of a tree that is the same in `base` a hard link to that one, under all its names.
/// Both are given by their listings. A file that cannot be linked stays as it is: that costs room,
/// and changes nothing. The `interrupt` ends it.
pub(crate) fn relink(
    (base, before): (BorrowedFd<'_>, &Listing),
    (tree, now): (BorrowedFd<'_>, &Listing),
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    // All is looked at before anything is replaced.
    let unchanged = unchanged(before, now);
    let relinker = Relinker {
        base,
        tree,
        unchanged: &unchanged,
        next: AtomicU64::new(0),
        touched: Mutex::default(),
    };
    workers::run(interrupt, 0, |start, queue, _| relinker.groups(queue, start))?;
    // Only now are the times of directories given back: a file's names may be in several.
    workers::run(interrupt, (None, 0), |job, queue, _| relinker.directory(queue, job))
}

/// A directory, by its number, and the one above.
type Job = (Option<Arc<Open>>, usize);

/// A directory of both trees.
struct Open {
    base: OwnedFd,
    tree: OwnedFd,
}

struct Relinker<'a> {
    base: BorrowedFd<'a>,
    tree: BorrowedFd<'a>,
    unchanged: &'a Unchanged<'a>,
    /// The number in the next name that a file has for a moment.
    next: AtomicU64,
    /// The directories in which files of several names were replaced.
    touched: Mutex<HashSet<usize>>,
}

impl Relinker<'_> {
    fn groups(&self, queue: &Queue<usize>, start: usize) -> io::Result<()> {
        let groups = &self.unchanged.groups;
        let end = groups.len().min(start + BATCH);
        if end < groups.len() {
            queue.add(end);
        }
        groups[start..end].iter().try_for_each(|group| self.group(group))
    }

    /// Replaces all names of a file, or none.
    fn group(&self, group: &[Same<'_>]) -> io::Result<()> {
        for (done, Same { directory, entry }) in group.iter().enumerate() {
            let at = self.open(*directory)?;
            let name = CString::new(entry.name())?;
            let mut touched = false;
            let replaced = self.replace(&at, &name, entry, (group.len() - done, &mut touched))?;
            if touched {
                lock(&self.touched).insert(*directory);
            }
            if replaced {
                continue;
            }
            // Those that were replaced become names of the tree's own file again.
            for Same { directory, entry } in &group[..done] {
                let (there, replaced) = (self.open(*directory)?.tree, CString::new(entry.name())?);
                let second = self.second(at.tree.as_fd(), &name, there.as_fd())?;
                put(&second, there.as_fd(), &replaced)?;
            }
            break;
        }
        Ok(())
    }

    /// Opens a directory by all names that lead to it.
    fn open(&self, number: usize) -> io::Result<Open> {
        let directories = &self.unchanged.directories;
        let mut names = Vec::new();
        let mut number = number;
        while number != 0 {
            names.push(CString::new(directories[number].entry.name())?);
            number = directories[number].above;
        }
        let open = |top: BorrowedFd<'_>| -> io::Result<OwnedFd> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut directory = top.try_clone_to_owned()?;
            for name in names.iter().rev() {
                directory = openat(&directory, name, flags, Mode::empty())?;
            }
            Ok(directory)
        };
        Ok(Open { base: open(self.base)?, tree: open(self.tree)? })
    }

    /// Replaces the files of one name in a directory, and leaves to others what is below.
    fn directory(&self, queue: &Queue<Job>, (above, number): Job) -> io::Result<()> {
        let Directory { entry, below, alone, .. } = &self.unchanged.directories[number];
        let open = match above {
            None => {
                Open { base: directory::reopen(self.base)?, tree: directory::reopen(self.tree)? }
            }
            Some(above) => {
                let name = CString::new(entry.name())?;
                Open {
                    base: directory::open(above.base.as_fd(), &name)?,
                    tree: directory::open(above.tree.as_fd(), &name)?,
                }
            }
        };
        let open = Arc::new(open);
        for below in below {
            queue.add((Some(Arc::clone(&open)), *below));
        }
        let mut touched = lock(&self.touched).contains(&number);
        for entry in alone {
            self.replace(&open, &CString::new(entry.name())?, entry, (1, &mut touched))?;
        }
        if touched {
            let (tv_sec, tv_nsec) = entry.time();
            let kept = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let last_modification = Timespec { tv_sec, tv_nsec: i64::from(tv_nsec) };
            futimens(&open.tree, &Timestamps { last_access: kept, last_modification })?;
        }
        Ok(())
    }

    /// Puts the base's file in the place of the tree's, which has `more` names to replace; tells whether
    /// it did, and by `touched` whether it has changed the directory.
    fn replace(
        &self,
        at: &Open,
        name: &CString,
        entry: &ListedFile,
        (more, touched): (usize, &mut bool),
    ) -> io::Result<bool> {
        let stat = statat(&at.base, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let names = usize::try_from(stat.st_nlink).unwrap_or(usize::MAX);
        if names.saturating_add(more) > MOST_LINKS || !entry.looks_like(&stat) {
            return Ok(false);
        }
        if identity(&statat(&at.tree, name, AtFlags::SYMLINK_NOFOLLOW)?) == identity(&stat) {
            // To rename a file to itself would leave it where it is.
            return Ok(true);
        }
        let second = match self.second(at.base.as_fd(), name, at.tree.as_fd()) {
            Err(error) if is_refused(&error) => return Ok(false),
            second => second?,
        };
        *touched = true;
        match put(&second, at.tree.as_fd(), name) {
            Err(error) if is_refused(&error) => Ok(false),
            put => put.map(|()| true),
        }
    }

    /// Gives a file a second name, in the directory in which it takes the place of another: to rename
    /// from one directory to another is done by one thread at a time in all of a filesystem.
    fn second(
        &self,
        directory: BorrowedFd<'_>,
        name: &CString,
        there: BorrowedFd<'_>,
    ) -> io::Result<CString> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let second = CString::new(format!(".layered-template.{number}"))?;
            match linkat(directory, name, there, &second, AtFlags::empty()) {
                // A layer may have left anything.
                Err(Errno::EXIST) => {}
                linked => return Ok(linked.map(|()| second)?),
            }
        }
    }
}

/// Puts a file in the place of another in its directory.
fn put(second: &CString, directory: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
    Ok(renameat(directory, second, directory, name).inspect_err(|_| {
        let _ = unlinkat(directory, second, AtFlags::empty());
    })?)
}

/// Tells whether a file may not be linked, or not be replaced.
fn is_refused(error: &io::Error) -> bool {
    let refusals = [Errno::MLINK, Errno::XDEV, Errno::PERM, Errno::ACCESS];
    Errno::from_io_error(error).is_some_and(|error| refusals.contains(&error))
}
