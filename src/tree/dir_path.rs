//! Where a directory of a tree is: the names that lead to it.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};

use crate::host::fault;

/// The names that lead to a directory. It outlives the directory's descriptor.
#[derive(Debug, Default)]
pub(super) struct DirPath {
    /// The directory above and the name in it; nothing for the top.
    last: Option<(Arc<Self>, CString)>,
}

impl DirPath {
    /// Returns the path of a directory in this one.
    pub(super) fn below(self: &Arc<Self>, name: &CStr) -> Arc<Self> {
        Arc::new(Self { last: Some((Arc::clone(self), name.to_owned())) })
    }

    /// Tells whether it leads nowhere: to the top.
    pub(super) fn is_top(&self) -> bool {
        self.last.is_none()
    }

    fn names(&self) -> Vec<&CStr> {
        let mut names = Vec::new();
        let mut dir_path = self;
        while let Some((above, name)) = &dir_path.last {
            names.push(name.as_c_str());
            dir_path = above;
        }
        names.reverse();
        names
    }

    /// Returns the path of a name in the directory, without a slash in front.
    pub(super) fn path(&self, name: &CStr) -> Vec<u8> {
        let mut path = Vec::new();
        for above in self.names() {
            path.extend_from_slice(above.to_bytes());
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        path
    }

    /// Opens the directory from the top of its tree.
    pub(super) fn open(&self, top: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = top.try_clone_to_owned()?;
        for name in self.names() {
            directory = openat(directory.as_fd(), name, flags, Mode::empty())?;
        }
        Ok(directory)
    }

    /// Says which name an error is about.
    pub(super) fn about(&self, name: &CStr, error: impl Into<io::Error>) -> io::Error {
        let path = self.path(name);
        let shown = Path::new(OsStr::from_bytes(&path)).display();
        fault::about(format!("`/{shown}`"), error.into())
    }
}

impl Drop for DirPath {
    fn drop(&mut self) {
        // As for an open directory: no recursion.
        let mut last = self.last.take();
        while let Some(mut dir_path) = last.and_then(|(above, _)| Arc::into_inner(above)) {
            last = dir_path.last.take();
        }
    }
}
