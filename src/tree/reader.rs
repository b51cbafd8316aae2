//! Reads single things of a tree that does not change, by their paths.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};

use super::directory::open_to_read;
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
