//! Escapes attributes of overlayfs's names in a tree that becomes the lower one of an overlay.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};

use super::immutable::loosened;
use super::links::identity;
use super::marks::{ESCAPE, Form};
use super::xattr::Holder;

/// Escapes the attributes of some paths of a plain directory, so that it can be the lower one of an
/// overlay. The paths have no slash in front.
pub(crate) fn escape(tree: BorrowedFd<'_>, form: Form, paths: &[Vec<u8>]) -> io::Result<()> {
    let mut done = HashSet::new();
    for path in paths {
        let (directory, of) = parent(tree, path)?;
        let holder = Holder::Named(directory.as_fd(), &of);
        // A file may have several names, and is escaped once.
        if !done.insert(identity(&statat(&directory, &of, AtFlags::SYMLINK_NOFOLLOW)?)) {
            continue;
        }
        let mut names = holder.all()?;
        // The longest first: one that looks escaped already is escaped once more, and out of the way.
        names.sort_by_key(|name| std::cmp::Reverse(name.to_bytes().len()));
        for name in names {
            let Some(rest) = form.rest(&name) else { continue };
            let escaped = [form.prefix().as_bytes(), ESCAPE.as_bytes(), rest].concat();
            let value = holder.value(&name)?;
            let escaped = CString::new(escaped)?;
            loosened(directory.as_fd(), &of, || {
                holder.remove(&name)?;
                holder.set(&escaped, &value)
            })?;
        }
    }
    Ok(())
}

/// Opens the directory that a path is in.
fn parent(tree: BorrowedFd<'_>, path: &[u8]) -> io::Result<(OwnedFd, CString)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = tree.try_clone_to_owned()?;
    let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
        None => (&[][..], path),
        Some(at) => (&path[..at], &path[at + 1..]),
    };
    for name in above.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        directory = openat(&directory, CString::new(name)?, flags, Mode::empty())?;
    }
    let name = if name.is_empty() { c".".to_owned() } else { CString::new(name)? };
    Ok((directory, name))
}
