//! Holds `src/` to its shape, by reading it.
//!
//! The rule: the program is four bands, and a module uses those below its own alone.
//!
//! - ground (`digest`, `diagnostic`, `layers`, `shell`, `source`): uses nothing but ground;
//! - pure (`lxc`, `manifest`, `chain`, `plan`, `cache`, `lock`, `record`, `merge`, in this order): uses ground and the pure
//!   modules before it, and touches nothing: no file, process, environment, clock or system call;
//! - effects (`host`, `observe`, `tree`, `store`, `export`, `registry`, `execute`): `host` is what the system offers, and knows
//!   no plan; `observe` looks at it for the pure modules; `tree` knows complete trees of files and no
//!   store; `store` uses those two, `export` writes what is stored in other forms, `registry` brings those to other
//!   hosts, `execute` uses all but `export` and `cli`;
//! - skin (`cli`): uses everything. It alone knows of a run that is only looked at: a plan is shown
//!   or executed, and nothing below the command line is told which.
//!
//! Modules that are compiled for tests alone may use and touch what they like.
//!
//! Within a module no files import each other in a circle; a file and the directory of its name count as one.
//! What the compiler cannot check is in `host/kernel.rs` alone, a file is named by the one thing
//! that it holds, and it can be read in one sitting.

mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;

/// Each module, and those that it may use.
const MAY_USE: [(&str, &str); 24] = [
    ("layers", ""),
    ("shell", ""),
    ("digest", ""),
    ("source", "shell"),
    ("diagnostic", "shell source"),
    ("lxc", "shell digest source diagnostic"),
    ("manifest", "shell digest source diagnostic lxc"),
    ("chain", "shell digest source diagnostic lxc manifest"),
    ("plan", "shell digest source diagnostic lxc manifest chain"),
    ("cache", "shell digest lxc manifest chain plan"),
    ("lock", "shell digest source diagnostic manifest chain plan cache"),
    ("record", "shell digest source diagnostic lxc chain plan"),
    ("merge", "digest"),
    ("host", "shell digest source diagnostic lxc"),
    ("observe", "layers shell digest source diagnostic lxc manifest chain plan cache record host"),
    ("tree", "shell digest merge host"),
    ("store", "shell digest lxc plan cache record host tree"),
    ("export", "shell digest lxc plan cache host tree store"),
    ("registry", "shell digest plan cache host tree store export"),
    (
        "execute",
        "shell digest source diagnostic lxc manifest chain plan cache record merge host observe tree store registry",
    ),
    (
        "cli",
        "layers shell digest source diagnostic lxc manifest chain plan cache lock record merge host observe tree \
         store execute export registry",
    ),
    ("fuzz", "digest source diagnostic lxc manifest chain plan tree store export"),
    ("lib", ""),
    ("main", "cli"),
];

/// The modules that may touch the system.
const EFFECTS: [&str; 10] =
    ["host", "observe", "tree", "store", "export", "registry", "execute", "cli", "main", "lib"];

/// What touches the system.
const TOUCHES: [&str; 25] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::os::fd",
    "std::path::absolute",
    "path::absolute",
    "io::stdin",
    "io::stdout",
    "io::stderr",
    "rustix::",
    "libc::",
    "pathrs::",
    ".canonicalize(",
    ".exists(",
    ".try_exists(",
    ".is_dir(",
    ".is_file(",
    ".is_symlink(",
    ".metadata(",
    ".read_dir(",
    ".read_link(",
];

/// The longest file, in lines.
const LONGEST: usize = 600;

/// Names of modules that hold anything.
const NAMELESS: [&str; 6] = ["utils", "util", "helpers", "types", "common", "misc"];

/// A file of `src/`.
struct File {
    /// Its path below `src/`.
    path: PathBuf,
    /// Its text without comments.
    code: String,
    lines: usize,
    /// Whether it is compiled for tests alone.
    tests: bool,
}

impl File {
    /// The module at the crate's root that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.iter().next().unwrap().to_str().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn files() -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut directories = vec![top.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            let code = text.lines().filter(is_code).collect::<Vec<_>>().join("\n");
            let path = path.strip_prefix(&top).unwrap().to_path_buf();
            files.push(File { path, code, lines: text.lines().count(), tests: false });
        }
    }
    let tests: Vec<PathBuf> = files.iter().flat_map(tests_of).collect();
    for file in &mut files {
        file.tests = tests.iter().any(|module| file.path.with_extension("").starts_with(module));
    }
    assert!(files.len() > 50, "{} files are not all of them", files.len());
    files
}

/// Returns the modules of a file that are compiled for tests alone.
fn tests_of(file: &File) -> Vec<PathBuf> {
    let mut lines = file.code.lines().map(str::trim).peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let module = lines.peek().and_then(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        if line == "#[cfg(test)]"
            && let Some(module) = module
        {
            let at =
                if file.module() == "lib" { PathBuf::new() } else { file.path.with_extension("") };
            found.push(at.join(module));
        }
    }
    found
}

/// Returns the modules at the crate's root that a text names.
fn used(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (index, _) in code.match_indices("crate::") {
        let rest = &code[index + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => names.push(first_name(rest)),
            Some(list) => {
                // The names at the first level of the braces.
                let mut depth = 1;
                let mut item = String::new();
                for letter in list.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || (depth == 1 && letter == ',') {
                        names.push(first_name(item.trim()));
                        item.clear();
                    } else {
                        item.push(letter);
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_are_found_in_every_spelling() {
    let code = "use crate::{plan::{Act, Inner}, shell};\nlet x = crate::lxc::call(crate::digest);";
    assert_eq!(used(code), ["plan", "shell", "lxc", "digest"]);
}

#[test]
fn every_module_uses_those_below_it_alone() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| !file.tests) {
        let module = file.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{}: `{module}` stands in no band", file.path.display()));
            continue;
        };
        for name in used(&file.code) {
            if name != module && !allowed.split(' ').any(|other| other == name) {
                faults.push(format!("{}: `{module}` uses `{name}`", file.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Files that import each other in a circle are one file in pieces: none can be read alone.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = Imports::of(&files()).circles();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn ground_and_pure_touch_nothing() {
    let mut faults = Vec::new();
    let pure = |file: &&File| !file.tests && !EFFECTS.contains(&file.module());
    for file in files().iter().filter(pure) {
        for touch in TOUCHES.iter().filter(|touch| file.code.contains(**touch)) {
            faults.push(format!("{}: {touch}", file.path.display()));
        }
        if file.code.contains("use std::{") {
            faults.push(format!("{}: name each `std` module by itself", file.path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_below_the_command_line_knows_of_a_dry_run() {
    for file in files().iter().filter(|file| file.module() != "cli") {
        for word in ["dry_run", "dry-run", "dryrun", "DryRun", "simulate"] {
            assert!(!file.code.contains(word), "{}: {word}", file.path.display());
        }
    }
}

#[test]
fn a_run_waits_for_children_in_its_loop_alone() {
    let runs = |file: &&File| !file.tests && ["execute", "store"].contains(&file.module());
    for file in files().iter().filter(runs) {
        for way in [".output()", ".status()", ".spawn()", "waitpid", "waitid"] {
            assert!(!file.code.contains(way), "{}: {way}", file.path.display());
        }
    }
}

#[test]
fn what_the_compiler_cannot_check_is_in_one_file() {
    let holds: Vec<_> = files()
        .into_iter()
        .filter(|file| file.code.contains("unsafe ") || file.code.contains("unsafe_code"))
        .map(|file| file.path)
        .collect();
    assert_eq!(holds, [PathBuf::from("host/kernel.rs")]);
}

#[test]
fn files_are_short_and_named_by_what_they_hold() {
    for file in files() {
        let path = file.path.display();
        assert!(file.lines <= LONGEST, "{path} has {} lines", file.lines);
        for part in &file.path {
            let name = part.to_str().unwrap().trim_end_matches(".rs");
            assert!(!NAMELESS.contains(&name), "{path}: a name that says nothing");
        }
    }
}

/// What decides what a stored layer comes out as, besides what its key says of it.
const SEMANTICS: [&str; 19] = [
    "cache/config.rs",
    "cache/keys.rs",
    "cache/names.rs",
    "execute/busybox.rs",
    "execute/drop.rs",
    "execute/drop/owner.rs",
    "execute/drop/tree.rs",
    "execute/supply/personalise.rs",
    "host/sandbox.rs",
    "host/sandbox/edit.rs",
    "lxc/config.rs",
    "lxc/given.rs",
    "store/commit.rs",
    "store/scrub.rs",
    "tree/copy.rs",
    "tree/maker.rs",
    "tree/merge.rs",
    "tree/relink.rs",
    "tree/xattr.rs",
];

/// A store must not take what an older program has made where this one would make something else.
#[test]
fn what_decides_a_stored_layer_has_a_number() {
    let files = files();
    let mut code = String::new();
    for path in SEMANTICS {
        let file = files.iter().find(|file| file.path == Path::new(path));
        code.push_str(&file.unwrap_or_else(|| panic!("{path} is gone")).code);
    }
    let digest = layered_template::digest::Digest::of(code.as_bytes());
    let found = format!("{} {digest}\n", layered_template::cache::SEMANTICS);
    let held = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/semantics.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(held, found).unwrap();
        return;
    }
    assert_eq!(
        fs::read_to_string(held).unwrap_or_default(),
        found,
        "if a layer now comes out otherwise, raise SEMANTICS in src/cache/key.rs; then UPDATE_EXPECT=1"
    );
}

/// Where the code map begins and ends in `docs/architecture.md`.
const MAP: [&str; 2] = ["<!-- code map -->\n", "<!-- end of the code map -->\n"];

/// The code map is made of the first sentence of each file.
#[test]
fn the_code_map_says_what_each_file_says_first() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = top.join("docs/architecture.md");
    let text = fs::read_to_string(&page).unwrap();
    let [begin, end] = MAP.map(|mark| text.find(mark).expect("the page has its marks"));
    let mut files: Vec<_> = files().into_iter().filter(|file| !file.tests).collect();
    // A module stands before what is in it.
    files.sort_by_key(|file| file.path.with_extension(""));
    let lines = files.iter().map(|file| {
        let path = file.path.display();
        let source = fs::read_to_string(top.join("src").join(&file.path)).unwrap();
        let first = first_sentence(&source);
        assert!(!first.is_empty(), "{path} does not say what it is for");
        format!("| `{path}` | {first} |\n")
    });
    let map = format!(
        "{}\n| file | what it is for |\n|---|---|\n{}\n",
        MAP[0],
        lines.collect::<String>()
    );
    let new = format!("{}{map}{}", &text[..begin], &text[end..]);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(page, new).unwrap();
    } else {
        assert!(text == new, "the code map is not current; UPDATE_EXPECT=1 rewrites it");
    }
}

/// Returns the first sentence of a file's own documentation, without links.
fn first_sentence(source: &str) -> String {
    let lines = source.lines().take_while(|line| line.starts_with("//!"));
    let words: Vec<_> = lines
        .map(|line| line.trim_start_matches("//!").trim())
        .take_while(|line| !line.is_empty())
        .collect();
    let text = words.join(" ");
    let end = text.find(". ").unwrap_or_else(|| text.trim_end_matches('.').len());
    text[..end].replace(['[', ']'], "").replace('|', "\\|")
}

/// What the list of decisions follows in `docs/SUMMARY.md`, whose end it is.
const DECISIONS: &str = "- [Decisions](decisions/README.md)\n";

/// The manual's table of contents has each decision by its title.
#[test]
fn the_table_of_contents_lists_the_decisions() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = docs.join("SUMMARY.md");
    let text = fs::read_to_string(&page).unwrap();
    let begin = text.find(DECISIONS).expect("the page has its decisions") + DECISIONS.len();
    let entries = fs::read_dir(docs.join("decisions")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    names.sort();
    let lines = names.iter().map(|name| {
        let decision = fs::read_to_string(docs.join("decisions").join(name)).unwrap();
        let title = decision.lines().next().unwrap_or_default().trim_start_matches('#').trim();
        format!("  - [{title}](decisions/{name})\n")
    });
    let new = format!("{}{}", &text[..begin], lines.collect::<String>());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(page, new).unwrap();
    } else {
        assert!(text == new, "the list of decisions is not current; UPDATE_EXPECT=1 rewrites it");
    }
}
