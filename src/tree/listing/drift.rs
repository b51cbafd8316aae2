//! What has changed in a tree since it was made of a stored one.
//!
//! The stored tree is looked at only where something may have changed, and there it is compared as it is, not as it
//! was listed: of an overlay it is what the container shows. Whether it is still what was listed is for
//! `store verify` to tell.
//!
//! Nobody can set the time at which a file's inode changed: what is older than the end of the making is as the
//! making left it, and is not read. That does not hold below a directory that may have been moved: whoever moves
//! one leaves what is in it as old as it is. There all is read and compared.

use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::io;
use std::iter::Peekable;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::vec::IntoIter;

use rustix::fs::{AtFlags, FileType, Stat, StatxFlags, fstat, major, minor, statat, statx};

use super::{ListedFile, difference, walk};
use crate::tree::descriptors::Raised;
use crate::tree::directory::{self, Name};
use crate::tree::interrupt::Interrupt;
use crate::tree::marks::{Form, Marks};
use crate::tree::merge::opaque;
use crate::tree::reader::Reader;
use crate::tree::xattr::Holder;

/// Something that has changed in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drift {
    /// The path, without a slash in front; empty for the top.
    pub path: Vec<u8>,
    /// What was there; nothing, where it is new, or where nobody knows.
    pub before: Option<ListedFile>,
    /// Whether it is new: it was not there when the tree was made.
    pub is_new: bool,
    /// What is there; nothing, where it was removed.
    pub now: Option<ListedFile>,
    /// What of it has changed, where it was there before: as of a [`super::Difference`], but for the time of
    /// its last change.
    pub changed: Vec<&'static str>,
    /// Whether it is as old as the tree, and told of only because a directory above it may have been moved.
    pub is_guess: bool,
}

/// How a tree was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// The overlay's own marks, where the tree is the upper directory of one.
    pub upper: Option<Form>,
    /// When the making began, where that is known: seconds since 1970, and nanoseconds.
    pub begun: Option<(i64, i64)>,
    /// When the making ended.
    pub since: (i64, i64),
    /// Whether the base is all that it was made of: nothing else has changed what the base has.
    pub is_whole: bool,
}

impl Made {
    /// Tells whether an inode was changed after the making.
    pub(crate) fn is_later(&self, stat: &Stat) -> bool {
        self.is_after(stat.st_ctime, stat.st_ctime_nsec)
    }

    /// Tells whether a directory may have been moved, by its own stamps and those of the one `above` it: a
    /// move changes both inodes.
    ///
    /// Where more than the base made the tree, a directory in which something was made or removed since is
    /// taken for one that stood still: what is in it may well differ from the base.
    pub(crate) fn may_be_moved(&self, above: &Stat, directory: &Stat) -> bool {
        self.is_later(above)
            && self.is_later(directory)
            && (self.is_whole || !self.is_after(directory.st_mtime, directory.st_mtime_nsec))
    }

    fn is_after(&self, seconds: i64, nanoseconds: impl TryInto<i64>) -> bool {
        (seconds, nanoseconds.try_into().unwrap_or_default()) > self.since
    }
}

/// Finds what has changed in a tree since it was made of `base`, which is `None` where nobody knows what it was,
/// sorted by paths.
pub(crate) fn drift(
    tree: BorrowedFd<'_>,
    base: Option<Reader<'_>>,
    made: Made,
    interrupt: Interrupt<'_>,
) -> io::Result<Vec<Drift>> {
    let _raised = Raised::new();
    let top = directory::reopen(tree)?;
    let stat = fstat(&top)?;
    let mut walk = Walk { made, base, interrupt, device: stat.st_dev, found: Vec::new() };
    if walk.base.is_some() {
        walk.compare(&[], top.as_fd(), c"", &stat, Origin::Own)?;
    }
    let mut open = vec![walk.open(top, Vec::new(), Origin::Own)?];
    while let Some(level) = open.last_mut() {
        interrupt.check()?;
        match level.next() {
            None => {
                open.pop();
            }
            Some(Next::Gone(name)) => walk.removed(below(&level.path, name.to_bytes()))?,
            Some(Next::There(name)) => {
                if let Some(below) = walk.name(level, &name)? {
                    open.push(below);
                }
            }
        }
    }
    Ok(walk.found)
}

/// A directory that is being compared.
struct Level {
    descriptor: OwnedFd,
    path: Vec<u8>,
    /// What the base has in it, and is gone.
    gone: Peekable<IntoIter<CString>>,
    /// What is in it.
    now: Peekable<IntoIter<Name>>,
    stat: Stat,
    origin: Origin,
}

/// The next name of a directory.
enum Next {
    /// The base alone has it.
    Gone(CString),
    /// The tree has it.
    There(Name),
}

/// Where a directory is from, and so what the times of what is in it tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// It is the one that was made there: what is older than the end of the making has not changed.
    Own,
    /// It was made with the tree, but maybe elsewhere in it: they tell nothing.
    Unsure,
    /// It came from elsewhere: they tell nothing.
    Foreign,
}

impl Level {
    fn next(&mut self) -> Option<Next> {
        let order = match (self.gone.peek(), self.now.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(gone), Some(now)) => gone.cmp(&now.name),
        };
        match order {
            Ordering::Less => self.gone.next().map(Next::Gone),
            _ => self.now.next().map(Next::There),
        }
    }
}

struct Walk<'a> {
    made: Made,
    base: Option<Reader<'a>>,
    interrupt: Interrupt<'a>,
    /// The tree's filesystem.
    device: u64,
    found: Vec<Drift>,
}

impl Walk<'_> {
    /// Begins with a directory.
    fn open(&mut self, descriptor: OwnedFd, path: Vec<u8>, origin: Origin) -> io::Result<Level> {
        let stat = fstat(&descriptor)?;
        let mut now = directory::names(descriptor.as_fd())?;
        now.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // Whether it was changed since the making, or may be another than the one that was made there.
        let is_later = origin > Origin::Own || self.made.is_later(&stat);
        let gone = match &mut self.base {
            Some(base) if is_later && !shows_base(self.made, descriptor.as_fd())? => {
                let mut before = base.names(&path)?;
                before.retain(|name| now.binary_search_by(|now| now.name.cmp(name)).is_err());
                before
            }
            _ => Vec::new(),
        };
        let (gone, now) = (gone.into_iter().peekable(), now.into_iter().peekable());
        Ok(Level { descriptor, path, gone, now, stat, origin })
    }

    /// Compares one name of a directory, and returns what is below it.
    fn name(&mut self, level: &Level, Name { name, kind }: &Name) -> io::Result<Option<Level>> {
        match self.there(level, name, *kind) {
            // A running system removes files all the time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other,
        }
    }

    fn there(&mut self, level: &Level, name: &CStr, kind: FileType) -> io::Result<Option<Level>> {
        let directory = level.descriptor.as_fd();
        let path = below(&level.path, name.to_bytes());
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if self.made.upper.is_some() && is_whiteout(&stat) {
            if level.origin > Origin::Own || self.made.is_later(&stat) {
                self.removed(path)?;
            }
            return Ok(None);
        }
        self.compare(&path, directory, name, &stat, level.origin)?;
        // What is on another filesystem is none of the tree.
        if kind != FileType::Directory || stat.st_dev != self.device {
            return Ok(None);
        }
        let opened = match directory::open(directory, name) {
            // Something else has come to its place.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            opened => opened?,
        };
        let mut origin = self.origin(&level.stat, opened.as_fd(), &stat);
        // An overlay moves no directory that shows one of the base, and touches it for what it copies there.
        if origin == Origin::Unsure
            && let Some(base) = &mut self.base
            && shows_base(self.made, opened.as_fd())?
            && base.is_directory(&path)?
        {
            origin = Origin::Own;
        }
        self.open(opened, path, level.origin.max(origin)).map(Some)
    }

    /// Compares what is there with what was.
    fn compare(
        &mut self,
        path: &[u8],
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        origin: Origin,
    ) -> io::Result<()> {
        let is_later = self.made.is_later(stat);
        if !is_later && origin == Origin::Own {
            return Ok(());
        }
        let is_guess = !is_later && origin == Origin::Unsure;
        let marks = self.made.upper.map_or(Marks::Plain, Marks::Escaped);
        let now = walk::one_of(directory, name, stat, marks, self.interrupt)?;
        let before = self.before(path)?;
        let changed: Vec<_> = match &before {
            None => Vec::new(),
            Some(before) => {
                let changed = difference::changed(before, &now).into_iter();
                changed.filter(|what| *what != "mtime").collect()
            }
        };
        if before.is_none() || !changed.is_empty() {
            // Where nothing tells what there was, the birth of a file says whether it was there.
            let is_new = before.is_none()
                && (self.base.is_some()
                    || born(directory, name).is_none_or(|born| born > self.made.since));
            let path = path.to_vec();
            self.found.push(Drift { path, before, is_new, now: Some(now), changed, is_guess });
        }
        Ok(())
    }

    /// Reads what the base has at a path.
    fn before(&mut self, path: &[u8]) -> io::Result<Option<ListedFile>> {
        match &mut self.base {
            Some(base) => ListedFile::find(base, path, self.interrupt),
            None => Ok(None),
        }
    }

    /// Adds something that is gone, if the base has it, and not all that was below it.
    fn removed(&mut self, path: Vec<u8>) -> io::Result<()> {
        let before = self.before(&path)?;
        if before.is_some() {
            let (changed, is_guess) = (Vec::new(), false);
            self.found.push(Drift { path, before, is_new: false, now: None, changed, is_guess });
        }
        Ok(())
    }

    /// Tells where a directory is from. One that was born at another time was not made there.
    fn origin(&self, above: &Stat, directory: BorrowedFd<'_>, stat: &Stat) -> Origin {
        if !self.made.is_later(stat) {
            return Origin::Own;
        }
        let is_foreign = born(directory, c"").is_some_and(|born| {
            born > self.made.since || self.made.begun.is_some_and(|begun| born < begun)
        });
        match self.made.may_be_moved(above, stat) {
            _ if is_foreign => Origin::Foreign,
            true => Origin::Unsure,
            false => Origin::Own,
        }
    }
}

/// Tells whether what is not in a directory is as in the base.
fn shows_base(made: Made, directory: BorrowedFd<'_>) -> io::Result<bool> {
    match made.upper {
        Some(form) => Ok(!opaque(Holder::Open(directory), form)?),
        None => Ok(false),
    }
}

/// Returns when something was born, where its filesystem knows that.
fn born(directory: BorrowedFd<'_>, name: &CStr) -> Option<(i64, i64)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let found = statx(directory, name, flags, StatxFlags::BTIME).ok()?;
    let is_known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    is_known.then(|| (found.stx_btime.tv_sec, i64::from(found.stx_btime.tv_nsec)))
}

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (0, 0)
}
