//! Copies a tree.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{FileType, Stat, fstat};

use super::directory::{self, Name};
use super::interrupt::Interrupt;
use super::maker::Maker;
use super::marks::{Marks, Naming};
use super::target_dir::TargetDir;
use super::workers::{self, OpenDir, Queue};

/// How many files of a directory one worker takes at once.
const BATCH: usize = 64;

/// A directory that is copied.
#[derive(Debug)]
struct Held {
    from: OwnedFd,
    stat: Stat,
    target: TargetDir,
}

enum Job {
    /// The directory of this name.
    Directory(Arc<OpenDir<Held>>, CString),
    /// All that is in the directory.
    Names(Arc<OpenDir<Held>>),
    /// Some of what is in the directory.
    Files(Arc<OpenDir<Held>>, Vec<Name>),
}

/// Copies all that is below the directory `from` into the existing, empty directory `to`, and gives
/// `to` the attributes of `from`. Names of `except` at the top are left out.
///
/// Owners, modes, times, extended attributes, links between files and holes are kept; attributes that
/// `from` has escaped become plain. The labels of a security module that is at work are not copied.
/// Where the filesystem can, the files share their bytes; whether they do is returned. Nothing is
/// synchronised. The `interrupt` ends it.
///
/// # Errors
///
/// The first fault, which says where it was. What is in `to` by then is left there.
pub(crate) fn copy(
    (from, marks): (BorrowedFd<'_>, Marks),
    to: BorrowedFd<'_>,
    except: &[&OsStr],
    interrupt: Interrupt<'_>,
) -> io::Result<bool> {
    let maker = Maker::new(to, Naming::Plain(marks), interrupt)?;
    let from = directory::reopen(from)?;
    let top = OpenDir::new(None, Held { stat: fstat(&from)?, from, target: maker.target()? });
    workers::run(interrupt, Job::Names(top), |job, queue, buffer| match job {
        Job::Names(top) => {
            let mut names = directory::names(top.held.from.as_fd())?;
            names.retain(|name| !except.iter().any(|left| left.as_bytes() == name.name.to_bytes()));
            spread(&maker, queue, top, names, buffer)
        }
        Job::Directory(above, name) => {
            let target = &above.held.target;
            let held = enter(&maker, &above.held, &name)
                .map_err(|error| target.dir_path.about(&name, error))?;
            let open_dir = OpenDir::new(Some(above), held);
            let names = directory::names(open_dir.held.from.as_fd())?;
            spread(&maker, queue, open_dir, names, buffer)
        }
        Job::Files(open_dir, names) => files(&maker, open_dir, &names, buffer),
    })?;
    Ok(maker.clones())
}

fn enter(maker: &Maker<'_>, above: &Held, name: &CString) -> io::Result<Held> {
    let from = directory::open(above.from.as_fd(), name)?;
    let stat = fstat(&from)?;
    let target = maker.directory(&above.target, name, &stat)?;
    Ok(Held { from, stat, target })
}

/// Copies what is in a directory, and leaves to others what is too much for one.
fn spread(
    maker: &Maker<'_>,
    queue: &Queue<Job>,
    open_dir: Arc<OpenDir<Held>>,
    names: Vec<Name>,
    buffer: &mut [u8],
) -> io::Result<()> {
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
    files(maker, open_dir, &others, buffer)
}

fn files(
    maker: &Maker<'_>,
    open_dir: Arc<OpenDir<Held>>,
    names: &[Name],
    buffer: &mut [u8],
) -> io::Result<()> {
    let Held { from, target, .. } = &open_dir.held;
    for Name { name, kind } in names {
        maker
            .entry(from.as_fd(), target, name, *kind, buffer)
            .map_err(|error| target.dir_path.about(name, error))?;
    }
    open_dir.done(|open_dir| {
        let Held { from, stat, target } = &open_dir.held;
        maker.finish(target, from.as_fd(), stat).map_err(|error| target.dir_path.about(c".", error))
    })
}
