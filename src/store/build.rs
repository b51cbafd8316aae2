//! A place where a layer can be made.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::Entry;
use super::layout::{Store, open, stored_marks};
use super::lock::Lock;
use super::stage::{HiddenContainers, Overlay};
use super::work;
use crate::host::files::{self, Ownership};
use crate::host::rootfs::{Attributes, own};
use crate::lxc::given;
use crate::tree::{self, Interrupt, Stamps};

/// Where a layer is made. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Build {
    pub(super) store: Store,
    pub(super) directory: PathBuf,
    /// Held as long as this is no rubbish. The kernel tells whoever opened something on a filesystem
    /// what that could not write since then: what is asked of this one holds for all that is made.
    pub(super) held: Arc<OwnedFd>,
    pub(super) parent: Option<Entry>,
    // The hiding ends first: what it shows is mounted on the overlay.
    pub(super) hidden: Option<HiddenContainers>,
    pub(super) basis: Basis,
    pub(super) lxcpath: PathBuf,
    /// The name that its container seems to have.
    name: String,
}

/// What the rootfs is while a layer is made.
#[derive(Debug)]
pub(super) enum Basis {
    /// An empty directory at first.
    New,
    /// An overlay on the parent's tree.
    Overlay(Overlay),
    /// A copy of the parent's tree.
    Copy {
        /// Whether the files share their bytes with the parent's.
        shares_bytes: bool,
        /// What its files are known by before anybody has worked on it.
        stamps: Stamps,
    },
}

/// How a layer's place comes to the tree of what is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuildOn {
    /// By an overlay, for those who rename no directory and link no file: what is below is neither
    /// copied nor read.
    Overlay,
    /// By a copy, in which everything can be done as in any directory.
    Copy,
}

/// The permission bits of an empty rootfs: the same on every host, whatever its directory is like.
const ROOTFS: u32 = 0o755;

/// What a layer's place starts with.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    /// The directory of containers that it seems to stand in.
    pub lxcpath: &'a Path,
    /// The name that its container seems to have.
    pub name: &'a str,
    /// Whom its config belongs to.
    pub ownership: Ownership,
    /// The group that LXC gives a rootfs.
    pub group: u32,
    /// Whom the container's directory belongs to.
    pub directory: Ownership,
    /// What becomes of the tree of what is below, where there is something.
    pub on: BuildOn,
}

impl Build {
    /// Makes a place on the tree of `parent`, or an empty one. `lock` is [`Store::work_lock`], taken. The
    /// `interrupt` ends it.
    pub(crate) fn begin(
        (store, lock): (&Store, Lock),
        parent: Option<Entry>,
        setting: &Setting<'_>,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        let (directory, held) = work::make_directory(store, lock)?;
        let mut build = Self {
            store: store.clone(),
            directory,
            held: Arc::new(held),
            parent,
            hidden: None,
            basis: Basis::New,
            lxcpath: setting.lxcpath.to_path_buf(),
            name: setting.name.to_owned(),
        };
        build.furnish(setting, interrupt)?;
        Ok(build)
    }

    /// Returns the directory of the rootfs that a layer is laid over, where another host has made it.
    pub(crate) fn open_rootfs(&self) -> io::Result<OwnedFd> {
        open(&self.shown().join("rootfs"))
    }

    /// Returns the path that its rootfs seems to have.
    pub(super) fn seeming_rootfs(&self) -> PathBuf {
        self.lxcpath.join(&self.name).join("rootfs")
    }

    fn furnish(&mut self, setting: &Setting<'_>, interrupt: Interrupt<'_>) -> io::Result<()> {
        let shown = self.shown();
        let rootfs = shown.join("rootfs");
        for path in [&shown, &rootfs] {
            DirBuilder::new().mode(0o700).create(path)?;
        }
        own(open(&rootfs)?, Attributes { uid: 0, gid: setting.group, mode: ROOTFS })?;
        let container = open(&shown)?;
        let mut config = given::config(&self.seeming_rootfs());
        if let Some(parent) = &self.parent {
            config = parent.config.around(&config, |text| io::Result::Ok(text.to_vec()))?;
        }
        files::replace_in(&container, "config", &config, setting.ownership)?;
        let Ownership { uid, gid, mode } = setting.directory;
        own(&container, Attributes { uid, gid, mode })?;
        if let Some(parent) = &self.parent {
            let lower = self.store.rootfs(parent.id);
            self.basis = match setting.on {
                BuildOn::Overlay => Basis::Overlay(self.overlay(&lower, &rootfs)?),
                BuildOn::Copy => {
                    let (from, to) = (open(&lower)?, open(&rootfs)?);
                    let shares_bytes =
                        tree::copy((from.as_fd(), stored_marks()), to.as_fd(), &[], interrupt)?;
                    Basis::Copy { shares_bytes, stamps: Stamps::of(to.as_fd(), interrupt)? }
                }
            };
            if parent.sidecar.is_some() {
                self.store.put_sidecar(parent.id, &container, interrupt, |_| Ok(()))?;
            }
        }
        self.hidden = Some(HiddenContainers::hide(setting.lxcpath, &shown, setting.name)?);
        Ok(())
    }

    fn overlay(&self, lower: &Path, rootfs: &Path) -> io::Result<Overlay> {
        let (upper, work) = (self.upper(), self.directory.join("work"));
        for path in [&upper, &work] {
            DirBuilder::new().mode(0o700).create(path)?;
        }
        // The top of an overlay is that of its upper directory.
        tree::copy_attributes(open(lower)?.as_fd(), open(&upper)?.as_fd(), stored_marks())?;
        Overlay::mount(lower, &upper, &work, rootfs)
    }

    /// Returns the directory that stands in for the container's.
    pub(super) fn shown(&self) -> PathBuf {
        self.directory.join("shown")
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        self.hidden = None;
        self.basis = Basis::New;
        let name = self.directory.file_name().unwrap_or_default();
        if let Err(error) =
            open(&self.store.work()).and_then(|work| tree::remove(work.as_fd(), name))
        {
            tracing::debug!(%error, directory = %self.directory.display(), "rubbish stays");
        }
    }
}
