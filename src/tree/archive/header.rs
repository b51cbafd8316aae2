//! The block that stands before each member of an archive.

use super::fault::ArchiveFault;

/// How long a block is, in bytes.
pub(super) const BLOCK: usize = 512;

/// A header whose checksum is right. What it holds is read when it is asked for: where an extended header
/// says more, any field may hold anything.
#[derive(Debug)]
pub(super) struct Header {
    block: [u8; BLOCK],
}

impl Header {
    /// Reads one; `None` for the empty block that ends an archive.
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Option<Self>, ArchiveFault> {
        if *block == [0; BLOCK] {
            return Ok(None);
        }
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        // The sum is over the block with blanks in its place.
        let computed = sum(&block[..148]) + sum(&[b' '; 8]) + sum(&block[156..]);
        let found = number(&block[148..156], "checksum")?;
        match found {
            Some(found) if found == i128::from(computed) => Ok(Some(Self { block: *block })),
            found => Err(ArchiveFault::Checksum { found: found.unwrap_or_default(), computed }),
        }
    }

    /// Returns the letter that says what the member is.
    pub(super) fn letter(&self) -> u8 {
        self.block[156]
    }

    /// Returns the name.
    pub(super) fn name(&self) -> Vec<u8> {
        let (name, prefix) = (text(&self.block[..100]), text(&self.block[345..500]));
        // GNU's and older headers have other things there.
        let has_prefix = &self.block[257..263] == b"ustar\0" && !prefix.is_empty();
        if has_prefix { [prefix, b"/", name].concat() } else { name.to_vec() }
    }

    /// Returns the target of a link.
    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    /// Returns the size, in bytes.
    pub(super) fn size(&self) -> Result<u64, ArchiveFault> {
        let size = number(&self.block[124..136], "size")?.ok_or(ArchiveFault::NoNumber("size"))?;
        whole(size, "size")
    }

    /// Returns the permission bits.
    pub(super) fn mode(&self) -> Result<u32, ArchiveFault> {
        let mode: u32 = self.short(100, "mode")?;
        // Some programs say there once more what it is.
        Ok(mode & 0o7777)
    }

    /// Returns the owner.
    pub(super) fn uid(&self) -> Result<u32, ArchiveFault> {
        self.short(108, "owner").and_then(|id| identity(id, "owner"))
    }

    /// Returns the group.
    pub(super) fn gid(&self) -> Result<u32, ArchiveFault> {
        self.short(116, "group").and_then(|id| identity(id, "group"))
    }

    /// Returns when the content changed, in seconds since 1970.
    pub(super) fn time(&self) -> Result<i64, ArchiveFault> {
        let time = number(&self.block[136..148], "time")?.unwrap_or_default();
        i64::try_from(time).map_err(|_| ArchiveFault::Range("time", time))
    }

    /// Returns the major number of a device.
    pub(super) fn major(&self) -> Result<u32, ArchiveFault> {
        self.short(329, "device")
    }

    /// Returns the minor number of a device.
    pub(super) fn minor(&self) -> Result<u32, ArchiveFault> {
        self.short(337, "device")
    }

    fn short(&self, at: usize, what: &'static str) -> Result<u32, ArchiveFault> {
        let value = number(&self.block[at..at + 8], what)?.unwrap_or_default();
        u32::try_from(value).map_err(|_| ArchiveFault::Range(what, value))
    }
}

/// Returns a size; no file has one that a signed number cannot hold.
pub(super) fn whole(size: i128, what: &'static str) -> Result<u64, ArchiveFault> {
    i64::try_from(size)
        .ok()
        .and_then(|size| u64::try_from(size).ok())
        .ok_or(ArchiveFault::Range(what, size))
}

/// Returns the number of a user or group: the largest one is nobody's, and would change nothing.
pub(super) fn identity(id: u32, what: &'static str) -> Result<u32, ArchiveFault> {
    if id == u32::MAX { Err(ArchiveFault::Range(what, id.into())) } else { Ok(id) }
}

/// Returns what stands before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Reads a number: octal digits, or binary, as GNU does, where the first bit is set. `None` where there is
/// nothing.
fn number(field: &[u8], what: &'static str) -> Result<Option<i128>, ArchiveFault> {
    if field[0] & 0x80 != 0 {
        // The second bit is the sign. There are 12 bytes at most.
        let first = if field[0] & 0x40 == 0 { field[0] & 0x3f } else { field[0] };
        let first = i128::from(i8::from_ne_bytes([first]));
        return Ok(Some(
            field[1..].iter().fold(first, |value, byte| value << 8 | i128::from(*byte)),
        ));
    }
    let begin = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = &field[begin..];
    let end = digits.iter().position(|byte| [0, b' '].contains(byte)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let is_octal = digits.iter().all(|digit| (b'0'..b'8').contains(digit));
    if !is_octal || rest.iter().any(|byte| ![0, b' '].contains(byte)) {
        return Err(ArchiveFault::NoNumber(what));
    }
    let value = digits.iter().fold(0, |value, digit| value << 3 | i128::from(digit - b'0'));
    Ok((!digits.is_empty()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        let table: [(&[u8], Option<i128>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"       \0", None),
            (&[0; 8], None),
            (&[0x80, 0, 0, 0, 0, 0, 1, 0], Some(256)),
            (&[0xff; 12], Some(-1)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], Some(-256)),
            (
                &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                Some(i64::MAX.into()),
            ),
            (&[0xbf, 0xff], Some(0x3fff)),
            (&[0xc0, 0], Some(-0x4000)),
            (b"1\0\0\0    ", Some(1)),
        ];
        for (field, expected) in table {
            assert_eq!(number(field, "n").unwrap(), expected, "{field:?}");
        }
        for field in [&b"8\0"[..], b"-1\0", b"+1 ", b"1 1", b"0x1\0", b"\x001", b"1\0x"] {
            assert!(number(field, "n").is_err(), "{field:?}");
        }
    }
}
