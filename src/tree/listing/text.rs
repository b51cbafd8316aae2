//! A listing as it is written: lines of columns, deflated.
//!
//! A line has the kind's letter, the depth, the mode, user, group, seconds, nanoseconds, the digest
//! of the extended attributes or `-`, the name, and what the kind has besides: length and digest of
//! a file, a link's target, a device's number; or `=` and the number of the line that is the first
//! name of the same file. The last line has the digest of all before it.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::{ListedFile, ListedKind, Listing};
use crate::digest::Digest;

/// What a listing of this form begins with.
const VERSION: &[u8] = b"layered-template listing 2\n";

/// The longest text that is read: of some millions of entries.
const LONGEST: u64 = 1 << 30;

/// What begins the last line.
const END: &[u8] = b"end\t";

/// Writes a listing.
pub(super) fn write(listing: &Listing, to: impl Write) -> io::Result<()> {
    let mut text = Vec::with_capacity(listing.entries.len() * 128);
    for entry in &listing.entries {
        line(entry, &mut text)?;
    }
    seal(text, to)
}

/// Writes the lines of a listing, with what stands before and behind them.
pub(crate) fn seal(mut text: Vec<u8>, mut to: impl Write) -> io::Result<()> {
    let digest = Digest::of(&text);
    text.extend_from_slice(END);
    writeln!(text, "{}", hex(digest))?;
    to.write_all(VERSION)?;
    // Most of it are digests, which hardly become shorter however long one tries.
    let mut deflated = DeflateEncoder::new(to, Compression::fast());
    deflated.write_all(&text)?;
    deflated.finish()?.flush()
}

fn line(entry: &ListedFile, text: &mut Vec<u8>) -> io::Result<()> {
    let letter = match &entry.kind {
        ListedKind::Directory => 'd',
        ListedKind::File { .. } => 'f',
        ListedKind::Symlink { .. } => 'l',
        ListedKind::BlockDevice(_) => 'b',
        ListedKind::CharacterDevice(_) => 'c',
        ListedKind::Fifo => 'p',
        ListedKind::Socket => 's',
    };
    let ListedFile { depth, mode, uid, gid, seconds, nanoseconds, .. } = entry;
    write!(text, "{letter}\t{depth}\t{mode:o}\t{uid}\t{gid}\t{seconds}\t{nanoseconds}\t")?;
    let xattrs = entry.xattrs.map_or("-".into(), hex);
    write!(text, "{xattrs}\t")?;
    escape(&entry.name, text)?;
    match (&entry.kind, entry.first) {
        (_, Some(first)) => write!(text, "\t={first}")?,
        (ListedKind::File { size, digest }, None) => write!(text, "\t{size}\t{}", hex(*digest))?,
        (ListedKind::Symlink { target }, None) => {
            text.push(b'\t');
            escape(target, text)?;
        }
        (ListedKind::BlockDevice(number) | ListedKind::CharacterDevice(number), None) => {
            write!(text, "\t{number}")?;
        }
        (ListedKind::Directory | ListedKind::Fifo | ListedKind::Socket, None) => {}
    }
    text.push(b'\n');
    Ok(())
}

fn hex(digest: Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").to_owned()
}

/// Writes bytes so that none of them is taken for the end of a column, line or escape.
fn escape(bytes: &[u8], text: &mut Vec<u8>) -> io::Result<()> {
    for byte in bytes {
        match byte {
            0..=b' ' | b'%' | b'=' | 0x7f => write!(text, "%{byte:02x}")?,
            _ => text.push(*byte),
        }
    }
    Ok(())
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
        rest = after;
    }
    Some(bytes)
}

/// Reads a listing.
pub(super) fn read(mut from: impl Read) -> io::Result<Listing> {
    let mut version = vec![0; VERSION.len()];
    from.read_exact(&mut version)?;
    if version != VERSION {
        return Err(damaged("it is none, or one of another version"));
    }
    let mut text = BufReader::new(DeflateDecoder::new(from).take(LONGEST));
    let mut all = crate::digest::Hasher::default();
    let mut entries = Vec::new();
    let mut order = Order::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        text.read_until(b'\n', &mut line)?;
        let Some(columns) = line.strip_suffix(b"\n") else {
            return Err(damaged("it has no end"));
        };
        if let Some(digest) = columns.strip_prefix(END) {
            if entries.is_empty() || digest != hex(all.finish()).as_bytes() {
                return Err(damaged("it is not what was written"));
            }
            break;
        }
        all.update(&line);
        let entry = parse(columns, &entries).filter(|entry| order.admits(entry));
        entries.push(
            entry.ok_or_else(|| damaged(&format!("line {} makes no sense", entries.len() + 1)))?,
        );
    }
    if text.read(&mut [0])? != 0 {
        return Err(damaged("something follows its end"));
    }
    Ok(Listing { entries })
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the listing cannot be read: {why}"))
}

fn parse(line: &[u8], before: &[ListedFile]) -> Option<ListedFile> {
    let mut columns = line.split(|byte| *byte == b'\t');
    let mut text = || std::str::from_utf8(columns.next()?).ok();
    let letter = text()?;
    let depth = text()?.parse().ok()?;
    let mode = u32::from_str_radix(text()?, 8).ok().filter(|mode| *mode <= 0o7777)?;
    let (uid, gid) = (text()?.parse().ok()?, text()?.parse().ok()?);
    let seconds = text()?.parse().ok()?;
    let nanoseconds = text()?.parse().ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
    let xattrs = match text()? {
        "-" => None,
        digest => Some(digest_of(digest.as_bytes())?),
    };
    let name = unescape(columns.next()?)?;
    let rest: Vec<&[u8]> = columns.collect();
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let first = match rest.as_slice() {
        [first] if first.starts_with(b"=") => Some(u32::try_from(number(&first[1..])?).ok()?),
        _ => None,
    };
    let kind = match (letter, rest.as_slice()) {
        ("d", []) => ListedKind::Directory,
        ("p", []) => ListedKind::Fifo,
        ("s", []) => ListedKind::Socket,
        (_, [_]) if first.is_some() => {
            let first = before.get(first? as usize)?;
            let same = matches!(
                (letter, &first.kind),
                ("f", ListedKind::File { .. })
                    | ("l", ListedKind::Symlink { .. })
                    | ("b", ListedKind::BlockDevice(_))
                    | ("c", ListedKind::CharacterDevice(_))
                    | ("p", ListedKind::Fifo)
                    | ("s", ListedKind::Socket)
            );
            (same && first.first.is_none()).then(|| first.kind.clone())?
        }
        ("f", [size, digest]) => {
            ListedKind::File { size: number(size)?, digest: digest_of(digest)? }
        }
        ("l", [target]) => ListedKind::Symlink { target: unescape(target)? },
        ("b", [device]) => ListedKind::BlockDevice(number(device)?),
        ("c", [device]) => ListedKind::CharacterDevice(number(device)?),
        _ => return None,
    };
    Some(ListedFile { depth, name, first, xattrs, seconds, nanoseconds, kind, mode, uid, gid })
}

fn digest_of(hex: &[u8]) -> Option<Digest> {
    Digest::parse(std::str::from_utf8(hex).ok().filter(|hex| hex.len() == 64)?)
}

/// Sees to it that entries are a tree, in its order.
#[derive(Default)]
struct Order {
    /// The last name at each depth, from that of the top on.
    last: Vec<Vec<u8>>,
    /// Whether the entry before is a directory.
    enters: bool,
}

impl Order {
    fn admits(&mut self, entry: &ListedFile) -> bool {
        let depth = entry.depth as usize;
        let sane = if self.last.is_empty() {
            depth == 0 && entry.name.is_empty() && entry.kind == ListedKind::Directory
        } else {
            let strange = [&b""[..], b".", b".."].contains(&entry.name.as_slice())
                || entry.name.iter().any(|byte| [b'/', 0].contains(byte));
            let deepest = self.last.len() - usize::from(!self.enters);
            let sorted = self.last.get(depth).is_none_or(|last| *last < entry.name);
            depth > 0 && depth <= deepest && sorted && !strange
        };
        if sane {
            self.last.truncate(depth);
            self.last.push(entry.name.clone());
            self.enters = entry.kind == ListedKind::Directory;
        }
        sane
    }
}
