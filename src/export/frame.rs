//! What `zstd` and `xz` write, judged without decompressing it: by the checksum, or the count, that it ends with.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::FileExt;

use twox_hash::XxHash64;

use crate::tree::ZSTD_MAGIC;

/// What a stream of xz begins and ends with, and how long its header and its footer are. Source: the description of the
/// `.xz` file format, 1.2.1.
const XZ: (&[u8; 6], &[u8; 2]) = (b"\xfd7zXZ\0", b"YZ");
const XZ_END: u64 = 12;

/// The longest index of a stream that is read, in bytes.
const LONGEST_INDEX: u64 = 64 << 20;

/// What was given to a program to be compressed.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// By XXH64, as a frame of zstd has it.
    checksum: XxHash64,
    /// How many bytes.
    length: u64,
}

impl Given {
    /// Takes in more of it.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.checksum.write(bytes);
        self.length += bytes.len() as u64;
    }
}

/// Tells whether a file is one frame of zstd, of what was `given`: its last four bytes are those of the checksum of what
/// was compressed, and without them nobody knows how much that was who has not decompressed it.
///
/// Source: RFC 8878, section 3.1.
pub(super) fn is_zstd(file: &File, given: &Given) -> io::Result<bool> {
    let end = file.metadata()?.len();
    let Some(begin) = bytes::<5>(file, 0)? else { return Ok(false) };
    let descriptor = begin[4];
    let (has_window, has_checksum) = (descriptor & 0x20 == 0, descriptor & 4 != 0);
    if begin[..4] != ZSTD_MAGIC || !has_checksum {
        return Ok(false);
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content = match descriptor >> 6 {
        0 => u64::from(!has_window),
        size => 1 << size,
    };
    let mut at = 5 + u64::from(has_window) + dictionary + content;
    loop {
        let Some([low, middle, high]) = bytes(file, at)? else { return Ok(false) };
        let header = u32::from_le_bytes([low, middle, high, 0]);
        at += 3 + match header >> 1 & 3 {
            // One byte that is repeated.
            1 => 1,
            3 => return Ok(false),
            _ => u64::from(header >> 3),
        };
        if header & 1 != 0 {
            break;
        }
    }
    let checksum = bytes(file, at)?.map(u32::from_le_bytes);
    Ok(at + 4 == end
        && checksum.map(u64::from) == Some(given.checksum.finish() & u64::from(u32::MAX)))
}

/// Tells whether a file is a stream of xz that holds as many bytes as were `given`, by its own account of them.
pub(super) fn is_xz(file: &File, given: &Given) -> io::Result<bool> {
    let end = file.metadata()?.len();
    let Some(footer) = end.checked_sub(XZ_END).map(|at| bytes::<12>(file, at)).transpose()? else {
        return Ok(false);
    };
    let (Some(begin), Some(footer)) = (bytes::<6>(file, 0)?, footer) else { return Ok(false) };
    if begin != *XZ.0 || footer[10..] != *XZ.1 {
        return Ok(false);
    }
    let size = u32::from_le_bytes([footer[4], footer[5], footer[6], footer[7]]);
    let size = (u64::from(size) + 1) * 4;
    let Some(at) = end.checked_sub(XZ_END + size).filter(|at| *at >= XZ_END) else {
        return Ok(false);
    };
    let mut index = vec![0; usize::try_from(size.min(LONGEST_INDEX)).unwrap_or_default()];
    file.read_exact_at(&mut index, at)?;
    Ok(counted(&index) == Some(given.length))
}

/// Returns how many bytes the blocks hold of which an index of xz tells.
fn counted(index: &[u8]) -> Option<u64> {
    let mut rest = index.strip_prefix(&[0])?;
    let blocks = number(&mut rest)?;
    let mut sum = 0_u64;
    for _ in 0..blocks {
        number(&mut rest)?;
        sum = sum.checked_add(number(&mut rest)?)?;
    }
    Some(sum)
}

/// Takes a number off the front: seven bits a byte, the lowest first, the last without the eighth.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Reads some bytes of a file; nothing, where it ends before.
fn bytes<const COUNT: usize>(file: &File, at: u64) -> io::Result<Option<[u8; COUNT]>> {
    let mut bytes = [0; COUNT];
    match file.read_exact_at(&mut bytes, at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::process::Command;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// Compresses by a program of the host's.
    fn compressed(words: &[&str], text: &[u8]) -> Vec<u8> {
        let mut from = file(text);
        from.rewind().unwrap();
        let output = Command::new(words[0]).args(&words[1..]).stdin(from).output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    #[test]
    fn what_is_whole_is_told_from_what_is_not() {
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state & 0x1000 == 0 { b'a' } else { (state >> 24) as u8 }
        });
        let texts = [Vec::new(), b"x".to_vec(), vec![0; 1 << 20], noise.take(3 << 20).collect()];
        for words in [
            &["zstd", "-q", "-3", "-T2", "-B1M"][..],
            &["zstd", "-q", "-1"],
            &["xz", "-q", "-0", "-T2", "--block-size=1MiB"],
            &["xz", "-q", "-0"],
        ] {
            let is_whole = if words[0] == "xz" { is_xz } else { is_zstd };
            for text in &texts {
                let length = text.len();
                let mut given = Given::default();
                given.update(text);
                let whole = compressed(words, text);
                assert!(is_whole(&file(&whole), &given).unwrap(), "{words:?}, {length}");
                let short = &whole[..whole.len() - 1];
                let garbage = [&whole[..], b"x"].concat();
                let other = whole.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
                for bytes in [b"", short, &garbage, &other, b"hello, world, this is nothing"] {
                    assert!(!is_whole(&file(bytes), &given).unwrap(), "{words:?}, {length}");
                }
                // Less than was given, and nothing at all.
                for part in [&text[..length / 2], b""].iter().filter(|part| part.len() < length) {
                    let part = file(&compressed(words, part));
                    assert!(!is_whole(&part, &given).unwrap(), "{words:?}, {length}");
                }
            }
            let text = texts[3].as_slice();
            let mut given = Given::default();
            given.update(text);
            if words[0] == "zstd" {
                let unsummed = compressed(&[words, &["--no-check"]].concat(), text);
                assert!(!is_zstd(&file(&unsummed), &given).unwrap(), "{words:?}");
                let two = [compressed(words, &text[..9]), compressed(words, &text[9..])].concat();
                assert!(!is_zstd(&file(&two), &given).unwrap(), "{words:?}");
            }
        }
    }
}
