//! Removes from the store what nobody needs. It waits for no run, and no run waits for it: what a run uses
//! is pinned, and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::entry::{Entry, LARGEST_NAME};
use super::gc_roots::GcRoot;
use super::layout::{Store, listed, now, open};
use super::pin::Claim;
use super::referrers::Referrers;
use super::refused;
use super::retention::{Known, Retention};
use super::role::Role;
use super::work;
use super::write::{sync_directory, unless_locked};
use crate::host::fault::is_shortage;
use crate::host::files;
use crate::plan::EntryId;
use crate::tree;

/// What can be removed.
#[derive(Debug)]
pub(crate) struct Garbage {
    /// The entries, the oldest first.
    pub entries: Vec<EntryId>,
    /// Links to containers that are gone, and may have been moved, which keep entries that nothing else
    /// would.
    pub quarantined: Vec<GcRoot>,
    /// Whether what runs can find out anew is forgotten too.
    keeps_nothing: bool,
}

/// What was removed.
#[derive(Debug, Default)]
pub(crate) struct Cleaned {
    /// The entries.
    pub entries: Vec<EntryId>,
    /// The bytes of disk that are free now.
    pub bytes: u64,
    /// How many places of killed runs there were.
    pub rubbish: usize,
    /// The bytes of downloads that broke off.
    pub downloads: u64,
    /// The entries that runs use just now.
    pub in_use: Vec<EntryId>,
    /// What could not be removed, and why.
    pub stuck: Vec<io::Error>,
}

impl Garbage {
    /// Finds it: what no container uses, and what is not kept for what is to come.
    pub(crate) fn find(store: &Store, users: &Referrers, retention: Retention) -> io::Result<Self> {
        let mut all = BTreeMap::new();
        let ids = store.entries()?;
        for id in &ids {
            let entry = Entry::read(store, *id);
            let is_usable = entry.as_ref().map_or_else(is_shortage, |_| true);
            let made_at = entry.as_ref().map_or(id.generation, |entry| entry.made_at);
            let parent = entry.ok().and_then(|entry| entry.parent);
            all.insert(*id, Known { parent, made_at, is_usable });
        }
        let mut roles = Vec::new();
        for file in listed(&store.roles())? {
            roles.extend(Role::read(&file.path()).filter(Role::is_known));
        }
        let stay = |used: &dyn Fn(EntryId) -> bool| retention.stay(&all, used, &roles);
        let (kept, with_missed) = (stay(&|id| users.uses(id)), stay(&|id| users.needs(id)));
        let mut quarantined = users.missed.clone();
        quarantined.retain(|root| root.map == store.map() && all.contains_key(&root.entry));
        quarantined.retain(|root| !kept.contains(&root.entry));
        let entries = ids.into_iter().filter(|id| !with_missed.contains(id)).collect();
        Ok(Self { entries, quarantined, keeps_nothing: retention.keep == 0 })
    }
}

/// Removes garbage, and what killed runs have left. What cannot be removed keeps nothing else from going.
/// `wait` says that a run is waited for.
pub(crate) fn clean(
    store: &Store,
    users: &Referrers,
    garbage: &Garbage,
    wait: &dyn Fn(),
) -> io::Result<Cleaned> {
    note(store, users)?;
    let mut cleaned = Cleaned { rubbish: work::sweep(store, wait)?, ..Cleaned::default() };
    let mut tried = BTreeSet::new();
    for id in &garbage.entries {
        tried.insert(id.to_string());
        match remove(store, *id, users) {
            Ok(Removed::Gone { bytes }) => {
                cleaned.bytes += bytes;
                cleaned.entries.push(*id);
            }
            Ok(Removed::InUse) => cleaned.in_use.push(*id),
            Err(error) => cleaned.stuck.push(error),
        }
    }
    // Of a run that was killed before it wrote the document, there are a tree and a list alone.
    for directory in [store.trees(), store.lists()] {
        for file in listed(&directory)? {
            let name = file.file_name();
            if name.to_str().is_some_and(|name| tried.contains(name)) {
                continue;
            }
            match discard_unfinished(store, users, &directory, &name) {
                Ok(true) if directory == store.trees() => cleaned.rubbish += 1,
                Ok(_) => {}
                Err(error) => cleaned.stuck.push(error),
            }
        }
    }
    // A run may make an entry at any moment: what names one is listed before it is asked for, and was written after it.
    let is_there = |id: EntryId| store.has_document(id).unwrap_or(true);
    let foreign = |file: &fs::DirEntry| entry_named(&file.file_name()).is_none();
    discard(&store.documents(), foreign, &mut cleaned.stuck);
    let outdated = |file: &fs::DirEntry| {
        let text = files::read_regular(&file.path(), LARGEST_NAME).unwrap_or_default();
        let id = str::from_utf8(&text).ok().and_then(|text| EntryId::parse(text.trim()));
        !id.is_some_and(is_there)
    };
    discard(&store.latest_dir(), outdated, &mut cleaned.stuck);
    let forgotten = |file: &fs::DirEntry| {
        !Role::read(&file.path()).is_some_and(|role| {
            let mut entries = role.entries.iter().chain(&role.unfinished);
            role.is_known() && entries.any(|id| is_there(*id))
        })
    };
    discard(&store.roles(), forgotten, &mut cleaned.stuck);
    // Who waits for a lock whose file is gone takes the next one.
    discard(&store.locks(), |_| true, &mut cleaned.stuck);
    let before = store.broken_downloads()?;
    // Documents first: a blob that none names is needed by nobody.
    let is_gone = |file: &fs::DirEntry| {
        let name = file.file_name();
        let entry = name.to_str().and_then(Store::entry_of_blob);
        entry.is_some_and(|entry| !is_there(entry))
    };
    discard(&store.blobs(), is_gone, &mut cleaned.stuck);
    let blobs = listed(&store.blobs())?;
    match store.named_blobs() {
        Ok(named) => {
            let is_rubbish = |file: &fs::DirEntry| {
                let name = file.file_name();
                name.to_str().is_none_or(|name| {
                    Store::entry_of_blob(name).is_none() && !named.iter().any(|blob| blob == name)
                })
            };
            discard_listed(&store.blobs(), blobs, is_rubbish, &mut cleaned.stuck);
        }
        Err(error) => cleaned.stuck.push(error),
    }
    cleaned.downloads = before.saturating_sub(store.broken_downloads()?);
    let now = now();
    let is_old = |file: &fs::DirEntry| garbage.keeps_nothing || refused::is_old(&file.path(), now);
    discard(&store.refused(), is_old, &mut cleaned.stuck);
    // What is still there is read once more.
    discard(&store.readings(), |_| true, &mut cleaned.stuck);
    Ok(cleaned)
}

/// What has become of an entry that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// It is not there any more.
    Gone {
        /// How many bytes of disk are free by that.
        bytes: u64,
    },
    /// A run uses it, or a container came to stand on it meanwhile.
    InUse,
}

/// Removes an entry that none of the `users` needs. Its document goes first: from then on it is absent.
pub(crate) fn remove(store: &Store, id: EntryId, users: &Referrers) -> io::Result<Removed> {
    let Some(_claim) = claim(store, id)? else { return Ok(Removed::InUse) };
    // A run notes its container while it has a pin: none comes from here on.
    if GcRoot::is_noted(store, id, &users.links)? {
        return Ok(Removed::InUse);
    }
    // One that was not found may just have become what it was noted for.
    for root in users.forgotten.iter().filter(|root| root.entry == id) {
        if root.holds()? {
            return Ok(Removed::InUse);
        }
    }
    let name = id.to_string();
    take(&store.documents(), name.as_ref())?;
    sync_directory(&store.documents())?;
    // From here on nobody waits for it.
    let tree = store.rootfs(id);
    let usage = open(&tree).and_then(|tree| tree::usage(tree.as_fd())).unwrap_or_default();
    for root in users.forgotten.iter().filter(|root| root.entry == id) {
        gone(fs::remove_file(&root.link))?;
    }
    take(&store.lists(), name.as_ref())?;
    take(&store.trees(), name.as_ref())?;
    Ok(Removed::Gone { bytes: usage.alone })
}

fn claim(store: &Store, id: EntryId) -> io::Result<Option<Claim>> {
    store.claim(id).map_err(|error| {
        let tree = store.trees().join(id.to_string());
        io::Error::new(error.kind(), format!("`{}`: {error}", tree.display()))
    })
}

/// Removes what there is of an entry without a document, unless somebody just makes it. Tells whether it did.
fn discard_unfinished(
    store: &Store,
    users: &Referrers,
    directory: &Path,
    name: &OsStr,
) -> io::Result<bool> {
    let Some(id) = entry_named(name) else {
        let taken = unless_locked(&directory.join(name), || take(directory, name));
        return taken.transpose().map(|taken| taken.is_some());
    };
    // A claim on what is whole would be in the way of those who use it.
    let is_kept = || Ok::<_, io::Error>(store.has_document(id)? || users.needs(id));
    if is_kept()? {
        return Ok(false);
    }
    let Some(_claim) = claim(store, id)? else { return Ok(false) };
    if is_kept()? {
        return Ok(false);
    }
    take(directory, name)?;
    Ok(true)
}

/// Notes who stands on what and who is missed, as far as the disk has place for that.
fn note(store: &Store, users: &Referrers) -> io::Result<()> {
    let now = now();
    let own = |root: &&GcRoot| root.map == store.map();
    let all = store.entries()?;
    let noted = || -> io::Result<()> {
        // A container that was found without a link may not be found when what led to it is forgotten.
        for (id, configs) in users.of.iter().filter(|(id, _)| all.contains(id)) {
            for config in configs.iter().filter(|config| !config.starts_with("/proc")) {
                // One that is gone by now is no user the next time.
                if !users.noted.contains(&(*id, config.clone())) {
                    gone(GcRoot::note(store, *id, config))?;
                }
            }
        }
        users.missed.iter().filter(own).try_for_each(|root| gone(root.miss(now)))?;
        users.found_again.iter().filter(own).try_for_each(|root| gone(root.find_again()))
    };
    match noted() {
        // Space is what somebody cleans for.
        Err(error) if files::is_full(&error) => return Ok(()),
        noted => noted?,
    }
    users.stale.iter().filter(own).try_for_each(|root| gone(fs::remove_file(&root.link)))
}

/// Removes what is of a name in a directory, whatever it is.
fn take(directory: &Path, name: &OsStr) -> io::Result<()> {
    let removed = open(directory).and_then(|opened| tree::remove(opened.as_fd(), name));
    gone(removed).map_err(|error| {
        let path = directory.join(name);
        io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
    })
}

/// Removes some of what is in a directory, as far as it can be removed, but nothing that somebody writes or
/// has locked.
fn discard(directory: &Path, wanted: impl Fn(&fs::DirEntry) -> bool, stuck: &mut Vec<io::Error>) {
    match listed(directory) {
        Ok(entries) => discard_listed(directory, entries, wanted, stuck),
        Err(error) => stuck.push(error),
    }
}

fn discard_listed(
    directory: &Path,
    entries: Vec<fs::DirEntry>,
    wanted: impl Fn(&fs::DirEntry) -> bool,
    stuck: &mut Vec<io::Error>,
) {
    let remove = |entry: fs::DirEntry| {
        unless_locked(&entry.path(), || take(directory, &entry.file_name()))?.err()
    };
    stuck.extend(entries.into_iter().filter(wanted).filter_map(remove));
}

/// Returns the entry that a file or directory of this name is of.
fn entry_named(name: &OsStr) -> Option<EntryId> {
    name.to_str().and_then(EntryId::parse)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Counts containers that are gone or cannot be reached for nothing, unless what they stood on is in use all the
/// same. Their links go with the entries.
pub(crate) fn forget(store: &Store, users: &mut Referrers) {
    let of = &users.of;
    let is_forgotten = |root: &mut GcRoot| root.map == store.map() && !of.contains_key(&root.entry);
    let unreachable = users.unreachable.extract_if(.., is_forgotten);
    let forgotten: Vec<_> = unreachable.chain(users.missed.extract_if(.., is_forgotten)).collect();
    users.forgotten.extend(forgotten);
}
