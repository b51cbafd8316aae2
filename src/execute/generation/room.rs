//! Room on the disk for a switch that has had its moment, and what would stop it there: it cannot be taken back then.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FallocateFlags, StatxAttributes, StatxFlags, fallocate, statx};

use super::remove_in;
use crate::shell;

/// The directory that has the room.
const ROOM: &str = "room";

/// The least of a file, in bytes.
const BLOCK: u64 = 4096;

/// Takes room for so many files and directories of so many bytes in all, until [`give`] gives it back.
pub(super) fn take(switch: &Path, files: usize, bytes: usize) -> io::Result<()> {
    remove_in(switch, ROOM)?;
    let room = switch.join(ROOM);
    fs::DirBuilder::new().mode(0o700).create(&room)?;
    let length = (bytes / files.max(1)) as u64 + BLOCK;
    for number in 0..files {
        let file = File::create_new(room.join(number.to_string()))?;
        match fallocate(&file, FallocateFlags::empty(), 0, length) {
            // There is no way to take room on some filesystems.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            taken => taken?,
        }
    }
    Ok(())
}

/// Gives it back.
pub(super) fn give(switch: &Path) -> io::Result<()> {
    remove_in(switch, ROOM)
}

/// Sees that all of these that are there can be renamed or replaced, as far as `chattr` has it.
///
/// # Errors
///
/// Also the first that cannot.
pub(super) fn movable<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> io::Result<()> {
    for path in paths {
        let path = path.as_ref();
        let found = match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            found => found?.stx_attributes,
        };
        let held = [
            (StatxAttributes::IMMUTABLE, "immutable", 'i'),
            (StatxAttributes::APPEND, "append-only", 'a'),
        ];
        if let Some((_, what, letter)) = held.into_iter().find(|(flag, ..)| found.contains(*flag)) {
            let path = shell::word(path);
            let why = format!("`{path}` is {what}: `chattr -{letter} {path}` changes that");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    Ok(())
}
