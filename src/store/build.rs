//! Makes an entry: a place where a layer can be made, and what becomes of it.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::ahead;
use super::entry::{Config, Entry, Keys, Made, write_whole};
use super::flush::Flush;
use super::lock::Lock;
use super::place::{Store, now, open, unique};
use super::scrub::{is_identity, scrub};
use super::stage::{Overlay, Veil};
use super::tree::{self, Ahead, Bell, Changes, Form, Known, Listing, Place, PlaceKind};
use crate::digest::Digest;
use crate::host::caller::Caller;
use crate::host::files::{self, Ownership};
use crate::host::rootfs::{Attributes, Rootfs, own};
use crate::lxc;
use crate::plan::{Document, EntryId};
use crate::record;

/// The longest path that is written to, in bytes, and one more: with a slash in front and a NUL behind
/// the kernel takes no more.
const LONGEST_PATH: usize = 4095;

/// The largest record that is read, in bytes.
const LARGEST_RECORD: usize = 64 * 1024 * 1024;

/// Where a layer is made. Dropped, it is removed.
#[derive(Debug)]
pub struct Build {
    store: Store,
    directory: PathBuf,
    /// Held as long as this is no rubbish. The kernel tells whoever opened something on a filesystem
    /// what that could not write since then: what is asked of this one holds for all that is made.
    held: Arc<OwnedFd>,
    parent: Option<Entry>,
    // The veil goes first: what it shows is mounted on the overlay.
    veil: Option<Veil>,
    overlay: Option<Overlay>,
    /// What reads the tree while it is made. On an overlay it stays small.
    reader: Option<ahead::Reader>,
    /// What that has read.
    ahead: Option<Ahead>,
    /// What the config starts with.
    initial: Vec<u8>,
    lxcpath: PathBuf,
}

/// What a layer's place starts with.
#[derive(Debug)]
pub struct Start<'a> {
    /// The directory of containers that it seems to stand in.
    pub lxcpath: &'a Path,
    /// The name that its container seems to have.
    pub name: &'a str,
    /// The config that LXC would start it with.
    pub initial: &'a [u8],
    /// Whom that belongs to.
    pub ownership: Ownership,
    /// Whom the container's directory belongs to.
    pub directory: Ownership,
    /// Owner and permission bits of an empty rootfs.
    pub rootfs: (u32, u32, u32),
}

/// What is to be known of an entry besides its tree.
#[derive(Debug)]
pub struct About<'a> {
    /// What made it.
    pub made: Made,
    /// What defines it.
    pub document: Document,
    /// What its layer lists as identity.
    pub identity: &'a [&'a Path],
    /// What its layer drops itself: none of it is taken for an identity that came by itself.
    pub kept: &'a [&'a Path],
    /// What its layer removes: no key of that is made anew, and nobody's drop of it counts any more.
    pub removed: &'a [&'a Path],
    /// The name that stands for the container's.
    pub placeholder: &'a str,
}

impl Build {
    /// Makes a place on the tree of `parent`, or an empty one.
    pub fn begin(store: &Store, parent: Option<Entry>, start: &Start<'_>) -> io::Result<Self> {
        let (directory, held) = make_directory(store)?;
        let mut build = Self {
            store: store.clone(),
            directory,
            held: Arc::new(held),
            parent,
            veil: None,
            overlay: None,
            reader: None,
            ahead: None,
            initial: start.initial.to_vec(),
            lxcpath: start.lxcpath.to_path_buf(),
        };
        build.furnish(start)?;
        Ok(build)
    }

    fn furnish(&mut self, start: &Start<'_>) -> io::Result<()> {
        let shown = self.shown();
        let rootfs = shown.join("rootfs");
        for path in [&shown, &rootfs] {
            DirBuilder::new().mode(0o700).create(path)?;
        }
        let (uid, gid, mode) = start.rootfs;
        own(open(&rootfs)?, Attributes { uid, gid, mode })?;
        let container = open(&shown)?;
        let config = match &self.parent {
            None => start.initial.to_vec(),
            Some(parent) => parent.config.on(start.initial),
        };
        files::replace_in(&container, "config", &config, start.ownership)?;
        let Ownership { uid, gid, mode } = start.directory;
        own(&container, Attributes { uid, gid, mode })?;
        if let Some(parent) = &self.parent {
            let lower = self.store.rootfs(parent.id);
            let (upper, work) = (self.upper(), self.directory.join("work"));
            for path in [&upper, &work] {
                DirBuilder::new().mode(0o700).create(path)?;
            }
            // The top of an overlay is that of its upper directory.
            tree::copy_attributes(open(&lower)?.as_fd(), open(&upper)?.as_fd())?;
            self.overlay = Some(Overlay::mount(&lower, &upper, &work, &rootfs)?);
            self.store.put_beside(parent, &container, Bell::SILENT, |_| Ok(()))?;
        }
        self.veil = Some(Veil::draw(start.lxcpath, &shown, start.name)?);
        if self.parent.is_none() {
            self.reader = ahead::Reader::begin(container, "rootfs", start.name.as_bytes());
        }
        Ok(())
    }

    /// Returns the directory that stands in for the container's.
    fn shown(&self) -> PathBuf {
        self.directory.join("shown")
    }

    fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    /// Takes notice that whoever makes the layer has ended: nothing works beside this process any more.
    pub fn is_made(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.ahead = reader.finish();
        }
    }

    /// Makes what was done here an entry of the store.
    ///
    /// # Errors
    ///
    /// Also when the `bell` rings.
    pub fn commit(mut self, about: About<'_>, bell: Bell<'_>) -> io::Result<Entry> {
        self.is_made();
        if let Some(veil) = self.veil.take() {
            let mark = self.directory.file_name().unwrap_or_default();
            veil.lift(about.placeholder, mark.as_bytes())?;
        }
        if let Some(overlay) = self.overlay.take() {
            overlay.unmount()?;
        }
        let made = self.directory.join("entry");
        DirBuilder::new().mode(0o755).create(&made)?;
        let rootfs = made.join("rootfs");
        let mut changes = self.complete(&rootfs, bell)?;
        // All of it is read now: meanwhile it is written.
        let flush = Flush::begin(&self.held);
        let mut kept: Vec<PathBuf> =
            self.parent.iter().flat_map(|parent| parent.kept.iter().cloned()).collect();
        kept.retain(|path| !about.removed.contains(&path.as_path()));
        if let Some(changes) = &changes {
            // What came in its place came by itself, unless this layer drops it as well.
            let tree = Rootfs::open(&rootfs)?;
            kept.retain(|path| is_as_it_was(&tree, changes, path));
        }
        kept.extend(about.kept.iter().filter(|path| is_identity(path)).map(PathBuf::from));
        let scrubbed = scrub(&rootfs, about.identity, &kept, about.kept)?;
        kept.extend(scrubbed.kept);
        if let Some(changes) = &mut changes {
            scrubbed.emptied.iter().for_each(|path| changes.add(path));
        }
        // Where it is damaged, all is read.
        let parent_list = self.parent.as_ref().and_then(|parent| parent.list(&self.store).ok());
        let inherited = parent_list.as_ref().zip(changes.as_ref());
        let needle = about.placeholder.as_bytes();
        let known = match (inherited, &self.ahead) {
            (Some((listing, changes)), _) => Known::Parent(listing, changes),
            (None, Some(ahead)) => Known::Ahead(ahead),
            (None, None) => Known::Nothing,
        };
        let (listing, mut places) = Listing::of(open(&rootfs)?.as_fd(), known, needle, bell)?;
        let mut fixed: Vec<Vec<u8>> = listing
            .paths()
            .filter(|path| memchr::memmem::find(path, needle).is_some())
            .filter(|path| changes.as_ref().is_none_or(|changes| changes.contains(path)))
            .collect();
        let binary = places.iter().filter(|place| place.kind == PlaceKind::Binary);
        fixed.extend(binary.map(|place| place.path.clone()));
        let parent = self.parent.as_ref();
        if let (Some(parent), Some((_, changes))) = (parent, inherited) {
            // What the layer has changed is found anew; a path may be gone with what is above it.
            let there: HashSet<_> = listing.paths().collect();
            let stays = |path: &Vec<u8>| !changes.contains(path.as_slice()) && there.contains(path);
            places.extend(parent.places.iter().filter(|place| stays(&place.path)).cloned());
        }
        // No call takes a longer path, so that none can be written to.
        let (long, places): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|place| place.path.len() >= LONGEST_PATH);
        fixed.extend(long.into_iter().map(|place| place.path));
        let mut written = Vec::new();
        listing.write(&mut written)?;
        let key = about.document.key();
        let newest = self.store.entries()?.into_iter().rfind(|id| id.key == key);
        // The clock may have been put back.
        let after = newest.and_then(|id| id.generation.checked_add(1)).unwrap_or(0);
        let id = EntryId { key, generation: now().max(after) };
        let mut entry = Entry::new(id, parent.map(|parent| parent.id), about.made, about.document);
        entry.lxcpaths = parent.map(|parent| parent.lxcpaths.clone()).unwrap_or_default();
        if !entry.lxcpaths.contains(&self.lxcpath) {
            entry.lxcpaths.push(self.lxcpath.clone());
        }
        entry.places = places;
        entry.fixed = fixed;
        entry.kept = kept;
        entry.keys = self.inherited_keys(&rootfs)?;
        entry.keys.leave_out(about.removed);
        entry.keys.add(scrubbed.keys);
        entry.keys.leave_out(&entry.kept);
        entry.config = self.config()?;
        entry.record = self.record(parent);
        entry.listing = Digest::of(&written);
        self.beside(&made)?;
        if let Some((digest, places)) = look_beside(&made.join("beside"), needle, bell)? {
            let binary = places.iter().filter(|place| place.kind == PlaceKind::Binary);
            let shown = |place: &Place| [b"../", &place.path[..]].concat();
            entry.fixed.extend(binary.map(shown));
            (entry.beside, entry.beside_places) = (Some(digest), places);
        }
        self.publish(&made, &entry, &written, flush)?;
        Ok(entry)
    }

    /// Makes the whole tree, and returns what is different from the parent's, where there is one.
    fn complete(&self, rootfs: &Path, bell: Bell<'_>) -> io::Result<Option<Changes>> {
        let Some(parent) = &self.parent else {
            fs::rename(self.shown().join("rootfs"), rootfs)?;
            return Ok(None);
        };
        DirBuilder::new().mode(0o700).create(rootfs)?;
        let base = open(&self.store.rootfs(parent.id))?;
        let upper = open(&self.upper())?;
        let mapped = Caller::observe().is_mapped_root();
        let form = if mapped { Form::User } else { Form::Trusted };
        tree::merge(Some(base.as_fd()), upper.as_fd(), open(rootfs)?.as_fd(), form, bell).map(Some)
    }

    /// Returns the keys that what is below has had, but for those of an SSH server that is gone.
    fn inherited_keys(&self, rootfs: &Path) -> io::Result<Keys> {
        let Some(parent) = &self.parent else { return Ok(Keys::default()) };
        let has_server = |tree: &Path| -> io::Result<bool> {
            let place = Rootfs::open(tree)?.existing_place(Path::new("/usr/sbin/sshd"))?;
            Ok(place.map(|place| place.look()).transpose()?.flatten().is_some())
        };
        let mut keys = parent.keys.clone();
        if has_server(&self.store.rootfs(parent.id))? && !has_server(rootfs)? {
            keys.ssh.clear();
        }
        Ok(keys)
    }

    fn config(&self) -> io::Result<Config> {
        let mut text = files::read_regular(&self.shown().join("config"), lxc::config::LARGEST)?;
        if self.parent.is_none() {
            // What a template makes up is no more a container's own than what LXC makes up.
            let any = |key: &str, _: &str| {
                lxc::config::is_address(key).then(|| lxc::config::ANY_ADDRESS.to_owned())
            };
            text = lxc::config::rewrite(&text, any);
        }
        Ok(match text.strip_prefix(&self.initial[..]) {
            Some(rest) => Config::Appended(rest.to_vec()),
            None => Config::Whole(text),
        })
    }

    /// Reads the record that the upstream left, where it is this program again.
    fn record(&self, parent: Option<&Entry>) -> Option<serde_json::Value> {
        let path = self.shown().join(record::NAME);
        let own = files::read_regular(&path, LARGEST_RECORD);
        let own = own.ok().and_then(|text| serde_json::from_slice(&text).ok());
        own.or_else(|| parent.and_then(|parent| parent.record.clone()))
    }

    /// Keeps what stands beside rootfs and config: an upstream may have its own files there.
    fn beside(&self, made: &Path) -> io::Result<()> {
        let known = ["rootfs", "config", record::NAME];
        let entries: Vec<_> = fs::read_dir(self.shown())?.collect::<Result<_, _>>()?;
        for entry in entries {
            if known.iter().any(|known| entry.file_name() == *known) {
                continue;
            }
            let beside = made.join("beside");
            if !beside.exists() {
                DirBuilder::new().mode(0o700).create(&beside)?;
            }
            fs::rename(entry.path(), beside.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Puts the entry into its place: its tree is on the disk before anybody can find it.
    fn publish(&self, made: &Path, entry: &Entry, list: &[u8], flush: Flush) -> io::Result<()> {
        flush.finish()?;
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
            Entry::is_last(&self.store, entry.id, &entry.made.manifest, &entry.made.slot)
        {
            tracing::debug!(%error, "what misses next cannot be compared with this");
        }
        Ok(())
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        self.reader = None;
        self.veil = None;
        self.overlay = None;
        let name = self.directory.file_name().unwrap_or_default();
        if let Err(error) =
            open(&self.store.work()).and_then(|work| tree::remove(work.as_fd(), name))
        {
            tracing::debug!(%error, directory = %self.directory.display(), "rubbish stays");
        }
    }
}

/// Tells whether a path of a tree is there, and not one of the changes.
fn is_as_it_was(tree: &Rootfs, changes: &Changes, path: &Path) -> bool {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let place = tree.existing_place(path).ok().flatten();
    !changes.contains(relative.as_os_str().as_bytes())
        && place.is_some_and(|place| place.look().is_ok_and(|there| there.is_some()))
}

/// Returns the digest of what stands beside a rootfs, and where `needle` stands in it; nothing, where
/// there is nothing.
pub(super) fn look_beside(
    beside: &Path,
    needle: &[u8],
    bell: Bell<'_>,
) -> io::Result<Option<(Digest, Vec<Place>)>> {
    let directory = match open(beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let (listing, places) = Listing::of(directory.as_fd(), Known::Nothing, needle, bell)?;
    let mut written = Vec::new();
    listing.write(&mut written)?;
    Ok(Some((Digest::of(&written), places)))
}

/// Makes a directory to work in, and removes those that killed runs have left.
fn make_directory(store: &Store) -> io::Result<(PathBuf, OwnedFd)> {
    let lock = work_lock(store)?;
    let work = store.work();
    let rubbish = rubbish(&work)?;
    let directory = work.join(unique()?);
    DirBuilder::new().mode(0o700).create(&directory)?;
    let held = open(&directory)?;
    flock(&held, FlockOperation::LockExclusive)?;
    drop(lock);
    clear(&work, rubbish);
    Ok((directory, held))
}

/// Removes what killed runs have left in the place where entries are made.
/// The caller has had the store's lock for itself, so that nobody makes anything there.
pub(super) fn sweep(store: &Store) -> io::Result<usize> {
    let work = store.work();
    let rubbish = match rubbish(&work) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        rubbish => rubbish?,
    };
    let count = rubbish.len();
    clear(&work, rubbish);
    Ok(count)
}

/// Takes the lock under which directories are made there: one that is not held yet is no rubbish.
fn work_lock(store: &Store) -> io::Result<Lock> {
    let lock = store.lock_of(Digest::of(b"work"))?;
    while !lock.take()? {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(lock)
}

/// Takes what nobody holds any more, so that nobody else removes it.
fn rubbish(work: &Path) -> io::Result<Vec<(std::ffi::OsString, OwnedFd)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(work)? {
        let name = entry?.file_name();
        if let Ok(directory) = open(&work.join(&name))
            && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            found.push((name, directory));
        }
    }
    Ok(found)
}

fn clear(work: &Path, rubbish: Vec<(std::ffi::OsString, OwnedFd)>) {
    let Ok(work) = open(work) else { return };
    for (name, _held) in rubbish {
        if let Err(error) = tree::remove(work.as_fd(), &name) {
            let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
            tracing::debug!(%error, name, "rubbish stays");
        }
    }
}
