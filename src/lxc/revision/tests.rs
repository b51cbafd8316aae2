//! What becomes of configs that nobody has edited, and of those that somebody has.

use std::ops::RangeInclusive;

use super::line::Line;
use super::*;
use crate::lxc::config::pair;

fn lines(text: &str) -> Vec<MadeLine> {
    let made = |line: &str| MadeLine { text: line.trim().to_owned(), is_given: false };
    text.lines().map(made).collect()
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
        (&["a", "own", "b", "c"], &["a", "b", "c"], &["c", "b", "a"], &["own", "c", "b", "a"]),
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
        let found = revise(&text, &old, &new);
        let expected = expected.map_err(|key: &str| vec![key.to_owned()]);
        assert_eq!(found, expected, "{text}{old}{new}");
        let chosen = |choice| {
            let found = revised(text.as_bytes(), &lines(&old), &lines(&new), |_| Some(choice));
            String::from_utf8(found.unwrap()).unwrap()
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
    let found = revise("lxc.tty.max = 2", "lxc.tty.max = 2", "lxc.include = /i\nlxc.tty.max = 2");
    assert_eq!(found.unwrap(), "lxc.include = /i\nlxc.tty.max = 2");
}

/// Returns a container's config: given lines, and those of the role under their comments.
fn container(base: &str, role: &[(&str, &str)]) -> (String, Vec<MadeLine>) {
    let layers: Vec<Vec<String>> =
        role.iter().map(|(_, lines)| lines.lines().map(str::to_owned).collect()).collect();
    let names: Vec<&str> = role.iter().map(|(name, _)| *name).collect();
    fresh_of(&base.lines().map(str::to_owned).collect::<Vec<_>>(), &names, &layers)
}

#[test]
fn what_the_container_was_given_is_none_of_the_role_s() {
    let profile = |value: &str| format!("lxc.apparmor.profile = {value}\n");
    let table = [
        // What was given, what the role had, and what it has now.
        (profile("generated"), profile("unconfined"), String::new()),
        (profile("generated"), String::new(), profile("unconfined")),
        (profile("generated"), profile("generated"), String::new()),
        (profile("generated"), profile("unconfined"), profile("lxc-container-default")),
        (
            "lxc.start.auto = 1\nlxc.start.delay = 5\n".into(),
            "lxc.start.auto = 0\n".into(),
            String::new(),
        ),
        ("lxc.prlimit.nofile = 10\n".into(), "lxc.prlimit.nofile = 20\n".into(), String::new()),
        (
            "lxc.sysctl.net.ipv4.ip_forward = 0\n".into(),
            "lxc.sysctl.net.ipv4.ip_forward = 1\n".into(),
            String::new(),
        ),
        // Of equal lines the role's goes, and comes.
        (
            "lxc.cap.drop =\n".into(),
            "lxc.cap.drop = mknod\nlxc.cap.drop =\n".into(),
            "lxc.cap.drop = mknod\n".into(),
        ),
        (
            "lxc.environment =\nlxc.environment = A=1\n".into(),
            String::new(),
            "lxc.environment =\n".into(),
        ),
        (
            "lxc.hook.start-host = /bin/true\n".into(),
            String::new(),
            "lxc.hook.start-host = /bin/true\n".into(),
        ),
        (
            String::new(),
            "lxc.hook.start-host = /bin/true\n".into(),
            "lxc.hook.start-host = /bin/true\nlxc.hook.start-host = /bin/true\n".into(),
        ),
    ];
    for (base, before, now) in table {
        let (text, old) = container(&base, &[("app", &before)]);
        let (expected, new) = container(&base, &[("app", &now)]);
        let found = revised(text.as_bytes(), &old, &new, |_| None).unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), expected, "from {text}");
    }
}

#[test]
fn what_comes_stands_below_the_comment_of_its_layer() {
    let mine = "# mine\nlxc.pty.max = 9\n";
    let (text, old) = container("lxc.arch = amd64\n", &[("os", "lxc.tty.max = 1\n")]);
    let role = [("os", "lxc.autodev = 1\nlxc.tty.max = 1\n"), ("app", "lxc.start.auto = 1\n")];
    let (expected, new) = container("lxc.arch = amd64\n", &role);
    let text = text + mine;
    let found = revised(text.as_bytes(), &old, &new, |_| None).unwrap();
    let found = String::from_utf8(found).unwrap();
    assert_eq!(found, expected.clone() + mine);
    // A layer that goes takes its comment along.
    let found = revised(found.as_bytes(), &new, &old, |_| None).unwrap();
    assert_eq!(String::from_utf8(found).unwrap(), text);
    // A comment does not come where nothing of its layer does.
    let (text, old) = container("", &[("os", "lxc.arch = amd64\n")]);
    let (_, new) = container("", &[("os", "lxc.arch = amd64\n"), ("app", "lxc.tty.max = 4\n")]);
    let text = text + "lxc.tty.max = 5\n";
    let found = revised(text.as_bytes(), &old, &new, |_| Some(ConfigChoice::Own)).unwrap();
    assert_eq!(String::from_utf8(found).unwrap(), text);
}

/// Returns what LXC makes of lines: of a key that has one value the last one, else all since it was cleared.
fn sum(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut sum: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter_map(|line| Line::read(line, false)) {
        let values = sum.entry(line.key.clone()).or_default();
        if line.is_clear() || shape(&line.key) == Shape::Scalar {
            values.clear();
        }
        if !line.is_clear() && !line.is_comment() {
            values.push(line.value);
        }
    }
    sum.retain(|_, values| !values.is_empty());
    sum
}

const LINES: [&str; 22] = [
    "lxc.tty.max = 1",
    "lxc.tty.max = 2",
    "lxc.apparmor.profile = generated",
    "lxc.apparmor.profile = unconfined",
    "lxc.net.0.type = empty",
    "lxc.net.0.type = veth",
    "lxc.net.1.link = br0",
    "lxc.cap.drop = mknod",
    "lxc.cap.drop = sys_time",
    "lxc.cap.drop =",
    "lxc.environment = A=1",
    "lxc.environment = A=2",
    "lxc.environment = B=1",
    "lxc.environment =",
    "lxc.mount.entry = /a srv none bind",
    "lxc.mount.entry = /c srv none bind",
    "lxc.mount.entry = /b opt none bind",
    "lxc.cgroup2.memory.max = 1G",
    "lxc.cgroup2.memory.max = 2G",
    "lxc.hook.start-host = /x",
    "lxc.hook.start-host = /y",
    "lxc.include = /i",
];

struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn line(&mut self) -> &'static str {
        LINES[self.below(LINES.len())]
    }

    fn lines(&mut self, most: usize) -> Vec<String> {
        (0..self.below(most)).map(|_| self.line().to_owned()).collect()
    }

    /// Returns the lines of a role, by layers.
    fn role(&mut self) -> Vec<Vec<String>> {
        (0..3).map(|_| self.lines(4)).collect()
    }

    /// Returns a role that somebody has changed somewhat.
    fn changed(&mut self, role: &[Vec<String>]) -> Vec<Vec<String>> {
        let mut role = role.to_vec();
        for _ in 0..=self.below(3) {
            let layer = self.below(3);
            self.edit(&mut role[layer]);
        }
        if self.below(8) == 0 {
            role.reverse();
        }
        role
    }

    fn edit(&mut self, lines: &mut Vec<String>) {
        let at = self.below(lines.len() + 1);
        match self.below(4) {
            0 if at < lines.len() => drop(lines.remove(at)),
            1 if at < lines.len() => self.line().clone_into(&mut lines[at]),
            2 if at < lines.len() => {
                let line = lines.remove(at);
                let at = self.below(lines.len() + 1);
                lines.insert(at, line);
            }
            _ => lines.insert(at, self.line().to_owned()),
        }
    }
}

/// Returns the config of a container that was just made, and its lines.
fn fresh(base: &[String], role: &[Vec<String>]) -> (String, Vec<MadeLine>) {
    fresh_of(base, &["os", "site", "app"], role)
}

fn fresh_of(base: &[String], names: &[&str], role: &[Vec<String>]) -> (String, Vec<MadeLine>) {
    let made = |text: &String, is_given| MadeLine { text: text.clone(), is_given };
    let mut lines: Vec<_> = base.iter().map(|text| made(text, true)).collect();
    for (name, layer) in names.iter().zip(role).filter(|(_, lines)| !lines.is_empty()) {
        lines.push(made(&crate::lxc::config::layer_note(name), false));
        lines.extend(layer.iter().map(|text| made(text, false)));
    }
    let text = lines.iter().map(|line| line.text.clone() + "\n").collect();
    lines.retain(|line| !line.is_given || !line.text.starts_with('#'));
    (text, lines)
}

#[test]
fn what_nobody_has_edited_becomes_what_a_new_container_has() {
    let mut chance = Chance(7);
    for _ in 0..1000 {
        let mut base = chance.lines(6);
        if chance.below(2) == 0 {
            base.insert(chance.below(base.len() + 1), "# mine".to_owned());
        }
        let role = chance.role();
        let (text, old) = fresh(&base, &role);
        let next = chance.changed(&role);
        let (expected, new) = fresh(&base, &next);
        let found = revised(text.as_bytes(), &old, &new, |_| None);
        let found = String::from_utf8(found.unwrap()).unwrap();
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| *line != "# mine");
            lines.map(str::to_owned).collect()
        };
        assert_eq!(lines(&found), lines(&expected), "from\n{text}to\n{expected}");
    }
}

/// Returns how often a line may be there that both have changed.
fn both(before: usize, own: usize, now: usize) -> RangeInclusive<usize> {
    let sum = (own + now).saturating_sub(before);
    own.min(now).min(sum)..=own.max(now).max(sum)
}

/// Sees that the lines of a key are merged: those that a container had, what somebody has edited, what a new container
/// has, and what is found.
fn judge(key: &str, texts: [&String; 4]) {
    let [text, edited, expected, found] = texts;
    let why = || format!("{key} from\n{text}to\n{expected}with\n{edited}is\n{found}");
    let of = |text: &str| -> Vec<String> {
        let is_of = |line: &&str| pair(line).is_some_and(|(other, _)| other == key);
        text.lines().filter(is_of).map(str::to_owned).collect()
    };
    let is_cleared = texts.iter().any(|text| text.contains(&format!("{key} =\n")));
    if of(edited) == of(text) {
        assert_eq!(sum(found).get(key), sum(expected).get(key), "{}", why());
        return;
    }
    let is_one = |line: &str| {
        let line = Line::read(line, false).unwrap();
        shape(key) == Shape::Scalar
            || !is_cleared && key != "lxc.mount.entry" && !line.thing().is_empty()
    };
    for line in texts.iter().flat_map(|text| of(text)).filter(|line| is_one(line)) {
        let read = Line::read(&line, false).unwrap();
        let last = |text: &&String| -> Option<String> {
            let is_it =
                |line: &String| Line::read(line, false).unwrap().subject() == read.subject();
            of(text).into_iter().rfind(is_it)
        };
        let [before, own, now, is] = texts.each_ref().map(last);
        // What stood in front of the role's line, and was edited there, holds when that goes.
        let shown = is.as_ref().is_none_or(|line| of(edited).contains(line));
        assert!(is == own || own == before && (is == now || shown), "{line}: {}", why());
        assert!(own == before || is == own, "{line}: {}", why());
    }
    let of = |text: &String| of(text).into_iter().filter(|line| !is_one(line)).collect::<Vec<_>>();
    // Lines come and go as they do with either.
    let [before, own, now, is] = texts.map(of);
    for line in before.iter().chain(&own).chain(&now).chain(&is) {
        let [before, own, now, is] = [&before, &own, &now, &is]
            .map(|lines| lines.iter().filter(|other| *other == line).count());
        let merged = match (before == own, before == now) {
            (true, _) => is == now,
            (_, true) => is == own,
            _ => both(before, own, now).contains(&is),
        };
        assert!(merged, "{line}: {}", why());
    }
}

#[test]
fn what_somebody_has_edited_holds_or_is_a_conflict() {
    let mut chance = Chance(11);
    let (mut conflicts, mut clean) = (0, 0);
    for _ in 0..1000 {
        let (base, role) = (chance.lines(6), chance.role());
        let (text, old) = fresh(&base, &role);
        let next = chance.changed(&role);
        let (expected, new) = fresh(&base, &next);
        let mut edited: Vec<String> = text.lines().map(str::to_owned).collect();
        for _ in 0..=chance.below(2) {
            chance.edit(&mut edited);
        }
        let edited = edited.iter().map(|line| line.clone() + "\n").collect::<String>();
        let (own, now) = (sum(&edited), sum(&expected));
        let revise = |choice: Option<ConfigChoice>| {
            let found = revised(edited.as_bytes(), &old, &new, |_| choice);
            found.map(|text| String::from_utf8(text).unwrap())
        };
        match revise(None) {
            Ok(found) => {
                clean += 1;
                for key in LINES.map(|line| pair(line).unwrap().0) {
                    judge(key, [&text, &edited, &expected, &found]);
                }
            }
            Err(keys) => {
                conflicts += 1;
                let choices = [ConfigChoice::Own, ConfigChoice::New];
                let [mine, role_s] = choices.map(|choice| sum(&revise(Some(choice)).unwrap()));
                for ConfigConflict { key, .. } in keys {
                    if shape(&key) == Shape::Scalar {
                        assert_eq!(mine.get(&key), own.get(&key), "{key}");
                        assert_eq!(role_s.get(&key), now.get(&key), "{key}");
                    }
                }
            }
        }
    }
    assert!(conflicts > 30 && clean > 500, "{conflicts} {clean}");
}
