//! Reads single things of a tree that does not change, by their paths.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};

use super::directory::{self, open_to_read};
use super::marks::{Marks, Naming};
use super::xattr::Holder;

/// A tree that is read in the order of its listing: the directories that lead to what was read last stay
/// open.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    top: BorrowedFd<'a>,
    marks: Marks,
    /// The names and directories that lead there.
    open: Vec<(Vec<u8>, OwnedFd)>,
}

impl<'a> Reader<'a> {
    /// Reads what is below `top`.
    pub(crate) fn new(top: BorrowedFd<'a>, marks: Marks) -> Self {
        Self { top, marks, open: Vec::new() }
    }

    /// Returns the marks of the tree.
    pub(super) fn marks(&self) -> Marks {
        self.marks
    }

    /// Opens a regular file.
    pub(crate) fn file(&mut self, path: &[u8]) -> io::Result<File> {
        let (directory, name) = self.place(path)?;
        Ok(open_to_read(directory, &name, OFlags::NONBLOCK)?.into())
    }

    /// Returns the extended attributes of what is at a path, as a plain directory would have them, sorted by
    /// their names.
    pub(crate) fn attributes(&mut self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let naming = Naming::Plain(self.marks);
        let (top, is_top) = (self.top, path.is_empty());
        let (directory, name) = if is_top { (top, CString::default()) } else { self.place(path)? };
        let holder = if is_top { Holder::Open(directory) } else { Holder::Named(directory, &name) };
        let mut found = Vec::new();
        for (name, plain) in holder.names(naming)? {
            found.push((plain.into_bytes(), holder.value(&name)?));
        }
        found.sort();
        Ok(found)
    }

    /// Tells whether a directory is at a path.
    pub(super) fn is_directory(&mut self, path: &[u8]) -> io::Result<bool> {
        let kind = self.looked_at(path, |_, _, stat| Ok(FileType::from_raw_mode(stat.st_mode)))?;
        Ok(kind == Some(FileType::Directory))
    }

    /// Returns the names of the directory at a path, sorted; none, where no directory is there.
    pub(super) fn names(&mut self, path: &[u8]) -> io::Result<Vec<CString>> {
        let directory = self.looked_at(path, |above, name, _| {
            directory::open(above, if name.is_empty() { c"." } else { name })
        });
        let Some(directory) = there(directory)?.flatten() else { return Ok(Vec::new()) };
        let names = directory::names(directory.as_fd())?;
        let mut names: Vec<_> = names.into_iter().map(|name| name.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Has a look at what is at a path; the name of the top is empty. Nothing, where nothing is there.
    pub(super) fn looked_at<T>(
        &mut self,
        path: &[u8],
        look: impl FnOnce(BorrowedFd<'_>, &CStr, &Stat) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let (directory, name) = match path {
            [] => (self.top, CString::default()),
            path => match there(self.place(path))? {
                Some(place) => place,
                None => return Ok(None),
            },
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let Some(stat) = there(statat(directory, &name, flags).map_err(io::Error::from))? else {
            return Ok(None);
        };
        look(directory, &name, &stat).map(Some)
    }

    /// Returns the directory of a path, and the name in it.
    pub(super) fn place(&mut self, path: &[u8]) -> io::Result<(BorrowedFd<'_>, CString)> {
        let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let name = CString::new(names.pop().unwrap_or_default())?;
        let same = self.open.iter().zip(&names).take_while(|((open, _), name)| open == *name);
        let same = same.count();
        self.open.truncate(same);
        for name in &names[same..] {
            let above = self.open.last().map_or(self.top, |(_, directory)| directory.as_fd());
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = openat(above, CString::new(*name)?.as_c_str(), flags, Mode::empty())?;
            self.open.push((name.to_vec(), directory));
        }
        let directory = self.open.last().map_or(self.top, |(_, directory)| directory.as_fd());
        Ok((directory, name))
    }
}

/// Returns what was found; nothing, where nothing is there. Below what is no directory, nothing is.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Ok(None)
        }
        found => found.map(Some),
    }
}
