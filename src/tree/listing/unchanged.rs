//! What of a tree is as it is in the one that it was copied from.

use std::collections::HashMap;

use super::difference::{self, Pair, Pairs};
use super::{ListedFile, ListedKind, Listing};
use crate::tree::sharing::Sharing;

/// A name that is not a directory's.
#[derive(Debug, Clone, Copy)]
pub(in crate::tree) struct Same<'a> {
    /// The number of its directory in [`Unchanged::directories`].
    pub(in crate::tree) directory: usize,
    /// What is there, by either listing.
    pub(in crate::tree) entry: &'a ListedFile,
}

/// A directory in which, or below which, something is unchanged.
#[derive(Debug)]
pub(in crate::tree) struct Directory<'a> {
    /// The number of the one above. The top is above itself.
    pub(in crate::tree) above: usize,
    /// What is there now.
    pub(in crate::tree) entry: &'a ListedFile,
    /// The numbers of those below in which something is unchanged.
    pub(in crate::tree) below: Vec<usize>,
    /// The files of one name in it.
    pub(in crate::tree) alone: Vec<&'a ListedFile>,
    sharing: Sharing,
}

/// The files that are the same in two trees, under all their names. Files that other programs look at
/// the number of names of are left out.
#[derive(Debug)]
pub(in crate::tree) struct Unchanged<'a> {
    /// The top first, and each before those below it.
    pub(in crate::tree) directories: Vec<Directory<'a>>,
    /// The names of each file that has several.
    pub(in crate::tree) groups: Vec<Vec<Same<'a>>>,
}

/// Finds the files that are the same in both trees.
///
/// A file that has got a name, or has lost one, is another: its names of before would come apart.
pub(in crate::tree) fn unchanged<'a>(base: &Listing, now: &'a Listing) -> Unchanged<'a> {
    let mut pairs: Vec<Option<u32>> = vec![None; now.entries.len()];
    for pair in Pairs::of(base, now) {
        if let Pair::Both(old, new) = pair {
            let (before, entry) = (&base.entries[old as usize], &now.entries[new as usize]);
            let is_same = entry.kind != ListedKind::Directory
                && difference::changed(before, entry).is_empty();
            pairs[new as usize] = is_same.then_some(old);
        }
    }
    let names_before = names(base);
    let groups = groups(now);
    let is_whole = |group: &[u32]| {
        let file = |new: &u32| pairs[*new as usize].map(|old| first(base, old));
        let one = group.first().and_then(file);
        one.is_some_and(|old| {
            names_before.get(&old).copied() == u32::try_from(group.len()).ok()
                && group.iter().all(|new| file(new) == Some(old))
        })
    };
    let (mut directories, at) = directories(now);
    let mut found = Unchanged { directories: Vec::new(), groups: Vec::new() };
    for group in groups.values().filter(|group| is_whole(group)) {
        if group.iter().any(|name| directories[at[*name as usize]].sharing == Sharing::Copied) {
            continue;
        }
        let same = |name: &u32| Same {
            directory: at[*name as usize],
            entry: &now.entries[*name as usize],
        };
        match group.as_slice() {
            [name] => directories[at[*name as usize]].alone.push(&now.entries[*name as usize]),
            several => found.groups.push(several.iter().map(same).collect()),
        }
    }
    // From the last to the first, what is below has been looked at.
    let mut needed = vec![false; directories.len()];
    for group in found.groups.iter().flatten() {
        needed[group.directory] = true;
    }
    for number in (1..directories.len()).rev() {
        let above = directories[number].above;
        if needed[number] || !directories[number].alone.is_empty() {
            needed[above] = true;
            directories[above].below.push(number);
        }
    }
    found.directories = directories;
    found
}

/// Returns the number of the first name of an entry's file.
fn first(listing: &Listing, number: u32) -> u32 {
    listing.entries[number as usize].first.unwrap_or(number)
}

/// Returns how many names each file has, by the first of them.
fn names(listing: &Listing) -> HashMap<u32, u32> {
    let mut names = HashMap::with_capacity(listing.entries.len());
    for number in (0..).take(listing.entries.len()) {
        *names.entry(first(listing, number)).or_default() += 1;
    }
    names
}

/// Returns all names of each file, by the first of them.
fn groups(listing: &Listing) -> HashMap<u32, Vec<u32>> {
    let mut groups: HashMap<u32, Vec<u32>> = HashMap::with_capacity(listing.entries.len());
    for (number, entry) in (0..).zip(&listing.entries) {
        if entry.kind != ListedKind::Directory {
            groups.entry(first(listing, number)).or_default().push(number);
        }
    }
    groups
}

/// Returns all directories, and of each entry the number of its own there.
fn directories(listing: &Listing) -> (Vec<Directory<'_>>, Vec<usize>) {
    let mut directories: Vec<Directory<'_>> = Vec::new();
    let mut at = Vec::with_capacity(listing.entries.len());
    let mut open: Vec<usize> = Vec::new();
    for entry in &listing.entries {
        open.truncate(entry.depth as usize);
        let above = open.last().copied();
        at.push(above.unwrap_or_default());
        if entry.kind == ListedKind::Directory {
            let sharing =
                above.map_or(Sharing::Top, |above| directories[above].sharing.below(&entry.name));
            open.push(directories.len());
            directories.push(Directory {
                above: above.unwrap_or_default(),
                entry,
                below: Vec::new(),
                alone: Vec::new(),
                sharing,
            });
        }
    }
    (directories, at)
}
