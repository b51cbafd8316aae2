//! The headers of a tar archive: POSIX's pax format, with nothing in it that differs from run to run.

use std::io::{self, Write};

/// How long a block is, in bytes.
pub(super) const BLOCK: usize = 512;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file of so many bytes, which follow.
    File(u64),
    /// Another name of a member before it.
    Link(Vec<u8>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A member of an archive, without its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    /// Its name; that of a directory ends with a slash.
    pub name: &'a [u8],
    pub kind: Kind,
    /// The permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// When its content changed: seconds since 1970, and nanoseconds.
    pub time: (i64, u32),
    /// Its extended attributes, by their names.
    pub attributes: &'a [(Vec<u8>, Vec<u8>)],
}

/// Writes what stands before the bytes of a member.
///
/// Source: pax of POSIX.1-2017; `SCHILY.xattr.` of star(1).
pub(crate) fn write_header(member: &Member<'_>, to: &mut dyn Write) -> io::Result<()> {
    let records = records(member);
    if !records.is_empty() {
        let fields = Fields { name: b"./PaxHeaders/x", link: b"", letter: b'x', mode: 0o644 };
        to.write_all(&header(&fields, (0, 0), records.len() as u64, 0))?;
        to.write_all(&records)?;
        write_padding(records.len() as u64, to)?;
    }
    let (letter, size, link): (u8, u64, &[u8]) = match &member.kind {
        Kind::File(size) => (b'0', *size, b""),
        Kind::Link(target) => (b'1', 0, target),
        Kind::Symlink(target) => (b'2', 0, target),
        Kind::Directory => (b'5', 0, b""),
        Kind::Fifo => (b'6', 0, b""),
    };
    let fields = Fields { name: member.name, link, letter, mode: member.mode };
    let seconds = u64::try_from(member.time.0).unwrap_or_default();
    to.write_all(&header(&fields, (member.uid, member.gid), size, seconds))
}

/// Fills the last block of so many bytes.
pub(crate) fn write_padding(size: u64, to: &mut dyn Write) -> io::Result<()> {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    to.write_all(&[0; BLOCK][..(BLOCK - over) % BLOCK])
}

/// Ends the archive.
pub(crate) fn write_end(to: &mut dyn Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

/// The largest numbers of 7 and of 11 octal digits.
const SEVEN: u64 = 0o7_777_777;
const ELEVEN: u64 = 0o77_777_777_777;

/// How long a name can be, in bytes, that stands in a header itself.
const LONGEST_NAME: usize = 100;

/// Returns the records of what a header itself cannot hold.
fn records(member: &Member<'_>) -> Vec<u8> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, value: Vec<u8>| pairs.push((key.as_bytes().to_vec(), value));
    let number = |value: u64| value.to_string().into_bytes();
    if let Kind::Link(target) | Kind::Symlink(target) = &member.kind
        && target.len() > LONGEST_NAME
    {
        add("linkpath", target.clone());
    }
    if member.name.len() > LONGEST_NAME {
        add("path", member.name.to_vec());
    }
    if let Kind::File(size) = member.kind
        && size > ELEVEN
    {
        add("size", number(size));
    }
    for (key, id) in [("uid", member.uid), ("gid", member.gid)] {
        if u64::from(id) > SEVEN {
            add(key, number(id.into()));
        }
    }
    let (seconds, nanoseconds) = member.time;
    if nanoseconds != 0 || !u64::try_from(seconds).is_ok_and(|seconds| seconds <= ELEVEN) {
        add("mtime", time(seconds, nanoseconds).into_bytes());
    }
    for (name, value) in member.attributes {
        pairs.push(([b"SCHILY.xattr.", &name[..]].concat(), value.clone()));
    }
    pairs.sort();
    let mut text = Vec::new();
    for (key, value) in pairs {
        // A blank, an equals sign and a line feed.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        text.extend(format!("{length} ").bytes());
        text.extend(key);
        text.push(b'=');
        text.extend(value);
        text.push(b'\n');
    }
    text
}

/// Writes a time as a decimal number. Nanoseconds count upwards also before 1970.
fn time(seconds: i64, nanoseconds: u32) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, whole, part) = if seconds < 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
    } else {
        ("", seconds.unsigned_abs(), nanoseconds)
    };
    let text = format!("{sign}{whole}.{part:09}");
    text.trim_end_matches('0').to_owned()
}

struct Fields<'a> {
    name: &'a [u8],
    link: &'a [u8],
    letter: u8,
    mode: u32,
}

fn header(fields: &Fields<'_>, (uid, gid): (u32, u32), size: u64, seconds: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let cut = |bytes: &[u8]| bytes[..bytes.len().min(LONGEST_NAME)].to_vec();
    let octal = |value: u64, digits: usize, largest: u64| {
        format!("{:0digits$o}\0", if value > largest { 0 } else { value }).into_bytes()
    };
    put(0, &cut(fields.name));
    put(100, &octal(fields.mode.into(), 7, SEVEN));
    put(108, &octal(uid.into(), 7, SEVEN));
    put(116, &octal(gid.into(), 7, SEVEN));
    put(124, &octal(size, 11, ELEVEN));
    put(136, &octal(seconds, 11, ELEVEN));
    // The sum is over the block with blanks in its place.
    put(148, b"        ");
    put(156, &[fields.letter]);
    put(157, &cut(fields.link));
    put(257, b"ustar\x0000");
    put(329, &octal(0, 7, SEVEN));
    put(337, &octal(0, 7, SEVEN));
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_numbers() {
        let table = [
            ((0, 0), "0"),
            ((1, 500_000_000), "1.5"),
            ((-86_400, 0), "-86400"),
            ((-1, 500_000_000), "-0.5"),
            ((-2, 999_999_999), "-1.000000001"),
            ((8_589_934_592, 1), "8589934592.000000001"),
        ];
        for ((seconds, nanoseconds), expected) in table {
            assert_eq!(time(seconds, nanoseconds), expected);
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [0, 80, 90, 91, 985, 986, 9_970, 9_980] {
            let name = vec![b'n'; LONGEST_NAME + 1 + length];
            let member = Member {
                name: &name,
                kind: Kind::Fifo,
                mode: 0,
                uid: 0,
                gid: 0,
                time: (0, 0),
                attributes: &[],
            };
            let text = records(&member);
            let blank = text.iter().position(|byte| *byte == b' ').unwrap();
            let counted: usize = str::from_utf8(&text[..blank]).unwrap().parse().unwrap();
            assert_eq!(counted, text.len());
        }
    }
}
