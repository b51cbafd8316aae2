//! What is mounted below a directory.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::proc;

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
