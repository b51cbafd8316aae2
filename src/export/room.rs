//! Whether there is room for what is written: nothing of others is written into.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::target::{Target, TargetKind};
use crate::host::{files, new_file};

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

    /// Sees that its directory is not there, is empty, or is one of its kind; where it is a file, that no more than a
    /// file is replaced.
    ///
    /// # Errors
    ///
    /// What is there instead, for people.
    pub(crate) fn has_room(&self) -> Result<(), String> {
        let shown = self.path.display();
        let (marks, expected): (&[&str], _) = match self.kind {
            TargetKind::Tar(_) => {
                let kept = kept(&self.path).ok().flatten();
                return kept.map_or(Ok(()), |why| Err(format!("`{shown}` {why}")));
            }
            // It is put there as a whole.
            TargetKind::Directory if self.path.is_symlink() => {
                return Err(format!("`{shown}` is a link"));
            }
            _ if self.path.is_symlink() && !self.path.exists() => {
                return Err(format!("`{shown}` is a link to nothing"));
            }
            TargetKind::Directory => (&[], "a rootfs is written into none that holds anything"),
            TargetKind::Incus => (&INCUS, "none for Incus: it has no `incus.tar.xz`"),
            TargetKind::Oci(_) => (&[LAYOUT], "no OCI layout: it has no `oci-layout`"),
            TargetKind::LxcLocal => {
                (&LXC_LOCAL, "none for `lxc-create -t local`: it has no `rootfs.tar.xz`")
            }
        };
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

/// Returns the directory that a path is in.
pub(super) fn directory_above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Says why no file is put in the place of what is at a path. A file is replaced, and so is a link to one, or to nothing;
/// a device, a pipe, or a link to what another program holds, as `/dev/stdout` is, would be gone.
pub(super) fn kept(path: &Path) -> io::Result<Option<&'static str>> {
    let Some(name) = path.file_name() else { return Ok(Some("has no name of its own")) };
    let directory = files::open_directory(directory_above(path))?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = match openat2(directory, name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => FileType::Symlink,
        found => FileType::from_raw_mode(fstat(found?)?.st_mode),
    };
    Ok(match found {
        FileType::RegularFile => None,
        FileType::Directory => Some("is a directory"),
        _ => Some("is no file, and nothing else is replaced by one"),
    })
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
