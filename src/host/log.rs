//! The log of a run: all that was printed, or how it began and how it ended.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::owned::{OwnerIds, make_file};

/// How much of the beginning is kept, in bytes.
const HEAD: u64 = 1024 * 1024;

/// How much of the end is kept at least, in bytes; twice as much at most.
const TAIL: u64 = 2 * 1024 * 1024;

/// What the names of the files of the end have behind that of the log.
const OLDER: &str = "older";
const NEWER: &str = "newer";

/// A log that takes no more of the disk than it may, however much is written into it.
///
/// Behind the beginning, two files take turns: when the newer one is full, the older one goes.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    owner: OwnerIds,
    file: File,
    room: u64,
    /// The newer of the two, once there is more than the beginning.
    tail: Option<File>,
    left_out: u64,
}

impl Log {
    /// Makes an empty one.
    pub(super) fn make(path: &Path, owner: OwnerIds) -> io::Result<Self> {
        let file = make_file(path, owner)?;
        Ok(Self { path: path.to_owned(), owner, file, room: HEAD, tail: None, left_out: 0 })
    }

    /// Adds to it.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(fits);
            let mut file = self.tail.as_ref().unwrap_or(&self.file);
            file.write_all(now)?;
            self.room -= now.len() as u64;
            if rest.is_empty() {
                return Ok(());
            }
            self.turn()?;
            bytes = rest;
        }
    }

    /// Begins with another file of the two.
    fn turn(&mut self) -> io::Result<()> {
        let [older, newer] = self.tails();
        if self.tail.take().is_some() {
            self.left_out += fs::metadata(&older).map_or(0, |older| older.len());
            fs::rename(&newer, &older)?;
        }
        self.tail = Some(make_file(&newer, self.owner)?);
        self.room = TAIL;
        Ok(())
    }

    /// Makes one file of all. Each part goes before the next is added: the bound holds here too.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        // What comes now is the little that is said of the end.
        self.room = u64::MAX;
        if self.tail.take().is_none() {
            return Ok(());
        }
        if self.left_out > 0 {
            writeln!(self.file, "\n[{} bytes are left out here]", self.left_out)?;
        }
        for part in self.tails() {
            match File::open(&part) {
                Ok(mut from) => io::copy(&mut from, &mut self.file)?,
                // There is just one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            fs::remove_file(&part)?;
        }
        Ok(())
    }

    fn tails(&self) -> [PathBuf; 2] {
        [OLDER, NEWER].map(|turn| self.path.with_extension(turn))
    }
}

/// Returns when something was last written into the log at `path`; `None` if there is none.
pub(super) fn written(path: &Path) -> Option<SystemTime> {
    let log = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    let newer = fs::symlink_metadata(path.with_extension(NEWER));
    log.modified().ok().max(newer.ok().and_then(|newer| newer.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a log in pieces, and returns what it is in the end.
    fn log(bytes: &[u8], piece: usize) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::make(&path, None).unwrap();
        let bound = HEAD + 2 * TAIL;
        for piece in bytes.chunks(piece) {
            log.write(piece).unwrap();
            let files = fs::read_dir(directory.path()).unwrap().flatten();
            let size: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
            assert!(size <= bound, "{size}");
        }
        log.finish().unwrap();
        log.finish().unwrap();
        log.write(b"end").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::read(path).unwrap()
    }

    #[test]
    fn what_fits_is_kept_whole() {
        for (size, piece) in
            [(0, 1), (HEAD, 70_000), (HEAD + 1, 999_999), (HEAD + 2 * TAIL, 65_536)]
        {
            let size = usize::try_from(size).unwrap();
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
            assert!(log(&bytes, piece) == [&bytes[..], b"end"].concat(), "{size}");
        }
    }

    #[test]
    fn of_more_the_beginning_and_the_end_are_kept() {
        let size = usize::try_from(HEAD + 5 * TAIL + 100).unwrap();
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        for piece in [65_536, size] {
            let kept = log(&bytes, piece);
            let (head, tail) =
                (usize::try_from(HEAD).unwrap(), usize::try_from(TAIL + 100).unwrap());
            assert!(kept.starts_with(&bytes[..head]));
            assert!(kept.ends_with(&[&bytes[size - tail..], b"end"].concat()));
            let between = &kept[head..kept.len() - tail - 3];
            let left_out = size - head - tail;
            let said = format!("\n[{left_out} bytes are left out here]\n");
            assert_eq!(String::from_utf8_lossy(between), said);
        }
    }
}
