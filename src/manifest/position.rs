//! Where a layer stands in its file, and which keys can stand in it.

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
