//! Puts into one tree what another one has at some paths.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, linkat, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::copy_attributes;
use super::directory;
use super::immutable::{self, ShutFiles, loosened, reopened};
use super::interrupt::Interrupt;
use super::links::{Identity, identity};
use super::maker::Maker;
use super::marks::{Marks, Naming};
use super::reader::Reader;
use super::remove::remove;
use super::xattr::Holder;
use crate::host::fault;

/// Where files are made before they get their names, with a number that makes it free. A directory that they are
/// made in may give them something.
const ASIDE: &str = ".layered-template.upgrade";

/// What one file is copied by, in bytes.
const BUFFER: usize = 256 * 1024;

/// What becomes of a tree. Paths have no slash in front; that of the top is empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graft {
    /// What goes, with all that is below it.
    pub remove: BTreeSet<Vec<u8>>,
    /// What is as in the other tree: a file as a whole, of a directory what it has besides what is in it.
    pub put: BTreeSet<Vec<u8>>,
    /// Files with other bytes, and whether what else there is of them is as in the other tree.
    pub texts: Vec<(Vec<u8>, Vec<u8>, bool)>,
    /// Files and directories that nobody may change from then on.
    pub shut: ShutFiles,
}

impl Graft {
    /// Tells whether nothing becomes of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.put.is_empty()
            && self.texts.is_empty()
            && self.shut.is_empty()
    }
}

/// Changes the tree `to` in the ways that are given, and takes what comes into it from the tree `from`. Both
/// show attributes as a plain directory does. The `interrupt` ends it.
///
/// # Errors
///
/// The first fault, with the path that it is about. What was done by then stays.
pub(crate) fn graft(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    graft: &Graft,
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    if graft.is_empty() {
        return Ok(());
    }
    let before = fstat(to)?;
    let mut places = Reader::new(to, Marks::Plain);
    for path in &graft.remove {
        interrupt.check()?;
        about(path, removed(&mut places, path))?;
    }
    let name = free(from, to)?;
    mkdirat(to, &name, Mode::RWXU)?;
    let aside = directory::open(to, &name)?;
    let grafted = Grafting::begin(from, to, aside.as_fd(), interrupt)
        .and_then(|mut grafting| grafting.all(graft));
    let gone = unlinkat(to, &name, AtFlags::REMOVEDIR);
    grafted?;
    gone?;
    // Of what was not put, nothing is to be seen.
    if !graft.put.contains(&Vec::new()) {
        rustix::fs::futimens(directory::reopen(to)?, &super::times(&before))?;
    }
    immutable::shut(to, &graft.shut)
}

/// Returns a name that neither of two directories has.
fn free(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<CString> {
    for number in 0_u64.. {
        let name = CString::new(format!("{ASIDE}.{number}"))?;
        let found = [from, to].map(|top| statat(top, &name, AtFlags::SYMLINK_NOFOLLOW));
        if found.iter().all(|found| matches!(found, Err(Errno::NOENT))) {
            return Ok(name);
        }
        found.into_iter().try_for_each(|found| match found {
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        })?;
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes what is of a path.
fn removed(places: &mut Reader<'_>, path: &[u8]) -> io::Result<()> {
    let (directory, name) = match places.place(path) {
        // It went with what it was in.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        place => place?,
    };
    remove(directory, OsStr::from_bytes(name.to_bytes()))
}

struct Grafting<'a> {
    from: Reader<'a>,
    to: Reader<'a>,
    tops: (BorrowedFd<'a>, BorrowedFd<'a>),
    aside: BorrowedFd<'a>,
    maker: Maker<'a>,
    interrupt: Interrupt<'a>,
    /// The first path of each file that has several.
    first: HashMap<Identity, Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'a> Grafting<'a> {
    fn begin(
        from: BorrowedFd<'a>,
        to: BorrowedFd<'a>,
        aside: BorrowedFd<'a>,
        interrupt: Interrupt<'a>,
    ) -> io::Result<Self> {
        Ok(Self {
            from: Reader::new(from, Marks::Plain),
            to: Reader::new(to, Marks::Plain),
            tops: (from, to),
            aside,
            maker: Maker::new(aside, Naming::Plain(Marks::Plain), interrupt)?,
            interrupt,
            first: HashMap::new(),
            buffer: vec![0; BUFFER],
        })
    }

    fn all(&mut self, graft: &Graft) -> io::Result<()> {
        let mut directories = Vec::new();
        for path in &graft.put {
            self.interrupt.check()?;
            if about(path, self.put(path))? {
                directories.push(path);
            }
        }
        for (path, text, is_other_s) in &graft.texts {
            about(path, self.text(path, text, *is_other_s))?;
        }
        // Nothing is made in them from here on.
        directories.into_iter().rev().try_for_each(|path| about(path, self.finish(path)))
    }

    /// Puts what is of a path, and tells whether it is a directory.
    fn put(&mut self, path: &[u8]) -> io::Result<bool> {
        if path.is_empty() {
            return Ok(true);
        }
        let (source, name) = self.from.place(path)?;
        let source = source.try_clone_to_owned()?;
        let stat = statat(&source, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let (directory, name) = self.to.place(path)?;
            let made = loosened(directory, &name, || Ok(mkdirat(directory, &name, Mode::RWXU)?));
            return match made {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
                made => made.map(|()| true),
            };
        }
        if stat.st_nlink > 1
            && let Some(first) = self.first.get(&identity(&stat)).cloned()
        {
            let (directory, there) = self.to.place(&first)?;
            let linked = reopened(directory, &there, || {
                Ok(linkat(directory, &there, self.aside, &name, AtFlags::empty())?)
            });
            match linked {
                Ok(()) => return self.named(path, &name).map(|()| false),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::MLINK) => {}
                Err(error) => return Err(error),
            }
        }
        let target = self.maker.target()?;
        self.maker.entry(source.as_fd(), &target, &name, kind, &mut self.buffer)?;
        self.named(path, &name)?;
        self.first.insert(identity(&stat), path.to_vec());
        Ok(false)
    }

    /// Gives what was made its name.
    fn named(&mut self, path: &[u8], made: &CStr) -> io::Result<()> {
        let aside = self.aside;
        let (directory, name) = self.to.place(path)?;
        // What is shut is made so, and has to be opened to get its name.
        reopened(aside, made, || {
            loosened(directory, &name, || Ok(renameat(aside, made, directory, &name)?))
        })?;
        // Of two names of one file, rename(2) leaves both.
        match reopened(aside, made, || Ok(unlinkat(aside, made, AtFlags::empty())?)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Puts a file with bytes of its own.
    fn text(&mut self, path: &[u8], text: &[u8], is_other_s: bool) -> io::Result<()> {
        let like = if is_other_s { &mut self.from } else { &mut self.to };
        let like: OwnedFd = like.file(path)?.into();
        let stat = fstat(&like)?;
        let name = CString::new(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default())?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(self.aside, &name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(text)?;
        fchown(&file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        let xattrs = Holder::Open(like.as_fd()).names(Naming::Plain(Marks::Plain))?;
        Holder::Open(like.as_fd()).copy(&xattrs, Holder::Open(file.as_fd()))?;
        fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        self.named(path, &name)
    }

    /// Gives a directory what it has besides what is in it.
    fn finish(&mut self, path: &[u8]) -> io::Result<()> {
        let open = |reader: &mut Reader<'a>, top: BorrowedFd<'a>| match path.is_empty() {
            true => directory::reopen(top),
            false => reader.place(path).and_then(|(above, name)| directory::open(above, &name)),
        };
        let source = open(&mut self.from, self.tops.0)?;
        let target = open(&mut self.to, self.tops.1)?;
        let naming = Naming::Plain(Marks::Plain);
        let kept = Holder::Open(source.as_fd()).names(naming)?;
        for (name, _) in Holder::Open(target.as_fd()).names(naming)? {
            if kept.iter().all(|(other, _)| *other != name) {
                Holder::Open(target.as_fd()).remove(&name)?;
            }
        }
        copy_attributes(source.as_fd(), target.as_fd(), Marks::Plain)
    }
}

/// Says which path an error is about.
fn about<T>(path: &[u8], done: io::Result<T>) -> io::Result<T> {
    done.map_err(|error| {
        let shown = Path::new(OsStr::from_bytes(path)).display();
        fault::about(format!("`/{shown}`"), error)
    })
}
