//! Whether there is room for what is written: nothing of others is written into.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};

use super::target::{Target, TargetKind};
use crate::host::new_file;

/// The file that makes a directory an OCI layout.
pub(super) const LAYOUT: &str = "oci-layout";

/// The directory of a layout that is made before it is one.
pub(super) const BLOBS: &str = "blobs";

/// The files that make a directory one for `lxc-create -t local`.
pub(super) const LXC_LOCAL: [&str; 2] = ["rootfs.tar.xz", "meta.tar.xz"];

/// The files that make a directory one for Incus.
pub(super) const INCUS: [&str; 3] = ["incus.tar.xz", "rootfs.tar.xz", "profile.yaml"];

impl Target {
    /// Returns the directory that it would be made in, as an absolute path, where there is none.
    pub(crate) fn missing_parent(&self) -> Option<PathBuf> {
        let path = path::absolute(&self.path).ok()?;
        let parent = path.parent().filter(|parent| !parent.exists())?;
        Some(parent.to_path_buf())
    }

    /// Sees that its directory is not there, is empty, or is one of its kind. A file is always replaced.
    ///
    /// # Errors
    ///
    /// What is there instead, for people.
    pub(crate) fn has_room(&self) -> Result<(), String> {
        let (marks, expected): (&[&str], _) = match self.kind {
            TargetKind::Tar(_) if self.path.is_dir() => {
                return Err(format!("`{}` is a directory", self.path.display()));
            }
            TargetKind::Tar(_) => return Ok(()),
            TargetKind::Directory => (&[], "a rootfs is written into none that holds anything"),
            TargetKind::Incus => (&INCUS, "none for Incus: it has no `incus.tar.xz`"),
            TargetKind::Oci(_) => (&[LAYOUT], "no OCI layout: it has no `oci-layout`"),
            TargetKind::LxcLocal => {
                (&LXC_LOCAL, "none for `lxc-create -t local`: it has no `rootfs.tar.xz`")
            }
        };
        let shown = self.path.display();
        match names_in(&self.path, marks) {
            Ok(Found::Nothing | Found::Own) => Ok(()),
            Ok(Found::Others) => Err(format!("`{shown}` is not empty, and {expected}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(format!("`{shown}` is no directory"))
            }
            Err(error) => Err(format!("`{shown}`: {error}")),
        }
    }
}

/// What a directory holds.
enum Found {
    Nothing,
    Own,
    Others,
}

fn names_in(directory: &Path, marks: &[&str]) -> io::Result<Found> {
    let mut found = Found::Nothing;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if marks.iter().any(|mark| name == OsStr::new(mark)) {
            return Ok(Found::Own);
        }
        // A writer that was killed may have come so far.
        let is_begun = name == OsStr::new(BLOBS) && marks == [LAYOUT];
        if !is_begun && !new_file::is_leftover(&name) {
            found = Found::Others;
        }
    }
    Ok(found)
}
