//! One reading of a file: its digest, and whether it holds what is looked for.

use std::io;
use std::os::fd::BorrowedFd;

use memchr::memchr;
use memchr::memmem::Finder;
use rustix::io::{Errno, pread};

use super::OccurrenceKind;
use crate::digest::{Content, Digest};
use crate::host::holes::{Part, Parts};
use crate::tree::interrupt::Interrupt;

/// The longest file that is taken for text, in bytes: no name is written into a longer one.
pub const LONGEST_TEXT: u64 = 16 * 1024 * 1024;

/// What the reading of a file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// As what it holds the needle, if it does.
    pub(super) holds: Option<OccurrenceKind>,
}

impl Reading {
    /// Reads a file to its end, unless interrupted. A needle of no bytes is nowhere.
    ///
    /// # Panics
    ///
    /// Does not: `buffer` is longer than any needle that [`super::walk`] takes.
    pub(super) fn of(
        file: BorrowedFd<'_>,
        needle: &Finder<'_>,
        buffer: &mut [u8],
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        let overlap = needle.needle().len().saturating_sub(1);
        let mut content = Content::default();
        let mut kept = 0;
        let (mut found, mut nul) = (needle.needle().is_empty(), false);
        for part in Parts::of(file)? {
            interrupt.check()?;
            let (mut position, end) = match part? {
                Part::Bytes(start, end) => (start, end),
                Part::Hole(length) => {
                    content.skip(length);
                    // No needle has a NUL.
                    (nul, kept) = (true, 0);
                    continue;
                }
            };
            while position < end {
                interrupt.check()?;
                let room = usize::try_from(end - position).unwrap_or(usize::MAX);
                let room = room.min(buffer.len() - kept);
                let length = match pread(file, &mut buffer[kept..kept + room], position) {
                    Ok(0) => break,
                    Ok(length) => length,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                };
                position += length as u64;
                let end = kept + length;
                let fresh = &buffer[kept..end];
                content.update(fresh);
                nul = nul || memchr(0, fresh).is_some();
                found = found || needle.find(&buffer[..end]).is_some();
                // The needle may begin in this piece and end in the next.
                kept = overlap.min(end);
                buffer.copy_within(end - kept..end, 0);
            }
        }
        let (digest, size) = content.finish();
        let kind =
            if nul || size > LONGEST_TEXT { OccurrenceKind::Binary } else { OccurrenceKind::Text };
        let holds = (found && !needle.needle().is_empty()).then_some(kind);
        Ok(Self { size, digest, holds })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Write, pipe};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_is_not_read_to_its_end_once_the_bell_rings() {
        let file = File::open("/dev/zero").unwrap();
        let (heard, mut writer) = pipe().unwrap();
        writer.write_all(b"!").unwrap();
        let mut buffer = [0; 4096];
        let read =
            Reading::of(file.as_fd(), &Finder::new(b""), &mut buffer, Interrupt::of(heard.as_fd()));
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
