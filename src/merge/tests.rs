//! The rule, by tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

/// Decides by words: a path with `keep`, `take` or `state` in it.
struct Words;

impl Rules for Words {
    fn is_state(&self, path: &[u8]) -> bool {
        memchr::memmem::find(path, b"state").is_some()
    }

    fn prefers(&self, path: &[u8]) -> Option<Side> {
        let has = |word: &[u8]| memchr::memmem::find(path, word).is_some();
        match (has(b"take"), has(b"keep")) {
            (true, _) => Some(Side::New),
            (_, true) => Some(Side::Own),
            _ => None,
        }
    }

    fn decides(&self, path: &[u8]) -> Option<Side> {
        self.prefers(path)
    }

    fn text(&self, path: &[u8]) -> Option<Vec<u8>> {
        (path == b"text").then(|| b"together".to_vec())
    }
}

/// A tree of words: `path/` is a directory, `path=bytes` a file, `path=bytes@group` one of several names.
fn tree(words: &str) -> Tree {
    let mut tree = Tree::new();
    let mut groups: BTreeMap<String, Vec<TreePath>> = BTreeMap::new();
    for word in ["/"].into_iter().chain(words.split_whitespace()) {
        let item = |what| Item { what, mode: 0o644, owner: (0, 0), xattrs: None, names: None };
        if let Some(path) = word.strip_suffix('/') {
            tree.insert(path.as_bytes().to_vec(), item(What::Directory));
            continue;
        }
        let (path, bytes) = word.split_once('=').unwrap();
        let (bytes, group) = bytes.split_once('@').unwrap_or((bytes, ""));
        if !group.is_empty() {
            groups.entry(group.to_owned()).or_default().push(path.as_bytes().to_vec());
        }
        let what = What::File(bytes.len() as u64, Digest::of(bytes.as_bytes()));
        tree.insert(path.as_bytes().to_vec(), item(what));
    }
    for mut names in groups.into_values() {
        names.sort();
        let names: Arc<[TreePath]> = names.into();
        for name in names.iter() {
            tree.get_mut(name).unwrap().names = Some(Arc::clone(&names));
        }
    }
    tree
}

/// Merges, and returns what there is, each with its side, and the conflicts.
fn merged(old: &str, new: &str, own: &str) -> (String, String) {
    let (old, new, own) = (tree(old), tree(new), tree(own));
    let merged = merge(Trees { old: &old, new: &new, own: &own }, &Words);
    let text = |path: &TreePath| String::from_utf8(path.clone()).unwrap();
    let there = merged.sides.iter().filter(|(path, _)| !path.is_empty());
    let there: Vec<_> = there
        .map(|(path, side)| match side {
            Side::New => format!("{}:new", text(path)),
            Side::Own => format!("{}:own", text(path)),
        })
        .collect();
    let conflicts: Vec<_> = merged.conflicts.iter().map(text).collect();
    (there.join(" "), conflicts.join(" "))
}

#[test]
fn each_path_is_whose_who_changed_it() {
    for (old, new, own, there, conflicts) in [
        // One side alone, or both alike.
        ("a=1", "a=2", "a=1", "a:new", ""),
        ("a=1", "a=1", "a=2", "a:own", ""),
        ("a=1", "a=2", "a=2", "a:new", ""),
        ("a=1", "", "a=1", "", ""),
        ("a=1", "a=1", "", "", ""),
        ("a=1", "", "", "", ""),
        ("", "a=1", "", "a:new", ""),
        ("", "", "a=1", "a:own", ""),
        // Both, and each otherwise.
        ("a=1", "a=2", "a=3", "", "a"),
        ("a=1", "", "a=3", "", "a"),
        ("a=1", "a=2", "", "", "a"),
        ("", "a=2", "a=3", "", "a"),
        // Somebody has decided.
        ("take=1", "take=2", "take=3", "take:new", ""),
        ("keep=1", "keep=2", "keep=3", "keep:own", ""),
        ("keep=1", "keep=2", "", "", ""),
        ("take=1", "", "take=3", "", ""),
        // What is only decided where there is something to decide.
        ("keep=1", "keep=2", "keep=1", "keep:new", ""),
        // Nothing of the role's comes to what is state, or goes from it.
        (
            "state/ state/a=1",
            "state/ state/a=2 state/b=1",
            "state/ state/c=1",
            "state:own state/c:own",
            "",
        ),
        // Put together.
        ("text=1", "text=2", "text=3", "text:new", ""),
    ] {
        let expected = (there.to_owned(), conflicts.to_owned());
        assert_eq!(merged(old, new, own), expected, "{old} -> {new} | {own}");
    }
}

#[test]
fn what_there_is_has_a_directory() {
    for (old, new, own, there, conflicts) in [
        // The role takes a directory away in which the container has put something.
        ("d/ d/a=1", "", "d/ d/a=1 d/b=1", "d/b:own", "d/b"),
        ("d/", "", "d/ d/keep=1", "d:own d/keep:own", ""),
        ("d/", "", "d/ d/take=1", "", ""),
        // The container has, and the role puts something there.
        ("d/ d/a=1", "d/ d/a=1 d/b=1", "", "d/b:new", "d/b"),
        ("d/", "d/ d/take=1", "", "d:new d/take:new", ""),
        ("d/", "d/ d/keep=1", "", "", ""),
        // A link has come to its place, where the container has something of its own.
        ("d/", "d=1", "d/ d/a=1", "d:new", "d"),
        ("d/ d/a=1", "d=1", "d/ d/a=2", "d:new", "d"),
        ("d/", "d=1", "d/ d/keep=1", "d:new", "d"),
        ("d/", "d=1", "d/ d/take=1", "d:new", ""),
        ("take/ take/a=1", "take=1", "take/ take/a=1 take/b=1", "take:new", ""),
        ("take/ take/a=1", "take=1", "take/ take/a=2", "take:new", ""),
        ("keep/ keep/a=1", "keep=1", "keep/ keep/a=1", "keep:new", ""),
        (
            "keep/ keep/a=1",
            "keep=1",
            "keep/ keep/a=1 keep/b/ keep/b/c=1",
            "keep:own keep/a:own keep/b:own keep/b/c:own",
            "",
        ),
        ("keep/ keep/a=1", "keep=1", "keep/ keep/a=2", "keep:own keep/a:own", ""),
        ("d/ d-x=1", "d=1 d-x=2", "d/ d-x=1 d/b=1 d0=1", "d:new d-x:new d0:own", "d"),
        // The container has put one there, and the role something into the directory.
        ("d/", "d/ d/a=1", "d=1", "d:own", "d"),
        ("take/", "take/ take/a=1", "take=1", "take:new take/a:new", ""),
        ("keep/", "keep/ keep/a=1", "keep=1", "keep:own", ""),
        // Both have changed the directory itself.
        ("d=1", "d/ d/a=1", "d=2", "", "d"),
        ("d=1", "d/ d/a=1", "d/ d/a=1", "d:new d/a:new", ""),
        // Nothing of the state goes for a link.
        ("d/", "d=1", "d/ d/state=1", "d:new", "d"),
        ("take/", "take=1", "take/ take/state=1", "take:new take/state:own", "take/state"),
        // Nothing of the role's comes to a link that is state, nor of what is decided to state in a directory.
        ("state/", "state/ state/a=1", "state=1", "state:own", ""),
        (
            "keep/ keep/state-take=1",
            "keep=1",
            "keep/ keep/state-take=2",
            "keep:own keep/state-take:own",
            "",
        ),
        // Deep.
        ("d/ d/e/", "", "d/ d/e/ d/e/keep=1", "d:own d/e:own d/e/keep:own", ""),
    ] {
        let expected = (there.to_owned(), conflicts.to_owned());
        assert_eq!(merged(old, new, own), expected, "{old} -> {new} | {own}");
    }
}

#[test]
fn a_file_of_several_names_is_whole() {
    for (old, new, own, there, conflicts) in [
        ("a=1@g b=1@g", "a=2@g b=2@g", "a=1@g b=1@g", "a:new b:new", ""),
        ("a=1@g b=1@g", "a=1@g b=1@g", "a=1@g b=1@g c=1@g", "a:own b:own c:own", ""),
        // The role has written to it, and the container has given it another name.
        ("a=1@g b=1@g", "a=2@g b=2@g", "a=1@g b=1@g c=1@g", "c:own", "a b c"),
        // The role takes one name away, and the container writes to it: what is left of each is another thing.
        ("a=1@g b=1@g", "a=1", "a=2@g b=2@g", "", "a b"),
    ] {
        let expected = (there.to_owned(), conflicts.to_owned());
        assert_eq!(merged(old, new, own), expected, "{old} -> {new} | {own}");
    }
}

#[test]
fn paths_are_within_whole_names() {
    let paths: BTreeSet<bool> = [
        is_within(b"a/b", b"a"),
        is_within(b"a", b"a"),
        is_within(b"a", b""),
        !is_within(b"ab", b"a"),
        !is_within(b"a", b"a/b"),
    ]
    .into();
    assert_eq!(paths, BTreeSet::from([true]));
    assert_eq!(above(b""), None);
    assert_eq!(above(b"a"), Some(&b""[..]));
    assert_eq!(above(b"a/b/c"), Some(&b"a/b"[..]));
}

/// Decides by lists of words, of which the innermost holds, and by what is state.
#[derive(Debug, Clone, Default)]
struct Lists {
    take: BTreeSet<TreePath>,
    keep: BTreeSet<TreePath>,
    state: BTreeSet<TreePath>,
}

impl Rules for Lists {
    fn is_state(&self, path: &[u8]) -> bool {
        self.state.iter().any(|state| is_within(path, state))
    }

    fn prefers(&self, path: &[u8]) -> Option<Side> {
        self.decides(path)
    }

    fn decides(&self, path: &[u8]) -> Option<Side> {
        let take = self.take.iter().map(|word| (word, Side::New));
        let all = take.chain(self.keep.iter().map(|word| (word, Side::Own)));
        let within = all.filter(|(word, _)| is_within(path, word));
        within.max_by_key(|(word, _)| word.len()).map(|(_, side)| side)
    }

    fn text(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn path(&mut self) -> TreePath {
        let names: Vec<_> = (0..=self.below(3)).map(|_| ["a", "b"][self.below(2)]).collect();
        names.join("/").into_bytes()
    }

    /// Puts something to a path, or takes away what is there.
    fn edit(&mut self, tree: &mut Tree) {
        let path = self.path();
        let what = match self.below(6) {
            0 => None,
            1 | 2 => Some(What::Directory),
            3 => Some(What::Symlink(b"elsewhere".to_vec())),
            size => Some(What::File(size as u64, Digest::of(b""))),
        };
        let is_kept =
            what == Some(What::Directory) && tree.get(&path).is_some_and(Item::is_directory);
        if !is_kept {
            tree.retain(|other, _| !is_within(other, &path));
        }
        let item = |what| Item { what, mode: 0o644, owner: (0, 0), xattrs: None, names: None };
        let Some(what) = what else { return };
        let mut here = path.as_slice();
        while let Some(directory) = above(here) {
            if !tree.get(directory).is_some_and(Item::is_directory) {
                tree.insert(directory.to_vec(), item(What::Directory));
            }
            here = directory;
        }
        tree.entry(path).or_insert(item(what));
    }

    fn edited(&mut self, tree: &Tree) -> Tree {
        let mut tree = tree.clone();
        for _ in 0..=self.below(4) {
            self.edit(&mut tree);
        }
        tree
    }
}

/// Returns a tree as words: what it has, with `/` behind a directory and `@` behind a link.
fn shown(tree: &Tree) -> String {
    let word = |(path, item): (&TreePath, &Item)| {
        let path = String::from_utf8_lossy(path);
        match &item.what {
            What::Directory => format!("{path}/"),
            What::File(size, _) => format!("{path}={size}"),
            _ => format!("{path}@"),
        }
    };
    tree.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Decides what is listed for a side, until nothing is; or for the other one, where something of that is in the way.
fn decide(trees: Trees<'_>, lists: &mut Lists, side: Side) -> Merged {
    let mut merged = merge(trees, lists);
    for _ in 0..6 {
        for path in &merged.conflicts {
            let way = merged.in_the_way.get(path);
            let (path, side) = way.map_or((path, side), |(path, side)| (path, side.other()));
            let (to, from) = match side {
                Side::New => (&mut lists.take, &mut lists.keep),
                Side::Own => (&mut lists.keep, &mut lists.take),
            };
            from.remove(path);
            to.insert(path.clone());
        }
        merged = merge(trees, lists);
    }
    merged
}

#[test]
fn whatever_is_listed_can_be_decided_and_nothing_else_is_lost() {
    let mut chance = Chance(3);
    for round in 0..4000 {
        let old = chance.edited(&tree(""));
        let (new, own) = (chance.edited(&old), chance.edited(&old));
        let trees = Trees { old: &old, new: &new, own: &own };
        let mut lists = Lists::default();
        if chance.below(3) == 0 {
            lists.state.insert(chance.path());
            lists.state.retain(|path| own.contains_key(path));
        }
        for _ in 0..chance.below(3) {
            let path = chance.path();
            if !lists.keep.contains(&path) && chance.below(2) == 0 {
                lists.take.insert(path);
            } else if !lists.take.contains(&path) {
                lists.keep.insert(path);
            }
        }
        for side in [Side::New, Side::Own] {
            let mut lists = lists.clone();
            let merged = decide(trees, &mut lists, side);
            let of = |path: &[u8]| match merged.sides.get(path)? {
                Side::New => new.get(path),
                Side::Own => own.get(path),
            };
            let why = || {
                let [old, new, own] = [&old, &new, &own].map(shown);
                format!("{round}, {side:?}: {old} -> {new} | {own}\n{lists:?}\n{merged:?}")
            };
            assert!(merged.conflicts.is_empty(), "{}", why());
            for path in merged.sides.keys() {
                let above = above(path).map(|above| of(above).is_some_and(Item::is_directory));
                assert!(above != Some(false), "{}", why());
            }
            for path in old.keys().chain(new.keys()).chain(own.keys()) {
                let [before, now, there] = [&old, &new, &own].map(|tree| tree.get(path));
                let is = of(path);
                let is_right = match (lists.is_state(path), lists.decides(path)) {
                    (true, _) => is == there,
                    (_, Some(Side::New)) => is == now || before == now && is == there,
                    (_, Some(Side::Own)) => is == there || before == there && is == now,
                    (_, None) if before == now => is == there,
                    (_, None) if before == there => is == now,
                    (_, None) => is == now && is == there,
                };
                // A directory may be there for what is in it.
                assert!(is_right || is.is_some_and(Item::is_directory), "{}", why());
            }
        }
    }
}
