//! Reads the files of a tree while somebody still makes it.
//!
//! Most of a rootfs is there long before its last file is. What was read of a file counts if the file
//! is listed with the stamp that it had then. It was read only when nobody had it open to write to
//! it, so that who has changed it since must have opened it since; and its last change was further
//! back than times are apart, so that the next one shows.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memchr::memmem::Finder;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, fstatvfs, openat, statat};

use super::reading::Reading;
use crate::digest::Stamp;
use crate::host::filesystem::stamp;
use crate::host::kernel;
use crate::store::tree::bell::Bell;
use crate::store::tree::directory::{self, Name};

/// How long a file must have been left alone to be read. Who writes it may pause; and times are as far
/// apart as ticks are, ten milliseconds at the most.
const LEFT_ALONE: Duration = Duration::from_millis(250);

/// The longest file that is read, in bytes: one that is removed meanwhile keeps its place on the disk.
const LONGEST: u64 = 64 << 20;

/// The shortest file that is sent to the disk, in bytes. To do so with thousands of short ones, each by
/// itself, keeps those waiting who make others.
const SENT: u64 = 32 << 10;

/// How many bytes a disk must have free, so that nobody lacks what is kept like that.
const ROOM: u64 = 1 << 30;

/// How many files are on their way to the disk before the first is read, and of how many bytes.
const BATCH: (usize, u64) = (32, 8 << 20);

/// How much of a file is sent to the disk at once, in bytes: nothing interrupts that.
const PIECE: u64 = 8 << 20;

/// What a file is read into, in bytes.
const SCRATCH: usize = 256 * 1024;

/// How deep it is looked: each level takes a descriptor, and others need some.
const DEEPEST: u32 = 24;

/// How many names of a directory are looked at before the bell is heard again.
const NAMES: usize = 64;

/// What was read of files before they were listed.
#[derive(Debug)]
pub struct Ahead {
    needle: Vec<u8>,
    readings: HashMap<Stamp, Reading>,
    buffer: Vec<u8>,
}

/// What came of one look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// How many files were read.
    pub read: usize,
    /// How long it took to read them.
    pub reading: Duration,
    /// How long it took to find out which.
    pub finding: Duration,
}

/// A directory that is still to be looked at: the one above, its name, and how deep it is.
type Next = (Arc<OwnedFd>, CString, u32);

/// Files to read that have these stamps.
#[derive(Default)]
struct Batch {
    files: Vec<(OwnedFd, Stamp)>,
    bytes: u64,
}

impl Ahead {
    /// Begins with nothing. `needle` is what the files will be searched for.
    pub fn new(needle: &[u8]) -> Self {
        Self { needle: needle.to_vec(), readings: HashMap::new(), buffer: vec![0; SCRATCH] }
    }

    /// Reads those files of a tree that have been left alone for a while, and were not read as they
    /// are. What cannot be read is left to others.
    ///
    /// The tree must be on a filesystem that [is reliable](crate::host::filesystem::is_reliable).
    ///
    /// # Errors
    ///
    /// Only that the `bell` rings.
    pub fn look(&mut self, tree: BorrowedFd<'_>, bell: Bell<'_>) -> io::Result<Look> {
        let begun = Instant::now();
        let mut reading = Duration::ZERO;
        let mut read = 0;
        let Ok(top) = directory::reopen(tree) else { return Ok(Look::default()) };
        let mut next: Vec<Next> = vec![(Arc::new(top), c".".to_owned(), 0)];
        let mut batch = Batch::default();
        let mut seen = HashSet::new();
        while let Some((above, name, depth)) = next.pop() {
            bell.listen()?;
            let now = SystemTime::now();
            let Ok(directory) = directory::open(above.as_fd(), &name) else { continue };
            let Ok(names) = directory::names(directory.as_fd()) else { continue };
            let directory = Arc::new(directory);
            for (count, Name { name, kind }) in names.into_iter().enumerate() {
                if count % NAMES == NAMES - 1 {
                    bell.listen()?;
                }
                if kind == FileType::Directory && depth < DEEPEST {
                    next.push((Arc::clone(&directory), name, depth + 1));
                    continue;
                }
                let Some(found) = find(directory.as_fd(), &name, kind) else { continue };
                let is_known = self.readings.contains_key(&found);
                if !seen.insert(found) || is_known || !is_left_alone(&found, now) {
                    continue;
                }
                batch.extend(open(directory.as_fd(), &name, &found).map(|file| (file, found)));
                if batch.is_full() {
                    let begun = Instant::now();
                    read += self.read(&mut batch, bell)?;
                    reading += begun.elapsed();
                }
            }
        }
        let begun_to_read = Instant::now();
        read += self.read(&mut batch, bell)?;
        reading += begun_to_read.elapsed();
        // Of what is gone, or another now, nothing is kept.
        self.readings.retain(|found, _| seen.contains(found));
        Ok(Look { read, reading, finding: begun.elapsed().saturating_sub(reading) })
    }

    /// Reads files, and returns how many.
    fn read(&mut self, batch: &mut Batch, bell: Bell<'_>) -> io::Result<usize> {
        let batch = std::mem::take(batch);
        if batch.files.first().is_none_or(|(file, _)| !has_room(file)) {
            return Ok(0);
        }
        // The disk works while they are read.
        for (file, found) in batch.files.iter().filter(|(_, found)| found.size >= SENT) {
            for offset in (0..found.size).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX)) {
                bell.listen()?;
                // In the end all is written anyway.
                let _ = kernel::begin_to_write_out(file, offset, PIECE);
            }
        }
        let finder = Finder::new(&self.needle);
        let mut count = 0;
        for (file, found) in batch.files {
            if !is_still(&file, &found) || !kernel::has_no_writer(&file) {
                continue;
            }
            match Reading::of(file.as_fd(), &finder, &mut self.buffer, bell) {
                Ok(reading) if reading.size == found.size && is_still(&file, &found) => {
                    self.readings.insert(found, reading);
                    count += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                // It has changed meanwhile, or cannot be read.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(count)
    }

    /// Returns what was read of a file that looks like this, if it was searched for `needle`.
    pub(super) fn reading(&self, stat: &Stat, needle: &[u8]) -> Option<Reading> {
        let reading = self.readings.get(&stamp(stat)).copied();
        reading.filter(|_| self.needle == needle)
    }

    /// Returns of how many files there are readings.
    pub fn count(&self) -> usize {
        self.readings.len()
    }
}

impl Batch {
    fn extend(&mut self, file: Option<(OwnedFd, Stamp)>) {
        self.bytes += file.as_ref().map_or(0, |(_, stamp)| stamp.size);
        self.files.extend(file);
    }

    fn is_full(&self) -> bool {
        self.files.len() >= BATCH.0 || self.bytes >= BATCH.1
    }
}

/// Looks at a file, if it is one that is worth reading.
fn find(directory: BorrowedFd<'_>, name: &CString, kind: FileType) -> Option<Stamp> {
    if kind != FileType::RegularFile {
        return None;
    }
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    is_worth_reading(&stat).then(|| stamp(&stat))
}

fn is_worth_reading(stat: &Stat) -> bool {
    let [size, blocks] =
        [stat.st_size, stat.st_blocks].map(|number| u64::try_from(number).unwrap_or_default());
    // Of a hole there may be more than there is time for. Bytes that are not on the disk yet count as
    // blocks as well.
    let has_hole = blocks.saturating_mul(512) < size / 2;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file && size > 0 && size <= LONGEST && !has_hole
}

/// Tells whether a file is as it was found, its last name not gone.
fn is_still(file: &OwnedFd, found: &Stamp) -> bool {
    fstat(file).is_ok_and(|stat| stat.st_nlink > 0 && stamp(&stat) == *found)
}

fn has_room(file: &OwnedFd) -> bool {
    fstatvfs(file).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM)
}

/// Opens a file that was found, and is still as it was. What came in its place is not opened: that of a
/// pipe or a device would do something.
fn open(directory: BorrowedFd<'_>, name: &CString, found: &Stamp) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = openat(directory, name, flags, Mode::empty()).ok()?;
    let stat = fstat(&held).ok()?;
    if !is_worth_reading(&stat) || stamp(&stat) != *found {
        return None;
    }
    directory::reopen_to_read(held.as_fd()).ok()
}

/// Tells whether a file had been left alone for a while at a time.
fn is_left_alone(stamp: &Stamp, at: SystemTime) -> bool {
    let (Ok(mut seconds), Ok(nanoseconds)) =
        (u64::try_from(stamp.changed.0), u32::try_from(stamp.changed.1))
    else {
        return false;
    };
    // ext2, ext3 and some ext4 have whole seconds.
    seconds += u64::from(nanoseconds == 0);
    let changed = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
    let since = changed.and_then(|changed| at.duration_since(changed).ok());
    since.is_some_and(|since| since >= LEFT_ALONE)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Write, pipe};
    use std::path::Path;

    use super::super::{Kind, Known, Listing};
    use super::*;
    use crate::digest::Digest;

    fn open(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    /// Returns how many files are read.
    fn look(ahead: &mut Ahead, tree: &OwnedFd) -> usize {
        ahead.look(tree.as_fd(), Bell::SILENT).unwrap().read
    }

    /// Lets files become old enough, also where times are whole seconds.
    fn rest() {
        std::thread::sleep(LEFT_ALONE + Duration::from_millis(1010));
    }

    #[test]
    fn what_was_read_ahead_is_not_read_again_until_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "some text").unwrap();
        let tree = open(directory.path());
        let mut ahead = Ahead::new(b"text");
        rest();
        assert_eq!(look(&mut ahead, &tree), 1);
        assert_eq!(look(&mut ahead, &tree), 0, "it is known");

        let other = Digest::of(b"what was remembered");
        ahead.readings.values_mut().for_each(|reading| reading.digest = other);
        let listed = |ahead: &Ahead, needle: &[u8]| {
            let known = Known::Ahead(ahead);
            let (listing, places) = Listing::of(tree.as_fd(), known, needle, Bell::SILENT).unwrap();
            let Kind::File { size, digest } = listing.entries[1].kind else { panic!() };
            (size, digest, places.len())
        };
        assert_eq!(listed(&ahead, b"text"), (9, other, 1));
        let read = Digest::of(b"some text");
        assert_eq!(listed(&ahead, b"some"), (9, read, 1), "it was not searched for that");

        // Of the same length, and said to be as old.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "same size").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(listed(&ahead, b"text"), (9, Digest::of(b"same size"), 0));
    }

    #[test]
    fn a_file_that_somebody_may_write_to_is_left_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut writer = fs::File::create(&path).unwrap();
        writer.write_all(b"one").unwrap();
        let tree = open(directory.path());
        let mut ahead = Ahead::new(b"");
        rest();
        // A write that has begun shows in no time any more.
        assert_eq!(look(&mut ahead, &tree), 0);
        drop(writer);
        assert_eq!(look(&mut ahead, &tree), 1);
        fs::remove_file(&path).unwrap();
        assert_eq!(look(&mut ahead, &tree), 0);
        assert_eq!(ahead.count(), 0, "it is gone");
    }

    #[test]
    fn what_is_worth_it_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        // More than go to the disk at once, by number and by bytes.
        let many = BATCH.0 * 2 + 3;
        for number in 0..many {
            fs::write(at(&number.to_string()), "x").unwrap();
        }
        for name in ["long", "longer"] {
            fs::write(at(name), vec![7; usize::try_from(BATCH.1).unwrap() + 1]).unwrap();
        }
        fs::hard_link(at("long"), at("same")).unwrap();
        let mut below = at("d");
        for _ in 0..=DEEPEST {
            fs::create_dir(&below).unwrap();
            fs::write(below.join("f"), "x").unwrap();
            below.push("d");
        }
        fs::write(at("empty"), "").unwrap();
        let longest = usize::try_from(LONGEST).unwrap();
        fs::write(at("too long"), vec![7; longest + 1]).unwrap();
        fs::File::create(at("hole")).unwrap().set_len(1 << 40).unwrap();
        rustix::fs::mknodat(open(directory.path()), "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("long", at("link")).unwrap();
        let mut ahead = Ahead::new(b"");
        rest();
        let depth = usize::try_from(DEEPEST).unwrap();
        assert_eq!(look(&mut ahead, &open(directory.path())), many + 2 + depth);
    }

    #[test]
    fn a_look_ends_once_the_bell_rings() {
        let directory = tempfile::tempdir().unwrap();
        let (heard, mut rope) = pipe().unwrap();
        rope.write_all(b"!").unwrap();
        let look = Ahead::new(b"").look(open(directory.path()).as_fd(), Bell::of(heard.as_fd()));
        assert_eq!(look.unwrap_err().kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_file_must_have_been_left_alone_for_a_while() {
        let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        let table = [
            ((100, 1_000_000), 100_251, true),
            ((100, 1_000_001), 100_251, false),
            ((100, 1_000_000), 100_250, false),
            ((101, 1), 100_251, false),
            ((-5, 1), 100_251, false),
            ((100, 0), 100_251, false),
            ((100, 0), 101_249, false),
            ((100, 0), 101_250, true),
        ];
        for (changed, now, expected) in table {
            let stamp = Stamp { device: 1, inode: 2, size: 3, modified: (0, 0), changed };
            assert_eq!(is_left_alone(&stamp, at(now)), expected, "{changed:?} {now}");
        }
    }
}
