//! Digests of files that are long and seldom change: what is known of one is not read again.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{fstat, fstatfs};

use crate::digest::{Digest, Reading, Stamp};
use crate::host::filesystem::{self, stamp};
use crate::host::holes;
use crate::host::settled::settled;

/// What is read at once, in bytes.
const BUFFER: usize = 128 * 1024;

/// Takes digests of files.
pub(super) struct Reader<'a> {
    recall: &'a dyn Fn(&Stamp) -> Option<Digest>,
    readings: Vec<Reading>,
}

impl<'a> Reader<'a> {
    /// Begins with `recall`, which may know the digest of what has such a stamp.
    pub(super) fn new(recall: &'a dyn Fn(&Stamp) -> Option<Digest>) -> Self {
        Self { recall, readings: Vec::new() }
    }

    /// Returns the digest of a regular file; `None` if there is none to be read.
    pub(super) fn digest(&mut self, path: &Path) -> Option<Digest> {
        // A pipe would be waited for.
        if !fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let file = File::open(path).ok()?;
        let kind = fstatfs(&file).ok()?;
        if filesystem::is_made_up(&kind) {
            return None;
        }
        let before = stamp(&fstat(&file).ok()?);
        if let Some(digest) = (self.recall)(&before) {
            return Some(digest);
        }
        let begun = SystemTime::now();
        let (digest, _) = holes::digest(file.as_fd(), &mut vec![0; BUFFER]).ok()?;
        if settled(&file, begun) == Some(before) {
            self.readings.push(Reading { stamp: before, digest });
        }
        Some(digest)
    }

    /// Returns what is worth remembering of what was read.
    pub(super) fn readings(self) -> Vec<Reading> {
        self.readings
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_is_known_of_a_file_is_not_read_again_until_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        fs::write(&path, vec![7; 4096]).unwrap();
        let known = stamp(&rustix::fs::stat(&path).unwrap());
        let other = Digest::of(b"what was remembered");
        let recall = |stamp: &Stamp| (*stamp == known).then_some(other);
        let mut reader = Reader::new(&recall);
        assert_eq!(reader.digest(&path), Some(other));

        // Of the same length, and said to be as old.
        std::thread::sleep(Duration::from_millis(20));
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, vec![8; 4096]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(reader.digest(&path), Some(Digest::of(&[8; 4096])));
        assert_eq!(reader.readings(), []);
    }

    #[test]
    fn only_what_is_long_and_was_left_alone_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let (new, short) = (directory.path().join("new"), Path::new("/etc/hostname"));
        fs::write(&new, vec![7; 2 * 1024 * 1024]).unwrap();
        // Anybody may say that it is old.
        let old = UNIX_EPOCH + Duration::from_secs(1);
        File::options().write(true).open(&new).unwrap().set_modified(old).unwrap();
        let nothing = |_: &Stamp| None;
        let mut reader = Reader::new(&nothing);
        for path in [&new, short] {
            assert_eq!(reader.digest(path), Some(Digest::of(&fs::read(path).unwrap())));
        }
        assert_eq!(reader.digest(directory.path()), None);
        assert_eq!(reader.readings(), []);
    }
}
