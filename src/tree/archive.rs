//! Reads a tar archive that anybody may have written, member by member.
//!
//! It knows ustar, the extended headers of pax, and GNU's long names and binary numbers. Nothing that an
//! archive says of itself is believed before it is there: a long name is not made room for, a checksum
//! is computed, and an end must be the end. What other programs might take for something else is
//! refused. It touches nothing but what it reads, and takes a few megabytes at most.

mod decoded;
mod fault;
mod header;
mod limits;
mod pax;
mod zstd;

use std::io::{self, BufRead, BufReader, Read};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use decoded::decoded;
pub(crate) use decoded::decoded_file;
pub(crate) use fault::{ArchiveError, ArchiveFault, Place, shown};
use header::{BLOCK, Header};
pub(crate) use limits::Limits;
use pax::Extended;
pub(crate) use zstd::MAGIC as ZSTD_MAGIC;

/// How many bytes are asked for at once.
const BUFFER: usize = 64 * 1024;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    /// A regular file of so many bytes, which [`ArchiveReader::piece`] reads.
    File(u64),
    /// Another name of what has this one.
    Link(Vec<u8>),
    /// A symbolic link, and where it leads.
    Symlink(Vec<u8>),
    /// A character device, by its major and minor number.
    CharacterDevice(u32, u32),
    /// A block device, likewise.
    BlockDevice(u32, u32),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A member of an archive, as the archive has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchiveMember {
    /// Its name. It is not empty and holds no NUL; anything else may be in it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ArchiveKind,
    /// The permission bits, set-id and sticky among them.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When its content changed: seconds since 1970, and nanoseconds.
    pub time: (i64, u32),
    /// Its extended attributes, sorted by their names, of which none stands twice.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether it has access lists as text, which are not read.
    pub has_text_lists: bool,
}

/// An archive that is being read.
#[derive(Debug)]
pub(crate) struct ArchiveReader<R> {
    from: BufReader<R>,
    limits: Limits,
    place: Place,
    /// How many bytes were read.
    offset: u64,
    /// How many bytes of the member have not been read.
    left: u64,
    /// How many bytes follow them to the next block.
    padding: u64,
    is_at_end: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// Begins with the first byte of an archive that is not compressed.
    pub(crate) fn new(from: R, limits: &Limits) -> Self {
        Self {
            from: BufReader::with_capacity(BUFFER, from),
            limits: limits.clone(),
            place: Place::default(),
            offset: 0,
            left: 0,
            padding: 0,
            is_at_end: false,
        }
    }

    /// Returns where the member stands that was read last.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Reads the next member, what is left of the one before skipped. At `None`, the archive has been read
    /// to the last byte.
    pub(crate) fn next(&mut self) -> Result<Option<ArchiveMember>, ArchiveError> {
        self.member().map_err(|fault| self.about(fault))
    }

    /// Reads bytes of the file that was read last: as many as `buffer` holds, and fewer only at its end.
    pub(crate) fn piece(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        self.fill(&mut buffer[..wanted], "the bytes of a file")
            .map_err(|fault| self.about(fault))?;
        self.left -= wanted as u64;
        Ok(wanted)
    }

    fn about(&self, fault: ArchiveFault) -> ArchiveError {
        ArchiveError { place: self.place.clone(), fault }
    }

    fn member(&mut self) -> Result<Option<ArchiveMember>, ArchiveFault> {
        if self.is_at_end {
            return Ok(None);
        }
        self.skip(self.left, "the bytes of a file")?;
        self.left = 0;
        self.skip(self.padding, "a block")?;
        self.padding = 0;
        self.place = Place { member: self.place.member + 1, offset: self.offset, path: Vec::new() };
        let mut extended = Extended::default();
        let mut room = self.limits.names;
        for _ in 0..=self.limits.headers {
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Err(ArchiveFault::NoEnd);
            }
            let Some(header) = Header::read(&block)? else {
                if !extended.is_empty() {
                    return Err(ArchiveFault::Dangling);
                }
                self.end()?;
                return Ok(None);
            };
            match header.letter() {
                b'x' => extended.read(&self.text(&header, &mut room)?)?,
                b'g' => pax::read_global(&self.text(&header, &mut room)?)?,
                b'L' => extended.set_long_name(self.text(&header, &mut room)?)?,
                b'K' => extended.set_long_link(self.text(&header, &mut room)?)?,
                _ => return self.finish(&header, extended).map(Some),
            }
        }
        Err(ArchiveFault::Headers(self.limits.headers))
    }

    /// Puts together what the headers of a member say.
    fn finish(
        &mut self,
        header: &Header,
        mut extended: Extended,
    ) -> Result<ArchiveMember, ArchiveFault> {
        if self.place.member > self.limits.entries {
            return Err(ArchiveFault::Entries(self.limits.entries));
        }
        let path = extended.path.take().unwrap_or_else(|| header.name());
        self.place.path.clone_from(&path);
        if path.is_empty() {
            return Err(ArchiveFault::Unnamed);
        }
        let size = extended.size.map_or_else(|| header.size(), Ok)?;
        let mut link = || {
            let target = extended.link.take().unwrap_or_else(|| header.link());
            if target.is_empty() { Err(ArchiveFault::NoTarget) } else { Ok(target) }
        };
        let kind = match header.letter() {
            // Before there was a letter for them, directories were files whose names end with a slash.
            b'0' | b'7' | 0 if path.ends_with(b"/") => ArchiveKind::Directory,
            b'0' | b'7' | 0 => ArchiveKind::File(size),
            b'1' => ArchiveKind::Link(link()?),
            b'2' => ArchiveKind::Symlink(link()?),
            b'3' => ArchiveKind::CharacterDevice(header.major()?, header.minor()?),
            b'4' => ArchiveKind::BlockDevice(header.major()?, header.minor()?),
            b'5' => ArchiveKind::Directory,
            b'6' => ArchiveKind::Fifo,
            b'S' => return Err(ArchiveFault::Sparse),
            letter => return Err(ArchiveFault::Kind(letter)),
        };
        match kind {
            ArchiveKind::File(size) => {
                self.left = size;
                self.padding = size.wrapping_neg() % BLOCK as u64;
            }
            // Some programs skip so many bytes, some do not.
            _ if size > 0 => return Err(ArchiveFault::Sized(size)),
            _ => {}
        }
        Ok(ArchiveMember {
            path,
            kind,
            mode: header.mode()?,
            uid: extended.uid.map_or_else(|| header.uid(), Ok)?,
            gid: extended.gid.map_or_else(|| header.gid(), Ok)?,
            time: extended.time.map_or_else(|| Ok((header.time()?, 0)), Ok)?,
            has_text_lists: extended.has_text_lists,
            attributes: extended.attributes()?,
        })
    }

    /// Reads what belongs to a header that extends the next one.
    fn text(&mut self, header: &Header, room: &mut usize) -> Result<Vec<u8>, ArchiveFault> {
        let size = header.size()?;
        let length = usize::try_from(size).ok().filter(|size| *size <= *room);
        let length = length.ok_or(ArchiveFault::Names(self.limits.names))?;
        *room -= length;
        let mut text = Vec::new();
        while text.len() < length {
            let start = text.len();
            text.resize((start + BUFFER).min(length), 0);
            self.fill(&mut text[start..], "an extended header")?;
        }
        self.skip(size.wrapping_neg() % BLOCK as u64, "a block")?;
        Ok(text)
    }

    /// Reads to the last byte: nothing but empty blocks may follow the first one.
    fn end(&mut self) -> Result<(), ArchiveFault> {
        let mut block = [0; BLOCK];
        while self.block(&mut block)? {
            if block != [0; BLOCK] {
                return Err(ArchiveFault::BehindEnd);
            }
        }
        self.is_at_end = true;
        Ok(())
    }

    /// Reads a block; false, where there is not a byte more.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveFault> {
        let is_there = retried(|| self.from.fill_buf().map(|bytes| !bytes.is_empty()))?;
        if is_there {
            self.fill(block, "a block")?;
        }
        Ok(is_there)
    }

    fn skip(&mut self, mut count: u64, of: &'static str) -> Result<(), ArchiveFault> {
        let mut scratch = [0; 8 * 1024];
        while count > 0 {
            let piece = usize::try_from(count).unwrap_or(usize::MAX).min(scratch.len());
            self.fill(&mut scratch[..piece], of)?;
            count -= piece as u64;
        }
        Ok(())
    }

    fn fill(&mut self, mut buffer: &mut [u8], of: &'static str) -> Result<(), ArchiveFault> {
        while !buffer.is_empty() {
            let read = retried(|| self.from.read(buffer))?;
            if read == 0 {
                return Err(ArchiveFault::Truncated(of));
            }
            self.offset += read as u64;
            if self.offset > self.limits.bytes {
                return Err(ArchiveFault::Bytes(self.limits.bytes));
            }
            buffer = &mut buffer[read..];
        }
        Ok(())
    }
}

/// Reads once more where a signal has come between.
fn retried<T>(mut read: impl FnMut() -> io::Result<T>) -> Result<T, ArchiveFault> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(ArchiveFault::Read),
        }
    }
}
