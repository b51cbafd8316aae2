//! What has changed in a tree since it was made of a listed one.
//!
//! Nobody can set the time at which a file's inode changed: what is older than the making of the tree is as the
//! making left it, and is not read.

use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Stat, StatxFlags, fstat, major, minor, statat, statx};

use super::{ListedFile, ListedKind, Listing, difference, walk};
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
    /// When the making ended: seconds since 1970, and nanoseconds.
    pub since: (i64, i64),
}

/// Finds what has changed in a tree since it was made, sorted by paths.
pub(crate) fn drift(
    tree: BorrowedFd<'_>,
    made: Made<'_>,
    interrupt: Interrupt<'_>,
) -> io::Result<Vec<Drift>> {
    let top = directory::reopen(tree)?;
    let base = made.base.map(|base| 0..base.entries.len());
    let mut walk = Walk { made, interrupt, found: Vec::new() };
    if let Some(before) = made.base.and_then(|base| base.entries.first()) {
        walk.compare(&[], Some(before), top.as_fd(), c"", &fstat(&top)?)?;
    }
    walk.directory(&[], top.as_fd(), base)?;
    Ok(walk.found)
}

struct Walk<'a> {
    made: Made<'a>,
    interrupt: Interrupt<'a>,
    found: Vec<Drift>,
}

impl Walk<'_> {
    /// Looks at what is in a directory. `base` is what the listing has of it: itself, and all below.
    fn directory(
        &mut self,
        path: &[u8],
        directory: BorrowedFd<'_>,
        base: Option<Range<usize>>,
    ) -> io::Result<()> {
        self.interrupt.check()?;
        let stat = fstat(directory)?;
        let mut names = directory::names(directory)?;
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let children = base.map(|base| self.children(base)).unwrap_or_default();
        // In an upper directory, what is not there is as in the base.
        let shows_base = match self.made.upper {
            Some(form) => !opaque(Holder::Open(directory), form)?,
            None => false,
        };
        let (mut left, mut right) = (children.into_iter().peekable(), names.into_iter().peekable());
        loop {
            let name_of = |range: &Range<usize>| {
                self.made.base.map(|base| base.entries[range.start].name.as_slice())
            };
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(range), Some(name)) => {
                    name_of(range).unwrap_or_default().cmp(name.name.to_bytes())
                }
            };
            let before = if order.is_le() { left.next() } else { None };
            let now = if order.is_ge() { right.next() } else { None };
            match (before, now) {
                (before, Some(name)) => self.name(path, directory, &name, before)?,
                (Some(range), None) if !shows_base && self.is_later(&stat) => {
                    self.removed(path, range);
                }
                _ => {}
            }
        }
    }

    fn name(
        &mut self,
        path: &[u8],
        directory: BorrowedFd<'_>,
        Name { name, kind }: &Name,
        before: Option<Range<usize>>,
    ) -> io::Result<()> {
        let path = below(path, name.to_bytes());
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if self.made.upper.is_some() && is_whiteout(&stat) {
            if let Some(range) = before.filter(|_| self.is_later(&stat)) {
                self.removed(&path[..path.len() - name.to_bytes().len()], range);
            }
            return Ok(());
        }
        let entry = before.as_ref().and_then(|range| Some(&self.made.base?.entries[range.start]));
        self.compare(&path, entry, directory, name, &stat)?;
        if *kind != FileType::Directory {
            return Ok(());
        }
        let is_directory = entry.is_some_and(|entry| entry.kind == ListedKind::Directory);
        let opened = directory::open(directory, name)?;
        // What is below another filesystem's top is none of the tree.
        if fstat(&opened)?.st_dev != fstat(directory)?.st_dev {
            return Ok(());
        }
        self.directory(&path, opened.as_fd(), before.filter(|_| is_directory))
    }

    /// Compares what is there with what was.
    fn compare(
        &mut self,
        path: &[u8],
        before: Option<&ListedFile>,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> io::Result<()> {
        if !self.is_later(stat) {
            return Ok(());
        }
        let marks = self.made.upper.map_or(Marks::Plain, Marks::Escaped);
        let now = walk::one_of(directory, name, stat, marks)?;
        let changed: Vec<_> = match before {
            None => Vec::new(),
            Some(before) => {
                let changed = difference::changed(before, &now).into_iter();
                changed.filter(|what| *what != "mtime").collect()
            }
        };
        if before.is_none() || !changed.is_empty() {
            let is_new = before.is_none() && !self.is_older(directory, name);
            let (path, before) = (path.to_vec(), before.cloned());
            self.found.push(Drift { path, before, is_new, now: Some(now), changed });
        }
        Ok(())
    }

    /// Adds something of the base that is gone, and not all that was below it.
    fn removed(&mut self, above: &[u8], range: Range<usize>) {
        let Some(base) = self.made.base else { return };
        let before = base.entries[range.start].clone();
        let above = above.strip_suffix(b"/").unwrap_or(above);
        let path = below(above, &before.name);
        let (before, changed) = (Some(before), Vec::new());
        self.found.push(Drift { path, before, is_new: false, now: None, changed });
    }

    fn is_later(&self, stat: &Stat) -> bool {
        (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()) > self.made.since
    }

    /// Tells whether something was there when the tree was made, as far as its filesystem knows.
    fn is_older(&self, directory: BorrowedFd<'_>, name: &CStr) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let Ok(found) = statx(directory, name, flags, StatxFlags::BTIME) else { return false };
        let born = (found.stx_btime.tv_sec, i64::from(found.stx_btime.tv_nsec));
        StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME)
            && born <= self.made.since
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

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (0, 0)
}
