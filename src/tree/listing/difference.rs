//! What is not as listed.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{ListedFile, ListedKind, Listing, Way};

/// Something that is not as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The path, without a slash in front; empty for the top.
    pub path: Vec<u8>,
    /// What is wrong with it.
    pub difference: Difference,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It is listed and not there.
    Missing,
    /// It is there and not listed.
    Unexpected,
    /// These are not as listed: `kind`, `bytes`, `target`, `device`, `mode`, `owner`, `mtime`,
    /// `xattrs`, `links`.
    Changed(Vec<&'static str>),
}

/// Compares what is there with what is listed.
pub(super) fn between(listed: &Listing, there: &Listing) -> Vec<Change> {
    let (mut old_way, mut new_way) = (Way::default(), Way::default());
    // The numbers of entries that are in both, to compare which file a name is another name of.
    let mut both = HashMap::new();
    let mut findings = Vec::new();
    for pair in Pairs::of(listed, there) {
        let (path, difference) = match pair {
            Pair::Both(number, other) => {
                both.insert(number, other);
                let (before, now) =
                    (&listed.entries[number as usize], &there.entries[other as usize]);
                let path = old_way.step(before);
                new_way.step(now);
                let mut changed = changed(before, now);
                if before.first.map(|first| both.get(&first).copied()) != now.first.map(Some) {
                    changed.push("links");
                }
                if changed.is_empty() {
                    continue;
                }
                (path, Difference::Changed(changed))
            }
            Pair::Old(number) => {
                (old_way.step(&listed.entries[number as usize]), Difference::Missing)
            }
            Pair::New(number) => {
                (new_way.step(&there.entries[number as usize]), Difference::Unexpected)
            }
        };
        findings.push(Change { path: path.to_vec(), difference });
    }
    findings
}

/// A path of two listings: the numbers of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    /// The old one alone has it.
    Old(u32),
    /// The new one alone has it.
    New(u32),
    /// Both have it.
    Both(u32, u32),
}

/// All paths of two listings.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    old: &'a [ListedFile],
    new: &'a [ListedFile],
    left: usize,
    right: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn of(old: &'a Listing, new: &'a Listing) -> Self {
        Self { old: &old.entries, new: &new.entries, left: 0, right: 0 }
    }
}

impl Iterator for Pairs<'_> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        let order = match (self.old.get(self.left), self.new.get(self.right)) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // What is deeper is still in a directory that the other has left.
            (Some(left), Some(right)) => {
                right.depth.cmp(&left.depth).then_with(|| left.name.cmp(&right.name))
            }
        };
        let number = |index| u32::try_from(index).unwrap_or(u32::MAX);
        let (left, right) = (number(self.left), number(self.right));
        self.left += usize::from(order != Ordering::Greater);
        self.right += usize::from(order != Ordering::Less);
        Some(match order {
            Ordering::Less => Pair::Old(left),
            Ordering::Equal => Pair::Both(left, right),
            Ordering::Greater => Pair::New(right),
        })
    }
}

/// Tells what of an entry is not as it was; the links between files are not looked at.
pub(super) fn changed(before: &ListedFile, now: &ListedFile) -> Vec<&'static str> {
    let of_kind = match (&before.kind, &now.kind) {
        (ListedKind::File { .. }, ListedKind::File { .. }) => "bytes",
        (ListedKind::Symlink { .. }, ListedKind::Symlink { .. }) => "target",
        (ListedKind::BlockDevice(_), ListedKind::BlockDevice(_))
        | (ListedKind::CharacterDevice(_), ListedKind::CharacterDevice(_)) => "device",
        _ => "kind",
    };
    let owner = |entry: &ListedFile| (entry.uid, entry.gid);
    let time = |entry: &ListedFile| (entry.seconds, entry.nanoseconds);
    let compared = [
        (of_kind, before.kind != now.kind),
        ("mode", before.mode != now.mode),
        ("owner", owner(before) != owner(now)),
        ("mtime", time(before) != time(now)),
        ("xattrs", before.xattrs != now.xattrs),
    ];
    compared.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect()
}
