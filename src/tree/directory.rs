//! A directory's descriptor, and the names in it.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, statat};
use rustix::io::Errno;

/// How many bytes of names are asked for at once.
const NAMES: usize = 16 * 1024;

/// A name in a directory, and what it is of.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) name: CString,
    pub(super) kind: FileType,
}

/// Opens what is to be read, a link not followed. The time of its last access is kept where the
/// kernel permits that.
pub(super) fn open_to_read(
    directory: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        // It is somebody else's, and this process is not privileged over that.
        Err(Errno::PERM) => Ok(openat(directory, name, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// Opens a directory, a link not followed.
pub(super) fn open(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    open_to_read(directory, name, OFlags::DIRECTORY)
}

/// Opens a directory once more, so that its names are read from the first.
pub(super) fn reopen(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    open(directory, c".")
}

/// Opens a directory, whatever its mode is: its owner may change that.
pub(super) fn open_forced(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    match open(directory, name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = openat(directory, name, flags, Mode::empty())?;
            rustix::fs::chmod(super::xattr::shown(found.as_fd()), Mode::RWXU)?;
            open(directory, name)
        }
        other => other,
    }
}

/// Reads all names of a directory that was just opened.
pub(super) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<Name>> {
    let mut buffer = [MaybeUninit::uninit(); NAMES];
    let mut read = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = read.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some filesystems leave it to a call of its own.
            FileType::Unknown => {
                let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        names.push(Name { name: name.to_owned(), kind });
    }
    Ok(names)
}
