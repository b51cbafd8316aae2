//! What a role makes of a container's config otherwise than before, put into one that somebody has edited.

use std::collections::BTreeMap;

use super::config::{self, effective, is_address, last_value, pair};
use super::keys::{Shape, shape};

/// A key that the role and somebody else have both given another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigConflict {
    /// The key.
    pub key: String,
    /// What the role had; `None` for nothing.
    pub old: Option<String>,
    /// What it has now.
    pub new: Option<String>,
    /// What the container has.
    pub own: Option<String>,
}

/// Which side holds where both have changed a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigChoice {
    /// What the role has now.
    New,
    /// What the container has.
    Own,
}

/// Puts into a config what a role's lines are otherwise than before; all else of it stays byte for byte. Where
/// the rootfs is and what ids and addresses there are is none of the role's.
///
/// # Errors
///
/// The keys that both have changed and that nothing is chosen for.
pub(crate) fn revised(
    text: &[u8],
    old: &[String],
    new: &[String],
    choose: impl Fn(&str) -> Option<ConfigChoice>,
) -> Result<Vec<u8>, Vec<ConfigConflict>> {
    let is_role_s = |line: &&String| {
        let (key, value) = pair(line).unwrap_or_default();
        !key.starts_with("lxc.rootfs.")
            && key != "lxc.idmap"
            && !is_address(key)
            && !value.contains("--clone-hook")
    };
    let without = |lines: &[String], others: &[String]| -> Vec<String> {
        let mut others: Vec<&String> = others.iter().collect();
        let mut left = Vec::new();
        for line in lines.iter().filter(is_role_s) {
            match others.iter().position(|other| *other == line) {
                Some(at) => drop(others.swap_remove(at)),
                None => left.push(line.clone()),
            }
        }
        left
    };
    let (gone, come) = (without(old, new), without(new, old));
    let mut revision = Revision { text: text.to_vec(), conflicts: Vec::new(), added: Vec::new() };
    for line in &gone {
        let Some((key, _)) = pair(line) else { continue };
        match shape(key) {
            Shape::List => revision.remove(line),
            Shape::Scalar => revision.scalar(key, old, new, &choose),
        }
    }
    for line in &come {
        let Some((key, _)) = pair(line) else { continue };
        match shape(key) {
            Shape::List => revision.add(line),
            // It was seen to with what is gone.
            Shape::Scalar
                if gone.iter().any(|line| pair(line).is_some_and(|(gone, _)| gone == key)) => {}
            Shape::Scalar => revision.scalar(key, old, new, &choose),
        }
    }
    if !revision.conflicts.is_empty() {
        return Err(revision.conflicts);
    }
    let [old, new] = [old, new].map(|lines| lists(lines.iter().filter(is_role_s)));
    let mut lines = split(&revision.finished());
    let before = split(text);
    for (key, list) in new {
        // Who has given them another order has it.
        if old.get(key).is_none_or(|old| places(&before, old).is_sorted()) {
            let found = places(&lines, &list);
            arrange(&mut lines, found);
        }
    }
    Ok(lines.concat())
}

fn split(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Returns the lines of each list, by its key.
fn lists<'a>(lines: impl Iterator<Item = &'a String>) -> BTreeMap<&'a str, Vec<&'a String>> {
    let mut lists: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for line in lines {
        if let Some((key, _)) = pair(line).filter(|(key, _)| shape(key) == Shape::List) {
            lists.entry(key).or_default().push(line);
        }
    }
    lists
}

/// Returns where the lines of a list are in a text, as far as they are there.
fn places(lines: &[Vec<u8>], list: &[&String]) -> Vec<usize> {
    let mut places = Vec::new();
    for line in list {
        let is_it = |(at, other): &(usize, &Vec<u8>)| {
            !places.contains(at) && is_same(&String::from_utf8_lossy(other), line)
        };
        let found = lines.iter().enumerate().find(is_it).map(|(at, _)| at);
        places.extend(found);
    }
    places
}

/// Puts lines that are at some places into those places in this order.
fn arrange(lines: &mut [Vec<u8>], mut places: Vec<usize>) {
    if places.is_sorted() {
        return;
    }
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with(b"\n")) {
        last.push(b'\n');
    }
    let texts: Vec<_> = places.iter().map(|at| lines[*at].clone()).collect();
    places.sort_unstable();
    for (at, text) in places.into_iter().zip(texts) {
        lines[at] = text;
    }
}

struct Revision {
    text: Vec<u8>,
    conflicts: Vec<ConfigConflict>,
    /// Lines that come behind all others.
    added: Vec<String>,
}

impl Revision {
    fn lines(&self) -> Vec<String> {
        effective(&String::from_utf8_lossy(&self.text))
    }

    /// Takes the first line away that is this one.
    fn remove(&mut self, line: &str) {
        let mut is_gone = false;
        let lines = self.text.split_inclusive(|byte| *byte == b'\n');
        let kept = lines.filter(|other| {
            let is_it = !is_gone && is_same(&String::from_utf8_lossy(other), line);
            is_gone |= is_it;
            !is_it
        });
        self.text = kept.collect::<Vec<_>>().concat();
    }

    /// Adds a line of a list, unless it is there.
    fn add(&mut self, line: &str) {
        if !self.lines().iter().any(|other| is_same(other, line)) {
            self.added.push(line.to_owned());
        }
    }

    /// Gives a key that has one value the role's.
    fn scalar(
        &mut self,
        key: &str,
        old: &[String],
        new: &[String],
        choose: &impl Fn(&str) -> Option<ConfigChoice>,
    ) {
        let last = |lines: &[String]| last_value(&lines.join("\n"), key).map(str::to_owned);
        let (before, now, own) = (last(old), last(new), last(&self.lines()));
        if own == now || before == now {
            return;
        }
        if own != before {
            match choose(key) {
                Some(ConfigChoice::New) => {}
                Some(ConfigChoice::Own) => return,
                None => {
                    let key = key.to_owned();
                    let conflict = ConfigConflict { key, old: before, new: now, own };
                    if !self.conflicts.contains(&conflict) {
                        self.conflicts.push(conflict);
                    }
                    return;
                }
            }
        }
        match (own, now) {
            (None, None) => {}
            (None, Some(now)) => self.added.push(config::line(key, config::unquoted(&now))),
            (Some(_), Some(now)) => {
                // The last line is the one that holds.
                let of_key = |line: &String| pair(line).is_some_and(|(other, _)| other == key);
                let mut left = self.lines().iter().filter(|line| of_key(line)).count();
                self.text = config::rewrite(&self.text, |other, _| {
                    left -= usize::from(other == key);
                    let is_last = other == key && left == 0;
                    is_last.then(|| config::unquoted(&now).to_owned())
                });
            }
            (Some(_), None) => {
                for line in self.lines() {
                    if pair(&line).is_some_and(|(other, _)| other == key) {
                        self.remove(&line);
                    }
                }
            }
        }
    }

    fn finished(self) -> Vec<u8> {
        if self.added.is_empty() {
            return self.text;
        }
        let lines: Vec<_> = self.added.iter().filter_map(|line| pair(line)).collect();
        let lines = lines.into_iter().map(|(key, value)| (key, config::unquoted(value)));
        config::append_note(&self.text, "upgrade", lines)
    }
}

/// Tells whether LXC reads two lines alike.
fn is_same(one: &str, other: &str) -> bool {
    let read = |line: &str| pair(line).map(|(key, value)| (key.to_owned(), value.to_owned()));
    read(one).is_some_and(|one| read(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        effective(text)
    }

    fn revise(text: &str, old: &str, new: &str) -> Result<String, Vec<String>> {
        revised(text.as_bytes(), &lines(old), &lines(new), |_| None)
            .map(|text| String::from_utf8(text).unwrap())
            .map_err(|conflicts| conflicts.into_iter().map(|conflict| conflict.key).collect())
    }

    #[test]
    fn what_somebody_has_edited_stays() {
        let text = "# mine\nlxc.net.0.type = veth\nlxc.tty.max = 2\nlxc.environment = A=1\n\
            lxc.start.auto = 1\nlxc.pty.max = 9";
        let old = "lxc.tty.max = 2\nlxc.environment = A=1\nlxc.start.auto = 0";
        let new = "lxc.tty.max = 4\nlxc.environment = B=1\nlxc.start.auto = 0\nlxc.arch = amd64";
        let expected = "# mine\nlxc.net.0.type = veth\nlxc.tty.max = 4\nlxc.start.auto = 1\n\
            lxc.pty.max = 9\n# layered-template: upgrade\nlxc.environment = B=1\nlxc.arch = amd64\n";
        let mut found = revise(text, old, new).unwrap().lines().collect::<Vec<_>>().join("\n");
        found.push('\n');
        assert_eq!(found, expected);
        assert_eq!(revise(text, old, old).unwrap(), text);
    }

    #[test]
    fn the_line_that_holds_is_changed() {
        let text = "lxc.tty.max = 1\nlxc.tty.max = 2\n";
        let found = revise(text, text, "lxc.tty.max = 1\nlxc.tty.max = 4\n").unwrap();
        assert_eq!(found, "lxc.tty.max = 1\nlxc.tty.max = 4\n");
    }

    #[test]
    fn lines_of_a_list_keep_the_order_of_the_role() {
        let entry = |text: &str| format!("lxc.mount.entry = {text}\n");
        let list = |texts: &[&str]| texts.iter().map(|text| entry(text)).collect::<String>();
        // What there is, what the role had, what it has now, and what comes of it.
        for (text, old, new, expected) in [
            (&["a", "b"][..], &["a", "b"][..], &["A", "b"][..], &["A", "b"][..]),
            (&["a", "b"], &["a", "b"], &["b", "a"], &["b", "a"]),
            (&["a", "own", "b", "c"], &["a", "b", "c"], &["c", "b", "a"], &["c", "own", "b", "a"]),
            (&["a", "a", "b"], &["a", "a", "b"], &["b", "a", "a"], &["b", "a", "a"]),
            (&["a", "b"], &["a", "b"], &["n", "a", "b"], &["n", "a", "b"]),
            (&["own", "b"], &["a", "b"], &["a", "b"], &["own", "b"]),
            (&["b", "a"], &["a", "b"], &["a", "b", "n"], &["b", "a", "n"]),
        ] {
            let found = revise(&list(text), &list(old), &list(new)).unwrap();
            let found: Vec<_> = found.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(found, list(expected).lines().collect::<Vec<_>>(), "{text:?} {new:?}");
        }
        let found = revise("lxc.mount.entry = a\nlxc.mount.entry = b", "", "").unwrap();
        assert_eq!(found, "lxc.mount.entry = a\nlxc.mount.entry = b");
    }

    #[test]
    fn what_both_have_changed_is_a_conflict_unless_it_is_the_same() {
        let (old, new) = ("lxc.tty.max = 2\n", "lxc.tty.max = 4\n");
        assert_eq!(revise("lxc.tty.max = 3\n", old, new).unwrap_err(), ["lxc.tty.max"]);
        assert_eq!(revise("", old, new).unwrap_err(), ["lxc.tty.max"]);
        assert_eq!(revise("lxc.tty.max = 3\n", old, "").unwrap_err(), ["lxc.tty.max"]);
        assert_eq!(revise("lxc.tty.max = 4\n", old, new).unwrap(), new);
        assert_eq!(revise("lxc.tty.max = 3\n", "", new).unwrap_err(), ["lxc.tty.max"]);
        assert_eq!(revise(old, old, "").unwrap(), "");
        let chosen = |choice| {
            let text = b"lxc.tty.max = 3\n";
            revised(text, &lines(old), &lines(new), |_| Some(choice)).unwrap()
        };
        assert_eq!(chosen(ConfigChoice::New), new.as_bytes());
        assert_eq!(chosen(ConfigChoice::Own), b"lxc.tty.max = 3\n");
    }

    #[test]
    fn what_is_none_of_the_role_s_is_not_touched() {
        let text = "lxc.rootfs.path = overlay:/a:/b\nlxc.net.0.hwaddr = 00:16:3e:11:22:33\n";
        let new = "lxc.rootfs.path = overlay:/c:/b\nlxc.net.0.hwaddr = 00:16:3e:44:55:66\n\
            lxc.idmap = u 0 1 1\nlxc.hook.clone = /bin/sh -c '/x --clone-hook \"$@\" || :' sh\n";
        assert_eq!(revise(text, "", new).unwrap(), text);
    }
}
