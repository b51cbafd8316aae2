//! Listings as trees to be merged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::difference::{self, Difference};
use super::{ListedFile, ListedKind, Listing, Way};
use crate::merge::{Item, Tree, TreePath, What, above};

impl Listing {
    /// Returns what is of those paths that are wanted, the top's among them. Times are no part of it.
    pub(crate) fn items(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Tree {
        let mut names: HashMap<TreePath, Arc<[TreePath]>> = HashMap::new();
        for group in self.names() {
            names.extend(group.iter().map(|path| (path.clone(), Arc::clone(&group))));
        }
        let mut way = Way::default();
        let mut items = Tree::new();
        for entry in &self.entries {
            let path = way.step(entry);
            if is_wanted(path) {
                let names = names.get(path).cloned();
                items.insert(path.to_vec(), Item { names, ..entry.item() });
            }
        }
        items
    }

    /// Returns all names of each file that has several.
    fn names(&self) -> Vec<Arc<[TreePath]>> {
        let firsts: HashSet<u32> = self.entries.iter().filter_map(|entry| entry.first).collect();
        let mut groups: HashMap<u32, Vec<TreePath>> = HashMap::with_capacity(firsts.len());
        let mut way = Way::default();
        for (number, entry) in (0..).zip(&self.entries) {
            let path = way.step(entry);
            let first = entry.first.unwrap_or(number);
            if firsts.contains(&first) {
                groups.entry(first).or_default().push(path.to_vec());
            }
        }
        let sorted = groups.into_values().map(|mut group| {
            group.sort();
            group.into()
        });
        sorted.collect()
    }
}

/// Returns the paths that a merge of trees has to look at: where one of them is otherwise than the `old` one, and
/// those that are `wanted` besides; with all other names of the files there, and with the directories above.
pub(crate) fn paths_to_merge(
    old: &Listing,
    others: [&Listing; 2],
    wanted: impl IntoIterator<Item = TreePath>,
) -> HashSet<TreePath> {
    let changes = others.into_iter().flat_map(|other| difference::between(old, other));
    let changes = changes.filter(|change| match &change.difference {
        Difference::Changed(what) => what.iter().any(|what| *what != "mtime"),
        Difference::Missing | Difference::Unexpected => true,
    });
    let mut left: Vec<TreePath> = changes.map(|change| change.path).chain(wanted).collect();
    let mut names: HashMap<TreePath, Vec<Arc<[TreePath]>>> = HashMap::new();
    for group in [old].into_iter().chain(others).flat_map(Listing::names) {
        for path in group.iter() {
            names.entry(path.clone()).or_default().push(Arc::clone(&group));
        }
    }
    let mut paths = HashSet::new();
    while let Some(path) = left.pop() {
        if paths.contains(&path) {
            continue;
        }
        left.extend(above(&path).map(<[u8]>::to_vec));
        left.extend(names.get(&path).into_iter().flatten().flat_map(|group| group.iter().cloned()));
        paths.insert(path);
    }
    paths
}

impl ListedFile {
    /// Returns it as what is of a path in a tree to be merged, of which it has no other name.
    pub(crate) fn item(&self) -> Item {
        let what = match &self.kind {
            ListedKind::Directory => What::Directory,
            ListedKind::File { size, digest } => What::File(*size, *digest),
            ListedKind::Symlink { target } => What::Symlink(target.clone()),
            ListedKind::BlockDevice(number) => What::Special("block device", *number),
            ListedKind::CharacterDevice(number) => What::Special("character device", *number),
            ListedKind::Fifo => What::Special("fifo", 0),
            ListedKind::Socket => What::Special("socket", 0),
        };
        let owner = (self.uid, self.gid);
        Item { what, mode: self.mode, owner, xattrs: self.xattrs, names: None }
    }
}
