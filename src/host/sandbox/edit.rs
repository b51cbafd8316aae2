//! What a step has changed in a file that was lent to its rootfs.
//!
//! `echo "options timeout:1" >>/etc/resolv.conf` means the rootfs's own file, of which the step has seen
//! the host's in its place.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fchmod, openat, renameat, statat, unlinkat,
};

use crate::host::rootfs::{Attributes, own};

/// The longest file that is looked at, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// The name of a file that is being written.
const UNFINISHED: &str = ".layered-template.edited";

/// A change of a lent file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The lines that came to its text.
    lines: Vec<Vec<u8>>,
    /// Its permission bits, where they were changed.
    mode: Option<u32>,
}

impl Edit {
    /// Finds what was changed in the file `name`, which held `lent` and had the permission bits `mode`.
    /// `None` if it is as it was, is gone, or is another file altogether.
    pub(super) fn find(
        directory: &OwnedFd,
        name: &OsStr,
        lent: &[u8],
        mode: u32,
    ) -> io::Result<Option<Self>> {
        let found = match read(directory, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => other?,
        };
        let Some((text, stat)) = found else { return Ok(None) };
        let Some(lines) = added(lent, &text) else { return Ok(None) };
        let now = stat.st_mode & 0o7777;
        let mode = (now != mode).then_some(now);
        let is_as_it_was = text == lent && mode.is_none();
        Ok((!is_as_it_was).then_some(Self { lines, mode }))
    }

    /// Makes the same change in another file. What is no file, such as a link, stays as it is.
    pub(super) fn apply(&self, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let (mut text, mut attributes) = match read(directory, name) {
            Ok(Some((text, stat))) => {
                let Stat { st_uid: uid, st_gid: gid, st_mode, .. } = stat;
                (text, Attributes { uid, gid, mode: st_mode & 0o7777 })
            }
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.lines.is_empty() {
                    return Ok(());
                }
                (Vec::new(), Attributes { uid: 0, gid: 0, mode: 0o644 })
            }
            Err(error) => return Err(error),
        };
        attributes.mode = self.mode.unwrap_or(attributes.mode);
        if self.lines.is_empty() {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(directory, name, flags, Mode::empty())?;
            return Ok(fchmod(file, Mode::from_raw_mode(attributes.mode))?);
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend(self.lines.concat());
        let _ = unlinkat(directory, UNFINISHED, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(directory, UNFINISHED, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&text)?;
        own(&file, attributes)?;
        Ok(renameat(directory, UNFINISHED, directory, name)?)
    }
}

/// Reads a regular file; `None` for anything else, or for a long one.
fn read(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<(Vec<u8>, Stat)>> {
    // Nobody is at work there any more. What is no file must not even be opened: it may be a device.
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    let fits = u64::try_from(text.len()).is_ok_and(|length| length <= LONGEST);
    Ok(fits.then_some((text, stat)))
}

/// Returns the lines of `now` that `lent` does not have; `None` if the two have none in common.
fn added(lent: &[u8], now: &[u8]) -> Option<Vec<Vec<u8>>> {
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (lent, now) = (lines(lent), lines(now));
    let is_lent = |line: &Vec<u8>| lent.iter().any(|lent| lent.trim_ascii() == line.trim_ascii());
    let has_words = |line: &&Vec<u8>| !line.trim_ascii().is_empty();
    now.iter()
        .filter(has_words)
        .any(is_lent)
        .then(|| now.iter().filter(|line| !is_lent(line)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_lent_file_is_an_edit_of_it() {
        let lent = b"nameserver 10.0.0.1\nsearch example.org\n";
        let table = [
            ("nameserver 10.0.0.1\nsearch example.org\n", Some("")),
            ("nameserver 10.0.0.1\nsearch example.org\noptions x\n", Some("options x\n")),
            ("options x\nnameserver 10.0.0.1", Some("options x\n")),
            ("search example.org\nnameserver 1.1.1.1\n", Some("nameserver 1.1.1.1\n")),
            ("nameserver 1.1.1.1\n", None),
            ("\n", None),
            ("", None),
        ];
        for (now, expected) in table {
            let lines = added(lent, now.as_bytes()).map(|lines| lines.concat());
            assert_eq!(lines.as_deref(), expected.map(str::as_bytes), "{now:?}");
        }
    }
}
