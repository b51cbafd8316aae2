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
use crate::merge::{Item, Side, Tree, is_within};
use crate::record;
use crate::store::{Entry, GENERATIONS, Store};
use crate::tree::{self, Interrupt, ListedFile, Marks};

/// What is no sidecar in the directory where a container is made, besides the tree that its config names.
const OTHERS: [&str; 5] = [CONFIG_NAME, record::NAME, "rootfs", super::OWN, GENERATIONS];

/// What is none besides where an overlay is made.
const OF_OVERLAY: [&str; 2] = [DELTA, WORK];

/// The sidecars of a container and of its role, by their names and what is below those.
#[derive(Debug, Default)]
pub(super) struct Sidecars {
    names: BTreeSet<Vec<u8>>,
    /// What the role had made, as far as it is stored.
    old: Tree,
    /// What it makes now.
    new: Tree,
    /// What the container has of those.
    own: Tree,
}

/// What becomes of the sidecars of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    /// Those that become the role's.
    pub(super) changes: Vec<PathChange>,
    /// Those that both have otherwise, of which nobody has said whose holds.
    pub(super) conflicts: Vec<Vec<u8>>,
}

impl Sidecars {
    /// Looks at those of a container whose next generation was made in a directory.
    pub(super) fn look(
        (store, entry): (&Store, &Entry),
        names: &Names,
        (staged, container): (&Path, &Path),
        is_overlay: bool,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        let old = match files::open_real_directory(&store.sidecar(entry.id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Tree::new(),
            opened => {
                let top = opened?;
                let items = view::list(top.as_fd(), interrupt)?.items(|_| true);
                named(items, &entry.sidecar_places, names, (top.as_fd(), Marks::Plain))?
            }
        };
        let made = names_of(staged, is_overlay)?;
        let names: BTreeSet<Vec<u8>> = old
            .keys()
            .filter(|path| !path.is_empty() && !path.contains(&b'/'))
            .cloned()
            .chain(made.iter().map(|name| name.as_bytes().to_vec()))
            .collect();
        let look = |directory: &Path| -> io::Result<Tree> {
            let top = files::open_real_directory(directory)?;
            let mut tree = Tree::new();
            names.iter().try_for_each(|name| list(top.as_fd(), name, &mut tree, interrupt))?;
            Ok(tree)
        };
        let (new, own) = (look(staged)?, look(container)?);
        Ok(Self { names, old, new, own })
    }

    /// Whether the role had, or has, one of this name.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.names.contains(name)
    }

    /// Returns what the role had made of a name, what it makes now, and what the container has.
    pub(super) fn items(&self, name: &[u8]) -> [Option<Item>; 3] {
        [&self.old, &self.new, &self.own].map(|tree| tree.get(name).cloned())
    }

    /// Returns what becomes of them: those that nobody has changed in the container are the role's.
    pub(super) fn decided(&self, prefers: impl Fn(&[u8]) -> Option<Side>) -> Decided {
        let mut decided = Decided::default();
        for path in &self.names {
            let [old, new, own] = [&self.old, &self.new, &self.own].map(|tree| {
                let within = tree.iter().filter(|(other, _)| is_within(other, path));
                within
                    .map(|(path, item)| (path, (&item.what, item.mode, item.owner)))
                    .collect::<Vec<_>>()
            });
            if new == old || new == own {
                continue;
            }
            let side = if own == old { Some(Side::New) } else { prefers(path) };
            let (was, is) = (!own.is_empty(), !new.is_empty());
            match side {
                Some(Side::New) => decided.changes.push(PathChange { path: path.clone(), was, is }),
                Some(Side::Own) => {}
                None => decided.conflicts.push(path.clone()),
            }
        }
        decided
    }
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
        for (path, item) in view::list(opened.as_fd(), interrupt)?.items(|_| true) {
            if !path.is_empty() {
                tree.insert([name, b"/", &path].concat(), item);
            }
        }
    }
    tree.insert(name.to_vec(), item);
    Ok(())
}

/// Returns the names of the sidecars in the directory where a container was made.
fn names_of(staged: &Path, is_overlay: bool) -> io::Result<Vec<OsString>> {
    let of_overlay = OF_OVERLAY.into_iter().filter(|_| is_overlay);
    let others: Vec<_> = OTHERS.into_iter().chain(of_overlay).collect();
    let mut names = Vec::new();
    for entry in fs::read_dir(staged)? {
        let name = entry?.file_name();
        if others.iter().all(|other| name != *other) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Leaves those of what was made that take the place of the container's, where the switch finds them.
pub(super) fn lay_out(staged: &Path, changes: &[PathChange], is_overlay: bool) -> io::Result<()> {
    let name = |change: &PathChange| OsString::from_vec(change.path.clone());
    let come: Vec<_> = changes.iter().filter(|change| change.is).map(name).collect();
    let directory = files::open_directory(staged)?;
    for name in names_of(staged, is_overlay)?.iter().filter(|name| !come.contains(name)) {
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
    use crate::merge::What;

    const BOTH: &str = "both";

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
            ("hook=1", "hook=2", "hook=1", "changed"),
            ("hook=1", "hook=2", "hook=own", BOTH),
            ("hook=1", "hook=2", "hook=2", ""),
            ("hook=1", "hook=2", "", BOTH),
            ("hook=1", "hook=1", "hook=own", ""),
            ("hook=1", "", "hook=1", "removed"),
            ("hook=1", "", "hook=own", BOTH),
            ("hook=1", "", "", ""),
            ("", "hook=1", "", "added"),
            ("", "hook=1", "hook=own", BOTH),
            ("", "hook=1", "hook=1", ""),
            ("hook/a=1", "hook/a=1 hook/b=2", "hook/a=1", "changed"),
            ("hook/a=1", "hook/a=1 hook/b=2", "hook/a=1 hook/c=own", BOTH),
        ] {
            let names = BTreeSet::from([b"hook".to_vec()]);
            let sidecars = Sidecars { names, old: tree(old), new: tree(new), own: tree(own) };
            let told = |decided: Decided| match (&decided.changes[..], decided.conflicts.len()) {
                ([], 0) => "",
                ([], 1) => BOTH,
                ([PathChange { was: true, is: true, .. }], 0) => "changed",
                ([PathChange { was: true, is: false, .. }], 0) => "removed",
                ([PathChange { was: false, is: true, .. }], 0) => "added",
                _ => panic!("{decided:?}"),
            };
            assert_eq!(told(sidecars.decided(|_| None)), expected, "{sidecars:?}");
            let kept = told(sidecars.decided(|_| Some(Side::Own)));
            assert_eq!(kept, if expected == BOTH { "" } else { expected }, "{sidecars:?}");
            let taken = told(sidecars.decided(|_| Some(Side::New)));
            assert_ne!(taken, BOTH, "{sidecars:?}");
            assert_eq!(taken.is_empty(), expected.is_empty(), "{sidecars:?}");
        }
    }
}
