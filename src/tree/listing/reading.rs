//! One reading of a file: its digest, and whether it holds what is looked for.

use std::io;
use std::os::fd::BorrowedFd;

use memchr::memchr;
use rustix::io::{Errno, pread};

use super::OccurrenceKind;
use super::search::{Holds, Search};
use crate::digest::{ContentHasher, Digest};
use crate::host::holes::{Segment, Segments};
use crate::tree::interrupt::Interrupt;

/// The longest file that is taken for text, in bytes: no name is written into a longer one.
pub(crate) const LONGEST_TEXT: u64 = 16 * 1024 * 1024;

/// What the reading of a file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileReading {
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// As what it holds the name that is looked for, if it does.
    pub(super) holds: Option<OccurrenceKind>,
}

impl FileReading {
    /// Reads a file to its end, unless interrupted. The buffer is longer than any word of `search`.
    pub(super) fn of(
        file: BorrowedFd<'_>,
        search: &Search,
        buffer: &mut [u8],
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        let overlap = search.longest().saturating_sub(1);
        let mut content = ContentHasher::default();
        let mut kept = 0;
        let (mut found, mut nul) = (false, false);
        for part in Segments::of(file)? {
            interrupt.check()?;
            let (mut position, end) = match part? {
                Segment::Bytes(start, end) => (start, end),
                Segment::Hole(length) => {
                    content.skip(length);
                    // No name has a NUL.
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
                found = found || search.is_in(&buffer[..end]);
                // A word may begin in this piece and end in the next.
                kept = overlap.min(end);
                buffer.copy_within(end - kept..end, 0);
            }
        }
        let (digest, size) = content.finish();
        let holds = match found {
            false => None,
            true if nul || size > LONGEST_TEXT => Some(OccurrenceKind::Binary),
            true => match search.judge(&text(file, size)?) {
                Holds::Nothing => None,
                Holds::Whole => Some(OccurrenceKind::Text),
                Holds::Part => Some(OccurrenceKind::Part),
            },
        };
        Ok(Self { size, digest, holds })
    }
}

/// Reads a short file once more, as a whole.
fn text(file: BorrowedFd<'_>, size: u64) -> io::Result<Vec<u8>> {
    let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
    let mut length = 0;
    while length < text.len() {
        match pread(file, &mut text[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Write, pipe};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_interrupted_file_is_not_read_to_its_end() {
        let file = File::open("/dev/zero").unwrap();
        let (heard, mut writer) = pipe().unwrap();
        writer.write_all(b"!").unwrap();
        let mut buffer = [0; 4096];
        let read = FileReading::of(
            file.as_fd(),
            &Search::NOTHING,
            &mut buffer,
            Interrupt::of(heard.as_fd()),
        );
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
