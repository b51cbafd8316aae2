//! Whom the files that are written belong to, and who else may read them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown, fchown};
use std::path::Path;

use rustix::fs::{Mode, fchmod};
use rustix::process::{getegid, geteuid, umask};

use crate::host::files::Ownership;
use crate::host::owned::OwnerIds;

/// How files and directories are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whom they belong to; whoever this process is, by default.
    owner: OwnerIds,
    /// The permission bits that they lack: those of the caller's umask.
    mask: Mode,
}

impl Output {
    /// Returns what the caller's own umask makes of them: a run sets another.
    pub(crate) fn observe() -> Self {
        let mask = umask(Mode::empty());
        umask(mask);
        Self { owner: None, mask }
    }

    /// Has them belong to somebody.
    pub(crate) fn of(self, owner: OwnerIds) -> Self {
        Self { owner, ..self }
    }

    /// Gives a new file its owner and its mode.
    pub(super) fn give(self, file: &File) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(uid), Some(gid))?;
        }
        Ok(fchmod(file, self.mode())?)
    }

    /// Returns the mode that a file is made with.
    pub(super) fn mode(self) -> Mode {
        Mode::from_raw_mode(0o666) & !self.mask
    }

    /// Returns the owner and the mode of a file.
    pub(crate) fn ownership(self) -> Ownership {
        let (uid, gid) = self.owner.unwrap_or((geteuid().as_raw(), getegid().as_raw()));
        Ownership { uid, gid, mode: self.mode().as_raw_mode() }
    }

    /// Makes a directory, unless there is one.
    pub(super) fn make_directory(self, path: &Path) -> io::Result<()> {
        let made = DirBuilder::new().mode(0o777 & !self.mask.as_raw_mode()).create(path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
            }
            Ok(()) => match self.owner {
                Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
                None => Ok(()),
            },
        }
    }
}
