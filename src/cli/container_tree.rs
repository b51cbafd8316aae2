//! What a container has in its rootfs, and what it was made of.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::fstat;
use rustix::thread::UnshareFlags;

use super::mapping::{IN_PIECES, Mapping};
use super::meant::{cut_off, stands_elsewhere};
use super::request::target;
use super::start::InitialConfig;
use crate::cache::{DELTA, Names};
use crate::digest::Digest;
use crate::execute::{Generations, look_up_owner};
use crate::host::caller::Caller;
use crate::host::rootfs::Rootfs;
use crate::host::{detached, files, kernel};
use crate::lxc::config;
use crate::manifest::{Mode, Owner};
use crate::observe::container::Container;
use crate::plan::{EntryId, StorageMode};
use crate::record::{self, File, FileKind, LastDrops, Record, is_volatile};
use crate::store::{self, Entry, Pin, Pinned, Store};
use crate::tree::{Drift, Form, Interrupt, ListedFile, ListedKind, Made, Marks, Reader, drift};

/// The longest text whose lines are compared, in bytes.
pub(super) const LONGEST_TEXT: u64 = 1 << 20;

/// Where a container is, and what it was made of.
pub(super) struct ContainerTree {
    /// The tree that changes: of a container on an overlay, its upper directory.
    tree: PathBuf,
    upper: Option<Form>,
    /// When its making began, where that is known, and ended.
    begun: Option<(i64, i64)>,
    since: (i64, i64),
    pub(super) mapping: Mapping,
    /// What it was made of, where that is still stored.
    pub(super) base: Option<Base>,
    /// What layers dropped that were made in the container itself, and whether a step that came later may have
    /// removed it.
    dropped: LastDrops<bool>,
    /// Whether what is stored and what layers dropped is all that it was made of: no layer ran a step in it.
    is_whole: bool,
}

/// What a container was made of.
pub(super) struct Base {
    entry: Entry,
    store: Store,
    /// Its tree, where that was opened, and what keeps it there.
    opened: Option<(Rootfs, Pin)>,
    rootfs: PathBuf,
    names: Names,
}

/// What there is at a path of a container.
pub(super) enum PathState {
    /// Something, and whether it may have changed since the container was made.
    Present(ListedFile, bool),
    /// Nothing, and whether something may have been removed since.
    Absent(bool),
}

/// What has changed in a container since it was made.
pub(super) struct ToldDrift {
    pub(super) told: Vec<Drift>,
    /// How much more there is that every running system writes, or that is the container's own.
    pub(super) left_out: usize,
}

/// Tells whether every running system changes something so: not what it is, nor who may do what by it.
fn is_of_every_system(drift: &Drift) -> bool {
    let sets_id = drift.now.as_ref().is_some_and(|now| now.mode & 0o6000 != 0);
    is_volatile(&drift.path) && !sets_id && !drift.changed.contains(&"kind")
}

impl ContainerTree {
    /// Finds what a container is and was made of.
    ///
    /// # Errors
    ///
    /// What is to be said of it.
    pub(super) fn find(
        container: &Container,
        record: &Record,
        caller: &Caller,
    ) -> Result<Self, String> {
        if Generations::of(&container.path).is_interrupted() {
            let why = cut_off(container, caller);
            let why = why.unwrap_or_else(|| "an upgrade or rollback of it is at work".to_owned());
            let name = crate::shell::one_line(&container.name);
            return Err(format!("`{name}` cannot be compared: {why}"));
        }
        if let Some(why) = stands_elsewhere(container, record) {
            let name = crate::shell::one_line(&container.name);
            return Err(format!("`{name}` cannot be compared: {why}"));
        }
        let start = InitialConfig::of_container(&container.path.join("config"), caller)?;
        if start.mapping == Mapping::Pieces {
            return Err(IN_PIECES.to_owned());
        }
        let written = fs::symlink_metadata(container.path.join(record::NAME));
        let written = written.map_err(|error| format!("its record: {error}"))?;
        let (begun, ended) = record.times();
        let stamp = |time: Duration| {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            (seconds, i64::from(time.subsec_nanos()))
        };
        let since = ended.map_or((written.ctime(), written.ctime_nsec()), stamp);
        let is_overlay = record.storage() == StorageMode::Overlay;
        let is_mapped = start.mapping != Mapping::None || caller.is_mapped_root();
        let form = if is_mapped { Form::User } else { Form::Trusted };
        let text = container.config();
        let tree = config::own_tree(&String::from_utf8_lossy(&text)).map(PathBuf::from);
        let tree = tree
            .filter(|tree| tree.is_absolute())
            .unwrap_or_else(|| container.path.join(if is_overlay { DELTA } else { "rootfs" }));
        let ids = start.ids(caller);
        let store = store::directory(caller).zip(ids.map).map(|(top, map)| Store::new(&top, &map));
        let entry = record.stored.as_ref().and_then(|stored| EntryId::parse(&stored.entry));
        let base = store.zip(entry).and_then(|(store, id)| {
            let entry = Entry::read(&store, id).ok()?;
            let mapped = start.mapping.mapped();
            let target = target(&container.name, &container.path, mapped, Vec::new());
            let names = Names::of(&entry.lxcpaths, &target);
            let rootfs = store.rootfs(id);
            Some(Base { entry, store, opened: None, rootfs, names })
        });
        let mut dropped = LastDrops::new();
        let own = record.layers().filter(|(_, is_stored)| !is_stored).map(|(layer, _)| layer);
        let own: Vec<_> = own.collect();
        for (number, layer) in own.iter().enumerate() {
            let mut steps = own[number..].iter().flat_map(|layer| &layer.steps);
            let has_steps = steps.any(|step| step.phase == "post");
            layer.files.iter().for_each(|file| dropped.add(file.clone(), false, has_steps));
        }
        let mut steps = own.iter().flat_map(|layer| &layer.steps);
        let is_whole = !steps.any(|step| step.phase == "post");
        let (upper, begun) = (is_overlay.then_some(form), begun.map(stamp));
        Self { tree, upper, begun, since, mapping: start.mapping, base, dropped, is_whole }
            .readable()
    }

    /// Opens what it was made of, and sees that it stays. Mapped ids may not find it, and none but they may open it:
    /// then it is opened once this process has them.
    ///
    /// # Errors
    ///
    /// What is to be said of it.
    pub(super) fn with_base(mut self) -> Result<Self, String> {
        self.base = self.base.and_then(|base| match base.open() {
            Ok(opened) => opened.map(|opened| Base { opened: Some(opened), ..base }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(base),
            Err(_) => None,
        });
        self.readable()
    }

    fn readable(self) -> Result<Self, String> {
        if self.upper.is_some() && self.base.is_none() {
            return Err("what it is based on cannot be read in the store".to_owned());
        }
        Ok(self)
    }

    /// Finds what has changed since it was made, without what every running system writes and what the record
    /// lists as the container's own, unless `all` is asked for.
    pub(super) fn told_drift(
        &self,
        record: &Record,
        all: bool,
        interrupt: Interrupt<'_>,
    ) -> io::Result<ToldDrift> {
        let mut told = self.drift(interrupt)?;
        let found = told.len();
        let is_left_out = |drift: &Drift| is_of_every_system(drift) || record.is_state(&drift.path);
        told.retain(|drift| all || !is_left_out(drift));
        let left_out = found - told.len();
        Ok(ToldDrift { told, left_out })
    }

    fn made(&self) -> Made {
        let Self { upper, begun, since, is_whole, .. } = *self;
        // Where there is no base, only drops are compared, and those are known.
        Made { upper, begun, since, is_whole: is_whole || self.base.is_none() }
    }

    fn drift(&self, interrupt: Interrupt<'_>) -> io::Result<Vec<Drift>> {
        let tree = files::open_real_directory(&self.tree)?;
        let opened = match &self.base {
            Some(base) if base.opened.is_none() => base.open()?,
            _ => None,
        };
        let opened = self.base.as_ref().and_then(|base| base.opened.as_ref()).or(opened.as_ref());
        if self.base.is_some() && opened.is_none() {
            return Err(io::Error::other("what it was made of was removed"));
        }
        let top = opened.map(|(rootfs, _)| rootfs.directory(Path::new("/"))).transpose()?;
        let base = top.as_ref().map(|top| Reader::new(top.as_fd(), store::stored_marks()));
        let mut found = drift(tree.as_fd(), base, self.made(), interrupt)?;
        // Of a container that was put back from elsewhere, everything is later than its record.
        found.retain(|drift| !self.is_only_named(drift));
        self.know_drops(&mut found)?;
        Ok(found)
    }

    /// Compares what layers dropped in the container itself with what they dropped: no stored tree has it.
    fn know_drops(&self, found: &mut Vec<Drift>) -> io::Result<()> {
        // What steps or the template made in the container may well have been there.
        let is_known = |drift: &Drift| {
            !drift.is_guess || drift.before.is_some() || (self.base.is_some() && self.is_whole)
        };
        if self.dropped.iter().next().is_none() {
            found.retain(is_known);
            return Ok(());
        }
        let rootfs = self.rootfs()?;
        let by_path: BTreeMap<Vec<u8>, (&File, bool)> = match found.is_empty() {
            true => BTreeMap::new(),
            false => {
                let dropped = self.dropped.iter();
                dropped
                    .filter_map(|(file, has_steps)| {
                        Some((real(&rootfs, file)?, (file, *has_steps)))
                    })
                    .collect()
            }
        };
        found.retain_mut(|drift| {
            let (Some((file, has_steps)), Some(now)) = (by_path.get(&drift.path), &drift.now)
            else {
                return is_known(drift);
            };
            if drift.is_guess && *has_steps {
                return false;
            }
            if file.kind == FileKind::File && file.digest.is_none() {
                // No digest of a secret is kept.
                drift.is_new = false;
                return !drift.is_guess;
            }
            let Some(made) = as_dropped(file, &rootfs, Some(now)) else { return true };
            drift.changed = made.differs(now);
            (drift.is_new, drift.before) = (false, Some(made));
            !drift.changed.is_empty()
        });
        let may_be_missed =
            |(file, has_steps): &&(File, bool)| file.kind != FileKind::Remove && !has_steps;
        for (file, _) in self.dropped.iter().filter(may_be_missed) {
            if let PathState::Absent(true) = self.look(&rootfs, &file.path)? {
                let before = as_dropped(file, &rootfs, None);
                let (path, changed) = (file.path.as_bytes()[1..].to_vec(), Vec::new());
                let is_guess = false;
                found.push(Drift { path, before, is_new: false, now: None, changed, is_guess });
            }
        }
        let names = |drift: &Drift| {
            drift.path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        found.sort_by_cached_key(names);
        Ok(())
    }

    /// Tells whether a file or a link differs only in that the container's name stands in it.
    fn is_only_named(&self, drift: &Drift) -> bool {
        let Some(base) = &self.base else { return false };
        if !base.entry.places.iter().any(|place| place.path == drift.path) {
            return false;
        }
        let kind = |file: &Option<ListedFile>| file.as_ref().map(|file| file.kind.clone());
        match (&drift.changed[..], kind(&drift.before), kind(&drift.now)) {
            (["bytes"], _, Some(ListedKind::File { digest, .. })) => {
                let before = self.before(drift).ok().flatten();
                before.is_some_and(|text| Digest::of(&text) == digest)
            }
            (
                ["target"],
                Some(ListedKind::Symlink { target: before }),
                Some(ListedKind::Symlink { target: now }),
            ) => base.names.put_into(&before) == now,
            _ => false,
        }
    }

    /// Reads a file as it was when the container was made, where that is known.
    pub(super) fn before(&self, drift: &Drift) -> io::Result<Option<Vec<u8>>> {
        let (Some(base), Some(before)) = (&self.base, &drift.before) else { return Ok(None) };
        let text = match read(&base.rootfs, store::stored_marks(), &drift.path, before) {
            // It was made in the container.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            text => text?,
        };
        let is_it = |text: &Vec<u8>| match before.kind {
            ListedKind::File { digest, .. } => Digest::of(text) == digest,
            _ => false,
        };
        Ok(text.filter(is_it).map(|text| base.names.put_into(&text)))
    }

    /// Reads a file as it is.
    pub(super) fn now(&self, drift: &Drift) -> io::Result<Option<Vec<u8>>> {
        let Some(now) = &drift.now else { return Ok(None) };
        read(&self.tree, self.upper.map_or(Marks::Plain, Marks::Escaped), &drift.path, now)
    }

    /// Opens the rootfs as the container sees it. Of an overlay that takes a mount namespace of this process's
    /// own.
    pub(super) fn rootfs(&self) -> io::Result<Rootfs> {
        let (Some(form), Some(base)) = (self.upper, &self.base) else {
            return Rootfs::open(&self.tree);
        };
        // Who mounts must own the namespace.
        kernel::unshare(UnshareFlags::NEWNS)?;
        let seen = detached::overlay(&self.tree, &base.rootfs, form == Form::User)?;
        Ok(Rootfs::opened(seen))
    }

    /// Looks at a path of the rootfs.
    pub(super) fn look(&self, rootfs: &Rootfs, path: &str) -> io::Result<PathState> {
        let made = self.made();
        // What a step made of a drop in the container itself, nobody knows.
        let is_known = !self.dropped.get(path).is_some_and(|(_, has_steps)| *has_steps);
        let path = Path::new(path);
        if let Some(place) = rootfs.existing_entry(path)?
            && let Some(stat) = place.look()?
        {
            let name = CString::new(place.name().as_bytes())?;
            let file = ListedFile::read(place.directory(), &name)?;
            let is_moved = || Ok::<_, io::Error>(is_known && self.is_below_moved(rootfs, path)?);
            return Ok(PathState::Present(file, made.is_later(&stat) || is_moved()?));
        }
        let above = path.ancestors().skip(1).find_map(|above| rootfs.directory(above).ok());
        let is_later = match above {
            Some(above) => {
                made.is_later(&fstat(above)?) || (is_known && self.is_below_moved(rootfs, path)?)
            }
            None => true,
        };
        Ok(PathState::Absent(is_later))
    }

    /// Tells whether a directory above a path may have been moved to where it is.
    fn is_below_moved(&self, rootfs: &Rootfs, path: &Path) -> io::Result<bool> {
        let there = path.ancestors().skip(1).find(|above| rootfs.directory(above).is_ok());
        let Some(real) = there.and_then(|there| real_directory(rootfs, there)) else {
            return Ok(false);
        };
        let made = self.made();
        // An overlay moves no directory that shows one of the base, and touches it for what it copies there.
        let base = self.base.as_ref().filter(|_| self.upper.is_some());
        let base = base.map(Base::rootfs).transpose()?;
        let stands = |way: &Path| base.as_ref().is_some_and(|base| base.directory(way).is_ok());
        let mut above = fstat(rootfs.directory(Path::new("/"))?)?;
        let mut way = PathBuf::from("/");
        for name in &real {
            way.push(name);
            let stat = fstat(rootfs.directory(&way)?)?;
            if made.may_be_moved(&above, &stat) && !stands(&way) {
                return Ok(true);
            }
            above = stat;
        }
        Ok(false)
    }
}

impl Base {
    /// Opens the stored tree, and sees that it stays; nothing, where it is not there any more.
    fn open(&self) -> io::Result<Option<(Rootfs, Pin)>> {
        match self.store.pin(self.entry.id)? {
            Pinned::Held(pin) => Ok(Some((self.rootfs()?, pin))),
            Pinned::Busy | Pinned::Gone => Ok(None),
        }
    }

    /// Opens the stored tree.
    pub(super) fn rootfs(&self) -> io::Result<Rootfs> {
        Rootfs::open(&self.rootfs)
    }

    /// Reads a file of it as a container has it when it is made; nothing, where it is long.
    pub(super) fn text(&self, rootfs: &Rootfs, path: &str) -> Option<Vec<u8>> {
        let text = rootfs.read(Path::new(path), LONGEST_TEXT).ok()?;
        Some(self.names.put_into(&text))
    }
}

/// Returns what a drop makes, as far as that can be told; nothing, where it only removes. What is not told is as
/// `like` has it.
pub(super) fn as_dropped(
    file: &File,
    rootfs: &Rootfs,
    like: Option<&ListedFile>,
) -> Option<ListedFile> {
    let mode = file.mode.as_deref().and_then(Mode::parse).map(Mode::bits);
    let like_of = |kind: fn(&ListedKind) -> bool| like.filter(|like| kind(&like.kind));
    let directory = like_of(|kind| matches!(kind, ListedKind::Directory));
    let (kind, mode) = match file.kind {
        FileKind::Remove => return None,
        FileKind::Directory => {
            let there = directory.map(|there| there.mode);
            (ListedKind::Directory, mode.or(there).unwrap_or(0o755))
        }
        FileKind::Symlink => {
            let target = file.target.clone().unwrap_or_default().into_bytes();
            (ListedKind::Symlink { target }, 0o777)
        }
        FileKind::File => {
            let there = like_of(|kind| matches!(kind, ListedKind::File { .. }));
            let size = there.and_then(|there| match there.kind {
                ListedKind::File { size, digest } => (Some(digest) == file.digest).then_some(size),
                _ => None,
            });
            let kind = match (file.digest, there) {
                (Some(digest), _) => ListedKind::File { size: size.unwrap_or_default(), digest },
                // It holds a secret.
                (None, Some(there)) => there.kind.clone(),
                (None, None) => ListedKind::File { size: 0, digest: Digest::of(b"") },
            };
            (kind, mode.unwrap_or(0o644))
        }
    };
    let owner = match file.owner.as_deref().map(Owner::parse) {
        Some(owner) => owner.and_then(|owner| look_up_owner(rootfs, &owner).ok()),
        None => None.or(directory.is_none().then_some((0, 0))),
    };
    let there = like.map(|like| (like.uid, like.gid));
    Some(ListedFile::of(kind, mode, owner.or(there).unwrap_or_default()))
}

/// Returns the path that a drop's leads to, without a slash in front.
fn real(rootfs: &Rootfs, file: &File) -> Option<Vec<u8>> {
    let path = Path::new(&file.path);
    let real = real_directory(rootfs, path.parent()?)?.join(path.file_name()?);
    Some(real.into_os_string().into_encoded_bytes())
}

/// Returns where a directory of a rootfs is once all links are followed, without a slash in front.
fn real_directory(rootfs: &Rootfs, path: &Path) -> Option<PathBuf> {
    let shown =
        |directory: OwnedFd| fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())).ok();
    let top = shown(rootfs.directory(Path::new("/")).ok()?)?;
    let real = shown(rootfs.directory(path).ok()?)?;
    real.strip_prefix(top).ok().map(Path::to_path_buf)
}

/// Reads a file of a tree that may change; nothing, where it is no short file.
fn read(
    tree: &Path,
    marks: Marks,
    path: &[u8],
    listed: &ListedFile,
) -> io::Result<Option<Vec<u8>>> {
    if !matches!(listed.kind, ListedKind::File { size, .. } if size <= LONGEST_TEXT) {
        return Ok(None);
    }
    let tree = files::open_real_directory(tree)?;
    let file = Reader::new(tree.as_fd(), marks).file(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
