//! What defines a stored upstream besides its call: files that arguments name, and the like.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::manifest::Mode;

/// What was observed of all that an upstream is made from, besides its call.
#[derive(Debug, Clone, Default)]
pub struct BaseInputs {
    /// The digests of the files that arguments name, by the word.
    pub files: BTreeMap<String, Digest>,
    /// What the upstream copies from, by what a person calls it.
    pub inputs: BTreeMap<String, Input>,
    /// Which input cannot be read, and why.
    pub unreadable: Option<String>,
    /// The digest of the busybox that the built-in upstream is made of.
    pub busybox: Option<Digest>,
    /// The arguments that name a directory: what it holds may decide what the upstream leaves.
    pub directories: Vec<String>,
    /// Whether the template is this program again.
    pub is_this_program: bool,
}

/// What a file or directory holds that a template copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// The digest of its bytes; of a directory, that of the names, modes and bytes below it.
    pub digest: Digest,
    /// Its permission bits.
    pub mode: Mode,
}
