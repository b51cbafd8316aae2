//! Files of accounts, put together line by line: the name is the key.

use std::collections::BTreeMap;

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
/// The container's lines stay in their order, and what the role adds follows its accounts. Nothing is returned
/// where both have changed one account, where a name stands twice, where accounts would come to have one number
/// that do not share it on one side, where that cannot be told of a number that one side alone has, and where
/// the order of lines for NIS cannot be told.
pub(crate) fn merge_accounts(path: &[u8], old: &[u8], new: &[u8], own: &[u8]) -> Option<Vec<u8>> {
    let (_, number) = FILES.iter().find(|(file, _)| *file == path)?;
    let (before, now, there) = (Lines::of(old)?, Lines::of(new)?, Lines::of(own)?);
    let is_added = |name: &&&[u8]| !there.by_name.contains_key(**name);
    let (of_nis, added): (Vec<_>, Vec<_>) =
        now.order.iter().filter(is_added).partition(|name| is_of_nis(name));
    // Nobody looks for an account any more behind the line that has NIS asked for all of them.
    let last = there.order.iter().position(|name| is_of_nis(name)).unwrap_or(there.order.len());
    let (accounts, rest) = there.order.split_at(last);
    if !rest.is_empty() && !of_nis.is_empty() {
        return None;
    }
    let mut merged: Vec<&[u8]> = Vec::new();
    for name in accounts.iter().chain(added).chain(rest).chain(of_nis) {
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
    if let Some(field) = number
        && !are_apart(&merged, *field, [&now, &there])
    {
        return None;
    }
    let mut text = Vec::new();
    for line in merged {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    Some(text)
}

/// A number that is another account's in one file than in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renumbered {
    /// The number.
    pub number: u32,
    /// Whose it is in the first file, if anybody's.
    pub was: Option<String>,
    /// Whose it is in the second one; nobody's, where the account has got another number.
    pub is: Option<String>,
}

/// Finds the numbers of a file of accounts that are other accounts' in another one, or whose account has another number
/// there; also those that are nobody's in the first.
pub(crate) fn renumbered(path: &[u8], before: &[u8], now: &[u8]) -> Vec<Renumbered> {
    let field = FILES.iter().find(|(file, _)| *file == path).and_then(|(_, number)| *number);
    let Some(field) = field else { return Vec::new() };
    let accounts = |text: &[u8]| -> Vec<(String, u32)> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !is_of_nis(line));
        let account = |line: &[u8]| {
            let number = line.split(|byte| *byte == b':').nth(field).and_then(number_of)?;
            Some((String::from_utf8_lossy(name_of(line)).into_owned(), number))
        };
        lines.filter_map(account).collect()
    };
    let (before, now) = (accounts(before), accounts(now));
    let mut found: Vec<Renumbered> = Vec::new();
    for (name, number) in &before {
        let number = *number;
        let is_shared =
            |(other, of): &(String, u32)| *of == number && now.contains(&(other.clone(), number));
        if before.iter().any(is_shared) || found.iter().any(|found| found.number == number) {
            continue;
        }
        let is = now.iter().find(|(_, of)| *of == number).map(|(other, _)| other.clone());
        if is.is_some() || now.iter().any(|(other, _)| other == name) {
            found.push(Renumbered { number, was: Some(name.clone()), is });
        }
    }
    let is_new = |(_, number): &&(String, u32)| before.iter().all(|(_, of)| of != number);
    found.extend(now.iter().filter(is_new).map(|(name, number)| Renumbered {
        number: *number,
        was: None,
        is: Some(name.clone()),
    }));
    found
}

/// Tells whether accounts share a number only where they do so on one of the sides.
fn are_apart(merged: &[&[u8]], field: usize, sides: [&Lines; 2]) -> bool {
    let has = |side: &Lines, line: &[u8]| side.by_name.get(name_of(line)) == Some(&line);
    let mut by_number: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
    for line in merged.iter().filter(|line| !is_of_nis(line) && !line.starts_with(b"#")) {
        match line.split(|byte| *byte == b':').nth(field).and_then(number_of) {
            Some(number) => by_number.entry(number).or_default().push(line),
            None if sides.iter().all(|side| has(side, line)) => {}
            None => return false,
        }
    }
    by_number.values().all(|lines| {
        lines.len() == 1 || sides.iter().any(|side| lines.iter().all(|line| has(side, line)))
    })
}

/// Reads a number as the C library does.
fn number_of(text: &[u8]) -> Option<u32> {
    // With a sign in front as well.
    str::from_utf8(text.trim_ascii_start()).ok()?.parse().ok()
}

/// Tells whether a line, or what stands for its name, has accounts of NIS taken in, or left out.
fn is_of_nis(line: &[u8]) -> bool {
    line.starts_with(b"+") || line.starts_with(b"-")
}

/// Returns the name of the account of a line.
fn name_of(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b':').next().unwrap_or_default()
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
            let name = name_of(line);
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
    fn a_number_that_becomes_somebody_else_s_is_found() {
        let text = |accounts: &[(&str, u32)]| {
            let lines = accounts.iter().map(|(name, number)| format!("{name}:x:{number}:9::/:/\n"));
            lines.collect::<String>()
        };
        let found = |before: &[(&str, u32)], now: &[(&str, u32)]| {
            let found = renumbered(b"etc/passwd", text(before).as_bytes(), text(now).as_bytes());
            found.into_iter().map(|one| (one.number, one.was, one.is)).collect::<Vec<_>>()
        };
        let was = &[("root", 0), ("app", 998)][..];
        assert_eq!(found(was, was), []);
        assert_eq!(found(was, &[("root", 0)]), []);
        assert_eq!(found(was, &[("root", 0), ("toor", 0), ("app", 998)]), []);
        let [app, db] = ["app", "db"].map(|name| Some(name.to_owned()));
        let moved = (998, app.clone(), db.clone());
        let added = |number, name: &Option<String>| (number, None, name.clone());
        let both = [moved.clone(), added(997, &app)];
        assert_eq!(found(was, &[("root", 0), ("db", 998), ("app", 997)]), both);
        assert_eq!(found(was, &[("root", 0), ("db", 998)]), [moved]);
        let given_up = [(998, app.clone(), None), added(997, &app)];
        assert_eq!(found(was, &[("root", 0), ("app", 997)]), given_up);
        assert_eq!(found(was, &[("root", 0), ("app", 998), ("db", 1000)]), [added(1000, &db)]);
        assert_eq!(renumbered(b"etc/shadow", b"a:1:2\n", b"b:1:2\n"), []);
    }

    #[test]
    fn lines_of_nis_stay_last() {
        for (old, new, own, expected) in [
            (
                "r:x:0:\n",
                "r:x:0:\na:x:1:\n",
                "r:x:0:\nb:x:2:\n+:::\n",
                "r:x:0:\nb:x:2:\na:x:1:\n+:::\n",
            ),
            (
                "r:x:0:\n+:::\n",
                "r:x:0:\na:x:1:\n+:::\n",
                "r:x:0:\n-x:::\n+:::\n",
                "r:x:0:\na:x:1:\n-x:::\n+:::\n",
            ),
            (
                "r:x:0:\n",
                "r:x:0:\na:x:1:\n+:::\n",
                "r:x:0:\nb:x:2:\n",
                "r:x:0:\nb:x:2:\na:x:1:\n+:::\n",
            ),
            ("r:x:0:\n", "r:x:0:\n+:::\n", "r:x:0:\n-x:::\n", ""),
        ] {
            let found = merged("etc/group", [old, new, own]);
            assert_eq!(found.unwrap_or_default(), expected, "{old} -> {new} | {own}");
        }
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
        // What two sides come to have of one number, however it is written.
        let root = "root:x:0:\n";
        for (new, own, is_merged) in [
            ("a:x:100:\n", "b:x:0100:\n", false),
            ("a:x:100:\n", "b:x:+100:\n", false),
            ("a:x:100:\n", "b:x: 100:\n", false),
            ("a:x:100:\n", "b:x:101:\n", true),
            // Where the container has two already, there is no third.
            ("a:x:100:\n", "b:x:100:\nc:x:100:\n", false),
            ("a:x:100:\n", "b:x:101:\nc:x:101:\n", true),
            ("a:x:100:\nb:x:100:\n", "a:x:100:\nc:x:101:\n", true),
            // What is no number may be any.
            ("a:x:100:\n", "b:x:many:\n", false),
            ("a:x::\n", "b:x:100:\n", false),
            ("a:x:many:\n", "a:x:many:\nb:x:100:\n", true),
            ("a:x:100:\n", "# b:\nb:x:101:\n", true),
        ] {
            let [new, own] = [new, own].map(|added| format!("{root}{added}"));
            let found = merged("etc/group", [root, &new, &own]);
            assert_eq!(found.is_some(), is_merged, "{new} | {own}: {found:?}");
        }
        // Two names of one number that were there before are nobody's mistake.
        let twins = "root:x:0:\ntoor:x:0:\n";
        let found = merged("etc/group", [twins, "root:x:0:\ntoor:x:0:\na:x:1:\n", twins]);
        assert_eq!(found.unwrap(), "root:x:0:\ntoor:x:0:\na:x:1:\n");
        assert_eq!(merged("etc/hosts", ["", "", ""]), None);
    }
}
