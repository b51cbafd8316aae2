//! Removes from the store what nobody stands on.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::entry::{Entry, LARGEST_NAME};
use super::gc_roots::GcRoot;
use super::layout::{Store, open};
use super::referrers::Referrers;
use super::work;
use super::write::sync_directory;
use crate::host::files;
use crate::plan::EntryId;
use crate::tree;

/// What was removed.
#[derive(Debug, Default)]
pub(crate) struct Cleaned {
    /// The entries.
    pub entries: Vec<EntryId>,
    /// The bytes of disk that are free now.
    pub bytes: u64,
    /// How many places of killed runs there were.
    pub rubbish: usize,
    /// What could not be removed, and why.
    pub stuck: Vec<io::Error>,
}

/// Removes what nobody stands on, and what nothing needs that somebody stands on. What cannot be removed
/// keeps nothing else from going. The caller has had the store's lock for itself since before the users
/// were found.
pub(crate) fn clean(store: &Store, users: &Referrers) -> io::Result<Cleaned> {
    let all = store.entries()?;
    // A container that was found without a link may not be found when what led to it is forgotten.
    if note(store, users, &all)? {
        let of_map = |root: &&GcRoot| root.map == store.map();
        for root in users.stale.iter().filter(of_map) {
            gone(fs::remove_file(&root.link))?;
        }
    }
    let mut needed: BTreeSet<EntryId> = BTreeSet::new();
    for id in all.iter().filter(|id| users.needs(**id)) {
        // The key of an entry names what it stands on: without that it would never be found again.
        let mut next = Some(*id);
        while let Some(id) = next.filter(|id| needed.insert(*id)) {
            next = Entry::read(store, id).ok().and_then(|entry| entry.parent);
        }
    }
    let mut cleaned = Cleaned { rubbish: work::sweep(store)?, ..Cleaned::default() };
    let mut tried = BTreeSet::new();
    for id in all.into_iter().filter(|id| !needed.contains(id)) {
        tried.insert(id.to_string());
        match remove(store, id) {
            Ok(bytes) => {
                cleaned.bytes += bytes;
                cleaned.entries.push(id);
            }
            Err(error) => cleaned.stuck.push(error),
        }
    }
    // Of a run that was killed before it wrote the document, there is a tree alone.
    let known: BTreeSet<String> = store.entries()?.iter().map(ToString::to_string).collect();
    for entry in listed(&store.trees())? {
        let name = entry.file_name();
        let kept = name.to_str().is_some_and(|name| {
            known.contains(name)
                || tried.contains(name)
                || EntryId::parse(name).is_some_and(|id| users.needs(id))
        });
        if !kept {
            match take(&store.trees(), &name) {
                Ok(()) => cleaned.rubbish += 1,
                Err(error) => cleaned.stuck.push(error),
            }
        }
    }
    let is_known = |text: &str| known.contains(text.trim());
    // Where a write was cut short, there is a file by a name that nobody reads.
    for directory in [store.lists(), store.documents()] {
        let unknown = |entry: &fs::DirEntry| !entry.file_name().to_str().is_some_and(is_known);
        discard(&directory, unknown, &mut cleaned.stuck);
    }
    let unknown = |entry: &fs::DirEntry| {
        !files::read_regular(&entry.path(), LARGEST_NAME)
            .is_ok_and(|text| str::from_utf8(&text).is_ok_and(is_known))
    };
    discard(&store.latest_dir(), unknown, &mut cleaned.stuck);
    // Nobody waits for any: every run has the store's lock before it takes one.
    discard(&store.locks(), |_| true, &mut cleaned.stuck);
    // What was refused is built, and judged, once more.
    discard(&store.refused(), |_| true, &mut cleaned.stuck);
    // What is still there is read once more.
    discard(&store.readings(), |_| true, &mut cleaned.stuck);
    Ok(cleaned)
}

/// Removes an entry, and returns how many bytes of disk are free by that. Its document goes first:
/// from then on it is absent.
pub(crate) fn remove(store: &Store, id: EntryId) -> io::Result<u64> {
    let tree = store.rootfs(id);
    let usage = open(&tree).and_then(|tree| tree::usage(tree.as_fd())).unwrap_or_default();
    let name = id.to_string();
    take(&store.documents(), name.as_ref())?;
    sync_directory(&store.documents())?;
    take(&store.lists(), name.as_ref())?;
    take(&store.trees(), name.as_ref())?;
    Ok(usage.alone)
}

/// Notes who stands on what; false, where the disk has no place for that.
fn note(store: &Store, users: &Referrers, all: &[EntryId]) -> io::Result<bool> {
    for (id, configs) in users.of.iter().filter(|(id, _)| all.contains(id)) {
        for config in configs.iter().filter(|config| !config.starts_with("/proc")) {
            match GcRoot::note(store, *id, config) {
                // Space is what somebody cleans for.
                Err(error) if files::is_full(&error) => return Ok(false),
                // One that is gone by now is no user the next time.
                noted => gone(noted)?,
            }
        }
    }
    Ok(true)
}

/// Removes what is of a name in a directory, whatever it is.
fn take(directory: &Path, name: &OsStr) -> io::Result<()> {
    let removed = open(directory).and_then(|opened| tree::remove(opened.as_fd(), name));
    gone(removed).map_err(|error| {
        let path = directory.join(name);
        io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
    })
}

fn listed(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed?.collect(),
    }
}

/// Removes some of what is in a directory, as far as it can be removed.
fn discard(directory: &Path, wanted: impl Fn(&fs::DirEntry) -> bool, stuck: &mut Vec<io::Error>) {
    match listed(directory) {
        Ok(entries) => {
            let unwanted = entries.into_iter().filter(wanted).map(|entry| entry.file_name());
            stuck.extend(unwanted.filter_map(|name| take(directory, &name).err()));
        }
        Err(error) => stuck.push(error),
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the links to containers that cannot be reached, so that what they stand on can go.
pub(crate) fn forget(store: &Store, users: &mut Referrers) -> io::Result<()> {
    let (own, others) = users.unreachable.drain(..).partition(|root| root.map == store.map());
    users.unreachable = others;
    let own: Vec<GcRoot> = own;
    own.iter().try_for_each(|root| gone(fs::remove_file(&root.link)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn what_a_container_stood_on_that_is_gone_by_now_stays_until_the_next_time() {
        let top = tempfile::tempdir().unwrap();
        let store = Store::new(&top.path().join("store"), "host");
        store.make(None).unwrap();
        let id = EntryId { key: Digest::of(b"x"), generation: 7 };
        fs::write(store.document(id), "{}").unwrap();
        let mut users = Referrers::default();
        users.of.entry(id).or_default().insert(top.path().join("lxc/c/config"));
        assert_eq!(clean(&store, &users).unwrap().entries, []);
        assert_eq!(store.entries().unwrap(), [id]);
    }
}
