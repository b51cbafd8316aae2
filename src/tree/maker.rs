//! Makes files and directories of a new tree like those of another.
//!
//! Nothing is done that need not be: what the kernel gives a new file is learned once, and a call
//! is made only for what differs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fchmod, fchown, fstat,
    futimens, ioctl_ficlone, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, unlinkat,
    utimensat,
};

use super::attributes::times;
use super::bytes::Ways;
use super::directory::{open, open_to_read};
use super::immutable::shut_like;
use super::interrupt::Interrupt;
use super::links::Links;
use super::marks::Naming;
use super::target_dir::TargetDir;
use super::xattr::Holder;

/// The bits of a mode that say who may do what.
const PERMISSIONS: u32 = 0o777;

/// All bits of a mode, set-id and sticky among them.
const BITS: u32 = 0o7777;

/// Names of a tree's first files, which are gone before it has any other.
const PROBES: [&CStr; 2] = [c".layered-template.0", c".layered-template.1"];

/// Makes a new tree.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    top: BorrowedFd<'a>,
    /// What becomes of extended attributes.
    naming: Naming,
    /// Who owns what is made.
    uid: u32,
    gid: u32,
    /// The permission bits that what is made does not get.
    masked: u32,
    ways: Ways<'a>,
    links: Links,
}

impl<'a> Maker<'a> {
    /// Takes up an empty directory. It is this process's alone until it is finished. The `interrupt` ends
    /// the copying of a long file.
    pub(super) fn new(
        top: BorrowedFd<'a>,
        naming: Naming,
        interrupt: Interrupt<'a>,
    ) -> io::Result<Self> {
        fchmod(top, Mode::RWXU)?;
        // What it may have from the directory above it would go on to all that is made in it.
        let lists = [c"system.posix_acl_default", c"system.posix_acl_access"];
        lists.iter().try_for_each(|list| Holder::Open(top).remove(list))?;
        let probed = probe(top);
        for name in PROBES {
            let _ = unlinkat(top, name, AtFlags::empty());
        }
        let (stat, clones) = probed?;
        let masked = PERMISSIONS & !stat.st_mode;
        let ways = Ways::new(clones, interrupt);
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        Ok(Self { top, naming, uid, gid, masked, ways, links: Links::default() })
    }

    /// Tells whether files of the new tree's filesystem may share their bytes.
    pub(super) fn clones(&self) -> bool {
        self.ways.clones()
    }

    /// Returns the top of the new tree.
    pub(super) fn target(&self) -> io::Result<TargetDir> {
        let directory = Arc::new(self.top.try_clone_to_owned()?);
        Ok(TargetDir { directory, dir_path: Arc::default(), mode: 0o700 })
    }

    /// Makes something that is not a directory like the one of this name in `from`.
    pub(super) fn entry(
        &self,
        from: BorrowedFd<'_>,
        target: &TargetDir,
        name: &CStr,
        kind: FileType,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        if kind == FileType::RegularFile {
            let file = open_to_read(from, name, OFlags::NONBLOCK)?;
            let stat = fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != kind {
                return Err(io::Error::other("it is no longer what it was"));
            }
            return self.linked(&stat, target, name, || {
                self.regular(file.as_fd(), &stat, target, name, buffer)
            });
        }
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.linked(&stat, target, name, || self.special(from, &stat, target, name))
    }

    fn linked(
        &self,
        stat: &Stat,
        target: &TargetDir,
        name: &CStr,
        make: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if stat.st_nlink > 1 { self.links.make(stat, self.top, target, name, make) } else { make() }
    }

    fn regular(
        &self,
        from: BorrowedFd<'_>,
        stat: &Stat,
        target: &TargetDir,
        name: &CStr,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let xattrs = Holder::Open(from).names(self.naming)?;
        // An owner without privileges sets attributes only of files that he may write, and an
        // access list is best met by a file that nobody else can open.
        let asked = if xattrs.is_empty() { stat.st_mode & PERMISSIONS } else { 0o600 };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(&target.directory, name, flags, Mode::from_raw_mode(asked))?;
        self.ways.copy(from, to.as_fd(), stat, buffer)?;
        // In this order: writing and a new owner take capabilities and set-id bits away.
        if self.other_owner(stat) {
            fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        }
        Holder::Open(from).copy(&xattrs, Holder::Open(to.as_fd()))?;
        if asked & !self.masked != stat.st_mode & BITS {
            fchmod(&to, Mode::from_raw_mode(stat.st_mode & BITS))?;
        }
        futimens(&to, &times(stat))?;
        // What is shut gets no other name.
        if stat.st_nlink > 1 { Ok(()) } else { shut_like(from, to.as_fd()) }
    }

    fn special(
        &self,
        from: BorrowedFd<'_>,
        stat: &Stat,
        target: &TargetDir,
        name: &CStr,
    ) -> io::Result<()> {
        let directory = target.directory.as_fd();
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            symlinkat(readlinkat(from, name, Vec::new())?, directory, name)?;
        } else {
            let mode = Mode::from_raw_mode(stat.st_mode & PERMISSIONS);
            mknodat(directory, name, kind, mode, stat.st_rdev)?;
        }
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if self.other_owner(stat) {
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            chownat(directory, name, Some(uid), Some(gid), nofollow)?;
        }
        let holder = Holder::Named(from, name);
        holder.copy(&holder.names(self.naming)?, Holder::Named(directory, name))?;
        // A link has no permissions of its own. What is not one can be named without fear.
        if kind != FileType::Symlink
            && stat.st_mode & PERMISSIONS & !self.masked != stat.st_mode & BITS
        {
            let mode = Mode::from_raw_mode(stat.st_mode & BITS);
            chmodat(directory, name, mode, AtFlags::empty())?;
        }
        Ok(utimensat(directory, name, &times(stat), nofollow)?)
    }

    /// Makes a directory that is to become like the one of this `stat`.
    pub(super) fn directory(
        &self,
        above: &TargetDir,
        name: &CStr,
        stat: &Stat,
    ) -> io::Result<TargetDir> {
        let asked = stat.st_mode & PERMISSIONS | 0o700;
        mkdirat(&above.directory, name, Mode::from_raw_mode(asked))?;
        let directory = Arc::new(open(above.directory.as_fd(), name)?);
        Ok(TargetDir {
            directory,
            dir_path: above.dir_path.below(name),
            mode: asked & !self.masked,
        })
    }

    /// Gives a directory the attributes of `from`, which has this `stat`. Nothing is made in it
    /// after that.
    pub(super) fn finish(
        &self,
        target: &TargetDir,
        from: BorrowedFd<'_>,
        stat: &Stat,
    ) -> io::Result<()> {
        let to = target.directory.as_fd();
        let top = target.dir_path.is_top();
        // Who owns the top is not this program's doing.
        if top || self.other_owner(stat) {
            fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        }
        let xattrs = Holder::Open(from).names(self.naming)?;
        Holder::Open(from).copy(&xattrs, Holder::Open(to))?;
        if target.mode != stat.st_mode & BITS || !xattrs.is_empty() {
            fchmod(to, Mode::from_raw_mode(stat.st_mode & BITS))?;
        }
        futimens(to, &times(stat))?;
        // In the top, what is mounted for a container has its places.
        if top { Ok(()) } else { shut_like(from, to) }
    }

    fn other_owner(&self, stat: &Stat) -> bool {
        (stat.st_uid, stat.st_gid) != (self.uid, self.gid)
    }
}

/// Learns what a new file in an empty directory gets, and whether files may share their bytes.
fn probe(top: BorrowedFd<'_>) -> io::Result<(Stat, bool)> {
    let make = |name| {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(top, name, flags, Mode::from_raw_mode(PERMISSIONS))
    };
    let [first, second] = PROBES;
    let first = make(first)?;
    // Of no bytes at all; what knows of no sharing refuses that too.
    let clones = ioctl_ficlone(make(second)?, &first).is_ok();
    Ok((fstat(&first)?, clones))
}
