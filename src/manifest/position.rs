//! Where a layer stands in its file, and which keys can stand in which table.

/// The keys of a layer, also those of later versions: what is written below a `[[layer.file]]` by
/// mistake is recognised by them.
pub(super) const LAYER_KEYS: [&str; 21] = [
    "name",
    "template",
    "args",
    "env",
    "inputs",
    "sha256",
    "pre",
    "post",
    "check",
    "finally",
    "file",
    "config",
    "use",
    "with",
    "secrets",
    "store",
    "refresh",
    "identity",
    "state",
    "description",
    "vars",
];

/// Where a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// It is the first of a manifest that stands for itself.
    Innermost {
        /// Whether it is the only one.
        alone: bool,
    },
    /// It wraps another of the same manifest.
    Outer,
    /// It stands in a manifest that extends another.
    Extending,
}

/// A kind of table, as messages name it.
pub(super) struct TableKind {
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    /// How a key is put there, with `KEY` for it.
    how: &'static str,
}

/// The kinds of tables of a manifest.
pub(super) const TABLES: [TableKind; 6] = [
    TableKind {
        name: "a manifest",
        keys: &["description", "extends", "layer", "manifest", "vars"],
        how: "put it above the first `[[layer]]`",
    },
    TableKind {
        name: "a layer",
        keys: &[
            "args", "check", "config", "env", "file", "finally", "identity", "inputs", "name",
            "post", "pre", "refresh", "secrets", "sha256", "state", "store", "template", "use",
            "with",
        ],
        how: "put it below a `[[layer]]`",
    },
    TableKind {
        name: "a step",
        keys: &[
            "cache",
            "capabilities",
            "in",
            "network",
            "resolver",
            "run",
            "script",
            "shell",
            "timeout",
            "title",
        ],
        how: "write it there, as in `post = { KEY = ... }`",
    },
    TableKind {
        name: "a file",
        keys: &[
            "content",
            "directory",
            "if_exists",
            "mode",
            "owner",
            "path",
            "remove",
            "render",
            "sha256",
            "source",
            "symlink",
            "url",
            "when",
        ],
        how: "put it below a `[[layer.file]]`",
    },
    TableKind {
        name: "a variable",
        keys: &["default", "description", "env", "file", "from", "required", "secret", "type"],
        how: "write it there, as in `[vars]` with `NAME = { KEY = ... }`",
    },
    TableKind {
        name: "a value of `env`",
        keys: &["pass"],
        how: "write it there, as in `env = { NAME = { KEY = ... } }`",
    },
];

/// Says in which other tables than one of a kind a key can stand; `None` where it can in none.
pub(super) fn elsewhere(key: &str, here: &str) -> Option<String> {
    let found = TABLES.iter().filter(|table| table.name != here && table.keys.contains(&key));
    match found.collect::<Vec<_>>()[..] {
        [] => None,
        [TableKind { name, how, .. }] => {
            Some(format!("`{key}` belongs to {name}: {}", how.replace("KEY", key)))
        }
        [ref firsts @ .., last] => {
            let firsts: Vec<_> = firsts.iter().map(|table| table.name).collect();
            Some(format!("`{key}` belongs to {} or {}", firsts.join(", "), last.name))
        }
    }
}
