//! What has changed in a tree since it was made of a listed one.
//!
//! Nobody can set the time at which a file's inode changed: what is older than the end of the making is as the
//! making left it, and is not read. That does not hold below a directory that may have been moved: whoever moves
//! one leaves what is in it as old as it is. There all is read and compared.

use std::cmp::Ordering;
use std::ffi::CStr;
use std::io;
use std::iter::Peekable;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::vec::IntoIter;

use rustix::fs::{AtFlags, FileType, Stat, StatxFlags, fstat, major, minor, statat, statx};

use super::{ListedFile, ListedKind, Listing, difference, walk};
use crate::tree::descriptors::Raised;
use crate::tree::directory::{self, Name};
use crate::tree::interrupt::Interrupt;
use crate::tree::marks::{Form, Marks};
use crate::tree::merge::opaque;
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

/// A tree, and what it was made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made<'a> {
    /// What it was made of; nothing, where nobody knows.
    pub base: Option<&'a Listing>,
    /// The overlay's own marks, where the tree is the upper directory of one.
    pub upper: Option<Form>,
    /// When the making began, where that is known: seconds since 1970, and nanoseconds.
    pub begun: Option<(i64, i64)>,
    /// When the making ended.
    pub since: (i64, i64),
    /// Whether the base is all that it was made of: nothing else has changed what the base has.
    pub is_whole: bool,
}

impl Made<'_> {
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

/// Finds what has changed in a tree since it was made, sorted by paths.
pub(crate) fn drift(
    tree: BorrowedFd<'_>,
    made: Made<'_>,
    interrupt: Interrupt<'_>,
) -> io::Result<Vec<Drift>> {
    let _raised = Raised::new();
    let top = directory::reopen(tree)?;
    let stat = fstat(&top)?;
    let mut walk = Walk { made, interrupt, device: stat.st_dev, found: Vec::new() };
    let base = made.base.map(|base| 0..base.entries.len());
    let before = made.base.and_then(|base| base.entries.first());
    if before.is_some() {
        walk.compare(&[], before, top.as_fd(), c"", &stat, Origin::Own)?;
    }
    let mut open = vec![walk.open(top, Vec::new(), base, Origin::Own)?];
    while let Some(level) = open.last_mut() {
        interrupt.check()?;
        match level.next(made.base) {
            None => {
                open.pop();
            }
            Some((before, now)) => {
                if let Some(below) = walk.name(level, before, now)? {
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
    /// What the base has in it, each with all that is below.
    before: Peekable<IntoIter<Range<usize>>>,
    /// What is in it.
    now: Peekable<IntoIter<Name>>,
    /// Whether what is not there is as in the base.
    shows_base: bool,
    stat: Stat,
    /// Whether it was changed since the making, or may be another than the one that was made there.
    is_later: bool,
    origin: Origin,
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
    /// Returns the next name, as the base and as the tree has it.
    fn next(&mut self, base: Option<&Listing>) -> Option<(Option<Range<usize>>, Option<Name>)> {
        let order = match (self.before.peek(), self.now.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(range), Some(now)) => {
                let before = base.map(|base| base.entries[range.start].name.as_slice());
                before.unwrap_or_default().cmp(now.name.to_bytes())
            }
        };
        let before = if order.is_le() { self.before.next() } else { None };
        let now = if order.is_ge() { self.now.next() } else { None };
        Some((before, now))
    }
}

struct Walk<'a> {
    made: Made<'a>,
    interrupt: Interrupt<'a>,
    /// The tree's filesystem.
    device: u64,
    found: Vec<Drift>,
}

impl Walk<'_> {
    /// Begins with a directory. `base` is what the listing has of it: itself, and all below.
    fn open(
        &self,
        descriptor: OwnedFd,
        path: Vec<u8>,
        base: Option<Range<usize>>,
        origin: Origin,
    ) -> io::Result<Level> {
        let stat = fstat(&descriptor)?;
        let mut names = directory::names(descriptor.as_fd())?;
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let shows_base = self.shows_base(descriptor.as_fd())?;
        let before = base.map(|base| self.children(base)).unwrap_or_default();
        Ok(Level {
            path,
            before: before.into_iter().peekable(),
            now: names.into_iter().peekable(),
            shows_base,
            is_later: origin > Origin::Own || self.made.is_later(&stat),
            origin,
            stat,
            descriptor,
        })
    }

    /// Compares one name of a directory, and returns what is below it.
    fn name(
        &mut self,
        level: &Level,
        before: Option<Range<usize>>,
        now: Option<Name>,
    ) -> io::Result<Option<Level>> {
        let Some(Name { name, kind }) = now else {
            if let Some(range) = before.filter(|_| !level.shows_base && level.is_later) {
                self.removed(&level.path, range);
            }
            return Ok(None);
        };
        match self.there(level, before, &name, kind) {
            // A running system removes files all the time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other,
        }
    }

    fn there(
        &mut self,
        level: &Level,
        before: Option<Range<usize>>,
        name: &CStr,
        kind: FileType,
    ) -> io::Result<Option<Level>> {
        let directory = level.descriptor.as_fd();
        let path = below(&level.path, name.to_bytes());
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if self.made.upper.is_some() && is_whiteout(&stat) {
            if let Some(range) =
                before.filter(|_| level.origin > Origin::Own || self.made.is_later(&stat))
            {
                self.removed(&level.path, range);
            }
            return Ok(None);
        }
        let entry = before.as_ref().and_then(|range| Some(&self.made.base?.entries[range.start]));
        self.compare(&path, entry, directory, name, &stat, level.origin)?;
        // What is on another filesystem is none of the tree.
        if kind != FileType::Directory || stat.st_dev != self.device {
            return Ok(None);
        }
        let opened = match directory::open(directory, name) {
            // Something else has come to its place.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            opened => opened?,
        };
        let was_directory = entry.is_some_and(|entry| entry.kind == ListedKind::Directory);
        let origin = self.origin(&level.stat, opened.as_fd(), &stat);
        // An overlay moves no directory that shows one of the base, and touches it for what it copies there.
        let stands =
            origin == Origin::Unsure && was_directory && self.shows_base(opened.as_fd())?;
        let origin = level.origin.max(if stands { Origin::Own } else { origin });
        self.open(opened, path, before.filter(|_| was_directory), origin).map(Some)
    }

    /// Compares what is there with what was.
    fn compare(
        &mut self,
        path: &[u8],
        before: Option<&ListedFile>,
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
        let changed: Vec<_> = match before {
            None => Vec::new(),
            Some(before) => {
                let changed = difference::changed(before, &now).into_iter();
                changed.filter(|what| *what != "mtime").collect()
            }
        };
        if before.is_none() || !changed.is_empty() {
            // Where nothing tells what there was, the birth of a file says whether it was there.
            let is_new = before.is_none()
                && (self.made.base.is_some()
                    || born(directory, name).is_none_or(|born| born > self.made.since));
            let (path, before) = (path.to_vec(), before.cloned());
            self.found.push(Drift { path, before, is_new, now: Some(now), changed, is_guess });
        }
        Ok(())
    }

    /// Adds something of the base that is gone, and not all that was below it.
    fn removed(&mut self, above: &[u8], range: Range<usize>) {
        let Some(base) = self.made.base else { return };
        let before = base.entries[range.start].clone();
        let path = below(above, &before.name);
        let (before, changed) = (Some(before), Vec::new());
        let is_guess = false;
        self.found.push(Drift { path, before, is_new: false, now: None, changed, is_guess });
    }

    /// Tells whether what is not in a directory is as in the base.
    fn shows_base(&self, directory: BorrowedFd<'_>) -> io::Result<bool> {
        match self.made.upper {
            Some(form) => Ok(!opaque(Holder::Open(directory), form)?),
            None => Ok(false),
        }
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

    /// Returns what is in a directory of the base, each with all that is below it.
    fn children(&self, directory: Range<usize>) -> Vec<Range<usize>> {
        let Some(base) = self.made.base else { return Vec::new() };
        let mut children: Vec<Range<usize>> = Vec::new();
        let depth = base.entries.get(directory.start).map_or(0, |top| top.depth + 1);
        for index in directory.start + 1..directory.end {
            match children.last_mut() {
                Some(last) if base.entries[index].depth > depth => last.end = index + 1,
                _ => children.push(index..index + 1),
            }
        }
        children
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
