//! Files with holes: what is in none of them is read, and they are counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::{Errno, pread};

use crate::digest::{ContentHasher, Digest};

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Bytes, from here to there, or to the end of the file if that comes first.
    Bytes(u64, u64),
    /// So many zeros that are nowhere.
    Hole(u64),
}

/// The parts of a file, from its beginning on.
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    file: BorrowedFd<'a>,
    position: u64,
    size: u64,
    end: u64,
    is_sparse: bool,
}

/// What is wrong with a file that goes on behind its end.
const ENDLESS: &str = "it has more bytes than its length says: it grows, or is made while it is \
                       read, as files in `/proc` are";

impl<'a> Segments<'a> {
    /// Begins with a file whose own position is of no account.
    pub(crate) fn of(file: BorrowedFd<'a>) -> io::Result<Self> {
        let stat = fstat(file)?;
        let [size, blocks] =
            [stat.st_size, stat.st_blocks].map(|count| u64::try_from(count).unwrap_or_default());
        // A hole is to be expected only where fewer blocks are taken than the length asks for.
        let is_sparse = blocks.saturating_mul(512) < size;
        let end = if is_sparse { size } else { u64::MAX };
        Ok(Self { file, position: 0, size, end, is_sparse })
    }

    /// Ends where the file did when this began.
    fn up_to_its_length(self) -> Self {
        Self { end: self.size, ..self }
    }

    /// Fails, where the file goes on.
    fn end(self) -> io::Result<()> {
        match pread(self.file, &mut [0; 64], self.end) {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other(ENDLESS)),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells whether there may be a hole.
    pub(crate) fn are_sparse(&self) -> bool {
        self.is_sparse
    }

    fn part(&mut self) -> io::Result<Segment> {
        let from = self.position;
        if !self.is_sparse {
            self.position = self.end;
            return Ok(Segment::Bytes(from, self.end));
        }
        let start = match seek(self.file, SeekFrom::Data(from)) {
            Ok(start) => start.min(self.end),
            // There is nothing but a hole up to the end.
            Err(Errno::NXIO) => self.end,
            // The filesystem knows of no holes.
            Err(Errno::INVAL) => {
                self.position = self.end;
                return Ok(Segment::Bytes(from, self.end));
            }
            Err(error) => return Err(error.into()),
        };
        if start > from {
            self.position = start;
            return Ok(Segment::Hole(start - from));
        }
        let end = seek(self.file, SeekFrom::Hole(start)).ok().filter(|end| *end > start);
        self.position = end.unwrap_or(self.end).min(self.end);
        Ok(Segment::Bytes(start, self.position))
    }
}

impl Iterator for Segments<'_> {
    type Item = io::Result<Segment>;

    fn next(&mut self) -> Option<io::Result<Segment>> {
        (self.position < self.end).then(|| self.part())
    }
}

/// Returns the digest of a file's content, and how long that is.
///
/// # Errors
///
/// Also where it is longer than it says, and may have no end.
pub(crate) fn digest(file: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(Digest, u64)> {
    let mut content = ContentHasher::default();
    let mut parts = Segments::of(file)?.up_to_its_length();
    for part in parts.by_ref() {
        match part? {
            Segment::Hole(length) => content.skip(length),
            Segment::Bytes(start, end) => read(file, start, end, buffer, |piece| {
                content.update(piece);
                Ok(())
            })?,
        }
    }
    parts.end()?;
    Ok(content.finish())
}

/// Copies a file into an empty one, holes kept, and returns the digest of the content and how long
/// that is.
///
/// # Errors
///
/// Also where it is longer than it says, and may have no end.
pub(crate) fn copy(from: &File, to: &mut File, buffer: &mut [u8]) -> io::Result<(Digest, u64)> {
    let mut content = ContentHasher::default();
    let mut parts = Segments::of(from.as_fd())?.up_to_its_length();
    let is_sparse = parts.are_sparse();
    for part in parts.by_ref() {
        match part? {
            Segment::Hole(length) => {
                content.skip(length);
                skip(to, length)?;
            }
            Segment::Bytes(start, end) => read(from.as_fd(), start, end, buffer, |piece| {
                content.update(piece);
                // What knows of no holes may have some all the same.
                if is_sparse && piece.iter().all(|byte| *byte == 0) {
                    return skip(to, piece.len() as u64);
                }
                to.write_all(piece)
            })?,
        }
    }
    parts.end()?;
    let (digest, length) = content.finish();
    if is_sparse {
        to.set_len(length)?;
    }
    Ok((digest, length))
}

fn skip(file: &mut File, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(io::Error::other)?;
    io::Seek::seek_relative(file, length)
}

/// Reads from one position to another, or to the end of the file.
fn read(
    file: BorrowedFd<'_>,
    start: u64,
    end: u64,
    buffer: &mut [u8],
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut position = start;
    while position < end {
        let room = usize::try_from(end - position).unwrap_or(usize::MAX).min(buffer.len());
        match pread(file, &mut buffer[..room], position) {
            Ok(0) => break,
            Ok(read) => {
                each(&buffer[..read])?;
                position += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_file_is_read_as_it_is_whatever_holes_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let mut buffer = vec![0; 100_000];
        for (number, (length, written)) in [
            (0, &[][..]),
            (10, &[0]),
            (3 << 20, &[]),
            (5 << 20, &[3 << 20]),
            ((5 << 20) + 7, &[0, 2 << 20, (5 << 20) + 6]),
        ]
        .into_iter()
        .enumerate()
        {
            let path = directory.path().join(number.to_string());
            let file = File::create_new(&path).unwrap();
            file.set_len(length).unwrap();
            for position in written {
                file.write_all_at(b"x", *position).unwrap();
            }
            // The same without holes.
            let bytes = std::fs::read(&path).unwrap();
            let full = directory.path().join(format!("{number}-full"));
            std::fs::write(&full, &bytes).unwrap();
            let open = |path| File::open(path).unwrap();
            let expected = digest(open(&full).as_fd(), &mut buffer).unwrap();
            assert_eq!(expected.1, length);
            assert_eq!(digest(open(&path).as_fd(), &mut buffer).unwrap(), expected, "{number}");

            let copied = directory.path().join(format!("{number}-copied"));
            let mut to = File::create_new(&copied).unwrap();
            assert_eq!(copy(&open(&path), &mut to, &mut buffer).unwrap(), expected);
            assert_eq!(std::fs::read(&copied).unwrap(), bytes);
            let blocks = |path| std::fs::metadata(path).unwrap().blocks();
            assert!(blocks(&copied) <= blocks(&path) + 512, "{number}");
        }
    }

    #[test]
    fn terabytes_of_nothing_take_no_time() {
        let file = tempfile::tempfile().unwrap();
        if file.set_len(8 << 40).is_err() {
            return;
        }
        let begun = std::time::Instant::now();
        let found = digest(file.as_fd(), &mut [0; 4096]).unwrap();
        assert_eq!(found.1, 8 << 40);
        assert!(begun.elapsed().as_secs() < 5);
    }
}
