//! An archive without its compression.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

use super::zstd::{MAGIC, Zstd};
use crate::tree::interrupt::Interrupt;

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
pub(crate) enum Decoded<'a, R> {
    /// It was not compressed.
    Plain(Whole<R>),
    /// By gzip. Source: RFC 1952.
    Gzip(Box<MultiGzDecoder<BufReader<Whole<R>>>>),
    /// By zstd, in a process of its own.
    Zstd(Zstd<'a>),
}

/// Looks at how an archive in a file is compressed, and reads it from its beginning. The `interrupt` ends waiting for a
/// process that decompresses it, with an error of the kind [`io::ErrorKind::Interrupted`].
///
/// # Errors
///
/// Compressions that are not known, and zstd where the host does not have it.
pub(crate) fn decoded_file<'a>(
    file: &'a File,
    interrupt: Interrupt<'a>,
) -> io::Result<Decoded<'a, &'a File>> {
    let mut begin = [0; MAGIC.len()];
    // A shorter file is no frame.
    let is_zstd = file.read_exact_at(&mut begin, 0).is_ok() && begin == MAGIC;
    if is_zstd { Ok(Decoded::Zstd(Zstd::start(file, interrupt)?)) } else { decoded(file) }
}

/// Looks at how the bytes of an archive are compressed.
///
/// # Errors
///
/// Compressions that are not known.
pub(crate) fn decoded<R: Read>(mut from: R) -> io::Result<Decoded<'static, R>> {
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

/// Returns an error of what is compressed as one of wrong bytes. What the system says of the file stays.
fn unsound(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
            if error.raw_os_error().is_none() =>
        {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        _ => error,
    }
}

impl<R: Read> Read for Decoded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(from) => from.read(buffer),
            Self::Gzip(from) => from.read(buffer).map_err(unsound),
            Self::Zstd(from) => from.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut to = GzEncoder::new(Vec::new(), Compression::fast());
        to.write_all(text).unwrap();
        to.finish().unwrap()
    }

    fn read(from: impl Read) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decoded(from)?.read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn a_stream_that_is_none_is_the_fault_of_its_bytes() {
        let whole = gzip(b"text");
        assert_eq!(read(&*[&whole[..], &gzip(b" and more")].concat()).unwrap(), b"text and more");
        let other_sum = [&whole[..whole.len() - 8], &[0; 8]].concat();
        let long_name = [&b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"[..], &vec![b'n'; 1 << 20]].concat();
        for bytes in [
            &whole[..whole.len() - 1],
            &whole[..12],
            &whole[..3],
            &[&whole[..], b"garbage"].concat(),
            &[&whole[..], &[0; 512]].concat(),
            &other_sum,
            &long_name,
            b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff\xff\xff",
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}: {error}");
        }
    }

    #[test]
    fn what_the_system_says_of_a_file_stays() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(rustix::io::Errno::INVAL.into())
            }
        }
        let whole = gzip(b"text");
        let error = read(whole[..12].chain(Failing)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::INVAL.raw_os_error()));
    }
}
