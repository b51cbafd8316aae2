//! Keeps the rootfs of a run that failed, for people to look at.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::Run;
use crate::host::files;
use crate::host::owned;
use crate::host::rootfs::Rootfs;
use crate::host::state::KeptRun;
use crate::host::userns::Ids;
use crate::tree::{self, Marks};

/// The name of its copy in the run's directory.
const NAME: &str = "rootfs";

impl Run<'_> {
    /// Copies the failed rootfs, since what made the container removes it.
    pub(super) fn keep_rootfs(&mut self) -> Option<PathBuf> {
        let rootfs = Rootfs::open(&self.workspace.rootfs);
        let found = rootfs.as_ref().ok().and_then(|rootfs| rootfs.fingerprint().ok());
        if found.is_some_and(|found| found.is_empty()) {
            self.note("the failed rootfs is still empty, and is not kept");
            return None;
        }
        let to = self.context.directory.as_ref()?.place(NAME);
        if let Err(error) = rootfs.and_then(|rootfs| self.copy_whole(&rootfs, &to)) {
            self.note(&format!("the failed rootfs could not be kept: {error}"));
            return None;
        }
        let name = self.plan.container.name.clone();
        let run = KeptRun { name, ids: Ids::of_this_process() };
        let described = self.context.directory.as_ref()?.describe(&run);
        if let Err(error) = described {
            self.note(&format!("the kept rootfs cannot be entered by name: {error}"));
        }
        Some(to)
    }

    /// Copies a rootfs as a whole, or leaves nothing of it: a part would only fill the disk further.
    fn copy_whole(&mut self, rootfs: &Rootfs, to: &Path) -> io::Result<()> {
        let from = rootfs.directory(Path::new("/"))?;
        owned::make_one(to, 0o700, None)?;
        let copied = files::open_directory(to).and_then(|to| {
            self.meanwhile(|interrupt| {
                tree::copy((from.as_fd(), Marks::Plain), to.as_fd(), &[], interrupt)
            })
        });
        if copied.is_err() {
            let above = files::open_directory(to.parent().unwrap_or(Path::new("/")))?;
            tree::remove(above.as_fd(), NAME.as_ref())?;
        }
        copied.map(drop)
    }
}
