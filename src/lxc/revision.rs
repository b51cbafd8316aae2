//! What a role makes of a container's config otherwise than before, put into one that somebody has edited.

use std::collections::BTreeMap;

use super::config::{self, effective, last_value, pair};
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
/// the rootfs is and what ids there are is none of the role's; addresses that LXC has made up are none of its lines.
///
/// A key that has one value is judged by the line that holds. Of a key that every line of counts for, what is one thing,
/// such as a limit or a variable, is judged by itself, and all else by the key.
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
        !key.starts_with("lxc.rootfs.") && key != "lxc.idmap" && !value.contains("--clone-hook")
    };
    let mut revision = Revision { lines: split(text), conflicts: Vec::new() };
    // What is said of each thing before and now, in the order in which it is said.
    let (mut order, mut groups) = (Vec::new(), BTreeMap::<_, [Vec<String>; 2]>::new());
    for (side, lines) in [old, new].into_iter().enumerate() {
        for line in lines.iter().filter(is_role_s) {
            let Some((key, value)) = pair(line) else { continue };
            let thing = match shape(key) {
                Shape::List => thing(key, value),
                Shape::Scalar => String::new(),
            };
            let group = (key.to_owned(), thing);
            if !groups.contains_key(&group) {
                order.push(group.clone());
            }
            groups.entry(group).or_default()[side].push(line.clone());
        }
    }
    let mut places = Vec::new();
    for (key, thing) in &order {
        let [old, new] = &groups[&(key.clone(), thing.clone())];
        if old == new {
            continue;
        }
        places.extend(match shape(key) {
            Shape::Scalar => revision.scalar(key, old, new, &choose),
            Shape::List => revision.list((key, thing), old, new, &choose),
        });
    }
    if !revision.conflicts.is_empty() {
        return Err(revision.conflicts);
    }
    revision.place(new, places);
    let [old, new] = [old, new].map(|lines| lists(lines.iter().filter(is_role_s)));
    let mut lines = revision.lines;
    let before = split(text);
    for (key, list) in new {
        // Who has given them another order has it.
        if old.get(key).is_none_or(|old| self::places(&before, old).is_sorted()) {
            let found = self::places(&lines, &list);
            arrange(&mut lines, found);
        }
    }
    Ok(lines.concat())
}

/// Returns the lines that others do not have as often.
fn without(lines: &[String], others: &[String]) -> Vec<String> {
    let mut others: Vec<&String> = others.iter().collect();
    let mut left = Vec::new();
    for line in lines {
        match others.iter().position(|other| is_same(other, line)) {
            Some(at) => drop(others.swap_remove(at)),
            None => left.push(line.clone()),
        }
    }
    left
}

fn key_of(line: &str) -> Option<&str> {
    pair(line).map(|(key, _)| key)
}

/// Returns what a line is about of which a key has several: one thing that has one value, or nothing.
fn thing(key: &str, value: &str) -> String {
    let is_limit = ["lxc.cgroup.", "lxc.cgroup2."].iter().any(|group| key.starts_with(group));
    let words: &mut dyn Iterator<Item = &str> = match key {
        "lxc.mount.entry" => &mut config::unquoted(value).split_whitespace().skip(1),
        _ if key.starts_with("lxc.environment") => &mut config::unquoted(value).split('='),
        _ if is_limit && !key.contains(".devices.") => &mut [key].into_iter(),
        _ => &mut [].into_iter(),
    };
    words.next().unwrap_or_default().to_owned()
}

/// Tells whether a line is of a key, and about a thing.
fn is_of(line: &str, key: &str, about: &str) -> bool {
    pair(line).is_some_and(|(other, value)| {
        other == key && (shape(key) == Shape::Scalar || thing(key, value) == about)
    })
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
    /// The lines of the text, with their line feeds.
    lines: Vec<Vec<u8>>,
    conflicts: Vec<ConfigConflict>,
}

impl Revision {
    /// Returns the lines of the text that are of a key, and about a thing.
    fn of(&self, key: &str, thing: &str) -> Vec<String> {
        let lines = effective(&String::from_utf8_lossy(&self.lines.concat()));
        lines.into_iter().filter(|line| is_of(line, key, thing)).collect()
    }

    /// Removes the first line that is this one.
    fn remove(&mut self, line: &str) {
        let is_it = |other: &Vec<u8>| is_same(&String::from_utf8_lossy(other), line);
        if let Some(at) = self.lines.iter().position(is_it) {
            self.lines.remove(at);
        }
    }

    /// Returns who holds of a key that both have changed; nobody, where that is a conflict.
    fn chosen(
        &mut self,
        key: &str,
        values: [Option<String>; 3],
        choose: &impl Fn(&str) -> Option<ConfigChoice>,
    ) -> Option<ConfigChoice> {
        let choice = choose(key);
        if choice.is_none() {
            let [old, new, own] = values;
            let conflict = ConfigConflict { key: key.to_owned(), old, new, own };
            if !self.conflicts.contains(&conflict) {
                self.conflicts.push(conflict);
            }
        }
        choice
    }

    /// Gives a key that has one value the role's, and returns the lines that have yet to be put in their place.
    fn scalar(
        &mut self,
        key: &str,
        old: &[String],
        new: &[String],
        choose: &impl Fn(&str) -> Option<ConfigChoice>,
    ) -> Vec<String> {
        let last = |lines: &[String]| last_value(&lines.join("\n"), key).map(str::to_owned);
        let lines = self.of(key, "");
        let (before, now, own) = (last(old), last(new), last(&lines));
        if own == now || before == now {
            return Vec::new();
        }
        if own != before
            && self.chosen(key, [before, now.clone(), own.clone()], choose)
                != Some(ConfigChoice::New)
        {
            return Vec::new();
        }
        match (own, now) {
            (None, None) => {}
            (None, Some(now)) => return vec![config::line(key, config::unquoted(&now))],
            (Some(_), Some(now)) => {
                // The last line is the one that holds.
                let mut left = lines.len();
                let text = config::rewrite(&self.lines.concat(), |other, _| {
                    left -= usize::from(other == key);
                    let is_last = other == key && left == 0;
                    is_last.then(|| config::unquoted(&now).to_owned())
                });
                self.lines = split(&text);
            }
            (Some(_), None) => {
                for line in &lines {
                    self.remove(line);
                }
            }
        }
        Vec::new()
    }

    /// Does what the role does to lines of which every one counts, and returns those that have yet to be put in their
    /// place.
    fn list(
        &mut self,
        (key, thing): (&str, &str),
        old: &[String],
        new: &[String],
        choose: &impl Fn(&str) -> Option<ConfigChoice>,
    ) -> Vec<String> {
        let own = self.of(key, thing);
        let (gone, come) = (without(old, new), without(&without(new, old), &own));
        let clears =
            |line: &String| pair(line).is_some_and(|(_, value)| config::unquoted(value).is_empty());
        let is_changed = match thing {
            // The lines stand for themselves, unless one takes the place of another or empties them all.
            "" => {
                !come.is_empty() && !without(&gone, &own).is_empty()
                    || come.iter().any(clears) && !without(&own, old).is_empty()
            }
            _ => {
                let is_as = |lines: &[String]| {
                    without(&own, lines).is_empty() && without(lines, &own).is_empty()
                };
                !is_as(old) && !is_as(new)
            }
        };
        if !is_changed {
            for line in &gone {
                self.remove(line);
            }
            return come;
        }
        let values = [old, new, &own].map(|lines| {
            let values = lines.iter().filter_map(|line| pair(line)).map(|(_, value)| value);
            (!lines.is_empty()).then(|| values.collect::<Vec<_>>().join("; "))
        });
        if self.chosen(key, values, choose) != Some(ConfigChoice::New) {
            return Vec::new();
        }
        for line in without(&own, new) {
            self.remove(&line);
        }
        without(new, &own)
    }

    /// Puts lines in the places that they have among the role's: behind the one before, or in front of the one that
    /// follows. Where neither is there, they come behind all others.
    fn place(&mut self, role: &[String], lines: Vec<String>) {
        let mut left = lines;
        let mut behind_all = Vec::new();
        for (at, line) in role.iter().enumerate() {
            let Some(found) = left.iter().position(|other| is_same(other, line)) else { continue };
            let line = left.remove(found);
            let of_key = |other: &&String| key_of(other) == key_of(&line);
            let place =
                role[..at].iter().filter(of_key).filter_map(|other| self.last_of(other)).max();
            let place =
                place.or_else(|| role[..at].iter().rev().find_map(|other| self.last_of(other)));
            let place = place.map(|place| place + 1);
            let place =
                place.or_else(|| role[at + 1..].iter().find_map(|other| self.last_of(other)));
            match place {
                Some(place) => self.insert(place, &line),
                None => behind_all.push(line),
            }
        }
        behind_all.extend(left);
        if behind_all.is_empty() {
            return;
        }
        let lines: Vec<_> = behind_all.iter().filter_map(|line| pair(line)).collect();
        let lines = lines.into_iter().map(|(key, value)| (key, config::unquoted(value)));
        self.lines = split(&config::append_note(&self.lines.concat(), "upgrade", lines));
    }

    /// Returns where a line of the role is last, or what stands for it.
    fn last_of(&self, line: &str) -> Option<usize> {
        let (key, value) = pair(line)?;
        let thing = thing(key, value);
        self.lines.iter().rposition(|other| {
            let other = String::from_utf8_lossy(other);
            let stands_for = shape(key) == Shape::Scalar || !thing.is_empty();
            is_same(&other, line) || stands_for && is_of(&other, key, &thing)
        })
    }

    fn insert(&mut self, at: usize, line: &str) {
        if let Some(before) = at.checked_sub(1).and_then(|before| self.lines.get_mut(before))
            && !before.ends_with(b"\n")
        {
            before.push(b'\n');
        }
        self.lines.insert(at, format!("{line}\n").into_bytes());
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
        let expected = "# mine\nlxc.net.0.type = veth\nlxc.tty.max = 4\nlxc.environment = B=1\n\
            lxc.start.auto = 1\nlxc.arch = amd64\nlxc.pty.max = 9\n";
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
        let new = "lxc.rootfs.path = overlay:/c:/b\n\
            lxc.idmap = u 0 1 1\nlxc.hook.clone = /bin/sh -c '/x --clone-hook \"$@\" || :' sh\n";
        assert_eq!(revise(text, "", new).unwrap(), text);
    }

    #[test]
    fn of_a_list_what_is_one_thing_is_a_conflict_where_both_have_changed_it() {
        let max = |value: &str| format!("lxc.cgroup2.memory.max = {value}\n");
        let table = [
            // What there is, what the role had and has now, and what comes of it, or the key of a conflict.
            (max("256M"), max("1G"), max("2G"), Err("lxc.cgroup2.memory.max")),
            (String::new(), max("1G"), max("2G"), Err("lxc.cgroup2.memory.max")),
            (max("1G"), max("1G"), max("2G"), Ok(max("2G"))),
            (max("2G"), max("1G"), max("2G"), Ok(max("2G"))),
            (max("256M"), max("1G"), max("1G"), Ok(max("256M"))),
            (max("256M"), String::new(), max("2G"), Err("lxc.cgroup2.memory.max")),
            (
                "lxc.environment = A=own\n".into(),
                "lxc.environment = A=1\n".into(),
                "lxc.environment = A=2\n".into(),
                Err("lxc.environment"),
            ),
            (
                "lxc.environment = B=own\nlxc.environment = A=1\n".into(),
                "lxc.environment = A=1\n".into(),
                "lxc.environment = A=2\n".into(),
                Ok("lxc.environment = B=own\nlxc.environment = A=2\n".into()),
            ),
            (
                "lxc.mount.entry = /mine srv none bind\n".into(),
                "lxc.mount.entry = /a srv none bind\n".into(),
                "lxc.mount.entry = /b srv none bind\n".into(),
                Err("lxc.mount.entry"),
            ),
            // Each of these is a line by itself, unless it takes the place of one that somebody has changed.
            (
                "lxc.cap.drop = sys_time\n".into(),
                String::new(),
                "lxc.cap.drop = mknod\n".into(),
                Ok("lxc.cap.drop = sys_time\nlxc.cap.drop = mknod\n".into()),
            ),
            (
                "lxc.hook.start-host = /x --mine\n".into(),
                "lxc.hook.start-host = /x\n".into(),
                "lxc.hook.start-host = /y\n".into(),
                Err("lxc.hook.start-host"),
            ),
            (
                "lxc.cap.drop = sys_time\n".into(),
                String::new(),
                "lxc.cap.drop =\nlxc.cap.drop = mknod\n".into(),
                Err("lxc.cap.drop"),
            ),
        ];
        for (text, old, new, expected) in table {
            let without_note = |text: String| text.replace("# layered-template: upgrade\n", "");
            let found = revise(&text, &old, &new).map(without_note);
            let expected = expected.map_err(|key: &str| vec![key.to_owned()]);
            assert_eq!(found, expected, "{text}{old}{new}");
            let chosen = |choice| {
                let found = revised(text.as_bytes(), &lines(&old), &lines(&new), |_| Some(choice));
                without_note(String::from_utf8(found.unwrap()).unwrap())
            };
            if expected.is_err() {
                assert_eq!(chosen(ConfigChoice::Own), text, "{old}{new}");
                assert_eq!(chosen(ConfigChoice::New), new, "{text}{old}");
            }
        }
    }

    #[test]
    fn a_line_that_comes_has_the_place_that_the_role_gives_it() {
        let (old, new) = (
            "lxc.arch = amd64\nlxc.tty.max = 2\n",
            "lxc.arch = amd64\nlxc.include = /i\nlxc.tty.max = 2\nlxc.pty.max = 1\n",
        );
        let text = "# mine\nlxc.arch = amd64\nlxc.tty.max = 2\nlxc.start.auto = 1";
        let expected = "# mine\nlxc.arch = amd64\nlxc.include = /i\nlxc.tty.max = 2\n\
            lxc.pty.max = 1\nlxc.start.auto = 1";
        assert_eq!(revise(text, old, new).unwrap(), expected);
        let found =
            revise("lxc.tty.max = 2", "lxc.tty.max = 2", "lxc.include = /i\nlxc.tty.max = 2");
        assert_eq!(found.unwrap(), "lxc.include = /i\nlxc.tty.max = 2");
    }

    /// Returns what lines come to: of a key that has one value the last one, else all since it was emptied.
    fn sum(lines: &[String]) -> BTreeMap<String, Vec<String>> {
        let mut sum: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in lines.iter().filter_map(|line| pair(line)) {
            let values = sum.entry(key.to_owned()).or_default();
            if value.is_empty() || shape(key) == Shape::Scalar {
                values.clear();
            }
            if !value.is_empty() {
                values.push(value.to_owned());
            }
        }
        sum.retain(|_, values| !values.is_empty());
        sum
    }

    #[test]
    fn what_nobody_has_edited_comes_to_what_a_new_container_has() {
        const LINES: [&str; 12] = [
            "lxc.tty.max = 1",
            "lxc.tty.max = 2",
            "lxc.arch = amd64",
            "lxc.cap.drop = mknod",
            "lxc.cap.drop = sys_time",
            "lxc.environment = A=1",
            "lxc.environment = A=2",
            "lxc.environment = B=1",
            "lxc.mount.entry = /a srv none bind",
            "lxc.mount.entry = /b opt none bind",
            "lxc.cgroup2.memory.max = 1G",
            "lxc.hook.start-host = /x",
        ];
        let mut state = 7_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..3000 {
            let mut some = || -> Vec<String> {
                let count = next(7);
                let mut lines: Vec<String> = Vec::new();
                for _ in 0..count {
                    let line = LINES[next(LINES.len())].to_owned();
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                }
                lines
            };
            let (old, new) = (some(), some());
            let found = revise(&old.join("\n"), &old.join("\n"), &new.join("\n")).unwrap();
            assert_eq!(sum(&lines(&found)), sum(&new), "from {old:#?}\nto {new:#?}\n{found}");
        }
    }
}
