//! Files and trees of the host that are dropped into a rootfs: what they hold, before anything is
//! decided.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode as FileMode, OFlags, Stat, fstat, openat, readlinkat, statat,
};

use crate::digest::Digest;
use crate::host::holes;
use crate::host::trust::{Opened, TreeTrust, Trust, Untrusted};
use crate::host::xattr::Xattrs;
use crate::manifest::Mode;
use crate::plan::{EntryKind, FileFact, SourceFact, TreeEntry};

/// The deepest tree that is read: each level holds a descriptor.
const DEEPEST: usize = 256;

/// Observes a file or a tree, and who else could have written it, or what is in it. With `keep`, a file's
/// bytes are kept, up to so many.
///
/// # Errors
///
/// What cannot be dropped is an error that says which entry and why: set-id files, devices, sockets
/// and fifos, and what cannot be read.
pub(crate) fn observe(
    path: &Path,
    keep: Option<u64>,
    trust: &Trust,
) -> io::Result<(SourceFact, Option<Untrusted>)> {
    // A socket cannot be opened, and to open a device may have an effect.
    refuse_special(statat(CWD, path, AtFlags::empty())?.st_mode)?;
    let Opened { file: descriptor, untrusted } = trust.open(path)?;
    let stat = fstat(&descriptor)?;
    refuse_special(stat.st_mode)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            refuse_set_id(&stat, None)?;
            Ok((SourceFact::File(file(descriptor, &stat, keep)?), untrusted))
        }
        _ => {
            let mut tree = Tree::new(trust.tree(path));
            tree.walk(&descriptor, Path::new(""), 0)?;
            let top = kind_of_directory(&descriptor, stat.st_mode)?;
            let untrusted = untrusted.or_else(|| tree.trust.found());
            Ok((SourceFact::Tree { top, entries: tree.entries.into() }, untrusted))
        }
    }
}

fn refuse_special(mode: u32) -> io::Result<()> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile | FileType::Directory => Ok(()),
        other => Err(io::Error::other(format!("it is {}", name_of(other)))),
    }
}

fn file(descriptor: OwnedFd, stat: &Stat, keep: Option<u64>) -> io::Result<FileFact> {
    let mut file = File::from(descriptor);
    let executable = stat.st_mode & 0o111 != 0;
    let Some(limit) = keep else {
        let (digest, size) = holes::digest(file.as_fd(), &mut vec![0; BUFFER])?;
        return Ok(FileFact { size, digest, executable, bytes: None });
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(&mut file, limit + 1), &mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is longer than {limit} bytes")));
    }
    let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
    Ok(FileFact { size, digest, executable, bytes: Some(bytes.into()) })
}

/// Observes a directory itself.
fn kind_of_directory(descriptor: &OwnedFd, mode: u32) -> io::Result<EntryKind> {
    let attributes = Xattrs::read(descriptor.as_fd())?.digest();
    Ok(EntryKind::Directory { mode: Mode::new(mode), attributes })
}

/// What is read at once, in bytes.
const BUFFER: usize = 128 * 1024;

struct Tree<'a> {
    trust: TreeTrust<'a>,
    entries: Vec<TreeEntry>,
    /// The first entry of each file that has several names, by device and inode.
    linked: BTreeMap<(u64, u64), usize>,
    buffer: Vec<u8>,
}

impl<'a> Tree<'a> {
    fn new(trust: TreeTrust<'a>) -> Self {
        let (entries, linked, buffer) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { trust, entries, linked, buffer }
    }

    fn walk(&mut self, directory: &OwnedFd, path: &Path, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(about(path, "it is nested too deeply"));
        }
        for name in names(directory)? {
            let name = OsStr::from_bytes(&name);
            let below = path.join(name);
            let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| about(&below, error))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let inner =
                        open(directory.as_fd(), name, true).map_err(|e| about(&below, e))?;
                    self.trust.look(&below, Some(inner.as_fd()), &stat);
                    let kind =
                        kind_of_directory(&inner, stat.st_mode).map_err(|e| about(&below, e))?;
                    self.push(&below, kind);
                    self.walk(&inner, &below, depth + 1)?;
                }
                FileType::RegularFile => {
                    refuse_set_id(&stat, Some(&below))?;
                    let kind = self.file(directory.as_fd(), name, &below, &stat);
                    self.push(&below, kind.map_err(|error| about(&below, error))?);
                }
                FileType::Symlink => {
                    self.trust.look(&below, None, &stat);
                    let target = readlinkat(directory, name, Vec::new())
                        .map_err(|error| about(&below, error))?;
                    let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
                    self.push(&below, EntryKind::Symlink { target });
                }
                other => return Err(about(&below, format!("it is {}", name_of(other)))),
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        at: BorrowedFd<'_>,
        name: &OsStr,
        below: &Path,
        stat: &Stat,
    ) -> io::Result<EntryKind> {
        let mode = Mode::new(stat.st_mode);
        let index = self.entries.len();
        if stat.st_nlink > 1 {
            let first = *self.linked.entry((stat.st_dev, stat.st_ino)).or_insert(index);
            if let Some(TreeEntry {
                kind: EntryKind::File { size, digest, attributes, .. }, ..
            }) = self.entries.get(first)
            {
                return Ok(EntryKind::File {
                    mode,
                    size: *size,
                    digest: *digest,
                    attributes: *attributes,
                    link: Some(first),
                });
            }
        }
        self.buffer.resize(BUFFER, 0);
        let descriptor = open(at, name, false)?;
        self.trust.look(below, Some(descriptor.as_fd()), stat);
        let (digest, size) = digest(&descriptor, &mut self.buffer, stat.st_size)?;
        let attributes = Xattrs::read(descriptor.as_fd())?.digest();
        Ok(EntryKind::File { mode, size, digest, attributes, link: None })
    }

    fn push(&mut self, path: &Path, kind: EntryKind) {
        self.entries.push(TreeEntry { path: path.to_path_buf(), kind });
    }
}

/// Digests a file with one buffer for many files. A small one is not asked for more than it had.
fn digest(descriptor: &OwnedFd, buffer: &mut [u8], length: i64) -> io::Result<(Digest, u64)> {
    let expected = usize::try_from(length).unwrap_or(usize::MAX);
    if expected >= buffer.len() {
        return holes::digest(descriptor.as_fd(), buffer);
    }
    loop {
        match rustix::io::pread(descriptor, &mut *buffer, 0) {
            Ok(read) if read == expected => return Ok((Digest::of(&buffer[..read]), read as u64)),
            Ok(_) => return holes::digest(descriptor.as_fd(), buffer),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens an entry of a tree, a link not followed.
pub(crate) fn open(at: BorrowedFd<'_>, name: &OsStr, directory: bool) -> io::Result<OwnedFd> {
    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if directory {
        flags |= OFlags::DIRECTORY;
    }
    Ok(openat(at, name, flags, FileMode::empty())?)
}

/// Returns the names in a directory, sorted: the order is part of a plan.
fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn refuse_set_id(stat: &Stat, path: Option<&Path>) -> io::Result<()> {
    if stat.st_mode & 0o6000 == 0 {
        return Ok(());
    }
    let reason =
        "it is set-user-id or set-group-id; drop it without, and give it the bit by `mode`";
    Err(match path {
        Some(path) => about(path, reason),
        None => io::Error::other(reason),
    })
}

fn about(path: &Path, reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("`{}` in it: {reason}", path.display()))
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "neither a file nor a directory",
    }
}
