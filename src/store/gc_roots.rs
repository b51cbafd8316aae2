//! The containers that stand on trees of the store.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::layout::Store;
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
    /// The link's own name.
    pub link: PathBuf,
}

/// Where snapshots of a container are, in its directory.
pub(super) const SNAPSHOTS: &str = "snaps";

/// Returns the directory of containers that a config is in; for a snapshot, that of its container.
pub(super) fn lxcpath_of(config: &Path) -> PathBuf {
    let above = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_path_buf();
    let lxcpath = above(&above(config));
    if lxcpath.file_name().is_some_and(|name| name == SNAPSHOTS) {
        return above(&above(&lxcpath));
    }
    lxcpath
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

    /// Notes that a container stands on an entry. It is on the disk when this returns.
    pub(crate) fn note(store: &Store, entry: EntryId, config: &Path) -> io::Result<()> {
        let digest = Digest::of(config.as_os_str().as_bytes()).short();
        let mark = mark(&lxcpath_of(config))?;
        let link = store.roots().join(format!("{}@{entry}@{digest}@{mark}", store.map()));
        match symlink(config, &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }?;
        sync_directory(&store.roots())
    }

    /// Returns all that are noted below `top`.
    pub(crate) fn all(top: &Path) -> io::Result<Vec<Self>> {
        let directory = top.join("roots");
        let listed = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed?,
        };
        let mut roots = Vec::new();
        for entry in listed {
            let entry = entry?;
            let name = entry.file_name();
            let mut parts = name.to_str().unwrap_or_default().split('@');
            let (Some(map), Some(id)) = (parts.next(), parts.next().and_then(EntryId::parse))
            else {
                continue;
            };
            let mark = parts.nth(1).unwrap_or_default().to_owned();
            let config = match fs::read_link(entry.path()) {
                // What is cleaned of another id map meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // No link: it is none of this.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
                config => config?,
            };
            roots.push(Self { map: map.to_owned(), entry: id, config, mark, link: entry.path() });
        }
        roots.sort_by(|a, b| a.config.cmp(&b.config));
        Ok(roots)
    }
}
