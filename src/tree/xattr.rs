//! Extended attributes, access lists and capabilities among them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, fstatvfs, lgetxattr, llistxattr,
    lremovexattr, lsetxattr,
};
use rustix::io::Errno;

use super::label;
use super::marks::Naming;

/// The longest list of names, and the longest value, that there can be.
const LONGEST: usize = 64 * 1024;

/// How many bytes are free of a disk with room for any attribute.
const ROOMY: u64 = 1 << 20;

/// What a copy has as well, besides labels. What a filesystem shows of itself, such as `btrfs.compression`, is no other's.
const KEPT: [&[u8]; 4] = [b"user.", b"trusted.", b"system.posix_acl_", b"security.capability"];

/// How xfs shows access lists a second time, to root alone; elsewhere it would be an attribute like any
/// other.
const SHOWN_TWICE: [&[u8]; 1] = [b"trusted.SGI_ACL_"];

/// What has extended attributes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder<'a> {
    /// A file or directory that is open.
    Open(BorrowedFd<'a>),
    /// A name in a directory. A link is not followed.
    Named(BorrowedFd<'a>, &'a CStr),
}

/// Returns the path by which the kernel shows a descriptor.
pub(super) fn shown(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// The kernel has no calls of this kind that take a directory and a name (before 6.13), so that the
/// directory is named by its descriptor. Of one name below it, no path is too long.
fn path_of(directory: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    let mut path = shown(directory).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name.to_bytes());
    path
}

impl Holder<'_> {
    fn list(self, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        match self {
            Self::Open(file) => flistxattr(file, spare_capacity(buffer)),
            Self::Named(directory, name) => {
                llistxattr(path_of(directory, name), spare_capacity(buffer))
            }
        }
    }

    fn get(self, name: &CStr, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        match self {
            Self::Open(file) => fgetxattr(file, name, spare_capacity(buffer)),
            Self::Named(directory, of) => {
                lgetxattr(path_of(directory, of), name, spare_capacity(buffer))
            }
        }
    }

    /// Returns the names of all attributes, those among them that are nobody's to copy.
    pub(super) fn all(self) -> io::Result<Vec<CString>> {
        let read = filled(128, |buffer| self.list(buffer));
        match read {
            Ok(list) => Ok(list
                .split(|byte| *byte == 0)
                .filter(|name| !name.is_empty())
                .filter_map(|name| CString::new(name).ok())
                .collect()),
            Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the names of those attributes that a copy has as well, each with the name that it has
    /// there.
    pub(super) fn names(self, naming: Naming) -> io::Result<Vec<(CString, CString)>> {
        let is_kept = |name: &CString| {
            let name = name.to_bytes();
            let is_of = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| name.starts_with(prefix));
            (is_of(&KEPT) || label::is_kept(name)) && !is_of(&SHOWN_TWICE)
        };
        let names = self.all()?.into_iter().filter(is_kept);
        Ok(names
            .filter_map(|name| Some((naming.of(&name)?, name)).map(|(to, name)| (name, to)))
            .collect())
    }

    /// Returns the value of an attribute.
    pub(super) fn value(self, name: &CStr) -> io::Result<Vec<u8>> {
        filled(256, |buffer| self.get(name, buffer)).map_err(|error| about(name, error))
    }

    /// Gives an attribute its value.
    pub(super) fn set(self, name: &CStr, value: &[u8]) -> io::Result<()> {
        self.try_set(name, value).map_err(|error| about(name, error))
    }

    /// Likewise; the error is the kernel's own.
    pub(super) fn try_set(self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
            Self::Named(directory, of) => {
                lsetxattr(path_of(directory, of), name, value, XattrFlags::empty())
            }
        }
    }

    /// Tells whether the disk that it is on is not full: what has no place there has none in the file itself.
    pub(super) fn is_on_roomy_disk(self) -> io::Result<bool> {
        let (Self::Open(on) | Self::Named(on, _)) = self;
        let disk = fstatvfs(on)?;
        let is_roomy = disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOMY;
        // A tmpfs takes them from the room that it has for files.
        Ok(is_roomy && (disk.f_files == 0 || disk.f_favail > ROOMY / 1024))
    }

    /// Takes an attribute away. That there is none, or can be none, is no fault.
    pub(super) fn remove(self, name: &CStr) -> io::Result<()> {
        let removed = match self {
            Self::Open(file) => fremovexattr(file, name),
            Self::Named(directory, of) => lremovexattr(path_of(directory, of), name),
        };
        match removed {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(about(name, error)),
        }
    }

    /// Copies attributes of these names to another holder.
    pub(super) fn copy(self, names: &[(CString, CString)], to: Holder<'_>) -> io::Result<()> {
        names.iter().try_for_each(|(name, named)| match to.set(named, &self.value(name)?) {
            // Root of a container is not always let.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && label::is_kept(name.to_bytes()) =>
            {
                Ok(())
            }
            set => set,
        })
    }
}

/// Fills a buffer that may first have been too short.
fn filled(
    first: usize,
    fill: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(first);
    match fill(&mut buffer) {
        Err(Errno::RANGE) => buffer = Vec::with_capacity(LONGEST),
        other => return other.map(|_| buffer),
    }
    fill(&mut buffer).map(|_| buffer)
}

/// Says which attribute an error is about.
pub(super) fn about(name: &CStr, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("the attribute `{}`: {error}", name.to_string_lossy()))
}
