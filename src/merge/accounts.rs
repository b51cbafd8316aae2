//! Files of accounts, put together line by line: the name is the key.

use std::collections::{BTreeMap, BTreeSet};

/// The files, without a slash in front, and which field is the number of the account, if any.
const FILES: [(&[u8], Option<usize>); 4] = [
    (b"etc/group", Some(2)),
    (b"etc/gshadow", None),
    (b"etc/passwd", Some(2)),
    (b"etc/shadow", None),
];

/// Tells whether a path is that of a file of accounts.
pub(crate) fn has_accounts(path: &[u8]) -> bool {
    FILES.iter().any(|(file, _)| *file == path)
}

/// Puts together what both sides have made of a file of accounts: `old` is how it was, `new` the role's and
/// `own` the container's.
///
/// The container's lines stay in their order, and what the role adds follows them. Nothing is returned where
/// both have changed one account, where a name stands twice, and where two accounts would come to have one
/// number that had different ones on each side.
pub(crate) fn merge_accounts(path: &[u8], old: &[u8], new: &[u8], own: &[u8]) -> Option<Vec<u8>> {
    let (_, number) = FILES.iter().find(|(file, _)| *file == path)?;
    let (before, now, there) = (Lines::of(old)?, Lines::of(new)?, Lines::of(own)?);
    let mut merged: Vec<&[u8]> = Vec::new();
    let added = now.order.iter().filter(|name| !there.by_name.contains_key(*name));
    for name in there.order.iter().chain(added) {
        let [before, now, there] = [&before, &now, &there].map(|lines| lines.by_name.get(name));
        let line = if there == now || before == now {
            there
        } else if before == there {
            now
        } else {
            return None;
        };
        merged.extend(line);
    }
    if let Some(field) = number {
        let numbers = |lines: &[&[u8]]| shared_numbers(lines, *field);
        let known: BTreeSet<_> = [&now, &there]
            .into_iter()
            .flat_map(|lines| numbers(&lines.by_name.values().copied().collect::<Vec<_>>()))
            .collect();
        if !numbers(&merged).is_subset(&known) {
            return None;
        }
    }
    let mut text = Vec::new();
    for line in merged {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    Some(text)
}

/// Returns the numbers that several lines have.
fn shared_numbers(lines: &[&[u8]], field: usize) -> BTreeSet<Vec<u8>> {
    let mut seen = BTreeSet::new();
    let numbers = lines.iter().filter_map(|line| line.split(|byte| *byte == b':').nth(field));
    numbers.filter(|number| !seen.insert(*number)).map(<[u8]>::to_vec).collect()
}

/// The lines of a file.
struct Lines<'a> {
    order: Vec<&'a [u8]>,
    by_name: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Lines<'a> {
    /// Returns them, unless a name stands twice.
    fn of(text: &'a [u8]) -> Option<Self> {
        let mut lines = Self { order: Vec::new(), by_name: BTreeMap::new() };
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            lines.order.push(name);
            if lines.by_name.insert(name, line).is_some() {
                return None;
            }
        }
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(path: &str, [old, new, own]: [&str; 3]) -> Option<String> {
        let text = merge_accounts(path.as_bytes(), old.as_bytes(), new.as_bytes(), own.as_bytes())?;
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn accounts_that_both_sides_add_are_put_together() {
        let root = "root:x:0:0::/root:/bin/sh\n";
        let (app, me) = ("app:x:998:998::/:/bin/false\n", "me:x:1000:1000::/home/me:/bin/sh\n");
        let both = |one: &str, other: &str| format!("{root}{one}{other}");
        let found = merged("etc/passwd", [root, &both(app, ""), &both(me, "")]);
        assert_eq!(found.unwrap(), both(me, app));
        // The role's account goes, and the container's stays.
        let found = merged("etc/passwd", [&both(app, ""), root, &both(app, me)]);
        assert_eq!(found.unwrap(), both(me, ""));
        // Both have added the same.
        let found = merged("etc/passwd", [root, &both(app, ""), &both(app, me)]);
        assert_eq!(found.unwrap(), both(app, me));
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        let root = "root:x:0:\n";
        for sides in [
            // One number for two names.
            ["root:x:0:\n", "root:x:0:\napp:x:998:\n", "root:x:0:\nmine:x:998:\n"],
            // One line changed on both sides.
            ["root:x:0:\n", "root:x:0:a\n", "root:x:0:b\n"],
            // Gone on one side, changed on the other.
            ["root:x:0:\nx:x:5:\n", root, "root:x:0:\nx:x:5:me\n"],
            // A name that stands twice.
            [root, "root:x:0:\nroot:x:0:\n", "root:x:0:\nb:x:1:\n"],
        ] {
            assert_eq!(merged("etc/group", sides), None, "{sides:?}");
        }
        // Two names of one number that were there before are nobody's mistake.
        let twins = "root:x:0:\ntoor:x:0:\n";
        let found = merged("etc/group", [twins, "root:x:0:\ntoor:x:0:\na:x:1:\n", twins]);
        assert_eq!(found.unwrap(), "root:x:0:\ntoor:x:0:\na:x:1:\n");
        assert_eq!(merged("etc/hosts", ["", "", ""]), None);
    }
}
