//! Where layers work: a container's directory, and its rootfs.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::host::files;
use crate::host::mounts::{self, Mount};
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
    /// The container's directory by its path without links.
    directory: PathBuf,
    /// What was mounted there when the work began.
    mounts: Vec<Mount>,
    /// What stood in the container's directory by then.
    names: BTreeSet<OsString>,
}

impl Workspace {
    /// Opens it.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        let container = files::open_directory(&target.path)?;
        // LXC may have been given a link for the rootfs. What becomes one during the run is not
        // followed.
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let (directory, rootfs) = (real(&target.path), real(&target.rootfs));
        let mounts = mounts::all();
        let names = names_in(&target.path)?;
        Ok(Self { target: target.clone(), container, rootfs, directory, mounts, names })
    }

    /// Returns the mounts that the rootfs is in.
    pub(super) fn over(&self) -> Vec<Mount> {
        let mut mounts = mounts::all();
        mounts.retain(|mount| mount.is_over(&self.rootfs));
        mounts
    }

    /// Returns what was mounted last over the rootfs, in it or beside it: neither before the work began, nor by what
    /// is `known`.
    pub(super) fn new_mount(&self, known: &[Mount]) -> Option<Mount> {
        let is_here = |mount: &Mount| {
            let tops = [&self.rootfs, &self.directory];
            mount.is_over(&self.rootfs) || tops.into_iter().any(|top| mount.is_below(top))
        };
        let is_known = |mount: &Mount| known.contains(mount) || self.mounts.contains(mount);
        mounts::all().into_iter().rev().find(|mount| is_here(mount) && !is_known(mount))
    }

    /// Tells whether a name stood in the container's directory when the work began.
    pub(super) fn had(&self, name: &str) -> bool {
        self.names.contains(OsStr::new(name))
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
