//! What is not as listed.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Entry, Kind, Listing, Way};

/// Something that is not as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The path, without a slash in front; empty for the top.
    pub path: Vec<u8>,
    /// What is wrong with it.
    pub difference: Difference,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is listed and not there.
    Missing,
    /// It is there and not listed.
    Unexpected,
    /// These are not as listed: `kind`, `bytes`, `target`, `device`, `mode`, `owner`, `mtime`,
    /// `xattrs`, `links`.
    Changed(Vec<&'static str>),
}

/// Compares what is there with what is listed.
pub(super) fn between(listed: &Listing, there: &Listing) -> Vec<Finding> {
    let (mut old, mut new) = ((0_u32..).zip(&listed.entries), (0_u32..).zip(&there.entries));
    let (mut left, mut right) = (old.next(), new.next());
    let (mut old_way, mut new_way) = (Way::default(), Way::default());
    // The numbers of entries that are in both, to compare which file a name is another name of.
    let mut both = HashMap::new();
    let mut findings = Vec::new();
    loop {
        let order = match (left, right) {
            (None, None) => return findings,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // What is deeper is still in a directory that the other has left.
            (Some((_, left)), Some((_, right))) => {
                right.depth.cmp(&left.depth).then_with(|| left.name.cmp(&right.name))
            }
        };
        let mut find = |path: &[u8], difference| {
            findings.push(Finding { path: path.to_vec(), difference });
        };
        if let (Ordering::Equal, Some((number, before)), Some((other, now))) = (order, left, right)
        {
            both.insert(number, other);
            let path = old_way.step(before);
            new_way.step(now);
            let mut changed = changed(before, now);
            if before.first.map(|first| both.get(&first).copied()) != now.first.map(Some) {
                changed.push("links");
            }
            if !changed.is_empty() {
                find(path, Difference::Changed(changed));
            }
        } else if let (Ordering::Less, Some((_, before))) = (order, left) {
            find(old_way.step(before), Difference::Missing);
        } else if let Some((_, now)) = right {
            find(new_way.step(now), Difference::Unexpected);
        }
        if order != Ordering::Greater {
            left = old.next();
        }
        if order != Ordering::Less {
            right = new.next();
        }
    }
}

fn changed(before: &Entry, now: &Entry) -> Vec<&'static str> {
    let of_kind = match (&before.kind, &now.kind) {
        (Kind::File { .. }, Kind::File { .. }) => "bytes",
        (Kind::Symlink { .. }, Kind::Symlink { .. }) => "target",
        (Kind::BlockDevice(_), Kind::BlockDevice(_))
        | (Kind::CharacterDevice(_), Kind::CharacterDevice(_)) => "device",
        _ => "kind",
    };
    let owner = |entry: &Entry| (entry.uid, entry.gid);
    let time = |entry: &Entry| (entry.seconds, entry.nanoseconds);
    let compared = [
        (of_kind, before.kind != now.kind),
        ("mode", before.mode != now.mode),
        ("owner", owner(before) != owner(now)),
        ("mtime", time(before) != time(now)),
        ("xattrs", before.xattrs != now.xattrs),
    ];
    compared.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect()
}
