//! Makes an entry of the store of a layer that was made.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::build::{Basis, Build};
use super::entry::{Entry, Made};
use super::flush::Flush;
use super::layout::{form, now, open, stored_marks};
use super::pin::Pin;
use super::portable::Portable;
use super::scrub::{is_identity, scrub};
use super::write::write_whole;
use crate::cache::{IdentityKeys, KeyInputs, Provenance};
use crate::digest::Digest;
use crate::host::files;
use crate::host::rootfs::Rootfs;
use crate::lxc::{self, given};
use crate::plan::EntryId;
use crate::record;
use crate::tree::{
    self, Baseline, Changes, Interrupt, Listed, Listing, Marks, Occurrence, OccurrenceKind, Search,
    Stamps,
};

/// The longest path that is written to, in bytes, and one more: with a slash in front and a NUL behind
/// the kernel takes no more.
const LONGEST_PATH: usize = 4095;

/// The largest record that is read, in bytes.
const LARGEST_RECORD: usize = 64 * 1024 * 1024;

/// What is to be known of an entry besides its tree.
#[derive(Debug)]
pub(crate) struct About<'a> {
    /// What made it.
    pub made: Made,
    /// What defines it.
    pub document: KeyInputs,
    /// What its layer lists as identity.
    pub identity: &'a [&'a Path],
    /// What its layer drops itself: none of it is taken for an identity that came by itself.
    pub kept: &'a [&'a Path],
    /// What its layer removes: no key of that is made anew, and nobody's drop of it counts any more.
    pub removed: &'a [&'a Path],
    /// The name that stands for the container's.
    pub placeholder: &'a str,
    /// Whether it is stored even where that name stands in a form that cannot be replaced.
    pub keeps_name: bool,
    /// What another host tells of it, and whence that came, where it was made there.
    pub pulled: Option<(&'a Portable, Provenance)>,
}

/// What became of a layer that was built.
#[derive(Debug)]
pub(crate) enum Committed {
    /// It is stored.
    Stored(Box<Entry>, Pin),
    /// It is not: these files hold the container's name in a form that cannot be replaced.
    NameLeft(Vec<String>),
}

/// The rootfs that a layer has left, without what makes a container itself.
struct Tree {
    list: List,
    /// What came of what makes a container itself, and stays.
    kept: Vec<PathBuf>,
    /// The keys that were taken out.
    keys: IdentityKeys,
    /// What brings it to the disk.
    flush: Flush,
}

/// What a rootfs holds.
struct List {
    listing: Listing,
    /// Where the placeholder stands.
    places: Vec<Occurrence>,
    /// What is not as it is in the parent, where there is one.
    changes: Option<Changes>,
}

impl List {
    /// Takes out the places at which no name can be put into the placeholder's, and returns those that
    /// are this layer's doing.
    fn take_fixed(&mut self, search: &Search) -> Vec<Vec<u8>> {
        let changed =
            |path: &[u8]| self.changes.as_ref().is_none_or(|changes| changes.contains(path));
        let mut fixed: Vec<Vec<u8>> =
            self.listing.paths().filter(|path| search.is_in(last_name(path))).collect();
        fixed.extend(take_lost(&mut self.places));
        fixed.retain(|path| changed(path));
        fixed
    }
}

/// Returns the generation of what is newer than another: the clock may have been put back. Nothing is newer than the
/// last one that there can be, which only a damaged name has.
fn after(newest: Option<EntryId>, now: u64) -> u64 {
    newest.and_then(|newest| newest.generation.checked_add(1)).unwrap_or_default().max(now)
}

impl Build {
    /// Makes what was done here an entry of the store.
    ///
    /// # Errors
    ///
    /// Also when interrupted.
    pub(crate) fn commit(
        mut self,
        about: About<'_>,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Committed> {
        if let Some(hidden) = self.hidden.take() {
            let mark = self.directory.file_name().unwrap_or_default();
            hidden.reveal(about.placeholder, mark.as_bytes())?;
        }
        let made = self.directory.join("entry");
        DirBuilder::new().mode(0o755).create(&made)?;
        let rootfs = made.join("rootfs");
        let Tree { mut list, kept, keys, flush } = self.tree(&rootfs, &about, interrupt)?;
        let search = Search::new(about.placeholder)?;
        let fixed = list.take_fixed(&search);
        let mut written = Vec::new();
        list.listing.write(&mut written)?;
        let parent = self.parent.as_ref();
        let id = match &about.pulled {
            Some((portable, _)) => portable.entry,
            None => self.new_id(about.document.key())?,
        };
        let mut entry = Entry::new(id, parent.map(|parent| parent.id), about.made, about.document);
        entry.lxcpaths = parent.map(|parent| parent.lxcpaths.clone()).unwrap_or_default();
        if !entry.lxcpaths.contains(&self.lxcpath) {
            entry.lxcpaths.push(self.lxcpath.clone());
        }
        entry.places = list.places;
        entry.fixed = fixed;
        entry.kept = kept;
        entry.keys = self.inherited_keys(&rootfs)?;
        entry.keys.leave_out(about.removed);
        entry.keys.add(keys);
        entry.keys.leave_out(&entry.kept);
        match about.pulled {
            Some((portable, origin)) => entry.take_pulled(portable, origin),
            None => {
                let unclear = || io::Error::other("its config does not show what was given to it");
                entry.config = self.config()?.ok_or_else(unclear)?;
                entry.record = self.record(parent);
            }
        }
        let tree = Rootfs::open(&rootfs)?;
        entry.makers = entry.keys.makers(|path| has(&tree, path));
        let is_new = parent.is_none_or(|parent| parent.config != entry.config);
        if is_new && entry.config.written().any(|text| search.is_taken_apart_in(text)) {
            entry.fixed.push(b"../config".to_vec());
        }
        entry.whiteout = list.listing.first_whiteout();
        let text = entry.record.as_ref().map(serde_json::to_vec).transpose()?;
        if text.is_some_and(|text| search.is_taken_apart_in(&text)) {
            entry.fixed.push([b"../", record::NAME.as_bytes()].concat());
        }
        entry.listing = Digest::of(&written);
        self.sidecar(&made)?;
        if let Some((digest, mut places)) = list_sidecar(&made.join("beside"), &search, interrupt)?
        {
            let lost = take_lost(&mut places);
            entry.fixed.extend(lost.iter().map(|path| [b"../", &path[..]].concat()));
            (entry.sidecar, entry.sidecar_places) = (Some(digest), places);
        }
        if !entry.fixed.is_empty() && !about.keeps_name {
            let files: Vec<_> = entry.fixed.iter().map(|path| shown(path)).collect();
            return Ok(Committed::NameLeft(files));
        }
        let pin = self.publish(&made, &entry, &written, flush)?;
        Ok(Committed::Stored(Box::new(entry), pin))
    }

    /// Returns the name of a new entry.
    fn new_id(&self, key: Digest) -> io::Result<EntryId> {
        let newest = self.store.entries()?.into_iter().rfind(|id| id.key == key);
        Ok(EntryId { key, generation: after(newest, now()) })
    }

    /// Makes the whole tree, takes out of it what makes a container itself, and lists it.
    fn tree(
        &mut self,
        rootfs: &Path,
        about: &About<'_>,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Tree> {
        let basis = std::mem::replace(&mut self.basis, Basis::New);
        let mut is_private = false;
        let mut stamps = Stamps::default();
        let mut merged = None;
        match basis {
            Basis::Overlay(overlay) => {
                overlay.unmount()?;
                merged = Some(self.merge(rootfs, interrupt)?);
            }
            Basis::Copy { shares_bytes, stamps: of_copy } => {
                take(&self.shown(), "rootfs".as_ref(), rootfs)?;
                (is_private, stamps) = (!shares_bytes, of_copy);
            }
            Basis::New => take(&self.shown(), "rootfs".as_ref(), rootfs)?,
        }
        // It is written while it is read, but what will be linked instead need not be written.
        let early = (!is_private).then(|| Flush::begin(&self.held));
        let mut kept = self.inherited_kept(rootfs, merged.as_ref())?;
        kept.retain(|path| !about.removed.contains(&path.as_path()));
        kept.extend(about.kept.iter().filter(|path| is_identity(path)).map(PathBuf::from));
        // Whoever made it knew what its layers have dropped.
        if let Some((portable, _)) = &about.pulled {
            kept.clone_from(&portable.kept);
        }
        let scrubbed = scrub(rootfs, about.identity, &kept, about.kept)?;
        kept.extend(scrubbed.kept);
        if let Some(changes) = &mut merged {
            scrubbed.emptied.iter().for_each(|path| changes.add(path));
        }
        let search = &Search::new(about.placeholder)?;
        let list = match (&self.parent, merged) {
            (None, _) => Self::list_new(rootfs, search, interrupt)?,
            (Some(parent), Some(changes)) => {
                self.list_merged(parent, rootfs, changes, search, interrupt)?
            }
            (Some(parent), None) => {
                self.list_copied(parent, rootfs, (is_private, &stamps), search, interrupt)?
            }
        };
        let flush = early.unwrap_or_else(|| Flush::begin(&self.held));
        Ok(Tree { list, kept, keys: scrubbed.keys, flush })
    }

    /// Makes the tree that the overlay has shown, and returns what it has changed.
    fn merge(&self, rootfs: &Path, interrupt: Interrupt<'_>) -> io::Result<Changes> {
        DirBuilder::new().mode(0o700).create(rootfs)?;
        let base = self.parent.as_ref().map(|parent| open(&self.store.rootfs(parent.id)));
        let (base, upper) = (base.transpose()?, open(&self.upper())?);
        let base = base.as_ref().map(AsFd::as_fd);
        tree::merge(base, upper.as_fd(), open(rootfs)?.as_fd(), form(), interrupt)
    }

    fn list_new(rootfs: &Path, search: &Search, interrupt: Interrupt<'_>) -> io::Result<List> {
        let tree = open(rootfs)?;
        let Listed { listing, places, marked } =
            Listing::of(tree.as_fd(), Baseline::Nothing, search, Marks::Plain, interrupt)?;
        tree::escape(tree.as_fd(), form(), &marked)?;
        Ok(List { listing, places, changes: None })
    }

    /// Lists what an overlay has shown: what it has not changed is not read.
    fn list_merged(
        &self,
        parent: &Entry,
        rootfs: &Path,
        changes: Changes,
        search: &Search,
        interrupt: Interrupt<'_>,
    ) -> io::Result<List> {
        // Where the parent's is damaged, all is read.
        let before = parent.list(&self.store).ok();
        let known =
            before.as_ref().map_or(Baseline::Nothing, |list| Baseline::Parent(list, &changes));
        let tree = open(rootfs)?;
        let Listed { listing, mut places, .. } =
            Listing::of(tree.as_fd(), known, search, stored_marks(), interrupt)?;
        if before.is_some() {
            places.extend(inherited(&parent.places, &listing, &changes));
        }
        Ok(List { listing, places, changes: Some(changes) })
    }

    /// Lists what became of a copy. If it `is_private`, what is the parent's still is shared with it.
    fn list_copied(
        &self,
        parent: &Entry,
        rootfs: &Path,
        (is_private, stamps): (bool, &Stamps),
        search: &Search,
        interrupt: Interrupt<'_>,
    ) -> io::Result<List> {
        let (base, tree) = (open(&self.store.rootfs(parent.id))?, open(rootfs)?);
        let before = match parent.list(&self.store) {
            Ok(before) => before,
            Err(error) => {
                tracing::debug!(%error, "what the parent holds is read");
                let search = &Search::NOTHING;
                Listing::of(base.as_fd(), Baseline::Nothing, search, stored_marks(), interrupt)?
                    .listing
            }
        };
        let known = Baseline::Copied(&before, stamps);
        let Listed { listing, mut places, marked } =
            Listing::of(tree.as_fd(), known, search, Marks::Plain, interrupt)?;
        let changes = listing.changes(&before);
        places.extend(inherited(&parent.places, &listing, &changes));
        places.sort();
        places.dedup();
        tree::escape(tree.as_fd(), form(), &marked)?;
        if is_private {
            let (base, tree) = ((base.as_fd(), &before), (tree.as_fd(), &listing));
            tree::relink(base, tree, interrupt)?;
        }
        Ok(List { listing, places, changes: Some(changes) })
    }

    /// Returns what layers below have dropped of what makes a container itself, and is still what they
    /// have dropped: what came in its place came by itself. On an overlay the changes tell.
    fn inherited_kept(&self, rootfs: &Path, merged: Option<&Changes>) -> io::Result<Vec<PathBuf>> {
        let Some(parent) = &self.parent else { return Ok(Vec::new()) };
        let mut kept = parent.kept.clone();
        let (tree, below) = (Rootfs::open(rootfs)?, Rootfs::open(&self.store.rootfs(parent.id))?);
        kept.retain(|path| match merged {
            Some(changes) => is_as_it_was(&tree, changes, path),
            None => is_same(&tree, &below, path),
        });
        Ok(kept)
    }

    /// Returns the keys that what is below has had, but for those of an SSH server that is gone.
    fn inherited_keys(&self, rootfs: &Path) -> io::Result<IdentityKeys> {
        let Some(parent) = &self.parent else { return Ok(IdentityKeys::default()) };
        let has_server = |tree: &Path| -> io::Result<bool> {
            let place = Rootfs::open(tree)?.existing_entry(Path::new("/usr/sbin/sshd"))?;
            Ok(place.map(|place| place.look()).transpose()?.flatten().is_some())
        };
        let mut keys = parent.keys.clone();
        if has_server(&self.store.rootfs(parent.id))? && !has_server(rootfs)? {
            keys.ssh.clear();
        }
        Ok(keys)
    }

    /// Reads the config that the layer has left; nothing, where it is not known any more what was given to
    /// it and what it has written.
    ///
    /// # Errors
    ///
    /// Where it cannot be read at all.
    pub(crate) fn config(&self) -> io::Result<Option<given::Config>> {
        let mut text = files::read_regular(&self.shown().join("config"), lxc::config::LARGEST)
            .map_err(|error| io::Error::new(error.kind(), format!("the config: {error}")))?;
        if self.parent.is_none() {
            // What a template makes up is no more a container's own than what LXC makes up.
            let any = |key: &str, _: &str| {
                lxc::config::is_address(key).then(|| lxc::config::ANY_ADDRESS.to_owned())
            };
            text = lxc::config::rewrite(&text, any);
        }
        Ok(given::Config::read(&text, &self.seeming_rootfs()))
    }

    /// Reads the record that the upstream left, where it is this program again.
    fn record(&self, parent: Option<&Entry>) -> Option<serde_json::Value> {
        let path = self.shown().join(record::NAME);
        let own = files::read_regular(&path, LARGEST_RECORD);
        let own = own.ok().and_then(|text| serde_json::from_slice(&text).ok());
        own.or_else(|| parent.and_then(|parent| parent.record.clone()))
    }

    /// Keeps what stands beside rootfs and config: an upstream may have its own files there.
    fn sidecar(&self, made: &Path) -> io::Result<()> {
        let known = ["rootfs", "config", record::NAME];
        let entries: Vec<_> = fs::read_dir(self.shown())?.collect::<Result<_, _>>()?;
        for entry in entries {
            if known.iter().any(|known| entry.file_name() == *known) {
                continue;
            }
            let sidecar = made.join("beside");
            if !sidecar.exists() {
                DirBuilder::new().mode(0o700).create(&sidecar)?;
            }
            take(&self.shown(), &entry.file_name(), &sidecar.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Puts the entry into its place: its tree is on the disk before anybody can find it.
    fn publish(&self, made: &Path, entry: &Entry, list: &[u8], flush: Flush) -> io::Result<Pin> {
        flush.finish()?;
        // Until it has a document, gc would take it for what a killed run has left.
        let pin = Pin::new(open(made)?)?;
        let trees = File::from(open(&self.store.trees())?);
        let name = entry.id.to_string();
        // A run that was killed may have come as far as here.
        tree::remove(trees.as_fd(), name.as_ref())?;
        fs::rename(made, self.store.trees().join(&name))?;
        let told = || -> io::Result<()> {
            trees.sync_all()?;
            write_whole(&self.store.list(entry.id), list)?;
            entry.write(&self.store)
        };
        if let Err(error) = told() {
            // Nobody would find it, and the disk may be full.
            for path in [self.store.document(entry.id), self.store.list(entry.id)] {
                let _ = fs::remove_file(path);
            }
            if let Err(error) = tree::remove(trees.as_fd(), name.as_ref()) {
                tracing::debug!(%error, name, "a tree stays");
            }
            return Err(error);
        }
        if let Err(error) =
            Entry::set_latest(&self.store, entry.id, &entry.made.manifest, &entry.made.slot)
        {
            tracing::debug!(%error, "what misses next cannot be compared with this");
        }
        Ok(pin)
    }
}

/// Takes out the places at which no name can be put into that which was found, and returns their paths.
fn take_lost(places: &mut Vec<Occurrence>) -> Vec<Vec<u8>> {
    let can_be_written = |place: &Occurrence| {
        // No call takes a longer path, so that none can be written to.
        matches!(place.kind, OccurrenceKind::Text | OccurrenceKind::Symlink)
            && place.path.len() < LONGEST_PATH
    };
    let mut lost: Vec<_> = places.extract_if(.., |place| !can_be_written(place)).collect();
    lost.dedup_by(|one, other| one.path == other.path);
    lost.into_iter().map(|place| place.path).collect()
}

/// Shows a path of the rootfs, or of the container's directory.
pub(crate) fn shown(path: &[u8]) -> String {
    match path.strip_prefix(b"../") {
        Some(path) => format!("{} beside the rootfs", String::from_utf8_lossy(path)),
        None => format!("/{}", String::from_utf8_lossy(path)),
    }
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Tells whether there is something at a path of a rootfs.
fn has(rootfs: &Rootfs, path: &str) -> bool {
    let place = rootfs.existing_entry(Path::new(path));
    place.ok().flatten().is_some_and(|place| place.look().is_ok_and(|there| there.is_some()))
}

/// Returns those of the parent's places that are as they were. What the layer has changed is found anew; a
/// path may be gone with what is above it.
fn inherited(places: &[Occurrence], listing: &Listing, changes: &Changes) -> Vec<Occurrence> {
    let there: HashSet<_> = listing.paths().collect();
    let stays = |path: &Vec<u8>| !changes.contains(path.as_slice()) && there.contains(path);
    places.iter().filter(|place| stays(&place.path)).cloned().collect()
}

/// Takes something out of a directory, to another of the same filesystem.
fn take(from: &Path, name: &OsStr, to: &Path) -> io::Result<()> {
    let directory = open(from)?;
    let plain = CString::new(name.as_bytes())?;
    tree::loosened(directory.as_fd(), &plain, || fs::rename(from.join(name), to)).map_err(|error| {
        let name = crate::shell::word(name);
        io::Error::new(error.kind(), format!("{name} in the container's directory: {error}"))
    })
}

/// Tells whether a path of a tree is there, and not one of the changes.
fn is_as_it_was(tree: &Rootfs, changes: &Changes, path: &Path) -> bool {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let place = tree.existing_entry(path).ok().flatten();
    !changes.contains(relative.as_os_str().as_bytes())
        && place.is_some_and(|place| place.look().is_ok_and(|there| there.is_some()))
}

/// Tells whether two trees have the same at a path.
fn is_same(one: &Rootfs, other: &Rootfs, path: &Path) -> bool {
    let read = |tree: &Rootfs| {
        let place = tree.existing_entry(path).ok().flatten()?;
        let name = CString::new(place.name().as_bytes()).ok()?;
        tree::ListedFile::read(place.directory(), &name).ok()
    };
    read(one).zip(read(other)).is_some_and(|(one, other)| one.is_same(&other))
}

/// Returns the digest of what stands beside a rootfs, and what in it holds a name; `None` where there is
/// nothing.
pub(super) fn list_sidecar(
    sidecar: &Path,
    search: &Search,
    interrupt: Interrupt<'_>,
) -> io::Result<Option<(Digest, Vec<Occurrence>)>> {
    let directory = match open(sidecar) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let Listed { listing, mut places, .. } =
        Listing::of(directory.as_fd(), Baseline::Nothing, search, Marks::Plain, interrupt)?;
    let named = listing.paths().filter(|path| search.is_in(last_name(path)));
    places.extend(named.map(|path| Occurrence { path, kind: OccurrenceKind::Part }));
    let mut written = Vec::new();
    listing.write(&mut written)?;
    Ok(Some((Digest::of(&written), places)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_newer_than_all_of_its_key() {
        let id = |generation| Some(EntryId { key: Digest::of(b"a"), generation });
        for (newest, expected) in [(None, 100), (id(7), 100), (id(100), 101), (id(200), 201)] {
            assert_eq!(after(newest, 100), expected);
        }
        assert_eq!(after(id(u64::MAX - 1), 100), u64::MAX);
        assert_eq!(after(id(u64::MAX), 100), 100);
    }
}
