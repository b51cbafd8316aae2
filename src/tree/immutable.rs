//! Files that nobody may change or remove, root neither, until somebody says otherwise: those that
//! `chattr` makes immutable, or open to appending alone.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, openat, statat,
};
use rustix::io::Errno;

use super::marks::{Form, Marks};
use super::reader::Reader;
use super::xattr::Holder;

/// What keeps from changing a file.
const SHUT: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// By which mark of its own an overlay notes what is shut through it: an `i`, an `a`, or both.
const MARK: &str = "protattr";

/// What is shut in a tree, and how, by the paths.
pub(crate) type ShutFiles = BTreeMap<Vec<u8>, IFlags>;

/// Finds out which of some files and directories of a tree are shut. In the upper directory of an overlay, whose
/// marks have a `form`, they are noted, and not shut themselves. What is not there is not; the paths are in their order.
pub(crate) fn shut_files<'a>(
    top: BorrowedFd<'_>,
    paths: impl Iterator<Item = &'a [u8]>,
    form: Option<Form>,
) -> ShutFiles {
    let mut reader = Reader::new(top, Marks::Plain);
    let mut found = ShutFiles::new();
    // An upper directory has few of the directories.
    let mut absent: Option<&[u8]> = None;
    for path in paths.filter(|path| !path.is_empty()) {
        let above = path.iter().rposition(|byte| *byte == b'/').map(|end| &path[..end]);
        if above.is_some() && above == absent {
            continue;
        }
        let Ok((directory, name)) = reader.place(path) else {
            absent = above;
            continue;
        };
        let flags = match form {
            None => open(directory, &name).and_then(ioctl_getflags).map_err(io::Error::from),
            Some(form) => noted(Holder::Named(directory, &name), form),
        };
        match flags {
            Ok(flags) if flags.intersects(SHUT) => {
                found.insert(path.to_vec(), flags & SHUT);
            }
            // Not every filesystem has such attributes, and not everybody may look at all files.
            Ok(_) | Err(_) => {}
        }
    }
    found
}

/// Returns what an overlay has noted of something.
fn noted(holder: Holder<'_>, form: Form) -> io::Result<IFlags> {
    let value = holder.value(&CString::new(format!("{}{MARK}", form.prefix()))?)?;
    let of = |letter: u8, flag: IFlags| {
        if value.contains(&letter) { flag } else { IFlags::empty() }
    };
    Ok(of(b'i', IFlags::IMMUTABLE) | of(b'a', IFlags::APPEND))
}

/// Shuts files and directories of a tree, where this process may do that.
pub(crate) fn shut(top: BorrowedFd<'_>, files: &ShutFiles) -> io::Result<()> {
    let mut reader = Reader::new(top, Marks::Plain);
    // What is in a directory comes before it.
    for (path, flags) in files.iter().rev() {
        let (directory, name) = reader.place(path)?;
        let file = open(directory, &name)?;
        match ioctl_getflags(&file).and_then(|found| ioctl_setflags(&file, found | *flags)) {
            Err(Errno::PERM | Errno::NOTTY | Errno::OPNOTSUPP) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Opens a file or a directory.
fn open(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Does something with a name of a directory. If that is not permitted, both are opened to changes,
/// and it is done again.
pub(crate) fn loosened<T>(
    directory: BorrowedFd<'_>,
    name: &CStr,
    act: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    unless_permitted(act, |act| {
        // What is of no such kind has no such attributes, or cannot have them set.
        let loosened = [loosen(directory, c"."), loosen(directory, name)];
        loosened.iter().any(|opened| matches!(opened, Ok(Some(_)))).then(act)
    })
}

/// Does something with a file that stays. If that is not permitted, the file is opened to changes, and is
/// shut again when it is done.
pub(crate) fn reopened<T>(
    directory: BorrowedFd<'_>,
    name: &CStr,
    act: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    unless_permitted(act, |act| {
        let (file, flags) = loosen(directory, name).ok().flatten()?;
        let done = act();
        Some(ioctl_setflags(file, flags).map_err(io::Error::from).and(done))
    })
}

/// Does something. If that is not permitted, `otherwise` may do it another way; where it does not, the refusal
/// stands.
fn unless_permitted<T, A: Fn() -> io::Result<T>>(
    act: A,
    otherwise: impl FnOnce(A) -> Option<io::Result<T>>,
) -> io::Result<T> {
    match act() {
        Err(refused) if Errno::from_io_error(&refused) == Some(Errno::PERM) => {
            otherwise(act).unwrap_or(Err(refused))
        }
        done => done,
    }
}

/// Shuts something new as what it is like is shut, where this process may do that: root of a user
/// namespace may not, and can have shut nothing either.
pub(super) fn shut_like(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // Not every filesystem has such attributes.
    let shut = ioctl_getflags(from).unwrap_or(IFlags::empty()) & SHUT;
    if shut.is_empty() {
        return Ok(());
    }
    match ioctl_getflags(to).and_then(|flags| ioctl_setflags(to, flags | shut)) {
        Err(Errno::PERM | Errno::NOTTY | Errno::OPNOTSUPP) => Ok(()),
        done => Ok(done?),
    }
}

/// Opens something to changes, and returns it with the flags that it had; nothing, if it was not shut.
fn loosen(directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<(OwnedFd, IFlags)>, Errno> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    // To open a device is to use it.
    if ![FileType::RegularFile, FileType::Directory].contains(&kind) {
        return Ok(None);
    }
    let opened = open(directory, name)?;
    let flags = ioctl_getflags(&opened)?;
    if !flags.intersects(SHUT) {
        return Ok(None);
    }
    ioctl_setflags(opened.as_fd(), flags - SHUT)?;
    Ok(Some((opened, flags)))
}
