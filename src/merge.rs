//! The three-way merge of trees: what a role makes of a container otherwise than before, beside what the
//! container has changed itself.
//!
//! A tree is a table of paths here, and nothing is touched. For each path the rule is the same: where one side
//! has changed nothing the other one holds, and where both have come to the same that holds; else it is a
//! conflict, unless somebody has decided it.

mod accounts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use accounts::{Renumbered, has_accounts, merge_accounts, renumbered};

use crate::digest::Digest;

/// A path without a slash in front; that of the top is empty.
pub(crate) type TreePath = Vec<u8>;

/// What is of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it is.
    pub what: What,
    /// Its permission bits.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
    /// The digest of its extended attributes, if it has any.
    pub xattrs: Option<Digest>,
    /// All names of the file, where it has several.
    pub names: Option<Arc<[TreePath]>>,
}

/// What something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A directory.
    Directory,
    /// A regular file: its size in bytes, and the digest of them.
    File(u64, Digest),
    /// A symbolic link, and where it leads.
    Symlink(Vec<u8>),
    /// Anything else: what kind of thing, and the number of a device.
    Special(&'static str, u64),
}

impl Item {
    /// Tells whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.what == What::Directory
    }
}

/// A tree.
pub(crate) type Tree = BTreeMap<TreePath, Item>;

/// Which of two trees something is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What the role makes now.
    New,
    /// The container's own.
    Own,
}

impl Side {
    /// Returns the other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::New => Self::Own,
            Self::Own => Self::New,
        }
    }
}

/// The three trees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trees<'a> {
    /// What the role had made.
    pub old: &'a Tree,
    /// What it makes now.
    pub new: &'a Tree,
    /// What the container has.
    pub own: &'a Tree,
}

/// What is decided without looking.
pub(crate) trait Rules {
    /// Tells whether nothing of the role's comes to a path or goes from it.
    fn is_state(&self, path: &[u8]) -> bool;

    /// Returns which side holds where both have changed something; `None` where somebody has to decide that.
    fn prefers(&self, path: &[u8]) -> Option<Side>;

    /// Returns which side holds at a path, and in all that is below it, because somebody has said so.
    fn decides(&self, path: &[u8]) -> Option<Side>;

    /// Returns what both sides have made of a text together, where that can be told.
    fn text(&self, path: &[u8]) -> Option<Vec<u8>>;
}

/// What a merge comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// What there is, and whose; what both sides have alike is the new one's.
    pub sides: BTreeMap<TreePath, Side>,
    /// Texts that are put together: what else there is of them is that of the side.
    pub texts: BTreeMap<TreePath, Vec<u8>>,
    /// What somebody has to decide.
    pub conflicts: BTreeSet<TreePath>,
    /// What one side has in a directory that is no directory of the other's, by the path of that: what the conflict is
    /// about, or what goes because somebody has decided it.
    pub within: BTreeMap<TreePath, Vec<TreePath>>,
    /// What is in the way of a conflict, by the path of that: no directory, in a tree where the other side has one.
    pub in_the_way: BTreeMap<TreePath, (TreePath, Side)>,
}

/// Merges three trees.
pub(crate) fn merge(trees: Trees<'_>, rules: &dyn Rules) -> Merged {
    let mut merging = Merging { trees, rules, merged: Merged::default() };
    let Trees { old, new, own } = trees;
    let paths: BTreeSet<&TreePath> = old.keys().chain(new.keys()).chain(own.keys()).collect();
    for path in paths {
        merging.path(path);
    }
    merging.replaced();
    merging.directories();
    merging.links();
    merging.merged
}

struct Merging<'a> {
    trees: Trees<'a>,
    rules: &'a dyn Rules,
    merged: Merged,
}

impl<'a> Merging<'a> {
    fn tree(&self, side: Side) -> &'a Tree {
        match side {
            Side::New => self.trees.new,
            Side::Own => self.trees.own,
        }
    }

    /// Takes what a side has of a path, which may be nothing.
    fn put(&mut self, path: &TreePath, side: Side) {
        self.merged.texts.remove(path);
        match self.tree(side).contains_key(path) {
            true => self.merged.sides.insert(path.clone(), side),
            false => self.merged.sides.remove(path),
        };
    }

    fn path(&mut self, path: &TreePath) {
        let Trees { old, new, own } = self.trees;
        let (before, now, there) = (old.get(path), new.get(path), own.get(path));
        let side = if self.rules.is_state(path) {
            Some(Side::Own)
        } else if there == now || before == there {
            Some(Side::New)
        } else if before == now {
            Some(Side::Own)
        } else {
            self.rules.prefers(path)
        };
        if let Some(side) = side {
            return self.put(path, side);
        }
        match self.attributes(path).and_then(|side| Some((side, self.rules.text(path)?))) {
            Some((side, text)) => {
                self.merged.sides.insert(path.clone(), side);
                self.merged.texts.insert(path.clone(), text);
            }
            None => {
                self.merged.conflicts.insert(path.clone());
            }
        }
    }

    /// Returns whose attributes a file has of which all sides have other bytes.
    fn attributes(&self, path: &TreePath) -> Option<Side> {
        let Trees { old, new, own } = self.trees;
        let of = |tree: &'a Tree| {
            let item = tree.get(path)?;
            let is_file = matches!(item.what, What::File(..)) && item.names.is_none();
            is_file.then_some((item.mode, item.owner, item.xattrs))
        };
        let (before, now, there) = (of(old)?, of(new)?, of(own)?);
        match (before == there, before == now || there == now) {
            (true, _) => Some(Side::New),
            (false, true) => Some(Side::Own),
            (false, false) => None,
        }
    }

    /// Sees what becomes of a directory of one side that the other one has something else in the place of, such as a
    /// symbolic link: one of them holds in all of it.
    fn replaced(&mut self) {
        let Trees { old, new, own } = self.trees;
        for (path, item) in new {
            let Some(there) = own.get(path) else { continue };
            // Nothing of the role's comes there, whatever is said.
            if self.rules.is_state(path) {
                continue;
            }
            let side = match (item.is_directory(), there.is_directory()) {
                (true, false) => Side::New,
                (false, true) => Side::Own,
                _ => continue,
            };
            let first = [path.as_slice(), b"/"].concat();
            let below = self.tree(side).range(first.clone()..);
            let below = below.take_while(|(other, _)| other.starts_with(&first));
            let is_changed = |(other, item): &(&TreePath, &Item)| {
                old.get(*other) != Some(*item) || self.rules.is_state(other)
            };
            let within: Vec<TreePath> =
                below.filter(is_changed).map(|(other, _)| other.clone()).collect();
            let (held, decided) = (self.merged.sides.get(path), self.rules.decides(path));
            let is_contested = held != Some(&side) && !within.is_empty();
            if decided == Some(side) && (is_contested || held == Some(&side)) {
                self.bring_all(path, side);
                continue;
            }
            let is_open = |other: &TreePath| {
                self.rules.is_state(other) || self.rules.prefers(other) != Some(side.other())
            };
            if !is_contested {
                continue;
            }
            if decided.is_none() && within.iter().any(is_open) {
                self.merged.conflicts.insert(path.clone());
                for other in &within {
                    self.merged.conflicts.remove(other);
                    self.merged.sides.remove(other);
                }
            }
            self.merged.within.insert(path.clone(), within);
        }
    }

    /// Takes a directory from a side, with all that is in it but what somebody has decided otherwise.
    fn bring_all(&mut self, directory: &TreePath, side: Side) {
        let tree = self.tree(side);
        for path in tree.keys().filter(|path| is_within(path, directory)) {
            let decided = match self.rules.is_state(path) {
                true => Some(Side::Own),
                false => self.rules.decides(path),
            };
            self.put(path, decided.unwrap_or(side));
            self.merged.conflicts.remove(path);
        }
    }

    /// Sees that all that there is has a directory above it.
    fn directories(&mut self) {
        let paths: Vec<TreePath> = self.merged.sides.keys().cloned().collect();
        for path in paths {
            let Some(side) = self.merged.sides.get(&path).copied() else { continue };
            if self.is_in_directory(&path) {
                continue;
            }
            let prefers = match self.rules.is_state(&path) {
                true => Some(Side::Own),
                false => self.rules.prefers(&path),
            };
            match prefers {
                Some(preferred) if preferred == side => self.bring_directories(&path, side),
                // That side has it gone, or something in the place of a directory above it.
                Some(_) => {
                    self.merged.sides.remove(&path);
                }
                None => {
                    self.merged.conflicts.insert(path);
                }
            }
        }
    }

    fn is_in_directory(&self, path: &[u8]) -> bool {
        above(path).is_none_or(|above| {
            self.merged
                .sides
                .get(above)
                .is_some_and(|side| self.tree(*side).get(above).is_some_and(Item::is_directory))
        })
    }

    /// Brings the directories above a path from a side, where nothing else has their place.
    fn bring_directories(&mut self, path: &TreePath, side: Side) {
        let mut missing = Vec::new();
        let mut here = path.as_slice();
        while !self.is_in_directory(here)
            && let Some(above) = above(here)
        {
            let is_free = !self.merged.sides.contains_key(above);
            if !is_free || !self.tree(side).get(above).is_some_and(Item::is_directory) {
                self.merged.conflicts.insert(path.clone());
                self.merged.in_the_way.insert(path.clone(), (above.to_vec(), side.other()));
                return;
            }
            missing.push(above.to_vec());
            here = above;
        }
        for directory in missing {
            self.merged.sides.insert(directory, side);
        }
    }

    /// Sees that of a file that has several names there are all, or none.
    fn links(&mut self) {
        let mut broken = Vec::new();
        for (path, side) in &self.merged.sides {
            let tree = self.tree(*side);
            let Some(names) = tree.get(path).and_then(|item| item.names.as_ref()) else { continue };
            let is_of_side = |name: &TreePath| match self.merged.sides.get(name) {
                Some(other) if other == side => true,
                Some(other) => self.tree(*other).get(name) == tree.get(name),
                None => false,
            };
            let is_decided = self.rules.is_state(path) || self.rules.prefers(path).is_some();
            if !is_decided && !names.iter().all(is_of_side) {
                broken.push(path.clone());
            }
        }
        self.merged.conflicts.extend(broken);
    }
}

/// Returns the path of the directory that something is in; nothing for the top.
pub(crate) fn above(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &path[..slash]))
}

/// Tells whether a path is another one or below it.
pub(crate) fn is_within(path: &[u8], directory: &[u8]) -> bool {
    let rest = if directory.is_empty() { Some(path) } else { path.strip_prefix(directory) };
    rest.is_some_and(|rest| directory.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}
