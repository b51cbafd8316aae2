//! Merges a tree of the host into the rootfs.
//!
//! A directory that is not there yet is filled under another name and then takes its place, so that
//! the files in it are written just once; in a directory that is there each file is replaced by
//! itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode as FileMode, OFlags, fgetxattr, fstat, linkat, mkdirat, openat,
    symlinkat,
};

use super::{NO_LONGER, about_source, goes_ahead, refuse_directory, unchanged};
use crate::digest::Digest;
use crate::host::holes;
use crate::host::rootfs::{Attributes, Rootfs, RootfsEntry, own, owned};
use crate::host::userns::Ids;
use crate::host::xattr::Xattrs;
use crate::manifest::{IfExists, Mode};
use crate::observe::tree::open;
use crate::plan::{EntryKind, TreeEntry};

/// Permission bits that no umask of the program's takes away.
const PLAIN: u32 = 0o755;

/// A tree that is being merged.
pub(super) struct Tree<'a> {
    rootfs: &'a Rootfs,
    source: &'a Path,
    top: &'a EntryKind,
    entries: &'a [TreeEntry],
    owner: (u32, u32),
    /// The permission bits of every file, where they are not its own.
    mode: Option<Mode>,
    /// Whether what is made in the new directory is root's, with the permission bits asked for: then
    /// nothing has to be changed afterwards.
    plain: bool,
    buffer: Vec<u8>,
    /// The first entry of each file with several names, and where it has gone by now: its directory
    /// and its name.
    linked: BTreeMap<usize, Option<(Rc<OwnedFd>, OsString)>>,
    /// The directory that the last of them went to, by device and inode: files side by side share
    /// its descriptor, of which a process does not have many.
    shared: Option<((u64, u64), Rc<OwnedFd>)>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        rootfs: &'a Rootfs,
        source: &'a Path,
        (top, entries): (&'a EntryKind, &'a [TreeEntry]),
        owner: (u32, u32),
        mode: Option<Mode>,
    ) -> Self {
        let buffer = vec![0; 128 * 1024];
        let first = |entry: &TreeEntry| match entry.kind {
            EntryKind::File { link, .. } => link,
            _ => None,
        };
        let linked = entries.iter().filter_map(first).map(|index| (index, None)).collect();
        let (plain, shared) = (false, None);
        Self { rootfs, source, top, entries, owner, mode, plain, buffer, linked, shared }
    }

    /// Merges the tree into `path`.
    pub(super) fn merge(mut self, path: &Path, if_exists: IfExists) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let source = openat(CWD, self.source, flags, FileMode::empty())
            .map_err(|error| about_source(self.source, &error.into()))?;
        if let Some(directory) = self.existing_directory(path)? {
            let all = 0..self.entries.len();
            return self.merge_into(&source, &directory, path, all, if_exists);
        }
        let place = self.rootfs.entry(path)?;
        let there = place.look()?.map(|stat| FileType::from_raw_mode(stat.st_mode));
        if there == Some(FileType::Symlink) && !goes_ahead(if_exists)? {
            return Ok(());
        }
        self.new_directory(&source, &place, there, None)
    }

    /// Opens the directory that a path leads to, through links within the rootfs, where there is
    /// one.
    fn existing_directory(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match self.rootfs.directory(path) {
            Ok(directory) => Ok(Some(directory)),
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Merges entries into a directory that is there. `path` is where it is for the container.
    fn merge_into(
        &mut self,
        source: &OwnedFd,
        directory: &OwnedFd,
        path: &Path,
        range: std::ops::Range<usize>,
        if_exists: IfExists,
    ) -> io::Result<()> {
        let mut index = range.start;
        while index < range.end {
            let entry = &self.entries[index];
            let inner = index + 1..self.end_of(index);
            let name = name_of(entry);
            let place = RootfsEntry::within(directory.as_fd(), name)?;
            let there = place.look()?.map(|stat| FileType::from_raw_mode(stat.st_mode));
            if let EntryKind::Directory { .. } = entry.kind {
                let below = self.below(source, index)?;
                let path = path.join(name);
                let existing = match there {
                    Some(FileType::Directory) => Some(place.open_directory()?),
                    Some(FileType::Symlink) => self.existing_directory(&path)?,
                    _ => None,
                };
                match existing {
                    Some(existing) => {
                        self.merge_into(&below, &existing, &path, inner.clone(), if_exists)?;
                    }
                    None if there == Some(FileType::Symlink) && !goes_ahead(if_exists)? => {}
                    None => {
                        let made = self.new_directory(&below, &place, there, Some(index));
                        made.map_err(|error| about_entry(&path, &error))?;
                    }
                }
            } else if there.is_none() || goes_ahead(if_exists)? {
                refuse_directory(there).map_err(|error| about_entry(&path.join(name), &error))?;
                self.replace(source, directory, &place, index)?;
            }
            index = inner.end;
        }
        Ok(())
    }

    /// Puts a directory where there is none: that of an entry, or the top of the tree.
    fn new_directory(
        &mut self,
        source: &OwnedFd,
        place: &RootfsEntry,
        there: Option<FileType>,
        index: Option<usize>,
    ) -> io::Result<()> {
        let (kind, range) = match index {
            Some(index) => (&self.entries[index].kind, index + 1..self.end_of(index)),
            None => (self.top, 0..self.entries.len()),
        };
        let EntryKind::Directory { mode, attributes } = kind else { return Ok(()) };
        if !matches!(there, None | Some(FileType::Symlink)) {
            return Err(io::Error::other("there is a file, not a directory"));
        }
        let (uid, gid) = self.owner;
        place.put_directory(Attributes { uid, gid, mode: mode.bits() }, |directory| {
            self.plain = self.owner == (0, 0) && makes_plain_files(directory)?;
            self.fill(source, directory, range)?;
            let path = index.map_or(Path::new(""), |index| &self.entries[index].path);
            self.copy_xattrs(path, *attributes, source.as_fd(), directory.as_fd())
        })
    }

    /// Fills a new directory that nobody else knows of yet.
    fn fill(
        &mut self,
        source: &OwnedFd,
        directory: &OwnedFd,
        range: std::ops::Range<usize>,
    ) -> io::Result<()> {
        let mut index = range.start;
        while index < range.end {
            let entry = &self.entries[index];
            let name = name_of(entry);
            let end = self.end_of(index);
            if let EntryKind::Directory { mode, attributes } = entry.kind {
                let below = self.below(source, index)?;
                mkdirat(directory, name, FileMode::RWXU)?;
                let new = open(directory.as_fd(), name, true)?;
                self.fill(&below, &new, index + 1..end)?;
                self.own(&new, mode)?;
                self.copy_xattrs(&entry.path, attributes, below.as_fd(), new.as_fd())?;
            } else {
                self.make(source, directory, name, index)?;
            }
            index = end;
        }
        Ok(())
    }

    /// Makes one file or link in a new directory.
    fn make(
        &mut self,
        source: &OwnedFd,
        directory: &OwnedFd,
        name: &OsStr,
        index: usize,
    ) -> io::Result<()> {
        match &self.entries[index].kind {
            EntryKind::Symlink { target } => {
                symlinkat(target, directory, name)?;
                let (uid, gid) = self.owner;
                Ok(rustix::fs::chownat(
                    directory,
                    name,
                    Some(rustix::fs::Uid::from_raw(uid)),
                    Some(rustix::fs::Gid::from_raw(gid)),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            EntryKind::File { link: Some(first), .. } if self.first_name(*first).is_some() => {
                let (at, first) = self.first_name(*first).expect("it was just found");
                Ok(linkat(at, first, directory, name, AtFlags::empty())?)
            }
            EntryKind::File { mode, .. } => {
                let mode = self.mode.unwrap_or(*mode);
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                if self.plain && mode.bits() & !PLAIN == 0 {
                    let mode = FileMode::from_raw_mode(mode.bits());
                    let mut file = File::from(openat(directory, name, flags, mode)?);
                    self.write(source, name, &mut file, index)?;
                } else {
                    let created = openat(directory, name, flags, FileMode::RUSR | FileMode::WUSR)?;
                    let mut file = File::from(created);
                    let (uid, gid) = self.owner;
                    let attributes = Attributes { uid, gid, mode: mode.bits() };
                    owned(&mut file, attributes, |file| self.write(source, name, file, index))?;
                }
                self.remember(index, directory, name)
            }
            EntryKind::Directory { .. } => Ok(()),
        }
    }

    /// Replaces one file or link in a directory that was there.
    fn replace(
        &mut self,
        source: &OwnedFd,
        directory: &OwnedFd,
        place: &RootfsEntry,
        index: usize,
    ) -> io::Result<()> {
        let (uid, gid) = self.owner;
        let name = name_of(&self.entries[index]).to_owned();
        match &self.entries[index].kind {
            EntryKind::Symlink { target } => place.put_symlink(target.as_os_str(), uid, gid),
            EntryKind::File { link: Some(first), .. } if self.first_name(*first).is_some() => {
                let (at, first) = self.first_name(*first).expect("it was just found");
                place.put_hard_link(at, first)
            }
            EntryKind::File { mode, .. } => {
                let mode = self.mode.unwrap_or(*mode).bits();
                place.put_file(Attributes { uid, gid, mode }, |file| {
                    self.write(source, &name, file, index)
                })?;
                self.remember(index, directory, &name)
            }
            EntryKind::Directory { .. } => Ok(()),
        }
    }

    /// Writes the bytes and the extended attributes of a file, which must be as planned.
    fn write(
        &mut self,
        source: &OwnedFd,
        name: &OsStr,
        to: &mut File,
        index: usize,
    ) -> io::Result<()> {
        let TreeEntry { path, kind: EntryKind::File { size, digest, attributes, .. } } =
            &self.entries[index]
        else {
            return Ok(());
        };
        let about = |error: &io::Error| about_source(&self.source.join(path), error);
        let from = match open(source.as_fd(), name, false) {
            Ok(from) => File::from(from),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(about(&io::Error::other(NO_LONGER)));
            }
            Err(error) => return Err(about(&error)),
        };
        let stat = fstat(&from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(about(&io::Error::other(NO_LONGER)));
        }
        let found = if *size < self.buffer.len() as u64 {
            small(&from, to, &mut self.buffer, stat.st_size)?
        } else {
            let (digest, size) = holes::copy(&from, to, &mut self.buffer)?;
            (size, digest)
        };
        unchanged(&self.source.join(path), &(*size, *digest), &found)?;
        self.copy_xattrs(path, *attributes, from.as_fd(), to.as_fd())
    }

    /// Gives what was made of an entry the extended attributes that it has, which must be as planned.
    fn copy_xattrs(
        &self,
        path: &Path,
        planned: Option<Digest>,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let found = Xattrs::read(from)?;
        // The plan was made without the id map that this process may have.
        if !found.have_ids() || Ids::of_this_process().is_none() {
            let source: PathBuf = self.source.iter().chain(path).collect();
            unchanged(&source, &planned, &found.digest())?;
        }
        found.write(to)
    }

    /// Opens a directory of the source.
    fn below(&self, source: &OwnedFd, index: usize) -> io::Result<OwnedFd> {
        let entry = &self.entries[index];
        open(source.as_fd(), name_of(entry), true)
            .map_err(|error| about_source(&self.source.join(&entry.path), &error))
    }

    fn own(&self, file: impl AsFd, mode: Mode) -> io::Result<()> {
        let (uid, gid) = self.owner;
        own(file, Attributes { uid, gid, mode: mode.bits() })
    }

    /// Returns where the entries below the one at `index` end.
    fn end_of(&self, index: usize) -> usize {
        let TreeEntry { path, kind: EntryKind::Directory { .. } } = &self.entries[index] else {
            return index + 1;
        };
        let below = |entry: &TreeEntry| entry.path.starts_with(path);
        index + 1 + self.entries[index + 1..].iter().take_while(|entry| below(entry)).count()
    }

    fn first_name(&self, first: usize) -> Option<(BorrowedFd<'_>, &OsStr)> {
        let (directory, name) = self.linked.get(&first)?.as_ref()?;
        Some((directory.as_fd(), name))
    }

    /// Remembers where a file has gone, if it has other names.
    fn remember(&mut self, index: usize, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
        if let Some(place) = self.linked.get_mut(&index) {
            let stat = fstat(directory)?;
            let identity = (stat.st_dev, stat.st_ino);
            let shared = match &self.shared {
                Some((other, shared)) if *other == identity => Rc::clone(shared),
                _ => Rc::new(directory.try_clone()?),
            };
            self.shared = Some((identity, Rc::clone(&shared)));
            *place = Some((shared, name.to_owned()));
        }
        Ok(())
    }
}

/// Tells whether what this process makes in a directory gets root as its owner, and just the
/// permission bits that it is made with: no group, and no access list, is inherited.
fn makes_plain_files(directory: &OwnedFd) -> io::Result<bool> {
    let stat = fstat(directory)?;
    let inherits = fgetxattr(directory, "system.posix_acl_default", &mut [0_u8; 0]);
    let inherits_nothing =
        matches!(inherits, Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP));
    Ok((stat.st_uid, stat.st_gid) == (0, 0) && stat.st_mode & 0o2000 == 0 && inherits_nothing)
}

/// Copies a file that fits the buffer, in one piece. At the length that it had, it is not asked for
/// more: a longer one is not what was planned either.
fn small(from: &File, to: &mut File, buffer: &mut [u8], length: i64) -> io::Result<(u64, Digest)> {
    let expected = usize::try_from(length).unwrap_or(usize::MAX);
    let mut length = 0;
    while length != expected && length != buffer.len() {
        match rustix::io::read(from, &mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let bytes = &buffer[..length];
    to.write_all(bytes)?;
    Ok((length as u64, Digest::of(bytes)))
}

fn about_entry(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("`{}`: {error}", path.display()))
}

fn name_of(entry: &TreeEntry) -> &OsStr {
    entry.path.file_name().unwrap_or_default()
}
