//! Files that nobody may change or remove, root neither, until somebody says otherwise: those that
//! `chattr` makes immutable, or open to appending alone.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, openat, statat,
};
use rustix::io::Errno;

/// What keeps from changing a file.
const SHUT: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// Does something with a name of a directory. If that is not permitted, both are opened to changes,
/// and it is done again.
pub(crate) fn loosened<T>(
    directory: BorrowedFd<'_>,
    name: &CStr,
    act: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    let refused = match act() {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => error,
        done => return done,
    };
    // What is of no such kind has no such attributes, or cannot have them set.
    let loosened = [loosen(directory, c"."), loosen(directory, name)];
    if loosened.contains(&Ok(true)) { act() } else { Err(refused) }
}

/// Opens something to changes, and tells whether it was not.
fn loosen(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    // To open a device is to use it.
    if ![FileType::RegularFile, FileType::Directory].contains(&kind) {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = openat(directory, name, flags, Mode::empty())?;
    let flags = ioctl_getflags(&opened)?;
    if !flags.intersects(SHUT) {
        return Ok(false);
    }
    ioctl_setflags(opened.as_fd(), flags - SHUT)?;
    Ok(true)
}
