//! Something dropped, of a record.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::plan::{self, Content, EntryKind};

/// Something dropped, of a record; of a tree, each entry by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct File {
    /// Its path inside the rootfs.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its permission bits, in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Its owner, as the manifest gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The digest of a file's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What is dropped, of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Nothing: what was there is gone.
    Remove,
}

impl File {
    /// Returns what a drop makes, of a tree each entry by itself, the directory of it not.
    pub(crate) fn of(drop: &plan::FileDrop) -> Vec<Self> {
        let mut files = Vec::new();
        let path = drop.path.as_str();
        let owner = drop.owner.as_ref().map(ToString::to_string);
        let none = File {
            path: path.to_owned(),
            kind: FileKind::File,
            mode: None,
            owner: owner.clone(),
            digest: None,
            target: None,
        };
        match &drop.content {
            Content::File { digest, mode, .. } | Content::Fetched { digest, mode, .. } => {
                files.push(File { mode: Some(mode.to_string()), digest: Some(*digest), ..none });
            }
            Content::Rendered { mode, .. } => {
                files.push(File { mode: Some(mode.to_string()), ..none });
            }
            Content::Symlink { target } => {
                files.push(File { kind: FileKind::Symlink, target: Some(target.clone()), ..none });
            }
            Content::Directory { mode } => {
                files.push(File {
                    kind: FileKind::Directory,
                    mode: mode.map(|mode| mode.to_string()),
                    ..none
                });
            }
            Content::Remove => files.push(File { kind: FileKind::Remove, ..none }),
            Content::Tree { mode: given, entries, .. } => {
                for entry in entries.iter() {
                    let path = Path::new(path).join(&entry.path).to_string_lossy().into_owned();
                    let none = File { path, ..none.clone() };
                    files.push(match &entry.kind {
                        EntryKind::Directory { mode, .. } => {
                            File { kind: FileKind::Directory, mode: Some(mode.to_string()), ..none }
                        }
                        EntryKind::File { mode, digest, .. } => File {
                            mode: Some(given.unwrap_or(*mode).to_string()),
                            digest: Some(*digest),
                            ..none
                        },
                        EntryKind::Symlink { target } => {
                            let target = Some(target.to_string_lossy().into_owned());
                            File { kind: FileKind::Symlink, target, ..none }
                        }
                    });
                }
            }
        }
        files
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Remove => "remove",
        })
    }
}

/// What is dropped last at each path, with something `T` that is known of it.
#[derive(Debug)]
pub(crate) struct LastDrops<T>(BTreeMap<String, (File, T)>);

impl<T> LastDrops<T> {
    /// Creates what nothing is dropped in yet.
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds the next drop. One that `keeps` what is there changes nothing that was dropped before.
    pub(crate) fn add(&mut self, file: File, keeps: bool, of: T) {
        if keeps && self.0.contains_key(&file.path) {
            return;
        }
        if file.kind == FileKind::Remove {
            // What follows a slash among bytes is a zero.
            let below = format!("{}/", file.path)..format!("{}0", file.path);
            let below: Vec<String> = self.0.range(below).map(|(path, _)| path.clone()).collect();
            for path in below {
                self.0.remove(&path);
            }
        }
        self.0.insert(file.path.clone(), (file, of));
    }

    /// Returns what is dropped at a path.
    pub(crate) fn get(&self, path: &str) -> Option<&(File, T)> {
        self.0.get(path)
    }

    /// Returns all of it, by paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(File, T)> {
        self.0.values()
    }
}
