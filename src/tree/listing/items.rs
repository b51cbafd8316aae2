//! A listing as a tree to be merged.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{ListedFile, ListedKind, Listing, Way};
use crate::merge::{Item, Tree, TreePath, What};

impl Listing {
    /// Returns what is of each path, the top's among them. Times are no part of it.
    pub(crate) fn items(&self) -> Tree {
        let mut way = Way::default();
        let paths: Vec<TreePath> =
            self.entries.iter().map(|entry| way.step(entry).to_vec()).collect();
        let mut groups: BTreeMap<usize, Vec<TreePath>> = BTreeMap::new();
        for (number, entry) in self.entries.iter().enumerate() {
            if let Some(first) = entry.first {
                let first = first as usize;
                let names = groups.entry(first).or_insert_with(|| vec![paths[first].clone()]);
                names.push(paths[number].clone());
            }
        }
        let mut names: HashMap<TreePath, Arc<[TreePath]>> = HashMap::new();
        for mut group in groups.into_values() {
            group.sort();
            let group: Arc<[TreePath]> = group.into();
            names.extend(group.iter().map(|path| (path.clone(), Arc::clone(&group))));
        }
        let items = paths.into_iter().zip(&self.entries).map(|(path, entry)| {
            let item = Item { names: names.remove(&path), ..entry.item() };
            (path, item)
        });
        items.collect()
    }
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
