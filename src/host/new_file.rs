//! A file that nobody finds before it is whole.
//!
//! Where the filesystem can do that, it has no name until then, and whoever writes it may be killed at any
//! time: nothing is left. Elsewhere it has a hidden name, and a lock that ends with its writer: the next
//! writer in the directory removes what has no writer any more.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, linkat, openat,
    renameat, stat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

/// What hidden names begin with; a number follows.
const HIDDEN: &str = ".layered-template.new-";

/// How many may be written into a directory at once where they have names.
const MOST: u32 = 64;

/// A new file of a directory. Dropped before it was [put][Self::put], it is gone.
#[derive(Debug)]
pub(crate) struct NewFile<'a> {
    directory: BorrowedFd<'a>,
    file: File,
    hidden: Option<OsString>,
}

impl<'a> NewFile<'a> {
    /// Makes one with these permission bits, as far as the umask leaves them.
    pub(crate) fn create(directory: BorrowedFd<'a>, mode: Mode) -> io::Result<Self> {
        remove_leftover(directory, &hidden(0));
        match unnamed(directory, mode) {
            Ok(Some(file)) => Ok(Self { directory, file, hidden: None }),
            Ok(None) => Self::create_hidden(directory, mode),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes one that has a hidden name.
    fn create_hidden(directory: BorrowedFd<'a>, mode: Mode) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        for name in (0..MOST).map(hidden) {
            remove_leftover(directory, &name);
            match openat(directory, &name, flags, mode) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
                Ok(file) => {
                    let _ = flock(&file, FlockOperation::LockExclusive);
                    let new = Self { directory, file: file.into(), hidden: Some(name) };
                    // Before it had its lock, another may have taken it for a leftover.
                    if fstat(&new.file)?.st_nlink > 0 {
                        return Ok(new);
                    }
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Returns the file, to be written.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it a name, in the place of what has it: whoever looks sees that or the whole new file.
    pub(crate) fn put(mut self, name: &OsStr) -> io::Result<()> {
        if self.hidden.is_none() {
            if self.link(name)? {
                return Ok(());
            }
            // What is there can be replaced by a file with a name only.
            let mut names = (0..MOST).map(hidden);
            self.hidden = loop {
                let name = names.next().ok_or(io::ErrorKind::AlreadyExists)?;
                remove_leftover(self.directory, &name);
                if self.link(&name)? {
                    break Some(name);
                }
            };
        }
        if let Some(hidden) = &self.hidden {
            renameat(self.directory, hidden, self.directory, name)?;
            self.hidden = None;
        }
        Ok(())
    }

    /// Gives a file without one a name; false, where something has that.
    fn link(&self, name: &OsStr) -> io::Result<bool> {
        match linkat(CWD, own(&self.file), self.directory, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            let _ = unlinkat(self.directory, hidden, AtFlags::empty());
        }
    }
}

/// Tells whether a name is one that a killed writer may have left.
pub(crate) fn is_leftover(name: &OsStr) -> bool {
    name.as_bytes().starts_with(HIDDEN.as_bytes())
}

fn hidden(number: u32) -> OsString {
    format!("{HIDDEN}{number}").into()
}

/// The path by which a file without a name can be given one.
fn own(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Makes a file without a name; nothing, where the filesystem has none, or could not give it one later.
fn unnamed(directory: BorrowedFd<'_>, mode: Mode) -> Result<Option<File>, Errno> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = match openat(directory, ".", flags, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    // `/proc` may be missing, or be that of other processes.
    let is_same =
        |found: Stat, there: Stat| (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino);
    let can_be_named =
        stat(own(&file)).is_ok_and(|found| fstat(&file).is_ok_and(|there| is_same(found, there)));
    if !can_be_named {
        return Ok(None);
    }
    // Once it has a hidden name, that is taken for no leftover.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    Ok(Some(file.into()))
}

/// Removes what a writer has left that was killed: a regular file of the same user that nobody has locked.
fn remove_leftover(directory: BorrowedFd<'_>, name: &OsStr) {
    let _ = (|| -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: OwnedFd = openat(directory, name, flags, Mode::empty())?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let (found, there) = (fstat(&file)?, statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?);
        let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        let is_own = found.st_uid == geteuid().as_raw();
        if is_file && is_own && (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino) {
            unlinkat(directory, name, AtFlags::empty())?;
        }
        Ok(())
    })();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;
    use crate::host::files;

    fn names(at: &std::path::Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn make(is_named: bool, directory: BorrowedFd<'_>, mode: Mode) -> io::Result<NewFile<'_>> {
        if is_named {
            NewFile::create_hidden(directory, mode)
        } else {
            NewFile::create(directory, mode)
        }
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let at = tempfile::tempdir().unwrap();
        let directory = files::open_directory(at.path()).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        for is_named in [false, true] {
            for text in ["one", "two"] {
                let new = make(is_named, directory.as_fd(), mode).unwrap();
                new.file().write_all(text.as_bytes()).unwrap();
                new.put("web".as_ref()).unwrap();
                assert_eq!(fs::read_to_string(at.path().join("web")).unwrap(), text);
                assert_eq!(names(at.path()), ["web"]);
            }
            drop(make(is_named, directory.as_fd(), mode).unwrap());
            assert_eq!(names(at.path()), ["web"]);
            fs::remove_file(at.path().join("web")).unwrap();
        }
    }

    #[test]
    fn what_a_dead_writer_left_is_removed_and_no_other_s() {
        let at = tempfile::tempdir().unwrap();
        let directory = files::open_directory(at.path()).unwrap();
        let (directory, mode) = (directory.as_fd(), Mode::RUSR | Mode::WUSR);
        fs::write(at.path().join(hidden(0)), "left").unwrap();
        let one = NewFile::create_hidden(directory, mode).unwrap();
        let two = NewFile::create_hidden(directory, mode).unwrap();
        assert_eq!(names(at.path()), [hidden(0), hidden(1)]);
        one.put("one".as_ref()).unwrap();
        two.put("two".as_ref()).unwrap();
        assert_eq!(names(at.path()), ["one", "two"]);
        // What is no file of this program stays, and nothing is written through it.
        std::os::unix::fs::symlink("one", at.path().join(hidden(0))).unwrap();
        fs::create_dir(at.path().join(hidden(1))).unwrap();
        for is_named in [false, true] {
            make(is_named, directory, mode).unwrap().put("two".as_ref()).unwrap();
        }
        assert_eq!(names(at.path()), [hidden(0), hidden(1), "one".into(), "two".into()]);
    }
}
