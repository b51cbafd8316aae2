//! What an upstream leaves in a container's directory besides rootfs, config and record.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, RenameFlags, mkdirat, renameat_with, unlinkat};

use super::layout::{Store, open, unique};
use crate::plan::EntryId;
use crate::tree::{self, Interrupt, Marks};

impl Store {
    /// Puts it into a container's directory, which stays as it is otherwise. `finish` changes what
    /// has to be changed in it, while it still stands in a directory of its own.
    pub(crate) fn put_sidecar(
        &self,
        entry: EntryId,
        container: &OwnedFd,
        interrupt: Interrupt<'_>,
        finish: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let name = format!(".layered-template.{}", unique()?);
        mkdirat(container, &name, Mode::RWXU)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", container.as_raw_fd())).join(&name);
        let put = || -> io::Result<()> {
            let directory = open(&path)?;
            tree::copy(
                (open(&self.sidecar(entry))?.as_fd(), Marks::Plain),
                directory.as_fd(),
                &[],
                interrupt,
            )?;
            finish(&path)?;
            for entry in fs::read_dir(&path)? {
                let name = entry?.file_name();
                renameat_with(&directory, &name, container, &name, RenameFlags::NOREPLACE)
                    .map_err(|error| {
                        let name = crate::shell::word(&name);
                        let error = io::Error::from(error);
                        io::Error::new(error.kind(), format!("{name}: {error}"))
                    })?;
            }
            Ok(())
        };
        let result = put();
        if result.is_err() {
            tree::remove(container.as_fd(), name.as_ref())?;
        } else {
            unlinkat(container, &name, AtFlags::REMOVEDIR)?;
        }
        result
    }
}
