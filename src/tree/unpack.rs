//! Lays a layer of an image over a tree: a tar archive, which also says what of the tree is gone.
//!
//! The archive is anybody's. Each directory on the way to a member is opened from the one above it, and
//! nothing that is a link; what exists is replaced, and never written to, so that a file which another
//! tree shares stays as it is. A directory gets its owner, its mode and its times when nothing more is
//! made in it.

mod descent;
mod fault;
mod member_path;
mod metadata;
mod omitted;
mod unmapped;
mod whiteout;
mod written;

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, makedev, mknodat, openat, statat, symlinkat,
};
use rustix::io::Errno;

use super::archive::{ArchiveKind, ArchiveMember, ArchiveReader, Limits};
use super::descriptors::Raised;
use super::interrupt::Interrupt;
use descent::Descent;
pub(crate) use fault::{UnpackError, UnpackFault};
use member_path::{MemberPath, is_mark};
use metadata::Metadata;
pub(crate) use omitted::{Omitted, OmittedKind};
use written::Written;

/// How many bytes of a file are read at once: whole blocks of a filesystem.
const PIECE: usize = 64 * 1024;

/// How many zeros become a hole.
const HOLE: usize = 4096;

/// The longest target of a symbolic link, in bytes. Source: `PATH_MAX` of Linux, which counts a NUL.
const LONGEST_TARGET: usize = 4095;

/// After how many bytes it is looked whether a signal has come.
const PATIENCE: usize = 1 << 20;

/// What becomes of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Devices {
    /// They are made where this process may make them.
    #[cfg_attr(not(test), expect(dead_code, reason = "layers are pushed without them"))]
    Make,
    /// All are left out.
    LeaveOut,
}

/// What was laid over a tree.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// How many files, directories and others were put there.
    pub put: u64,
    /// How many names were taken away because the layer says so.
    pub removed: u64,
    /// What could not be put there.
    pub left_out: Omitted,
}

/// Lays a layer over the tree below `root`: `archive` is a tar archive that is not compressed, read to its
/// last byte. The `interrupt` ends it.
///
/// Owners are set as they are read: in a user namespace they are those of its map. An attribute that this
/// process may not set, or that is of overlayfs or of a security module, is left out, as are devices.
///
/// # Errors
///
/// The first fault, with the member that it is of. The tree is of no more use then.
pub(crate) fn unpack(
    archive: impl Read,
    root: BorrowedFd<'_>,
    limits: &Limits,
    devices: Devices,
    interrupt: Interrupt<'_>,
) -> Result<Unpacked, UnpackError> {
    let stopped = Cell::new(false);
    let heard = Heard { from: archive, interrupt, stopped: &stopped, unheard: 0 };
    let mut archive = ArchiveReader::new(heard, limits);
    let done = lay(&mut archive, root, limits, devices, interrupt);
    done.map_err(|fault| match fault {
        _ if stopped.get() => UnpackError::interrupted(archive.place()),
        fault => UnpackError { place: archive.place().clone(), fault },
    })
}

fn lay<R: Read>(
    archive: &mut ArchiveReader<R>,
    root: BorrowedFd<'_>,
    limits: &Limits,
    devices: Devices,
    interrupt: Interrupt<'_>,
) -> Result<Unpacked, UnpackFault> {
    let _raised = Raised::new();
    let mut layer = Layer {
        descent: Descent::new(root)?,
        written: Written::new(limits.entries),
        absent: Written::new(limits.entries),
        unpacked: Unpacked::default(),
        limits,
        devices,
        buffer: vec![0; PIECE],
    };
    while let Some(member) = archive.next().map_err(|error| error.fault)? {
        interrupt.check()?;
        layer.member(archive, member)?;
    }
    layer.unpacked.left_out.join(layer.descent.finish()?);
    Ok(layer.unpacked)
}

/// A layer that is being laid over a tree.
struct Layer<'a> {
    descent: Descent,
    /// What it has put there, and the directories above that.
    written: Written,
    /// What it should have put there.
    absent: Written,
    unpacked: Unpacked,
    limits: &'a Limits,
    devices: Devices,
    buffer: Vec<u8>,
}

impl Layer<'_> {
    fn member<R: Read>(
        &mut self,
        archive: &mut ArchiveReader<R>,
        member: ArchiveMember,
    ) -> Result<(), UnpackFault> {
        let path = MemberPath::read(&member.path, self.limits.levels)?;
        if path.name().is_some_and(is_mark) {
            return self.remove(&path, &member);
        }
        let metadata = Metadata::of(&member, &mut self.unpacked.left_out);
        let Some(name) = path.name() else {
            if member.kind != ArchiveKind::Directory {
                return Err(UnpackFault::Top);
            }
            self.descent.go_to_top()?;
            return self.descent.give(metadata);
        };
        self.descent.make(path.above(), member.time, &mut self.written)?;
        if member.kind == ArchiveKind::Directory {
            return self.directory(&path, name, metadata);
        }
        let target = match &member.kind {
            ArchiveKind::Link(target) => match self.target(&path, target)? {
                Some(target) => Some(target),
                None => return self.leave_out(&path, name, &member),
            },
            _ => None,
        };
        self.clear(&path, name, false)?;
        let frame = self.descent.last();
        let directory = frame.directory();
        match &member.kind {
            ArchiveKind::File(size) => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let file = openat(directory, name, flags, Mode::RUSR | Mode::WUSR);
                let file = File::from(file?);
                frame.disinherit(file.as_fd())?;
                copy(archive, *size, &file, &mut self.buffer)?;
                metadata.give(file.as_fd(), &mut self.unpacked.left_out)?;
            }
            ArchiveKind::Symlink(target) if target.len() > LONGEST_TARGET => {
                return Err(UnpackFault::LongTarget(LONGEST_TARGET));
            }
            ArchiveKind::Symlink(target) => {
                symlinkat(target.as_slice(), directory, name)?;
                let left_out = &mut self.unpacked.left_out;
                metadata.give_named(directory, name, true, left_out)?;
            }
            ArchiveKind::Fifo => {
                let mode = Mode::RUSR | Mode::WUSR;
                mknodat(directory, name, FileType::Fifo, mode, 0)?;
                frame.disinherit_named(name)?;
                let left_out = &mut self.unpacked.left_out;
                metadata.give_named(directory, name, false, left_out)?;
            }
            ArchiveKind::CharacterDevice(major, minor) | ArchiveKind::BlockDevice(major, minor) => {
                let is_block = matches!(member.kind, ArchiveKind::BlockDevice(..));
                let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
                // In an overlay it would say that there is nothing.
                let is_whiteout = !is_block && (*major, *minor) == (0, 0);
                if is_whiteout || self.devices == Devices::LeaveOut {
                    return self.leave_out(&path, name, &member);
                }
                let mode = Mode::RUSR | Mode::WUSR;
                match mknodat(directory, name, kind, mode, makedev(*major, *minor)) {
                    Err(Errno::PERM) => return self.leave_out(&path, name, &member),
                    made => made?,
                }
                frame.disinherit_named(name)?;
                let left_out = &mut self.unpacked.left_out;
                metadata.give_named(directory, name, false, left_out)?;
            }
            ArchiveKind::Link(_) => {
                if let Some((above, of)) = &target {
                    linkat(above, of, directory, name, AtFlags::empty())?;
                }
            }
            ArchiveKind::Directory => {}
        }
        self.put(&path)
    }

    fn directory(
        &mut self,
        path: &MemberPath,
        name: &CStr,
        metadata: Metadata,
    ) -> Result<(), UnpackFault> {
        self.clear(path, name, true)?;
        self.descent.make(path.names(), metadata.time, &mut self.written)?;
        self.descent.give(metadata)?;
        self.put(path)
    }

    /// Notes that something is there.
    fn put(&mut self, path: &MemberPath) -> Result<(), UnpackFault> {
        self.unpacked.put += 1;
        self.written.add(self.written.key(path.names()))
    }

    /// Takes away what is where something is to be put. A directory may stay where one is wanted.
    fn clear(
        &mut self,
        path: &MemberPath,
        name: &CStr,
        is_directory: bool,
    ) -> Result<(), UnpackFault> {
        let frame = self.descent.last_mut();
        frame.touch();
        let found = match statat(frame.directory(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => FileType::from_raw_mode(found?.st_mode),
        };
        let was_directory = found == FileType::Directory;
        if was_directory && is_directory {
            return Ok(());
        }
        if was_directory != is_directory && self.written.has(self.written.key(path.names())) {
            return Err(UnpackFault::Contradiction);
        }
        Ok(frame.remove(name)?)
    }

    /// Returns the directory and the name of what a hard link is to be another name of; `None` where that
    /// was left out.
    fn target(
        &mut self,
        path: &MemberPath,
        target: &[u8],
    ) -> Result<Option<(OwnedFd, CString)>, UnpackFault> {
        let fault = |fault| UnpackFault::Target { target: target.to_vec(), fault };
        let of = MemberPath::read(target, self.limits.levels)
            .map_err(|_| fault("is a path that no member can have"))?;
        let name = of.name().ok_or_else(|| fault("is a directory"))?;
        if of.names().starts_with(path.names()) {
            return Err(fault("is the link itself, or below it"));
        }
        if self.absent.has(self.absent.key(of.names())) {
            return Ok(None);
        }
        let above = self.descent.look(of.above()).map_err(|error| match error {
            Errno::NOENT => fault("is not there"),
            Errno::NOTDIR | Errno::LOOP => {
                fault("is not there: there is a link or a file on the way")
            }
            error => error.into(),
        })?;
        match statat(&above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Err(fault("is not there")),
            Err(error) => Err(error.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                Err(fault("is a directory"))
            }
            Ok(_) => Ok(Some((above, name.to_owned()))),
        }
    }

    /// Leaves a device out, or a link to one: nothing is there then.
    fn leave_out(
        &mut self,
        path: &MemberPath,
        name: &CStr,
        member: &ArchiveMember,
    ) -> Result<(), UnpackFault> {
        self.clear(path, name, false)?;
        self.unpacked.left_out.add(OmittedKind::Device, &member.path);
        self.absent.add(self.absent.key(path.names()))
    }
}

/// Reads the bytes of a file. Zeros become holes.
fn copy<R: Read>(
    archive: &mut ArchiveReader<R>,
    size: u64,
    file: &File,
    buffer: &mut [u8],
) -> Result<(), UnpackFault> {
    let (mut position, mut written) = (0, 0);
    loop {
        let length = archive.piece(buffer).map_err(|error| error.fault)?;
        if length == 0 {
            break;
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let zeros = run(rest, true);
            position += zeros as u64;
            rest = &rest[zeros..];
            let data = run(rest, false);
            file.write_all_at(&rest[..data], position)?;
            position += data as u64;
            if data > 0 {
                written = position;
            }
            rest = &rest[data..];
        }
    }
    if written < size {
        file.set_len(size)?;
    }
    Ok(())
}

/// Returns how many of the first bytes are in blocks that are all zeros, or are not.
fn run(bytes: &[u8], of_zeros: bool) -> usize {
    let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let blocks = bytes.chunks(HOLE).take_while(|block| is_zero(block) == of_zeros);
    blocks.map(<[u8]>::len).sum()
}

/// What is read of an archive, as long as no signal comes.
struct Heard<'a, R> {
    from: R,
    interrupt: Interrupt<'a>,
    stopped: &'a Cell<bool>,
    /// How many bytes were read since it was looked for one.
    unheard: usize,
}

impl<R: Read> Read for Heard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.unheard > PATIENCE {
                self.unheard = 0;
                self.check()?;
            }
            match self.from.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.check()?,
                Ok(read) => {
                    self.unheard += read;
                    return Ok(read);
                }
                error => return error,
            }
        }
    }
}

impl<R> Heard<'_, R> {
    /// Fails once the work should stop, and not so that whoever reads tries again.
    fn check(&self) -> io::Result<()> {
        self.interrupt.check().map_err(|error| {
            self.stopped.set(error.kind() == io::ErrorKind::Interrupted);
            io::Error::other(error)
        })
    }
}
