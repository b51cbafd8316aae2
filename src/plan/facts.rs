//! What was observed of the host before anything is decided.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::drop::{EntryKind, TreeEntry};
use crate::digest::Digest;
use crate::lxc::machine::Machine;

/// The facts that a plan is made from.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The template that the innermost layer calls; `None` if only the manifest is judged.
    pub program: Option<Program>,
    /// Whether that is not on this host, and only stands for what is stored of it.
    pub is_absent: bool,
    /// The machine that the template's arguments ask for, where this host cannot run its programs
    /// and steps are to.
    pub foreign: Option<Machine>,
    /// The caller's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What is dropped from the host, by its absolute path.
    pub sources: BTreeMap<PathBuf, SourceFact>,
    /// The steps' scripts, by their absolute paths.
    pub scripts: BTreeMap<PathBuf, Script>,
}

/// The program behind a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// This program itself, with the host's static busybox, where it has one.
    Busybox(Option<PathBuf>),
    /// An executable.
    File {
        /// Its absolute path.
        path: PathBuf,
        /// The digest of its bytes.
        digest: Digest,
        /// What it is to this program.
        kind: ProgramKind,
    },
}

/// What an executable is to this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramKind {
    /// A copy of it.
    ThisProgram,
    /// A manifest that is a template: this program runs it.
    Manifest,
    /// Something else.
    Other,
}

impl Program {
    /// Tells whether a run of it is one of this program.
    pub fn is_this_program(&self) -> bool {
        matches!(self, Self::File { kind: ProgramKind::ThisProgram | ProgramKind::Manifest, .. })
    }
}

/// A source of the host.
#[derive(Debug, Clone)]
pub enum SourceFact {
    /// A regular file.
    File(FileFact),
    /// A directory and all below it, each directory before what is in it, sorted by name.
    Tree {
        /// The directory itself.
        top: EntryKind,
        /// All below it.
        entries: Arc<[TreeEntry]>,
    },
}

/// A regular file of the host.
#[derive(Debug, Clone)]
pub struct FileFact {
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Whether anyone may execute it.
    pub executable: bool,
    /// Its bytes, where they are a template of variables.
    pub bytes: Option<Arc<[u8]>>,
}

/// A script of the host.
#[derive(Debug, Clone)]
pub struct Script {
    /// The words behind `#!` in its first line.
    pub interpreter: Vec<String>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Whether it reads the container's name from its environment.
    pub reads_name: bool,
}
