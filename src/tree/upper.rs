//! What the upper directory of an overlay has of its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use rustix::fs::FileType;

use super::dir_path::DirPath;
use super::directory::{self, Name};
use super::interrupt::Interrupt;
use super::marks::Form;
use super::merge::Changes;
use super::workers::{self, lock};
use super::xattr::Holder;

/// Returns the paths of all that is in an upper directory and is no directory; nothing, where something of what
/// is shown below it comes from elsewhere in the lower one, since a directory was renamed.
pub(crate) fn changes_of_upper(
    upper: BorrowedFd<'_>,
    form: Form,
    interrupt: Interrupt<'_>,
) -> io::Result<Option<Changes>> {
    let found = Mutex::new(Some(Changes::default()));
    let top = (Arc::new(directory::reopen(upper)?), Arc::<DirPath>::default());
    workers::run(interrupt, top, |(directory, path), queue, _| {
        let is_moved = |mark: &std::ffi::CString| {
            form.rest(mark).is_some_and(|rest| [&b"redirect"[..], b"metacopy"].contains(&rest))
        };
        let names = directory::names(directory.as_fd()).map_err(|error| path.about(c".", error))?;
        for Name { name, kind } in names {
            let holder = Holder::Named(directory.as_fd(), &name);
            if holder.all().map_err(|error| path.about(&name, error))?.iter().any(is_moved) {
                *lock(&found) = None;
            }
            if kind == FileType::Directory {
                let below = directory::open(directory.as_fd(), &name)
                    .map_err(|error| path.about(&name, error))?;
                queue.add((Arc::new(below), path.below(&name)));
            } else if let Some(changes) = &mut *lock(&found) {
                changes.add(&path.path(&name));
            }
        }
        Ok(())
    })?;
    Ok(found.into_inner().unwrap_or_default())
}
