//! What is mounted below a directory, and over it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

use super::proc;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its number, which no other has as long as it is there.
    id: Vec<u8>,
    /// Where it is.
    pub(crate) point: PathBuf,
}

impl Mount {
    /// Takes away what is mounted last at the same point, and what is mounted on that.
    pub(crate) fn detach(&self) -> io::Result<()> {
        Ok(unmount(&self.point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
    }
}

/// Returns the mounts that a directory is in, one on itself among them, in the order in which they were mounted.
pub(crate) fn over(directory: &Path) -> Vec<Mount> {
    let text = proc::read("/proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &[u8]| {
        let id = line.split(|byte| *byte == b' ').next()?.to_vec();
        Some(Mount { id, point: point(line)? })
    };
    let mounts = text.split(|byte| *byte == b'\n').filter_map(mount);
    mounts.filter(|mount| directory.starts_with(&mount.point)).collect()
}

/// Returns the mount points below a directory, itself not among them, in the order in which they were
/// mounted.
pub(crate) fn below(directory: &Path) -> Vec<PathBuf> {
    let text = proc::read("/proc/self/mountinfo").unwrap_or_default();
    let points = text.split(|byte| *byte == b'\n').filter_map(point);
    points.filter(|point| point.starts_with(directory) && point != directory).collect()
}

/// Returns the mount point of a line: the fifth field, its blanks and such in octal.
///
/// Source: proc(5).
fn point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
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
    Some(OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let line = br"36 35 98:0 /x /a\040b\134c rw shared:1 - ext3 /dev/root rw";
        assert_eq!(point(line), Some(PathBuf::from(r"/a b\c")));
        assert_eq!(point(b""), None);
    }
}
