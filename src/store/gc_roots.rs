//! The containers that stand on trees of the store.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::layout::{Store, listed, unique};
use super::write::sync_directory;
use crate::digest::Digest;
use crate::plan::EntryId;

/// A container that stands on a tree, as a link in `roots/` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GcRoot {
    /// The id map of the tree.
    pub map: String,
    /// The entry.
    pub entry: EntryId,
    /// The container's config.
    pub config: PathBuf,
    /// What the directory of containers was known by when the container was noted.
    pub mark: String,
    /// When `gc` first missed the container, in milliseconds since 1970.
    pub missed: Option<u64>,
    /// The link's own name.
    pub link: PathBuf,
}

/// How long what a container stood on stays when the container is gone from there, in milliseconds: it
/// may have been moved.
const QUARANTINE: u64 = 24 * 60 * 60 * 1000;

/// Where snapshots of a container are, in its directory.
pub(super) const SNAPSHOTS: &str = "snaps";

/// Where other generations of a container are, in its directory.
pub(crate) const GENERATIONS: &str = "upgrade";

/// Where that is which a generation takes the place of, in the directory of the generation.
pub(crate) const OLD_GENERATION: &str = "old";

/// Returns the directory of the container that a config is of, or what it was, will be or once was is.
pub(super) fn container_of(config: &Path) -> &Path {
    let directory = config.parent().unwrap_or(Path::new("/"));
    let replacing = directory.parent().filter(|_| directory.ends_with(OLD_GENERATION));
    let kept = [Some(directory), replacing].into_iter().flatten();
    let mut kept = kept.filter_map(Path::parent);
    let places = kept.find(|place| place.ends_with(SNAPSHOTS) || place.ends_with(GENERATIONS));
    places.and_then(Path::parent).unwrap_or(directory)
}

/// Returns the directory of containers that a config is in, as [`container_of`] has it.
pub(super) fn lxcpath_of(config: &Path) -> PathBuf {
    container_of(config).parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// Returns what a directory is known by, also after the host has started anew: its filesystem and its
/// inode. Where its disk is not mounted, there is another directory.
fn mark(directory: &Path) -> io::Result<String> {
    let filesystem = rustix::fs::statvfs(directory)?.f_fsid;
    let inode = rustix::fs::stat(directory)?.st_ino;
    Ok(format!("{filesystem:x}.{inode:x}"))
}

impl GcRoot {
    /// Tells whether the container is gone: its directory of containers is the one that it was made
    /// in, and it is not there. What cannot be found out is no such thing.
    pub(super) fn is_gone(&self) -> bool {
        let directory = self.config.parent().unwrap_or(Path::new("/"));
        let missing = fs::symlink_metadata(directory)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        missing && mark(&lxcpath_of(&self.config)).is_ok_and(|mark| mark == self.mark)
    }

    /// Tells whether a generation or a snapshot is gone, or has become another, of a container that is there.
    pub(super) fn is_of_living(&self) -> bool {
        let container = container_of(&self.config);
        self.config.parent() != Some(container) && container.join("config").is_file()
    }

    /// Returns the directory of containers that it is in.
    pub(crate) fn lxcpath(&self) -> PathBuf {
        lxcpath_of(&self.config)
    }

    /// Tells whether what its container stood on has stayed long enough.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.missed.is_some_and(|missed| now.saturating_sub(missed) >= QUARANTINE)
    }

    /// Notes since when the container is missed; a time to come is none that a clock has shown.
    pub(super) fn miss(&self, now: u64) -> io::Result<()> {
        if self.missed.is_some_and(|missed| missed <= now) {
            return Ok(());
        }
        self.rename(&format!("{}@{now:x}", self.name()))
    }

    /// Notes that the container is there again.
    pub(super) fn find_again(&self) -> io::Result<()> {
        if self.missed.is_none() { Ok(()) } else { self.rename(&self.name()) }
    }

    /// Returns the name of a link that says no more than what stands on what.
    fn name(&self) -> String {
        let digest = Digest::of(self.config.as_os_str().as_bytes()).short();
        format!("{}@{}@{digest}@{}", self.map, self.entry, self.mark)
    }

    fn rename(&self, name: &str) -> io::Result<()> {
        fs::rename(&self.link, self.link.with_file_name(name))
    }

    /// Tells whether a container was noted on an entry by another link than those that are `known`.
    pub(super) fn is_noted(
        store: &Store,
        entry: EntryId,
        known: &BTreeSet<PathBuf>,
    ) -> io::Result<bool> {
        let of_entry = format!("{}@{entry}@", store.map());
        for link in listed(&store.roots())? {
            let is_of_entry =
                link.file_name().to_str().is_some_and(|name| name.starts_with(&of_entry));
            if is_of_entry && !known.contains(&link.path()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes that a container stands on an entry. It is on the disk when this returns.
    pub(crate) fn note(store: &Store, entry: EntryId, config: &Path) -> io::Result<()> {
        let mark = mark(&lxcpath_of(config))?;
        let (map, config) = (store.map().to_owned(), config.to_path_buf());
        let root = Self { map, entry, config, mark, missed: None, link: PathBuf::new() };
        // Each has a name of its own: who removes the link of a container that was here before leaves this.
        let name = format!("{}@@{}", root.name(), unique()?);
        match symlink(&root.config, store.roots().join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }?;
        sync_directory(&store.roots())
    }

    /// Returns all that are noted below `top`.
    pub(crate) fn all(top: &Path) -> io::Result<Vec<Self>> {
        let mut roots = Vec::new();
        for entry in listed(&top.join("roots"))? {
            let name = entry.file_name();
            let mut parts = name.to_str().unwrap_or_default().split('@');
            let (Some(map), Some(id)) = (parts.next(), parts.next().and_then(EntryId::parse))
            else {
                continue;
            };
            let mark = parts.nth(1).unwrap_or_default().to_owned();
            let missed = parts.next().and_then(|since| u64::from_str_radix(since, 16).ok());
            let config = match fs::read_link(entry.path()) {
                // What is cleaned of another id map meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // No link: it is none of this.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
                config => config?,
            };
            let (map, link) = (map.to_owned(), entry.path());
            roots.push(Self { map, entry: id, config, mark, missed, link });
        }
        roots.sort_by(|a, b| a.config.cmp(&b.config));
        Ok(roots)
    }
}
