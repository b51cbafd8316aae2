//! What a directory has besides what is in it.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, fchmod, fchown, fstat, futimens};

use super::marks::{Marks, Naming};
use super::xattr::Holder;

/// What a directory may have from the one above it.
const INHERITED: [&CStr; 2] = [c"system.posix_acl_default", c"system.posix_acl_access"];

/// Takes from an empty directory what it has from the one above it, and closes it to all but its owner.
pub(crate) fn disinherit(directory: BorrowedFd<'_>) -> io::Result<()> {
    INHERITED.iter().try_for_each(|list| Holder::Open(directory).remove(list))?;
    Ok(fchmod(directory, Mode::RWXU)?)
}

/// Gives the upper directory of an overlay the owner, permission bits, extended attributes and times of
/// the lower one, and takes from it what it has from the directory above it.
pub(crate) fn copy_attributes(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    marks: Marks,
) -> io::Result<()> {
    let stat = fstat(from)?;
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    INHERITED.iter().try_for_each(|list| Holder::Open(to).remove(list))?;
    let xattrs = Holder::Open(from).names(Naming::Same(marks))?;
    Holder::Open(from).copy(&xattrs, Holder::Open(to))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(futimens(to, &times(&stat))?)
}

/// Returns the times of what was looked at, as they are set.
pub(crate) fn times(stat: &rustix::fs::Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
