//! Where layers work: a container's directory, and its rootfs.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::host::{files, mounts};
use crate::plan::Target;

/// A container's directory and rootfs, while layers work there.
#[derive(Debug)]
pub(super) struct Workspace {
    /// What the layers are told of it.
    pub(super) target: Target,
    /// The container's directory.
    pub(super) container: OwnedFd,
    /// The rootfs by its path without links.
    pub(super) rootfs: PathBuf,
    /// What was mounted below the rootfs when the work began.
    pub(super) mounts: Vec<PathBuf>,
    /// What stood in the container's directory by then.
    names: BTreeSet<OsString>,
}

impl Workspace {
    /// Opens it.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        let container = files::open_directory(&target.path)?;
        // LXC may have been given a link for the rootfs. What becomes one during the run is not
        // followed.
        let given = &target.rootfs;
        let rootfs = std::fs::canonicalize(given).unwrap_or_else(|_| given.clone());
        let mounts = mounts::below(&rootfs);
        let names = names_in(&target.path)?;
        Ok(Self { target: target.clone(), container, rootfs, mounts, names })
    }

    /// Returns what stands in the container's directory that did not when the work began.
    pub(super) fn new_names(&self) -> io::Result<Vec<OsString>> {
        let now = names_in(&self.target.path)?;
        Ok(now.difference(&self.names).cloned().collect())
    }
}

fn names_in(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}
