//! Files of accounts: passwd, group, and the subordinate ids.
//!
//! They are read by hand. The C library would ask the host's name services, which know nothing of a
//! rootfs.

use std::fs;
use std::path::PathBuf;

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
    field_of("/etc/passwd", uid, 0)
}

/// Finds the name of the host's group `gid`.
pub(crate) fn group_name(gid: u32) -> Option<String> {
    field_of("/etc/group", gid, 0)
}

/// Finds the home of the host's user `uid`.
pub(crate) fn home(uid: u32) -> Option<PathBuf> {
    field_of("/etc/passwd", uid, 5).map(PathBuf::from)
}

/// Returns a field of the line of the id `id`.
fn field_of(file: &str, id: u32, field: usize) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2).is_some_and(|text| text.parse() == Ok(id)))?;
    line.get(field).map(|text| (*text).to_owned())
}

/// Returns the command by which root gives a user the subordinate ids from `first` to `last`.
pub(crate) fn giving_ids(uid: u32, (first, last): (u32, u32)) -> String {
    let user = user_name(uid).unwrap_or_else(|| uid.to_string());
    let user = crate::shell::word(user);
    format!("usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}")
}

/// The subordinate ids that a user without any is advised to have.
pub(crate) const USUAL_IDS: (u32, u32) = (100_000, 165_535);

/// Returns the users who have the host's group `gid`, as far as the host's own files know; `None` for one whom
/// the group lists and passwd does not know.
pub(crate) fn members(gid: u32) -> Vec<Option<u32>> {
    let [passwd, group] =
        ["/etc/passwd", "/etc/group"].map(|file| fs::read(file).unwrap_or_default());
    members_of(&String::from_utf8_lossy(&passwd), &String::from_utf8_lossy(&group), gid)
}

/// Returns those for whom it is the own group, and those whom the group lists.
fn members_of(passwd: &str, group: &str, gid: u32) -> Vec<Option<u32>> {
    let users = passwd.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        Some((*fields.first()?, fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    });
    let users: Vec<(&str, u32, u32)> = users.collect();
    let own = users.iter().filter(|(_, _, own)| *own == gid).map(|(_, uid, _)| Some(*uid));
    let listed = group.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(gid)).then(|| fields.get(3).copied().unwrap_or_default())
    });
    let listed = listed.flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
    let listed = listed.map(|name| {
        let known = users.iter().find(|(user, _, _)| *user == name);
        known.map(|(_, uid, _)| *uid)
    });
    own.chain(listed).collect()
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
    fn a_group_has_those_whose_own_it_is_and_those_whom_it_lists() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nme:x:7:7:::\nyou:x:8:8:::\ntwin:x:9:8:::\nbroken\n";
        let group =
            "root:x:0:\nme:x:7:\nyou:x:8:me\nboth:x:20:me,you\nempty:x:21:\ngone:x:22:left\n";
        let table: [(u32, &[Option<u32>]); 7] = [
            (0, &[Some(0)]),
            (7, &[Some(7)]),
            (8, &[Some(8), Some(9), Some(7)]),
            (20, &[Some(7), Some(8)]),
            (21, &[]),
            (22, &[None]),
            (23, &[]),
        ];
        for (gid, members) in table {
            assert_eq!(members_of(passwd, group, gid), members, "{gid}");
        }
    }

    #[test]
    fn the_largest_range_of_the_user_counts() {
        let text = "other:1:99999\nme:100000:10\n1001:200000:65536\nme:bad:1\n";
        let range = Some(Range { first: 200_000, count: 65536 });
        assert_eq!(largest_range(text, Some("me"), 1001), range);
        assert_eq!(largest_range(text, Some("you"), 5), None);
    }
}
