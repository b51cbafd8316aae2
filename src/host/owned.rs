//! Makes files and directories that belong to the person behind a user namespace.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::Path;

/// Who gets what is written: the person behind a user namespace.
pub(crate) type OwnerIds = Option<(u32, u32)>;

/// Makes a directory and those above it, each the owner's where it is new. Those above may hold
/// what others must reach: `~/.local` is one of them.
pub(crate) fn make_all(path: &Path, mode: u32, owner: OwnerIds) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_all(parent, 0o755, owner)?;
    }
    match make_one(path, mode, owner) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes a directory, the owner's.
pub(crate) fn make_one(path: &Path, mode: u32, owner: OwnerIds) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)?;
    give(path, owner)
}

pub(super) fn make_file(path: &Path, owner: OwnerIds) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    give(path, owner)?;
    Ok(file)
}

fn give(path: &Path, owner: OwnerIds) -> io::Result<()> {
    match owner {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}
