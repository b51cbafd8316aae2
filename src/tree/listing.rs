//! What a tree holds, to find every change later.

mod delta;
mod difference;
mod drift;
mod items;
mod overlay;
mod reading;
mod search;
mod text;
mod unchanged;
mod walk;

use std::collections::HashMap;
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

use super::interrupt::Interrupt;
use super::marks::{Form, Marks};
use super::merge::Changes;
use super::reader::Reader;
use super::stamps::Stamps;

use crate::digest::Digest;

pub(crate) use delta::{LONGEST_HIDDEN, Step, WHITEOUT, steps, steps_of};
pub(crate) use difference::{Change, Difference};
pub(crate) use drift::{Drift, Made, drift};
pub(crate) use items::paths_to_merge;
pub(crate) use reading::LONGEST_TEXT;
pub(crate) use search::Search;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use text::seal;
pub(super) use unchanged::{Directory, Same, Unchanged, unchanged};

/// What a tree holds: its top first, and each directory before what is in it, which is sorted by
/// the bytes of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    entries: Vec<ListedFile>,
}

/// One name of a tree, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFile {
    /// How many directories it is below: zero for the top alone.
    depth: u32,
    /// The name; that of the top is empty.
    name: Vec<u8>,
    /// Which earlier entry is a name of the same file, if one is.
    first: Option<u32>,
    /// The digest of names and values of its extended attributes, if it has any.
    xattrs: Option<Digest>,
    seconds: i64,
    nanoseconds: u32,
    /// What it is.
    pub kind: ListedKind,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What something in a tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListedKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The digest of its bytes.
        digest: Digest,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: Vec<u8>,
    },
    /// A block device, by its number.
    BlockDevice(u64),
    /// A character device, by its number.
    CharacterDevice(u64),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl ListedFile {
    /// Reads what is of this name in a directory.
    pub(crate) fn read(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Self> {
        walk::one(directory, name)
    }

    /// Likewise of a tree that has `marks`, where `stat` is known; of the directory itself where the name is empty.
    fn read_of(
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        marks: Marks,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        walk::one_of(directory, name, stat, marks, interrupt)
    }

    /// Reads what is at a path of a tree; nothing, where nothing is there.
    pub(super) fn find(
        reader: &mut Reader<'_>,
        path: &[u8],
        interrupt: Interrupt<'_>,
    ) -> io::Result<Option<Self>> {
        let marks = reader.marks();
        reader.looked_at(path, |directory, name, stat| {
            Self::read_of(directory, name, stat, marks, interrupt)
        })
    }

    /// Creates one that is known by this alone: what has no name, time or attributes.
    pub(crate) fn of(kind: ListedKind, mode: u32, (uid, gid): (u32, u32)) -> Self {
        let (depth, name, first, xattrs) = (0, Vec::new(), None, None);
        Self { depth, name, first, xattrs, seconds: 0, nanoseconds: 0, kind, mode, uid, gid }
    }

    /// Tells what of something else is different, as a plan can tell: not its times, nor its attributes.
    pub(crate) fn differs(&self, other: &Self) -> Vec<&'static str> {
        let differs = difference::changed(self, other).into_iter();
        differs.filter(|what| !["mtime", "xattrs"].contains(what)).collect()
    }

    /// Tells whether something else is the same, whatever its name is.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        difference::changed(self, other).is_empty()
    }

    /// Returns its name.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns when its content changed, in seconds and nanoseconds.
    pub(crate) fn time(&self) -> (i64, u32) {
        (self.seconds, self.nanoseconds)
    }

    /// Tells whether it may be what has this `stat`, as far as that tells.
    pub(super) fn looks_like(&self, stat: &Stat) -> bool {
        let is_of_kind = match (&self.kind, FileType::from_raw_mode(stat.st_mode)) {
            (ListedKind::File { size, .. }, FileType::RegularFile) => {
                u64::try_from(stat.st_size) == Ok(*size)
            }
            (ListedKind::Directory, FileType::Directory)
            | (ListedKind::Symlink { .. }, FileType::Symlink)
            | (ListedKind::Fifo, FileType::Fifo)
            | (ListedKind::Socket, FileType::Socket) => true,
            (ListedKind::BlockDevice(device), FileType::BlockDevice)
            | (ListedKind::CharacterDevice(device), FileType::CharacterDevice) => {
                *device == stat.st_rdev
            }
            _ => false,
        };
        is_of_kind
            && (self.mode, self.uid, self.gid) == (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
            && self.seconds == stat.st_mtime
            && u32::try_from(stat.st_mtime_nsec) == Ok(self.nanoseconds)
    }
}

/// Where a name that was looked for is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Occurrence {
    /// The path, without a slash in front.
    pub path: Vec<u8>,
    /// What holds it.
    pub kind: OccurrenceKind,
}

/// What holds a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum OccurrenceKind {
    /// A file that can be edited as text: not long, and without a NUL.
    Text,
    /// Any other file.
    Binary,
    /// A symbolic link's target.
    Symlink,
    /// A text, or a link's target, that holds no more than a part of the name, or the name in capital
    /// letters.
    Part,
    /// An extended attribute.
    Attribute,
}

/// What is known of a tree before it is listed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Baseline<'a> {
    /// Nothing.
    Nothing,
    /// The listing of the tree that this one was made of, and what has changed since. A file that has
    /// not changed is not read: its digest is the parent's. Nothing is looked for in it either, nor
    /// in a link that has not changed.
    Parent(&'a Listing, &'a Changes),
    /// The listing of the tree that this one is a copy of, and the stamps of the copy when it was made. A
    /// file that has its stamp still is not read, and nothing is looked for in it.
    Copied(&'a Listing, &'a Stamps),
}

/// What the listing of a tree gave.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The listing. Attributes have the names that they would have in a plain directory.
    pub listing: Listing,
    /// What holds the name that was looked for.
    pub places: Vec<Occurrence>,
    /// The paths of what has attributes of overlayfs's names, without a slash in front.
    pub marked: Vec<Vec<u8>>,
}

/// What the listing of an overlay gave.
#[derive(Debug)]
pub(crate) struct OfOverlay {
    /// What it shows.
    pub shown: Listing,
    /// What is in its upper directory.
    pub upper: Listing,
}

impl Listing {
    /// Lists a tree, and finds the files and links that hold the name that is looked for. All names
    /// of such a file are given. What is `known` is not read again. The `interrupt` ends it.
    pub(crate) fn of(
        tree: BorrowedFd<'_>,
        known: Baseline<'_>,
        search: &Search,
        marks: Marks,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Listed> {
        walk::list(tree, known, search, marks, interrupt)
    }

    /// Lists what an overlay shows by the listing of its `lower` directory. Nothing is looked at but the `upper` one,
    /// whose marks have a `form`. There is nothing where marks have other things shown than are in the two, such as
    /// those of directories that were renamed.
    pub(crate) fn of_overlay(
        lower: &Self,
        upper: BorrowedFd<'_>,
        form: Form,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Option<OfOverlay>> {
        overlay::list(lower, upper, form, interrupt)
    }

    /// Writes the listing, for [`Listing::read`].
    pub(crate) fn write(&self, to: impl Write) -> io::Result<()> {
        text::write(self, to)
    }

    /// Reads what [`Listing::write`] has written.
    ///
    /// # Errors
    ///
    /// Whatever else is read.
    pub(crate) fn read(from: impl Read) -> io::Result<Self> {
        text::read(from)
    }

    /// Reads all of a tree again, and tells what is not as listed.
    pub(crate) fn verify(&self, tree: BorrowedFd<'_>, marks: Marks) -> io::Result<Vec<Change>> {
        let never = Interrupt::NEVER;
        let now = Self::of(tree, Baseline::Nothing, &Search::NOTHING, marks, never)?;
        Ok(difference::between(self, &now.listing))
    }

    /// Returns what is not as it is in `base`, from which this tree was copied.
    pub(crate) fn changes(&self, base: &Self) -> Changes {
        let mut changes = Changes::default();
        for found in difference::between(base, self) {
            changes.add(&found.path);
        }
        changes
    }

    /// Returns the path of a device 0:0, which an overlay takes for a file that was removed.
    pub(crate) fn first_whiteout(&self) -> Option<Vec<u8>> {
        let is_whiteout = |file: &ListedFile| file.kind == ListedKind::CharacterDevice(0);
        self.iter().find(|(_, file)| is_whiteout(file)).map(|(path, _)| path)
    }

    /// Returns all entries but the top with their paths, which have no slash in front.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Vec<u8>, &ListedFile)> {
        let mut way = Way::default();
        self.entries.iter().skip(1).map(move |entry| (way.step(entry).to_vec(), entry))
    }

    /// Returns the paths of all entries but the top.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Vec<u8>> {
        self.iter().map(|(path, _)| path)
    }

    /// Returns each entry by the entry above it and its name.
    fn index(&self) -> HashMap<(u32, &[u8]), u32> {
        let mut above: Vec<u32> = Vec::new();
        let mut index = HashMap::with_capacity(self.entries.len());
        for (number, entry) in (0..).zip(&self.entries) {
            above.truncate(entry.depth as usize);
            if let Some(above) = above.last() {
                index.insert((*above, entry.name.as_slice()), number);
            }
            above.push(number);
        }
        index
    }
}

/// The path of an entry, found from that of the one before.
#[derive(Debug, Default)]
struct Way {
    path: Vec<u8>,
    /// How long the path of each directory above is.
    lengths: Vec<usize>,
}

impl Way {
    fn step(&mut self, entry: &ListedFile) -> &[u8] {
        let Some(above) = (entry.depth as usize).checked_sub(1) else {
            return &[];
        };
        self.lengths.truncate(above);
        self.path.truncate(self.lengths.last().copied().unwrap_or_default());
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&entry.name);
        self.lengths.push(self.path.len());
        &self.path
    }
}
