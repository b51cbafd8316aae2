//! The directories that lead to the member that is put into a tree.
//!
//! They stay open from one member to the next. One that is left gets its owner, mode and times; one that
//! no member is of gets back the times that it had.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Timestamps, fchmod, fgetxattr, fstat, futimens,
    mkdirat, openat, openat2, statat,
};
use rustix::io::Errno;

use super::UnpackFault;
use super::metadata::Metadata;
use super::omitted::Omitted;
use super::written::{Key, Written};
use crate::host::{fault, rootfs};
use crate::tree::archive::shown;
use crate::tree::attributes::times;
use crate::tree::directory;
use crate::tree::remove::remove;
use crate::tree::xattr::Holder;

/// The access lists of a file, and those that what is made in a directory gets.
const LIST: &CStr = c"system.posix_acl_access";
const DEFAULT_LIST: &CStr = c"system.posix_acl_default";

/// How many bytes the attributes may take of all directories that are open.
const MOST_ATTRIBUTES: usize = 4 << 20;

/// A directory that is open.
#[derive(Debug)]
pub(super) struct Frame {
    name: CString,
    directory: OwnedFd,
    key: Key,
    /// The times that it had; `None` of a new one.
    before: Option<Timestamps>,
    /// Whether something was made in it, or taken away.
    is_touched: bool,
    /// Whether the layer is known to have put something in it.
    is_written: bool,
    /// What it gets when it is left.
    metadata: Option<Metadata>,
    /// Whether what is made in it gets an access list; not known of one that was not asked.
    has_default_list: bool,
}

impl Frame {
    fn open(name: &CStr, directory: OwnedFd, key: Key, is_new: bool) -> io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            before: if is_new { None } else { Some(times(&fstat(&directory)?)) },
            key,
            is_touched: false,
            is_written: false,
            metadata: None,
            has_default_list: !is_new && has_default_list(directory.as_fd())?,
            directory,
        })
    }

    /// Returns the directory.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Returns which directory it is.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Notes that something is made in it, or taken away.
    pub(super) fn touch(&mut self) {
        self.is_touched = true;
    }

    /// Takes away what is of a name, with all below it.
    pub(super) fn remove(&mut self, name: &CStr) -> io::Result<()> {
        self.touch();
        remove(self.directory(), OsStr::from_bytes(name.to_bytes()))
    }

    /// Takes from a new file what it has from this directory.
    pub(super) fn disinherit(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        if self.has_default_list { Holder::Open(file).remove(LIST) } else { Ok(()) }
    }

    /// Takes it from something new of a name.
    pub(super) fn disinherit_named(&self, name: &CStr) -> io::Result<()> {
        if self.has_default_list {
            Holder::Named(self.directory(), name).remove(LIST)
        } else {
            Ok(())
        }
    }

    fn make(&self, name: &CStr) -> io::Result<OwnedFd> {
        mkdirat(self.directory(), name, Mode::RWXU)?;
        let directory = open(self.directory(), name)?;
        if self.has_default_list {
            let lists = [DEFAULT_LIST, LIST];
            lists.iter().try_for_each(|list| Holder::Open(directory.as_fd()).remove(list))?;
            fchmod(&directory, Mode::RWXU)?;
        }
        Ok(directory)
    }

    fn leave(&self, left_out: &mut Omitted) -> Result<(), UnpackFault> {
        let directory = self.directory();
        match (&self.metadata, &self.before) {
            (Some(metadata), None) => metadata.give(directory, left_out),
            (Some(metadata), Some(_)) => metadata.give_anew(directory, left_out),
            (None, Some(before)) if self.is_touched => Ok(futimens(directory, before)?),
            (None, _) => Ok(()),
        }
    }
}

fn open(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    rootfs::open_directory(directory, OsStr::from_bytes(name.to_bytes()))
}

/// Tells whether what is made in a directory gets an access list.
fn has_default_list(directory: BorrowedFd<'_>) -> io::Result<bool> {
    // Asked for its length alone, not every filesystem tells.
    let mut list = [0; 1024];
    match fgetxattr(directory, DEFAULT_LIST, &mut list[..]) {
        Ok(length) => Ok(length > 0),
        Err(Errno::RANGE) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The directories that lead to a member, the top first.
#[derive(Debug)]
pub(super) struct Descent {
    frames: Vec<Frame>,
    left_out: Omitted,
}

impl Descent {
    /// Begins at the top of a tree.
    pub(super) fn new(top: BorrowedFd<'_>) -> io::Result<Self> {
        let frame = Frame::open(c"", directory::reopen(top)?, 0, false)?;
        Ok(Self { frames: vec![frame], left_out: Omitted::default() })
    }

    /// Returns the directory that it has come to.
    pub(super) fn last(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// Returns the directory that it has come to.
    pub(super) fn last_mut(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Goes to a directory, and makes it and those above it where they are missing. They count as put there
    /// by the layer.
    pub(super) fn make(
        &mut self,
        names: &[CString],
        time: (i64, u32),
        written: &mut Written,
    ) -> Result<(), UnpackFault> {
        self.go_towards(names, written)?;
        for name in names.iter().skip(self.frames.len() - 1) {
            let last = self.last_mut();
            last.touch();
            let directory = last.make(name)?;
            let key = written.below(last.key, name.to_bytes());
            let mut frame = Frame::open(name, directory, key, true)?;
            frame.metadata = Some(Metadata::implied(time));
            self.frames.push(frame);
        }
        for frame in self.frames.iter_mut().skip(1).rev().take_while(|frame| !frame.is_written) {
            written.add(frame.key)?;
            frame.is_written = true;
        }
        Ok(())
    }

    /// Goes to a directory, if it is there.
    pub(super) fn find(
        &mut self,
        names: &[CString],
        written: &Written,
    ) -> Result<bool, UnpackFault> {
        self.go_towards(names, written)?;
        Ok(self.frames.len() == names.len() + 1)
    }

    /// Goes to the top.
    pub(super) fn go_to_top(&mut self) -> Result<(), UnpackFault> {
        self.leave(1)
    }

    /// Goes as far towards a directory as there are directories.
    fn go_towards(&mut self, names: &[CString], written: &Written) -> Result<(), UnpackFault> {
        let same =
            self.frames[1..].iter().zip(names).take_while(|(frame, name)| frame.name == **name);
        let same = same.count();
        self.leave(same + 1)?;
        for (number, name) in names.iter().enumerate().skip(same) {
            let last = self.last();
            let directory = match open(last.directory(), name) {
                Ok(directory) => directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(obstacle(last, name, &names[..=number], error)),
            };
            let key = written.below(last.key, name.to_bytes());
            self.frames.push(Frame::open(name, directory, key, false)?);
        }
        Ok(())
    }

    /// Says what the directory gets when it is left.
    pub(super) fn give(&mut self, metadata: Metadata) -> Result<(), UnpackFault> {
        self.last_mut().metadata = Some(metadata);
        let held = self.frames.iter().filter_map(|frame| frame.metadata.as_ref());
        if held.map(Metadata::len).sum::<usize>() > MOST_ATTRIBUTES {
            return Err(UnpackFault::Attributes(MOST_ATTRIBUTES));
        }
        Ok(())
    }

    /// Opens a directory, and stays where it is.
    pub(super) fn look(&self, names: &[CString]) -> Result<OwnedFd, Errno> {
        let same =
            self.frames[1..].iter().zip(names).take_while(|(frame, name)| frame.name == **name);
        let same = same.count();
        let mut directory = self.frames[same]
            .directory
            .try_clone()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for name in &names[same..] {
            directory = match openat2(&directory, name, flags, Mode::empty(), ResolveFlags::NO_XDEV)
            {
                Err(Errno::NOSYS | Errno::PERM) => openat(&directory, name, flags, Mode::empty())?,
                opened => opened?,
            };
        }
        Ok(directory)
    }

    /// Leaves all directories, the deepest first.
    pub(super) fn finish(mut self) -> Result<Omitted, UnpackFault> {
        self.leave(0)?;
        Ok(self.left_out)
    }

    /// Leaves all directories but so many.
    fn leave(&mut self, count: usize) -> Result<(), UnpackFault> {
        while self.frames.len() > count
            && let Some(frame) = self.frames.pop()
        {
            if let Err(fault) = frame.leave(&mut self.left_out) {
                let above = self.frames.iter().skip(1).map(|frame| &frame.name);
                let names: Vec<_> = above.chain([&frame.name]).cloned().collect();
                return Err(UnpackFault::Directory { path: path(&names), fault: fault.into() });
            }
        }
        Ok(())
    }
}

/// Says what is in the way, where no directory can be opened.
fn obstacle(above: &Frame, name: &CStr, names: &[CString], error: io::Error) -> UnpackFault {
    let path = path(names);
    if Errno::from_io_error(&error) == Some(Errno::XDEV) {
        return UnpackFault::Mounted(path);
    }
    match statat(above.directory(), name, AtFlags::SYMLINK_NOFOLLOW)
        .map(|stat| FileType::from_raw_mode(stat.st_mode))
    {
        Ok(FileType::Symlink) => UnpackFault::ParentLink(path),
        Ok(FileType::Directory) | Err(_) => fault::about(shown(&path), error).into(),
        Ok(_) => UnpackFault::ParentFile(path),
    }
}

/// Returns the path that names lead along.
fn path(names: &[CString]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(CString::as_bytes).collect();
    names.join(&b'/')
}
