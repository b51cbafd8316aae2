//! The extended attributes of a source that what is dropped keeps.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

use crate::digest::{Digest, Hasher};

/// The most that the kernel gives of names, or of a value, in bytes.
const LARGEST: usize = 64 * 1024;

/// What most files have room for.
const USUAL: usize = 1024;

/// Names and values, sorted: access lists and file capabilities among them.
///
/// Labels of a security module belong to where a file is, and are the host's to give.
#[derive(Debug)]
pub(crate) struct Xattrs(Vec<(OsString, Vec<u8>)>);

impl Xattrs {
    /// Reads those of a file or directory.
    pub(crate) fn read(of: BorrowedFd<'_>) -> io::Result<Self> {
        let names = match grown(|names| flistxattr(of, spare_capacity(names))) {
            Ok(names) => names,
            Err(Errno::OPNOTSUPP) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let names = names.split(|byte| *byte == 0).filter(|name| is_kept(name));
        let mut found = Vec::new();
        for name in names {
            let name = OsString::from_vec(name.to_vec());
            let value = grown(|value| fgetxattr(of, &name, spare_capacity(value)))
                .map_err(|error| about(&name, error))?;
            found.push((name, value));
        }
        found.sort();
        Ok(Self(found))
    }

    /// Gives them to another.
    pub(crate) fn write(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        self.0.iter().try_for_each(|(name, value)| {
            fsetxattr(to, name, value, XattrFlags::empty()).map_err(|error| about(name, error))
        })
    }

    /// Tells whether ids are in them: within another id map they are read otherwise.
    pub(crate) fn have_ids(&self) -> bool {
        self.0.iter().any(|(name, _)| !name.as_bytes().starts_with(b"user."))
    }

    /// Returns what tells them from others; `None` if there are none.
    pub(crate) fn digest(&self) -> Option<Digest> {
        let mut hasher = Hasher::default();
        for bytes in self.0.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        (!self.0.is_empty()).then(|| hasher.finish())
    }
}

fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
}

/// Reads into a buffer that few files need to be a large one.
fn grown(read: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(USUAL);
    let read = match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.reserve(LARGEST);
            read(&mut buffer)
        }
        read => read,
    };
    read.map(|_| buffer)
}

fn about(name: &OsStr, error: Errno) -> io::Error {
    io::Error::other(format!("the attribute `{}`: {error}", name.to_string_lossy()))
}
