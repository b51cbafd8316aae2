//! Files of accounts: passwd, group, and the subordinate ids.
//!
//! They are read by hand. The C library would ask the host's name services, which know nothing of a
//! rootfs.

use std::fs;

use serde::{Deserialize, Serialize};

/// A range of subordinate ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Finds the id of `name` in the text of a passwd or group file: the third field.
pub(crate) fn id_of(text: &[u8], name: &str) -> Option<u32> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        if fields.next()? != name.as_bytes() {
            return None;
        }
        str::from_utf8(fields.nth(1)?).ok()?.parse().ok()
    })
}

/// Finds the name of the host's user `uid`.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Finds the largest range of subordinate ids that `/etc/subuid` or `/etc/subgid` gives a user, by
/// name or by number.
pub(crate) fn subordinate(file: &str, uid: u32) -> Option<Range> {
    let text = fs::read_to_string(file).ok()?;
    let name = user_name(uid);
    largest_range(&text, name.as_deref(), uid)
}

/// Tells whether `/etc/subuid` or `/etc/subgid` gives a user all of a range.
pub(crate) fn is_given(file: &str, uid: u32, range: Range) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let name = user_name(uid);
    let end = |range: Range| u64::from(range.first) + u64::from(range.count);
    ranges(&text, name.as_deref(), uid)
        .any(|given| given.first <= range.first && end(given) >= end(range))
}

fn largest_range(text: &str, name: Option<&str>, uid: u32) -> Option<Range> {
    ranges(text, name, uid).max_by_key(|range| range.count)
}

fn ranges<'a>(
    text: &'a str,
    name: Option<&'a str>,
    uid: u32,
) -> impl Iterator<Item = Range> + use<'a> {
    let number = uid.to_string();
    text.lines().filter_map(move |line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner != number {
            return None;
        }
        let first = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        Some(Range { first, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_whole_fields() {
        let passwd = b"root:x:0:0::/root:/bin/sh\nbroken\napp:x:1000:100::/:\nappend:x:7:7::/:";
        assert_eq!(id_of(passwd, "app"), Some(1000));
        assert_eq!(id_of(passwd, "append"), Some(7));
        assert_eq!(id_of(passwd, "ap"), None);
        assert_eq!(id_of(passwd, "broken"), None);
    }

    #[test]
    fn the_largest_range_of_the_user_counts() {
        let text = "other:1:99999\nme:100000:10\n1001:200000:65536\nme:bad:1\n";
        let range = Some(Range { first: 200_000, count: 65536 });
        assert_eq!(largest_range(text, Some("me"), 1001), range);
        assert_eq!(largest_range(text, Some("you"), 5), None);
    }
}
