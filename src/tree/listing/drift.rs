//! What has changed in a tree since it was made of a listed one.
//!
//! Nobody can set the time at which a file's inode changed: what is older than the end of the making is as the
//! making left it, and is not read. That does not hold below a directory that came from elsewhere: whoever
//! moves one leaves what is in it as old as it is. There all is compared, as far as stamps tell.

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
        walk.compare(&[], before, top.as_fd(), c"", &stat, false)?;
    }
    let mut open = vec![walk.open(top, Vec::new(), base, false)?];
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
    /// Whether it was changed since the making.
    is_later: bool,
    /// Whether it came from elsewhere, so that the times of what is in it tell nothing.
    is_foreign: bool,
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
        is_foreign: bool,
    ) -> io::Result<Level> {
        let stat = fstat(&descriptor)?;
        let mut names = directory::names(descriptor.as_fd())?;
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let shows_base = match self.made.upper {
            Some(form) => !opaque(Holder::Open(descriptor.as_fd()), form)?,
            None => false,
        };
        let before = base.map(|base| self.children(base)).unwrap_or_default();
        Ok(Level {
            path,
            before: before.into_iter().peekable(),
            now: names.into_iter().peekable(),
            shows_base,
            is_later: is_foreign || self.is_later(&stat),
            is_foreign,
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
            if let Some(range) = before.filter(|_| level.is_foreign || self.is_later(&stat)) {
                self.removed(&level.path, range);
            }
            return Ok(None);
        }
        let entry = before.as_ref().and_then(|range| Some(&self.made.base?.entries[range.start]));
        self.compare(&path, entry, directory, name, &stat, level.is_foreign)?;
        // What is on another filesystem is none of the tree.
        if kind != FileType::Directory || stat.st_dev != self.device {
            return Ok(None);
        }
        let opened = match directory::open(directory, name) {
            // Something else has come to its place.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            opened => opened?,
        };
        let is_foreign = level.is_foreign || self.is_foreign(opened.as_fd(), &stat);
        let was_directory = entry.is_some_and(|entry| entry.kind == ListedKind::Directory);
        self.open(opened, path, before.filter(|_| was_directory), is_foreign).map(Some)
    }

    /// Compares what is there with what was.
    fn compare(
        &mut self,
        path: &[u8],
        before: Option<&ListedFile>,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        is_foreign: bool,
    ) -> io::Result<()> {
        let is_as_before = before.is_some_and(|before| before.looks_like(stat));
        if !self.is_later(stat) && (!is_foreign || is_as_before) {
            return Ok(());
        }
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
            self.found.push(Drift { path, before, is_new, now: Some(now), changed });
        }
        Ok(())
    }

    /// Adds something of the base that is gone, and not all that was below it.
    fn removed(&mut self, above: &[u8], range: Range<usize>) {
        let Some(base) = self.made.base else { return };
        let before = base.entries[range.start].clone();
        let path = below(above, &before.name);
        let (before, changed) = (Some(before), Vec::new());
        self.found.push(Drift { path, before, is_new: false, now: None, changed });
    }

    fn is_later(&self, stat: &Stat) -> bool {
        (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()) > self.made.since
    }

    /// Tells whether a directory is not the one that was made there: it was born at another time.
    fn is_foreign(&self, directory: BorrowedFd<'_>, stat: &Stat) -> bool {
        self.is_later(stat)
            && born(directory, c"").is_some_and(|born| {
                born > self.made.since || self.made.begun.is_some_and(|begun| born < begun)
            })
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
