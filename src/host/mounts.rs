//! What is mounted: below a directory, and over it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

use super::proc;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its number, that of the one that it is on, its device, and what it shows of that: what no other has as long as
    /// it is there. A number alone is soon given to another one.
    identity: Vec<u8>,
    /// Where it is.
    pub(crate) point: PathBuf,
}

impl Mount {
    /// Takes away what is mounted last at the same point, and what is mounted on that.
    pub(crate) fn detach(&self) -> io::Result<()> {
        Ok(unmount(&self.point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
    }

    /// Tells whether a directory is in it, as it is in one on itself.
    pub(crate) fn is_over(&self, directory: &Path) -> bool {
        directory.starts_with(&self.point)
    }

    /// Tells whether it is below a directory, and not on it.
    pub(crate) fn is_below(&self, directory: &Path) -> bool {
        self.point.starts_with(directory) && self.point != directory
    }

    /// Reads a line.
    ///
    /// Source: proc(5).
    fn of(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let identity: Vec<_> = fields.by_ref().take(4).collect();
        Some(Self { identity: identity.join(&b' '), point: point(fields.next()?) })
    }
}

/// Returns all mounts, in the order in which they were mounted.
pub(crate) fn all() -> Vec<Mount> {
    let text = proc::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(Mount::of).collect()
}

/// Returns the mount point that a field tells of: its blanks and such are in octal.
fn point(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let octal = octal.and_then(|digits| str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let line = br"36 35 98:0 /x /a\040b\134c rw shared:1 - ext3 /dev/root rw";
        assert_eq!(Mount::of(line).unwrap().point, PathBuf::from(r"/a b\c"));
        assert_eq!(Mount::of(b""), None);
    }
}
