//! The containers that stand on trees of the store.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::entry::sync_directory;
use super::place::Store;
use crate::digest::Digest;
use crate::plan::EntryId;

/// A container that stands on a tree, as a link in `roots/` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The id map of the tree.
    pub map: String,
    /// The entry.
    pub entry: EntryId,
    /// The container's config.
    pub config: PathBuf,
    /// The link's own name.
    pub link: PathBuf,
}

impl Root {
    /// Notes that a container stands on an entry. It is on the disk when this returns.
    pub fn note(store: &Store, entry: EntryId, config: &Path) -> io::Result<()> {
        let digest = Digest::of(config.as_os_str().as_bytes()).short();
        let link = store.roots().join(format!("{}@{entry}@{digest}", store.map()));
        match symlink(config, &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }?;
        sync_directory(&store.roots())
    }

    /// Returns all that are noted below `top`.
    pub fn all(top: &Path) -> io::Result<Vec<Self>> {
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
            let config = fs::read_link(entry.path())?;
            roots.push(Self { map: map.to_owned(), entry: id, config, link: entry.path() });
        }
        roots.sort_by(|a, b| a.config.cmp(&b.config));
        Ok(roots)
    }
}
