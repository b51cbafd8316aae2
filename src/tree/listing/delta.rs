//! What has to be laid over one tree to get another, by their listings: the content of an image's layer.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::difference::{Pair, Pairs, changed};
use super::{ListedFile, ListedKind, Listing, Way};

/// What stands before the name of what is not there any more.
///
/// Source: the image specification of OCI 1.1.
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// The longest name, in bytes, before which that still makes a name.
pub(crate) const LONGEST_HIDDEN: usize = 255 - WHITEOUT.len();

/// A step from one tree to another, in the order of a listing: a directory comes before what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Something is there.
    Put {
        /// The path, without a slash in front; empty for the top.
        path: Vec<u8>,
        /// What is there.
        file: &'a ListedFile,
        /// The path of the same file that was put before, if this is another name of it.
        link: Option<Vec<u8>>,
    },
    /// What was of this path is not there any more.
    Remove(Vec<u8>),
    /// Nothing of what was in this directory is there any more, but what is put from here on.
    Empty(Vec<u8>),
}

/// Returns the steps from `base`, or from nothing, to `tree`. Times later than `latest`, in seconds since 1970,
/// count as that.
///
/// Whoever takes the steps may begin in an empty directory and lay it over the base afterwards. So all
/// directories above something are put as well, and a file of several names with all of them or not at
/// all.
pub(crate) fn steps<'a>(
    base: Option<&Listing>,
    tree: &'a Listing,
    latest: Option<i64>,
) -> Vec<Step<'a>> {
    let entries = &tree.entries;
    let mut is_put = vec![base.is_none(); entries.len()];
    let mut removed: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
    if let Some(base) = base {
        let above_in_base = parents(base);
        let mut both: HashMap<u32, u32> = HashMap::new();
        for pair in Pairs::of(base, tree) {
            match pair {
                Pair::New(new) => is_put[new as usize] = true,
                Pair::Both(old, new) => {
                    both.insert(old, new);
                    let (before, now) = (&base.entries[old as usize], &entries[new as usize]);
                    let is_linked_alike =
                        before.first.map(|first| both.get(&first).copied()) == now.first.map(Some);
                    is_put[new as usize] = !is_linked_alike || differs(before, now, latest);
                }
                Pair::Old(old) => {
                    let directory = above_in_base[old as usize];
                    let Some(directory) = both.get(&directory).map(|new| *new as usize) else {
                        continue;
                    };
                    // What took the place of a directory hides all that was in it.
                    if entries[directory].kind == ListedKind::Directory {
                        removed
                            .entry(directory)
                            .or_default()
                            .push(&base.entries[old as usize].name);
                    }
                }
            }
        }
    }
    let is_emptied =
        |directory: &usize| removed[directory].iter().any(|name| name.len() > LONGEST_HIDDEN);
    let emptied: Vec<usize> = removed.keys().copied().filter(is_emptied).collect();
    for directory in &emptied {
        let depth = entries[*directory].depth;
        let below = entries[directory + 1..].iter().take_while(|entry| entry.depth > depth).count();
        is_put[*directory..=directory + below].fill(true);
        removed.remove(directory);
    }
    for directory in removed.keys() {
        is_put[*directory] = true;
    }
    put(tree, is_put, &removed, &emptied)
}

/// Returns the steps that put what is at these paths of a tree over the same tree.
pub(crate) fn steps_of<'a>(tree: &'a Listing, wanted: &HashSet<&[u8]>) -> Vec<Step<'a>> {
    let mut way = Way::default();
    let is_put = tree.entries.iter().map(|file| wanted.contains(way.step(file))).collect();
    put(tree, is_put, &BTreeMap::new(), &[])
}

/// Returns the steps that put some entries of a tree, with all that they need, and take away what is `removed`
/// from directories, those that are `emptied` as a whole.
fn put<'a>(
    tree: &'a Listing,
    mut is_put: Vec<bool>,
    removed: &BTreeMap<usize, Vec<&[u8]>>,
    emptied: &[usize],
) -> Vec<Step<'a>> {
    let entries = &tree.entries;
    let above = parents(tree);
    put_all_names(entries, &mut is_put);
    for entry in (1..entries.len()).rev() {
        if is_put[entry] {
            is_put[above[entry] as usize] = true;
        }
    }
    let mut steps = Vec::new();
    let mut way = Way::default();
    let mut paths: HashMap<u32, Vec<u8>> = HashMap::new();
    for (number, file) in entries.iter().enumerate() {
        let path = way.step(file).to_vec();
        if !is_put[number] {
            continue;
        }
        let link = file.first.and_then(|first| paths.get(&first).cloned());
        if file.kind != ListedKind::Directory && file.first.is_none() {
            paths.insert(u32::try_from(number).unwrap_or(u32::MAX), path.clone());
        }
        let within = |name: &[u8]| match path.as_slice() {
            b"" => name.to_vec(),
            path => [path, b"/", name].concat(),
        };
        let gone: Vec<_> =
            removed.get(&number).into_iter().flatten().map(|name| within(name)).collect();
        steps.push(Step::Put { path: path.clone(), file, link });
        if emptied.contains(&number) {
            steps.push(Step::Empty(path));
        }
        steps.extend(gone.into_iter().map(Step::Remove));
    }
    steps
}

/// Puts all names of each file of which one is put.
fn put_all_names(entries: &[ListedFile], is_put: &mut [bool]) {
    let file_of = |number: usize| entries[number].first.map_or(number, |first| first as usize);
    let of_links: Vec<(usize, usize)> = (0..entries.len())
        .filter(|number| entries[*number].first.is_some())
        .map(|number| (file_of(number), number))
        .collect();
    for (first, name) in &of_links {
        is_put[*first] |= is_put[*name];
    }
    for (first, name) in &of_links {
        is_put[*name] |= is_put[*first];
    }
}

/// Returns the number of the entry above each, that of the top for the top itself.
fn parents(listing: &Listing) -> Vec<u32> {
    let mut above: Vec<u32> = Vec::new();
    let parents = (0..).zip(&listing.entries).map(|(number, entry)| {
        above.truncate(entry.depth as usize);
        let parent = above.last().copied().unwrap_or_default();
        above.push(number);
        parent
    });
    parents.collect()
}

fn differs(before: &ListedFile, now: &ListedFile, latest: Option<i64>) -> bool {
    let is_late = |file: &ListedFile| latest.is_some_and(|latest| file.seconds >= latest);
    let changed = changed(before, now);
    match changed.as_slice() {
        [] => false,
        ["mtime"] => !(is_late(before) && is_late(now)),
        _ => true,
    }
}
