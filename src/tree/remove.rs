//! Removes a tree.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, fchmod, statat, unlinkat};
use rustix::io::Errno;

use super::dir_path::DirPath;
use super::directory::{self, Name};
use super::immutable::loosened;
use super::interrupt::Interrupt;
use super::workers::{self, OpenDir, Queue};
use crate::host::rootfs;

/// How many files of a directory one worker takes at once.
const BATCH: usize = 256;

/// A directory that is removed when it is empty.
#[derive(Debug)]
struct Held {
    directory: OwnedFd,
    dir_path: Arc<DirPath>,
    name: CString,
}

enum Job<'a> {
    /// The directory that is removed.
    Top(BorrowedFd<'a>, CString),
    /// The directory of this name.
    Directory(Arc<OpenDir<Held>>, CString),
    /// Some of what is in the directory.
    Files(Arc<OpenDir<Held>>, Vec<Name>),
}

/// Removes what is of this name in `parent`, a link not followed, with all that is below it,
/// whatever the modes of the directories are, and whether or not something is immutable. That there is
/// nothing is no fault.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let name = CString::new(name.as_bytes())?;
    if [c"", c".", c".."].contains(&name.as_c_str()) || name.as_bytes().contains(&b'/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    match statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            return unlink_at(parent, &name, AtFlags::empty());
        }
        Ok(_) => {}
    }
    workers::run(Interrupt::NEVER, Job::Top(parent, name.clone()), |job, queue, _| match job {
        Job::Top(parent, name) => {
            let directory = open(parent, &name)?;
            spread(queue, OpenDir::new(None, Held { directory, dir_path: Arc::default(), name }))
        }
        Job::Directory(above, name) => {
            let directory = open(above.held.directory.as_fd(), &name)
                .map_err(|error| above.held.dir_path.about(&name, error))?;
            let dir_path = above.held.dir_path.below(&name);
            spread(queue, OpenDir::new(Some(above), Held { directory, dir_path, name }))
        }
        Job::Files(open_dir, names) => files(open_dir, &names),
    })?;
    unlink_at(parent, &name, AtFlags::REMOVEDIR)
}

/// Opens a directory whose names are removed. What is mounted there is no part of the tree.
fn open(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    match rootfs::open_directory(directory, OsStr::from_bytes(name.to_bytes())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            directory::open_forced(directory, name)
        }
        opened => opened,
    }
}

/// Removes what is in a directory, and leaves to others what is too much for one.
fn spread(queue: &Queue<Job<'_>>, open_dir: Arc<OpenDir<Held>>) -> io::Result<()> {
    let names = directory::names(open_dir.held.directory.as_fd())
        .map_err(|error| open_dir.held.dir_path.about(c".", error))?;
    let (directories, mut others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.kind == FileType::Directory);
    for name in directories {
        open_dir.expect();
        queue.add(Job::Directory(Arc::clone(&open_dir), name.name));
    }
    while others.len() > BATCH {
        open_dir.expect();
        let batch = others.split_off(others.len() - BATCH);
        queue.add(Job::Files(Arc::clone(&open_dir), batch));
    }
    files(open_dir, &others)
}

fn files(open_dir: Arc<OpenDir<Held>>, names: &[Name]) -> io::Result<()> {
    for Name { name, .. } in names {
        unlink(&open_dir.held, name, AtFlags::empty())?;
    }
    open_dir.done(|open_dir| match open_dir.above() {
        Some(above) => unlink(&above.held, &open_dir.held.name, AtFlags::REMOVEDIR),
        // The top is removed when all threads have ended.
        None => Ok(()),
    })
}

fn unlink(held: &Held, name: &CStr, flags: AtFlags) -> io::Result<()> {
    let directory = held.directory.as_fd();
    let removed = match unlink_at(directory, name, flags) {
        // Its owner may write in it, but has to say so.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::ACCESS) => {
            fchmod(directory, Mode::RWXU)
                .map_err(Into::into)
                .and_then(|()| unlink_at(directory, name, flags))
        }
        other => other,
    };
    removed.map_err(|error| held.dir_path.about(name, error))
}

fn unlink_at(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> io::Result<()> {
    loosened(directory, name, || Ok(unlinkat(directory, name, flags)?))
}
