//! Makes the complete tree that an overlay shows.
//!
//! What is in the upper directory is moved. What is in the base alone is shared with it: by its
//! bytes where the filesystem can, else by hard links.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, Stat, fchmod, fstat, linkat, renameat, statat};
use rustix::io::Errno;

use super::directory::{self, Name};
use super::interrupt::Interrupt;
use super::links::{Identity, identity};
use super::maker::Maker;
use super::marks::{Form, Marks, Naming};
use super::sharing::{MOST_LINKS, Sharing};
use super::target_dir::TargetDir;
use super::workers::{self, OpenDir, Queue, lock};
use super::xattr::Holder;

/// How many files of a directory one worker takes at once.
const BATCH: usize = 64;

/// What an overlay changed: the paths of what came from the upper directory and is not a directory,
/// and of what the upper directory hides of the base (not all that was below a hidden directory).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    paths: HashSet<Vec<u8>>,
}

impl Changes {
    /// Adds a path, which has no slash in front.
    pub(crate) fn add(&mut self, path: &[u8]) {
        self.paths.insert(path.to_vec());
    }

    /// Tells whether a path changed; it has no slash in front.
    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }

    /// Returns the paths, in no order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.paths.iter().map(Vec::as_slice)
    }
}

/// A directory of the new tree, and what it is made of.
#[derive(Debug)]
struct Held {
    base: Option<OwnedFd>,
    upper: Option<OwnedFd>,
    /// Of the upper directory where there is one: an overlay shows its attributes.
    stat: Stat,
    target: TargetDir,
    sharing: Sharing,
}

impl Held {
    fn side(&self, side: Side) -> io::Result<BorrowedFd<'_>> {
        let side = match side {
            Side::Base => &self.base,
            Side::Upper => &self.upper,
        };
        side.as_ref().map(AsFd::as_fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Base,
    Upper,
}

enum Job {
    /// The directory of this name, and whether the base and the upper directory have it.
    Directory(Arc<OpenDir<Held>>, CString, bool, bool),
    /// All that is in the directory.
    Names(Arc<OpenDir<Held>>),
    /// Some of what is in one side of the directory.
    Files(Arc<OpenDir<Held>>, Side, Vec<Name>),
}

/// Makes, in the existing, empty directory `to`, the complete tree that an overlay of `upper` on
/// `base` shows. Without a base it is all that `upper` holds. The files of `upper` are moved away.
/// The `interrupt` ends it.
///
/// # Errors
///
/// The first fault, which says where it was; also a mark of overlayfs that it sets only with options
/// such as `redirect_dir` and `metacopy`. The upper directory is of no more use then.
pub(crate) fn merge(
    base: Option<BorrowedFd<'_>>,
    upper: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    form: Form,
    interrupt: Interrupt<'_>,
) -> io::Result<Changes> {
    let maker = Maker::new(to, Naming::Same(Marks::Escaped(form)), interrupt)?;
    let clones = maker.clones();
    let upper = directory::reopen(upper)?;
    let opaque = opaque(Holder::Open(upper.as_fd()), form)?;
    let base = base.filter(|_| !opaque).map(directory::reopen).transpose()?;
    let copied = match &base {
        Some(base) if !clones => copied(base.as_fd(), interrupt)?,
        _ => HashSet::new(),
    };
    let stat = fstat(&upper)?;
    let held =
        Held { base, upper: Some(upper), stat, target: maker.target()?, sharing: Sharing::Top };
    let merger = Merger { maker, form, clones, copied, changes: Mutex::default() };
    workers::run(
        interrupt,
        Job::Names(OpenDir::new(None, held)),
        |job, queue, buffer| match job {
            Job::Names(top) => merger.spread(queue, top, buffer),
            Job::Directory(above, name, base, upper) => {
                let held = merger
                    .enter(&above.held, &name, base, upper)
                    .map_err(|error| above.held.target.dir_path.about(&name, error))?;
                merger.spread(queue, OpenDir::new(Some(above), held), buffer)
            }
            Job::Files(open_dir, side, names) => {
                merger.files(&open_dir.held, side, &names, buffer)?;
                merger.done(open_dir)
            }
        },
    )?;
    Ok(Changes { paths: merger.changes.into_inner().unwrap_or_default() })
}

struct Merger<'a> {
    maker: Maker<'a>,
    form: Form,
    /// Whether files of the base share their bytes, and are never linked.
    clones: bool,
    /// The base's files that are copied, of those that have several names: all of them are then
    /// names of the copy.
    copied: HashSet<Identity>,
    changes: Mutex<HashSet<Vec<u8>>>,
}

impl Merger<'_> {
    fn enter(&self, above: &Held, name: &CStr, base: bool, upper: bool) -> io::Result<Held> {
        let open = |side| directory::open(above.side(side)?, name);
        let upper = upper.then(|| open(Side::Upper)).transpose()?;
        let base = match &upper {
            Some(upper) if opaque(Holder::Open(upper.as_fd()), self.form)? => None,
            _ => base.then(|| open(Side::Base)).transpose()?,
        };
        let shown = upper.as_ref().or(base.as_ref()).ok_or(io::ErrorKind::NotFound)?;
        let stat = fstat(shown)?;
        let target = self.maker.directory(&above.target, name, &stat)?;
        Ok(Held { base, upper, stat, target, sharing: above.sharing.below(name.to_bytes()) })
    }

    /// Merges what is in a directory, and leaves to others what is too much for one.
    fn spread(
        &self,
        queue: &Queue<Job>,
        open_dir: Arc<OpenDir<Held>>,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let held = &open_dir.held;
        let read = |side: &Option<OwnedFd>| {
            let names = side.as_ref().map(|side| directory::names(side.as_fd())).transpose();
            names
                .map(Option::unwrap_or_default)
                .map_err(|error| held.target.dir_path.about(c".", error))
        };
        let uppers = read(&held.upper)?;
        let mut bases: HashMap<CString, FileType> =
            read(&held.base)?.into_iter().map(|Name { name, kind }| (name, kind)).collect();
        let mut moved = Vec::new();
        for Name { name, kind } in uppers {
            let below = bases.remove(&name);
            if kind == FileType::Directory {
                if below.is_some_and(|below| below != kind) {
                    lock(&self.changes).insert(held.target.dir_path.path(&name));
                }
                open_dir.expect();
                let base = below == Some(kind);
                queue.add(Job::Directory(Arc::clone(&open_dir), name, base, true));
            } else {
                moved.push(Name { name, kind });
            }
        }
        let mut shared = Vec::new();
        for (name, kind) in bases {
            if kind == FileType::Directory {
                open_dir.expect();
                queue.add(Job::Directory(Arc::clone(&open_dir), name, true, false));
            } else {
                shared.push(Name { name, kind });
            }
        }
        while shared.len() > BATCH {
            open_dir.expect();
            let batch = shared.split_off(shared.len() - BATCH);
            queue.add(Job::Files(Arc::clone(&open_dir), Side::Base, batch));
        }
        self.files(held, Side::Upper, &moved, buffer)?;
        self.files(held, Side::Base, &shared, buffer)?;
        self.done(open_dir)
    }

    fn done(&self, open_dir: Arc<OpenDir<Held>>) -> io::Result<()> {
        open_dir.done(|open_dir| {
            let held = &open_dir.held;
            let side = if held.upper.is_some() { Side::Upper } else { Side::Base };
            self.maker
                .finish(&held.target, held.side(side)?, &held.stat)
                .map_err(|error| held.target.dir_path.about(c".", error))
        })
    }

    fn files(&self, held: &Held, side: Side, names: &[Name], buffer: &mut [u8]) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let from = held.side(side)?;
        for name in names {
            let made = match side {
                Side::Base => self.share(from, held, name, buffer),
                Side::Upper => self.take(from, held, name, buffer),
            };
            made.map_err(|error| held.target.dir_path.about(&name.name, error))?;
        }
        Ok(())
    }

    /// Makes a file that the base alone has.
    fn share(
        &self,
        base: BorrowedFd<'_>,
        held: &Held,
        Name { name, kind }: &Name,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let target = &held.target;
        if !self.clones && held.sharing != Sharing::Copied {
            let stat = statat(base, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let several = stat.st_nlink > 1;
            let copied = several
                && (usize::try_from(stat.st_nlink).unwrap_or(usize::MAX) > MOST_LINKS
                    || self.copied.contains(&identity(&stat)));
            if !copied {
                match linkat(base, name, &target.directory, name, AtFlags::empty()) {
                    Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => {}
                    other => return Ok(other?),
                }
            }
        }
        self.maker.entry(base, target, name, *kind, buffer)
    }

    /// Moves a file of the upper directory.
    fn take(
        &self,
        upper: BorrowedFd<'_>,
        held: &Held,
        Name { name, kind }: &Name,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let target = &held.target;
        lock(&self.changes).insert(target.dir_path.path(name));
        if *kind == FileType::CharacterDevice
            && statat(upper, name, AtFlags::SYMLINK_NOFOLLOW)?.st_rdev == 0
        {
            // It says that there is nothing.
            return Ok(());
        }
        let holder = Holder::Named(upper, name);
        for mark in marks(holder, self.form)? {
            holder.remove(&mark)?;
        }
        let mut moved = renameat(upper, name, &target.directory, name);
        if moved == Err(Errno::ACCESS) {
            // Its owner may take something out of it, but has to say so; what mode the new directory
            // gets is known already.
            fchmod(upper, Mode::RWXU)?;
            moved = renameat(upper, name, &target.directory, name);
        }
        match moved {
            // They are on two filesystems.
            Err(Errno::XDEV) => self.maker.entry(upper, target, name, *kind, buffer),
            other => Ok(other?),
        }
    }
}

/// Returns the names of overlayfs's own attributes.
///
/// # Errors
///
/// A mark that is not understood, for the tree would not be what the overlay shows.
fn marks(holder: Holder<'_>, form: Form) -> io::Result<Vec<CString>> {
    let mut names = holder.all()?;
    names.retain(|name| form.is_own(name));
    for name in &names {
        let mark = name.to_string_lossy();
        let kept = match &mark[form.prefix().len()..] {
            "redirect" | "metacopy" | "whiteout" | "whiteouts" => false,
            "opaque" => holder.value(name)? == b"y",
            _ => true,
        };
        if !kept {
            let value = String::from_utf8_lossy(&holder.value(name)?).into_owned();
            return Err(io::Error::other(format!(
                "the overlay has set `{mark}` to `{value}`, which a complete tree cannot be made of"
            )));
        }
    }
    Ok(names)
}

/// Tells whether nothing of the base shows in a directory.
pub(super) fn opaque(holder: Holder<'_>, form: Form) -> io::Result<bool> {
    let is_opaque = |mark: &CString| mark.to_bytes().ends_with(b".opaque");
    Ok(marks(holder, form)?.iter().any(is_opaque))
}

/// Finds the files of the base that have several names, one of them where files are copied.
fn copied(base: BorrowedFd<'_>, interrupt: Interrupt<'_>) -> io::Result<HashSet<Identity>> {
    let found = Mutex::new(HashSet::new());
    let top = (Arc::new(directory::reopen(base)?), c".".to_owned(), Sharing::Top);
    workers::run(interrupt, top, |(above, name, sharing), queue, _| {
        let directory = Arc::new(directory::open(above.as_fd(), &name)?);
        for Name { name, kind } in directory::names(directory.as_fd())? {
            let below = sharing.below(name.to_bytes());
            if kind == FileType::Directory {
                if below != Sharing::Linked {
                    queue.add((Arc::clone(&directory), name, below));
                }
            } else if sharing == Sharing::Copied {
                let stat = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                if stat.st_nlink > 1 {
                    lock(&found).insert(identity(&stat));
                }
            }
        }
        Ok(())
    })?;
    Ok(found.into_inner().unwrap_or_default())
}
