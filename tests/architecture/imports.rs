//! Which file of `src/` imports which, as far as the text tells.

use std::collections::{BTreeMap, BTreeSet};

use crate::File;

/// The names that lead to a module from the crate's root.
type Module = Vec<String>;

/// One name that a `use` brings into a module.
struct Use {
    name: String,
    path: Vec<String>,
    /// Whether it is there for others.
    is_handed_on: bool,
}

/// The modules of the crate, and what each names of others.
pub(crate) struct Imports {
    uses: BTreeMap<Module, Vec<Use>>,
    paths: BTreeMap<Module, Vec<Vec<String>>>,
}

impl Imports {
    /// Reads the imports of files; of those that tests alone are made of, none.
    pub(crate) fn of(files: &[File]) -> Self {
        let (mut uses, mut paths) = (BTreeMap::new(), BTreeMap::new());
        for file in files.iter().filter(|file| !file.tests) {
            let names = file.path.with_extension("");
            let mut module: Module =
                names.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            if module == ["lib"] {
                module.clear();
            }
            let code = without_texts(file.code.split("#[cfg(test)]\nmod tests {").next().unwrap());
            let (found, rest) = uses_of(&code);
            uses.insert(module.clone(), found);
            paths.insert(module, paths_of(&rest));
        }
        Self { uses, paths }
    }

    /// Returns the circles among what stands side by side in a directory. A file and the directory of its name
    /// are one; what hands on its own files is in no circle with them.
    pub(crate) fn circles(&self) -> Vec<String> {
        let above = self.uses.keys().filter_map(|module| module.split_last());
        let directories: BTreeSet<&[String]> = above.map(|(_, above)| above).collect();
        // The bands at the top have an order of their own.
        let within = directories.into_iter().filter(|directory| !directory.is_empty());
        within.flat_map(|directory| circles_of(&self.arrows(directory))).collect()
    }

    /// Returns which of the modules in a directory imports which other of them.
    fn arrows(&self, directory: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        let within = |module: &Module| {
            let rest = module.strip_prefix(directory)?;
            Some([directory, rest.get(..1)?].concat().join("/"))
        };
        let mut arrows = BTreeMap::<String, BTreeSet<String>>::new();
        for module in self.uses.keys() {
            let Some(from) = within(module) else { continue };
            let used = self.imported(module);
            let others = used.iter().filter_map(within).filter(|to| *to != from);
            arrows.entry(from.clone()).or_default().extend(others);
        }
        arrows
    }

    /// Returns the modules that define what a module names.
    fn imported(&self, module: &Module) -> BTreeSet<Module> {
        let own = self.uses[module].iter().filter(|one| !one.is_handed_on).map(|one| &one.path);
        let named = own.chain(&self.paths[module]);
        named.filter_map(|path| self.defining(module, path, 0)).collect()
    }

    /// Returns the module that defines what a path leads to from a module.
    fn defining(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        let up = path.iter().take_while(|name| *name == "super").count();
        let (mut at, rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (module.clone(), &path[1..]),
            "super" => (module[..module.len().checked_sub(up)?].to_vec(), &path[up..]),
            _ => (module.clone(), path),
        };
        let is_relative = rest.len() == path.len();
        for (number, name) in rest.iter().enumerate() {
            let below = [&at[..], std::slice::from_ref(name)].concat();
            if self.uses.contains_key(&below) {
                at = below;
                continue;
            }
            // Another crate's, or an item of the module's own.
            if is_relative && number == 0 {
                return None;
            }
            let handed = self.uses[&at].iter().find(|one| one.name == *name && one.path != path);
            let handed = handed.filter(|_| depth < 8);
            return handed.and_then(|one| self.defining(&at, &one.path, depth + 1)).or(Some(at));
        }
        Some(at)
    }
}

/// Empties the texts in double quotes: what stands in them is no path.
fn without_texts(code: &str) -> String {
    let (mut kept, mut is_text, mut is_escaped) = (String::new(), false, false);
    for letter in code.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' if !kept.ends_with("b'") && !kept.ends_with('\'') => is_text = !is_text,
            _ if is_text => {}
            _ => kept.push(letter),
        }
    }
    kept
}

/// Returns what each `use` brings in, and the code without them.
fn uses_of(code: &str) -> (Vec<Use>, String) {
    let (mut found, mut rest) = (Vec::new(), String::new());
    for statement in code.split_inclusive(';') {
        let start = statement.match_indices("use ").map(|(at, _)| at).find(|at| {
            let before = statement[..*at].lines().last().unwrap_or_default().trim_start();
            before.is_empty() || before.starts_with("pub")
        });
        let Some(start) = start else {
            rest.push_str(statement);
            continue;
        };
        let is_handed_on =
            statement[..start].lines().last().is_some_and(|line| line.trim().starts_with("pub"));
        let tree: String = statement[start + 4..].split_whitespace().collect::<Vec<_>>().join(" ");
        let names = leaves(tree.trim_end_matches(';'), &[]);
        found.extend(names.into_iter().map(|(name, path)| Use { name, path, is_handed_on }));
        rest.push_str(&statement[..start]);
    }
    (found, rest)
}

/// Returns the names that a tree of a `use` brings in, each with its path.
fn leaves(tree: &str, above: &[String]) -> Vec<(String, Vec<String>)> {
    let tree = tree.trim();
    if let Some(list) = tree.strip_prefix('{').and_then(|list| list.strip_suffix('}')) {
        return items(list).into_iter().flat_map(|item| leaves(item, above)).collect();
    }
    let (first, below) = match tree.split_once("::") {
        Some((first, below)) => (first, Some(below)),
        None => (tree, None),
    };
    let (first, name) = first.split_once(" as ").unwrap_or((first, first));
    let mut path = above.to_vec();
    if first != "self" || above.is_empty() {
        path.push(first.to_owned());
    }
    match below {
        Some(below) => leaves(below, &path),
        None if first.is_empty() => Vec::new(),
        None => {
            let name = if name == "self" { path.last().unwrap() } else { name };
            vec![(name.to_owned(), path)]
        }
    }
}

/// Splits the inside of braces at the commas of its first level.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&list[start..]);
    found
}

/// Returns the paths of more than one name.
fn paths_of(code: &str) -> Vec<Vec<String>> {
    let words = code.split(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)));
    let paths = words.filter(|word| word.contains("::"));
    let names = |path: &str| -> Vec<String> {
        path.split("::").map(|name| name.trim_matches(':').to_owned()).collect()
    };
    paths.map(names).filter(|path| !path[0].is_empty()).collect()
}

/// Returns the circles of a graph, each as a line.
fn circles_of(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    // Whatever nobody of the rest imports, or imports nobody of the rest, is in none.
    let mut left: BTreeSet<&String> = arrows.keys().collect();
    loop {
        let is_in_one = |one: &&&String| {
            let leads = arrows[**one].iter().any(|to| left.contains(to));
            leads && left.iter().any(|from| arrows[*from].contains(**one))
        };
        let kept: BTreeSet<_> = left.iter().filter(is_in_one).copied().collect();
        if kept.len() == left.len() {
            break;
        }
        left = kept;
    }
    let line = |from: &&String| {
        let to: Vec<_> = arrows[*from].iter().filter(|to| left.contains(to)).cloned().collect();
        format!("{from} imports {}", to.join(", "))
    };
    left.iter().map(line).collect()
}

#[test]
fn a_circle_is_found_in_every_spelling() {
    let file = |path: &str, code: &str| File {
        path: path.into(),
        code: code.to_owned(),
        lines: 1,
        tests: false,
    };
    let table = [
        ("use super::b::{self, Thing};", "use crate::a::c::{D as E};", true),
        ("fn f() { super::b::g() }", "use super::{Handed, other};", true),
        ("use crate::a::b;", "fn f() { \"super::c::g\" }", false),
        ("pub(crate) use super::b::Thing;", "use super::c;", false),
    ];
    for (c, b, is_circle) in table {
        let files = [
            file("a.rs", "mod b;\nmod c;\npub(crate) use c::Handed;\nuse std::fs;"),
            file("a/b.rs", b),
            file("a/c.rs", c),
        ];
        let circles = Imports::of(&files).circles();
        assert_eq!(!circles.is_empty(), is_circle, "{c} {b}: {circles:?}");
    }
}
