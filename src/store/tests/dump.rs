//! All of a tree that a program can see of it, read by paths and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr};

use crate::digest::Digest;

/// A tree, by its paths; that of the top is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dump(BTreeMap<String, Seen>);

/// What is of a path.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seen {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    /// Seconds and nanoseconds; nothing, where it is recent.
    changed: Option<(i64, i64)>,
    names: u64,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The bytes of a file, the target of a link.
    content: Vec<u8>,
    /// All paths of the same file.
    pub(super) group: Vec<String>,
}

impl Dump {
    pub(super) fn of(top: &Path) -> Self {
        let mut seen = BTreeMap::new();
        let mut groups: HashMap<u64, Vec<String>> = HashMap::new();
        for path in paths(top) {
            let at = top.join(&path);
            let stat = fs::symlink_metadata(&at).unwrap();
            let content = match stat.file_type() {
                kind if kind.is_file() => fs::read(&at).unwrap(),
                kind if kind.is_symlink() => {
                    fs::read_link(&at).unwrap().into_os_string().into_vec()
                }
                _ => Vec::new(),
            };
            if !stat.is_dir() {
                groups.entry(stat.ino()).or_default().push(path.clone());
            }
            let entry = Seen {
                mode: stat.mode(),
                owner: (stat.uid(), stat.gid()),
                device: stat.rdev(),
                changed: Some((stat.mtime(), stat.mtime_nsec())),
                names: stat.nlink(),
                attributes: attributes(&at),
                content,
                group: Vec::new(),
            };
            seen.insert(path, (stat.ino(), entry));
        }
        Self(
            seen.into_iter()
                .map(|(path, (inode, entry))| {
                    let group = groups.get(&inode).cloned().unwrap_or_default();
                    (path, Seen { group, ..entry })
                })
                .collect(),
        )
    }

    /// The same where a time that is not old is recent, and no more: two trees are not made at once.
    pub(super) fn recent(mut self, before: &Self) -> Self {
        let known: Vec<_> = before.0.values().map(|entry| entry.changed).collect();
        for entry in self.0.values_mut() {
            let is_old = entry.changed.is_some_and(|(seconds, _)| seconds < 1_600_000_000);
            if !is_old && !known.contains(&entry.changed) {
                entry.changed = None;
            }
        }
        self
    }

    /// The same without numbers of links.
    pub(super) fn unlinked(mut self) -> Self {
        self.0.values_mut().for_each(|entry| entry.names = 0);
        self
    }

    pub(super) fn at(&self, path: &str) -> Option<&Seen> {
        self.0.get(path)
    }

    /// What is no directory in both.
    pub(super) fn both<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a Seen, &'a Seen)> {
        self.0.iter().filter_map(|(path, entry)| {
            let other = other.0.get(path)?;
            let no_directories = !entry.group.is_empty() && !other.group.is_empty();
            no_directories.then_some((path.as_str(), entry, other))
        })
    }

    /// What is not the same in another.
    pub(super) fn differing(&self, other: &Self) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let different = names.filter(|name| self.0.get(*name) != other.0.get(*name));
        different
            .map(|name| format!("{name}: {:?} and {:?}", self.0.get(name), other.0.get(name)))
            .collect()
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, owner, device, changed, names, attributes, content, group } = self;
        let (length, digest) = (content.len(), Digest::of(content).short());
        write!(
            formatter,
            "{mode:o} {owner:?} {device} {changed:?} {names} {attributes:?} {length} {digest} {group:?}"
        )
    }
}

/// All paths of a tree, sorted. A filesystem's own order is another each time.
pub(super) fn paths(top: &Path) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(top.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                open.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort();
    paths
}

fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length =
                lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}
