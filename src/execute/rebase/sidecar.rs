//! What stands beside a container's rootfs: hooks, keys and the like that a template or a step has left there.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};

use super::super::generation::sidecar;
use super::{PathChange, named, view};
use crate::cache::{CONFIG_NAME, DELTA, Names, WORK};
use crate::host::files;
use crate::merge::{Tree, Trees, is_within};
use crate::record;
use crate::store::{Entry, GENERATIONS, Store};
use crate::tree::{self, Baseline, Interrupt, ListedFile, Marks};

/// What is no sidecar in the directory where a container is made, besides the tree that its config names.
const OTHERS: [&str; 7] =
    [CONFIG_NAME, record::NAME, "rootfs", DELTA, WORK, super::OWN, GENERATIONS];

/// Returns what becomes of the sidecars of a container by their names, where its role makes others now: those that
/// nobody has changed in the container are the role's.
pub(super) fn changes(
    (store, entry): (&Store, &Entry),
    names: &Names,
    (staged, container): (&Path, &Path),
    interrupt: Interrupt<'_>,
) -> io::Result<Vec<PathChange>> {
    let old = match files::open_real_directory(&store.sidecar(entry.id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Tree::new(),
        opened => {
            let top = opened?;
            let items = view::list(top.as_fd(), Baseline::Nothing, interrupt)?;
            named(items, &entry.sidecar_places, names, (top.as_fd(), Marks::Plain))?
        }
    };
    let made = names_of(staged)?;
    let known: BTreeSet<Vec<u8>> = old
        .keys()
        .filter(|path| !path.is_empty() && !path.contains(&b'/'))
        .cloned()
        .chain(made.iter().map(|name| name.as_bytes().to_vec()))
        .collect();
    let look = |directory: &Path| -> io::Result<Tree> {
        let top = files::open_real_directory(directory)?;
        let mut tree = Tree::new();
        known.iter().try_for_each(|name| list(top.as_fd(), name, &mut tree, interrupt))?;
        Ok(tree)
    };
    let (new, own) = (look(staged)?, look(container)?);
    Ok(decided(known, Trees { old: &old, new: &new, own: &own }))
}

/// Returns which of some names become those of the role.
fn decided(names: BTreeSet<Vec<u8>>, trees: Trees<'_>) -> Vec<PathChange> {
    let mut changes = Vec::new();
    for path in names {
        let [old, new, own] = [trees.old, trees.new, trees.own].map(|tree| {
            let within = tree.iter().filter(|(other, _)| is_within(other, &path));
            within
                .map(|(path, item)| (path, (&item.what, item.mode, item.owner)))
                .collect::<Vec<_>>()
        });
        if new != old && new != own && own == old {
            changes.push(PathChange { was: !own.is_empty(), is: !new.is_empty(), path });
        }
    }
    changes
}

/// Adds what is of a name to a tree.
fn list(
    top: BorrowedFd<'_>,
    name: &[u8],
    tree: &mut Tree,
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    let text = CString::new(name)?;
    let item = match ListedFile::read(top, &text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?.item(),
    };
    if item.is_directory() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(top, &text, flags, Mode::empty())?;
        for (path, item) in view::list(opened.as_fd(), Baseline::Nothing, interrupt)? {
            if !path.is_empty() {
                tree.insert([name, b"/", &path].concat(), item);
            }
        }
    }
    tree.insert(name.to_vec(), item);
    Ok(())
}

/// Returns the names of the sidecars in the directory where a container was made.
fn names_of(staged: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(staged)? {
        let name = entry?.file_name();
        if OTHERS.iter().all(|other| name != *other) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Leaves those of what was made that take the place of the container's, where the switch finds them.
pub(super) fn lay_out(staged: &Path, changes: &[PathChange]) -> io::Result<()> {
    let name = |change: &PathChange| OsString::from_vec(change.path.clone());
    let come: Vec<_> = changes.iter().filter(|change| change.is).map(name).collect();
    let directory = files::open_directory(staged)?;
    for name in names_of(staged)?.iter().filter(|name| !come.contains(name)) {
        tree::remove(directory.as_fd(), name)?;
    }
    sidecar::come(staged, &come)?;
    let gone = changes.iter().filter(|change| !change.is);
    gone.map(|change| OsStr::from_bytes(&change.path))
        .try_for_each(|name| sidecar::goes(staged, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::{Item, What};

    #[test]
    fn what_nobody_has_changed_in_the_container_is_the_role_s() {
        let tree = |words: &str| -> Tree {
            let files = words.split_whitespace().map(|word| {
                let (path, text) = word.split_once('=').unwrap();
                let what = What::File(1, crate::digest::Digest::of(text.as_bytes()));
                let item = Item { what, mode: 0o644, owner: (0, 0), xattrs: None, names: None };
                (path.as_bytes().to_vec(), item)
            });
            files.collect()
        };
        for (old, new, own, expected) in [
            ("hook=1", "hook=2", "hook=1", Some((true, true))),
            ("hook=1", "hook=2", "hook=own", None),
            ("hook=1", "hook=2", "hook=2", None),
            ("hook=1", "hook=2", "", None),
            ("hook=1", "hook=1", "hook=own", None),
            ("hook=1", "", "hook=1", Some((true, false))),
            ("hook=1", "", "hook=own", None),
            ("", "hook=1", "", Some((false, true))),
            ("", "hook=1", "hook=own", None),
            ("hook/a=1", "hook/a=1 hook/b=2", "hook/a=1", Some((true, true))),
            ("hook/a=1", "hook/a=1 hook/b=2", "hook/a=1 hook/c=own", None),
        ] {
            let (old, new, own) = (tree(old), tree(new), tree(own));
            let trees = Trees { old: &old, new: &new, own: &own };
            let found = decided(BTreeSet::from([b"hook".to_vec()]), trees);
            let found: Vec<_> = found.iter().map(|change| (change.was, change.is)).collect();
            assert_eq!(found, Vec::from_iter(expected), "{trees:?}");
        }
    }
}
