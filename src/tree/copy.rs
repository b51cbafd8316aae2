//! Copies a tree.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{FileType, Stat, fstat};

use super::bell::Bell;
use super::crew::{self, Branch, Queue};
use super::directory::{self, Name};
use super::maker::{Maker, Site};

/// How many files of a directory one worker takes at once.
const BATCH: usize = 64;

/// A directory that is copied.
#[derive(Debug)]
struct Held {
    from: OwnedFd,
    stat: Stat,
    site: Site,
}

enum Job {
    /// The directory of this name.
    Directory(Arc<Branch<Held>>, CString),
    /// All that is in the directory.
    Names(Arc<Branch<Held>>),
    /// Some of what is in the directory.
    Files(Arc<Branch<Held>>, Vec<Name>),
}

/// Copies all that is below the directory `from` into the existing, empty directory `to`, and gives
/// `to` the attributes of `from`. Names of `except` at the top are left out.
///
/// Owners, modes, times, extended attributes, links between files and holes are kept. What overlayfs
/// keeps for itself is not copied, nor are the labels of a security module that is at work. Where the filesystem can,
/// the files share their bytes; whether they do is returned. Nothing is synchronised. The `bell` ends
/// it.
///
/// # Errors
///
/// The first fault, which says where it was. What is in `to` by then is left there.
pub fn copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    except: &[&OsStr],
    bell: Bell<'_>,
) -> io::Result<bool> {
    let maker = Maker::new(to, bell)?;
    let from = directory::reopen(from)?;
    let top = Branch::new(None, Held { stat: fstat(&from)?, from, site: maker.site()? });
    crew::run(bell, Job::Names(top), |job, queue, buffer| match job {
        Job::Names(top) => {
            let mut names = directory::names(top.held.from.as_fd())?;
            names.retain(|name| !except.iter().any(|left| left.as_bytes() == name.name.to_bytes()));
            spread(&maker, queue, top, names, buffer)
        }
        Job::Directory(above, name) => {
            let site = &above.held.site;
            let held = enter(&maker, &above.held, &name)
                .map_err(|error| site.trail.about(&name, error))?;
            let branch = Branch::new(Some(above), held);
            let names = directory::names(branch.held.from.as_fd())?;
            spread(&maker, queue, branch, names, buffer)
        }
        Job::Files(branch, names) => files(&maker, branch, &names, buffer),
    })?;
    Ok(maker.clones())
}

fn enter(maker: &Maker<'_>, above: &Held, name: &CString) -> io::Result<Held> {
    let from = directory::open(above.from.as_fd(), name)?;
    let stat = fstat(&from)?;
    let site = maker.directory(&above.site, name, &stat)?;
    Ok(Held { from, stat, site })
}

/// Copies what is in a directory, and leaves to others what is too much for one.
fn spread(
    maker: &Maker<'_>,
    queue: &Queue<Job>,
    branch: Arc<Branch<Held>>,
    names: Vec<Name>,
    buffer: &mut [u8],
) -> io::Result<()> {
    let (directories, mut others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.kind == FileType::Directory);
    for name in directories {
        branch.expect();
        queue.add(Job::Directory(Arc::clone(&branch), name.name));
    }
    while others.len() > BATCH {
        branch.expect();
        let batch = others.split_off(others.len() - BATCH);
        queue.add(Job::Files(Arc::clone(&branch), batch));
    }
    files(maker, branch, &others, buffer)
}

fn files(
    maker: &Maker<'_>,
    branch: Arc<Branch<Held>>,
    names: &[Name],
    buffer: &mut [u8],
) -> io::Result<()> {
    let Held { from, site, .. } = &branch.held;
    for Name { name, kind } in names {
        maker
            .entry(from.as_fd(), site, name, *kind, buffer)
            .map_err(|error| site.trail.about(name, error))?;
    }
    branch.done(|branch| {
        let Held { from, stat, site } = &branch.held;
        maker.finish(site, from.as_fd(), stat).map_err(|error| site.trail.about(c".", error))
    })
}
