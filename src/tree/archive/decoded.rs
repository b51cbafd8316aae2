//! An archive without its compression.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

use super::zstd::{MAGIC, Zstd};

/// How many bytes are asked for at once.
const BUFFER: usize = 64 * 1024;

/// The longest beginning that tells how something is compressed.
const LONGEST: usize = 6;

/// What others begin with. Sources: RFC 8878; the format of xz 1.2; bzip2(1).
const OTHERS: [(&[u8], &str); 3] = [(&MAGIC, "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2")];

type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// The bytes of an archive, decompressed as they are read. It takes the room of a window, of 32 KiB or, by
/// zstd, of 8 MiB at most, whatever is read.
#[derive(Debug)]
pub(crate) enum Decoded<R> {
    /// It was not compressed.
    Plain(Whole<R>),
    /// By gzip. Source: RFC 1952.
    Gzip(Box<MultiGzDecoder<BufReader<Whole<R>>>>),
    /// By zstd, in a process of its own.
    Zstd(Zstd),
}

/// Looks at how an archive in a file is compressed, and reads it from its beginning.
///
/// # Errors
///
/// Compressions that are not known, and zstd where the host does not have it.
pub(crate) fn decoded_file(file: &File) -> io::Result<Decoded<&File>> {
    let mut begin = [0; MAGIC.len()];
    // A shorter file is no frame.
    let is_zstd = file.read_exact_at(&mut begin, 0).is_ok() && begin == MAGIC;
    if is_zstd { Ok(Decoded::Zstd(Zstd::start(file)?)) } else { decoded(file) }
}

/// Looks at how the bytes of an archive are compressed.
///
/// # Errors
///
/// Compressions that are not known.
pub(crate) fn decoded<R: Read>(mut from: R) -> io::Result<Decoded<R>> {
    let mut begin = Vec::new();
    Read::by_ref(&mut from).take(LONGEST as u64).read_to_end(&mut begin)?;
    if let Some((_, name)) = OTHERS.iter().find(|(first, _)| begin.starts_with(first)) {
        let message = format!("it is compressed by {name}, which is not known here");
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    let is_gzip = begin.starts_with(&[0x1f, 0x8b]);
    let whole = Cursor::new(begin).chain(from);
    Ok(if is_gzip {
        Decoded::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))))
    } else {
        Decoded::Plain(whole)
    })
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(from) => from.read(buffer),
            Self::Gzip(from) => from.read(buffer),
            Self::Zstd(from) => from.read(buffer),
        }
    }
}
