//! What the headers before that of a member say of it.

use super::fault::ArchiveFault;
use super::header::{identity, text, whole};

/// What the key of an extended attribute begins with. Source: star(1).
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// What the keys of access lists as text begin with. Source: star(1).
const TEXT_LISTS: &[u8] = b"SCHILY.acl.";

/// What the keys of files without their holes begin with.
const SPARSE: [&[u8]; 2] = [b"GNU.sparse.", b"SCHILY.realsize"];

/// The longest name and value of an extended attribute, in bytes. Source: xattr(7).
const LONGEST_NAME: usize = 255;
const LONGEST_VALUE: usize = 64 * 1024;

/// The name and the value of an extended attribute.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// What the headers before that of a member say of it.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) time: Option<(i64, u32)>,
    pub(super) has_text_lists: bool,
    attributes: Vec<Attribute>,
    /// Whether there was any.
    is_there: bool,
}

impl Extended {
    /// Tells whether no header has said anything.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_there
    }

    /// Takes GNU's long name.
    pub(super) fn set_long_name(&mut self, name: Vec<u8>) -> Result<(), ArchiveFault> {
        self.is_there = true;
        set(&mut self.path, text(&name).to_vec(), "name")
    }

    /// Takes GNU's long target of a link.
    pub(super) fn set_long_link(&mut self, target: Vec<u8>) -> Result<(), ArchiveFault> {
        self.is_there = true;
        set(&mut self.link, text(&target).to_vec(), "link's target")
    }

    /// Takes the records of a pax header. What it does not know changes nothing.
    pub(super) fn read(&mut self, records: &[u8]) -> Result<(), ArchiveFault> {
        self.is_there = true;
        each_record(records, |key, value| {
            if let Some(name) = key.strip_prefix(ATTRIBUTE) {
                self.attributes.push(attribute(name, value)?);
                return Ok(());
            }
            // Without a value, what the member's own header says holds.
            match key {
                _ if is_sparse(key) => Err(ArchiveFault::Sparse),
                _ if key.starts_with(TEXT_LISTS) => {
                    self.has_text_lists = true;
                    Ok(())
                }
                _ if value.is_empty() => Ok(()),
                b"path" => set(&mut self.path, plain(value, "name")?, "name"),
                b"linkpath" => set(&mut self.link, plain(value, "link's target")?, "link's target"),
                b"size" => {
                    let size = decimal(value).ok_or(ArchiveFault::NoNumber("size"))?;
                    set(&mut self.size, whole(size, "size")?, "size")
                }
                b"uid" => set(&mut self.uid, owner(value, "owner")?, "owner"),
                b"gid" => set(&mut self.gid, owner(value, "group")?, "group"),
                b"mtime" => {
                    let time = time(value).ok_or(ArchiveFault::NoNumber("time"))?;
                    set(&mut self.time, time, "time")
                }
                _ => Ok(()),
            }
        })
    }

    /// Returns the attributes, sorted by their names.
    pub(super) fn attributes(mut self) -> Result<Vec<Attribute>, ArchiveFault> {
        self.attributes.sort();
        let twice = self.attributes.windows(2).find(|pair| pair[0].0 == pair[1].0);
        match twice {
            Some(pair) => {
                let name = pair[0].0.clone();
                Err(ArchiveFault::Attribute { name, fault: "is given twice" })
            }
            None => Ok(self.attributes),
        }
    }
}

/// Reads a header that holds for all members after it: none may have an effect.
pub(super) fn read_global(records: &[u8]) -> Result<(), ArchiveFault> {
    const HEEDED: [&[u8]; 6] = [b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"];
    each_record(records, |key, _| {
        let is_heeded = HEEDED.contains(&key)
            || is_sparse(key)
            || [ATTRIBUTE, TEXT_LISTS].iter().any(|begin| key.starts_with(begin));
        if is_heeded { Err(ArchiveFault::Global(key.to_vec())) } else { Ok(()) }
    })
}

fn set<T>(to: &mut Option<T>, value: T, what: &'static str) -> Result<(), ArchiveFault> {
    match to.replace(value) {
        Some(_) => Err(ArchiveFault::Twice(what)),
        None => Ok(()),
    }
}

fn is_sparse(key: &[u8]) -> bool {
    SPARSE.iter().any(|begin| key.starts_with(begin))
}

/// Hands each key and its value on.
///
/// Source: pax of POSIX.1-2017: a length that counts itself, a blank, the key, `=`, the value, a line feed.
fn each_record(
    mut records: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), ArchiveFault>,
) -> Result<(), ArchiveFault> {
    while !records.is_empty() {
        let blank = records.iter().take(20).position(|byte| *byte == b' ');
        let blank = blank.ok_or(ArchiveFault::Record("has no length"))?;
        let is_length = records[..blank].iter().all(u8::is_ascii_digit);
        let length = decimal(&records[..blank]).filter(|_| is_length);
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length > blank + 1 && *length <= records.len());
        let length = length.ok_or(ArchiveFault::Record("is not as long as it says"))?;
        let (record, rest) = records.split_at(length);
        let record = record[blank + 1..].strip_suffix(b"\n");
        let record = record.ok_or(ArchiveFault::Record("is not as long as it says"))?;
        let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
        let equals = equals.ok_or(ArchiveFault::Record("has no key"))?;
        each(&record[..equals], &record[equals + 1..])?;
        records = rest;
    }
    Ok(())
}

/// Returns a value that a NUL would end early elsewhere.
fn plain(value: &[u8], what: &'static str) -> Result<Vec<u8>, ArchiveFault> {
    if value.contains(&0) { Err(ArchiveFault::Nul(what)) } else { Ok(value.to_vec()) }
}

fn attribute(name: &[u8], value: &[u8]) -> Result<Attribute, ArchiveFault> {
    let fault = |fault| Err(ArchiveFault::Attribute { name: name.to_vec(), fault });
    match (name, value) {
        (b"", _) => fault("has no name"),
        _ if name.contains(&0) => fault("has a NUL in its name"),
        _ if name.len() > LONGEST_NAME => fault("has too long a name"),
        _ if value.len() > LONGEST_VALUE => fault("has too long a value"),
        _ => Ok((name.to_vec(), value.to_vec())),
    }
}

fn owner(value: &[u8], what: &'static str) -> Result<u32, ArchiveFault> {
    let id = decimal(value).ok_or(ArchiveFault::NoNumber(what))?;
    u32::try_from(id).map_err(|_| ArchiveFault::Range(what, id)).and_then(|id| identity(id, what))
}

/// Reads a whole number. It has no more digits than one of 64 bits.
fn decimal(text: &[u8]) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let is_number = (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if !is_number {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i128::from(digit - b'0'));
    Some(sign * value)
}

/// Reads a time: seconds, and perhaps a part of one, of which nanoseconds count.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let point = text.iter().position(|byte| *byte == b'.');
    let (seconds, part) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    if part.is_empty() || !part.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = part.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    let seconds = i64::try_from(decimal(seconds)?).ok()?;
    // Nanoseconds count upwards also before 1970.
    if text.starts_with(b"-") && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let table: [(&str, Option<(i64, u32)>); 14] = [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("-86400", Some((-86_400, 0))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-1.000000001", Some((-2, 999_999_999))),
            ("8589934592.0000000019", Some((8_589_934_592, 1))),
            ("9223372036854775807", Some((i64::MAX, 0))),
            ("9223372036854775808", None),
            ("-9223372036854775808.5", None),
            ("1.", None),
            (".5", None),
            ("+1", None),
            ("1e3", None),
            ("1.5.5", None),
        ];
        for (text, expected) in table {
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn records_keep_to_their_form() {
        let read = |records: &str| Extended::default().read(records.as_bytes());
        for records in ["", "6 a=b\n", "5 a=\n", "6 a=b\n6 c=d\n", "8 a=b\nc\n", "008 a=b\n"] {
            assert!(read(records).is_ok(), "{records:?}");
        }
        for records in [
            "6",
            "6 ",
            "6 a=b",
            "7 a=b\n",
            "5 a=b\n",
            "0 a=b\n",
            "5 ab\n",
            "5 =b\n",
            "-6 a=b\n",
            " 6 a=b\n",
            "6 a=b\n\0",
            "99999999999999999999999 a=b\n",
            "1 \n",
            "2 \n",
        ] {
            assert!(read(records).is_err(), "{records:?}");
        }
    }
}
