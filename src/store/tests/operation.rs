//! Operations on files, as programs do them.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags,
    chmod, chownat, fstat, ftruncate, futimens, linkat, lremovexattr, lsetxattr, mkdirat, mknodat,
    open, renameat_with, symlinkat, unlinkat, utimensat,
};
use rustix::io::{Errno, pwrite};

use super::dump;
use super::random::Random;

/// One operation; paths are relative to the tree's top.
#[derive(Debug)]
pub(crate) enum Operation {
    Mkdir(String, u32),
    Write(String, usize),
    Append(String, usize),
    /// Another byte, and the times as they were: no stamp tells.
    Forge(String),
    /// What programs do to save a file: a copy, byte for byte, takes its name.
    Replace(String),
    Chmod(String, u32),
    Chown(String, u32),
    Rename(String, String, RenameFlags),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    RemoveAll(String),
    Symlink(String, String),
    SetAttribute(String, &'static str, u8),
    RemoveAttribute(String, &'static str),
    Truncate(String, u64),
    Utimes(String, i64),
    Mkfifo(String),
}

const MODES: [u32; 7] = [0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0];
const ATTRIBUTES: [&str; 3] = ["user.planted", "user.other", "trusted.mine"];
const TARGETS: [&str; 3] = ["f1", "../nowhere", "."];

impl Operation {
    /// Returns a random one for a tree like `tree`.
    pub(crate) fn any(tree: &Path, random: &mut Random) -> Self {
        let there = dump::paths(tree);
        let kind = |path: &str| fs::symlink_metadata(tree.join(path)).unwrap();
        let directories: Vec<_> = there.iter().filter(|path| kind(path).is_dir()).collect();
        let others: Vec<_> = there.iter().filter(|path| !kind(path).is_dir()).collect();
        let fresh = |random: &mut Random| {
            let directory = random.pick(&directories);
            let name = format!("n{}", random.below(40));
            if directory.is_empty() { name } else { format!("{directory}/{name}") }
        };
        // Mostly one that can be worked on, at times any.
        let file = |random: &mut Random| match others.is_empty() || random.once_in(12) {
            true => there[random.below(there.len())].clone(),
            false => random.pick(&others).clone(),
        };
        let directory = |random: &mut Random| random.pick(&directories).clone();
        let any = |random: &mut Random| there[random.below(there.len())].clone();
        match random.below(26) {
            0 => Self::Mkdir(fresh(random), random.pick(&MODES)),
            1 | 2 => Self::Write(fresh(random), random.below(5000)),
            3 => Self::Write(file(random), random.below(5000)),
            4 => Self::Append(file(random), 1 + random.below(3000)),
            5 => Self::Forge(file(random)),
            6 => Self::Replace(file(random)),
            7 => Self::Chmod(any(random), random.pick(&MODES)),
            8 => Self::Chown(any(random), u32::try_from(random.below(4) * 500).unwrap()),
            9 | 10 => Self::Rename(directory(random), fresh(random), RenameFlags::empty()),
            11 => Self::Rename(directory(random), directory(random), RenameFlags::empty()),
            12 => Self::Rename(file(random), fresh(random), RenameFlags::empty()),
            13 => Self::Rename(file(random), file(random), RenameFlags::empty()),
            14 => Self::Rename(any(random), any(random), RenameFlags::NOREPLACE),
            15 => Self::Rename(any(random), any(random), RenameFlags::EXCHANGE),
            16 => Self::Link(file(random), fresh(random)),
            18 => Self::Rmdir(any(random)),
            19 if random.once_in(3) => Self::RemoveAll(directory(random)),
            17 | 19 => Self::Unlink(file(random)),
            20 => Self::Symlink(random.pick(&TARGETS).to_owned(), fresh(random)),
            21 => Self::SetAttribute(
                any(random),
                random.pick(&ATTRIBUTES),
                u8::try_from(random.below(9)).unwrap(),
            ),
            22 => Self::RemoveAttribute(file(random), random.pick(&ATTRIBUTES)),
            23 => Self::Truncate(file(random), random.pick(&[0, 10, 5000, 2 << 20])),
            24 => Self::Utimes(any(random), i64::try_from(random.below(1_000_000)).unwrap()),
            _ => Self::Mkfifo(fresh(random)),
        }
    }

    /// Does it in a tree.
    pub(crate) fn act(&self, top: &Path) -> Result<(), Errno> {
        let at = |path: &str| top.join(path);
        let mode = Mode::from_raw_mode;
        match self {
            Self::Mkdir(path, bits) => mkdirat(CWD, at(path), mode(*bits)),
            Self::Write(path, length) => {
                let file = opened(&at(path), OFlags::CREATE | OFlags::TRUNC)?;
                pwrite(file, &vec![b'w'; *length], 0).map(drop)
            }
            Self::Append(path, length) => {
                let file = opened(&at(path), OFlags::APPEND)?;
                pwrite(file, &vec![b'p'; *length], 0).map(drop)
            }
            Self::Forge(path) => {
                let file = opened(&at(path), OFlags::empty())?;
                let stat = fstat(&file)?;
                pwrite(&file, b"!", 0)?;
                futimens(&file, &crate::tree::times(&stat))
            }
            Self::Replace(path) => replace(&at(path)),
            Self::Chmod(path, bits) if !is_link(&at(path)) => chmod(at(path), mode(*bits)),
            Self::Chmod(..) => Ok(()),
            Self::Chown(path, id) => {
                let (uid, gid) = (Some(Uid::from_raw(*id)), Some(Gid::from_raw(*id)));
                chownat(CWD, at(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
            Self::Rename(old, new, flags) => renameat_with(CWD, at(old), CWD, at(new), *flags),
            Self::Link(old, new) => linkat(CWD, at(old), CWD, at(new), AtFlags::empty()),
            Self::Unlink(path) => unlinkat(CWD, at(path), AtFlags::empty()),
            Self::Rmdir(path) => unlinkat(CWD, at(path), AtFlags::REMOVEDIR),
            Self::RemoveAll(path) if path.is_empty() => Err(Errno::BUSY),
            Self::RemoveAll(path) => {
                fs::remove_dir_all(at(path)).map_err(|error| Errno::from_io_error(&error).unwrap())
            }
            Self::Symlink(target, path) => symlinkat(target, CWD, at(path)),
            Self::SetAttribute(path, name, value) => {
                lsetxattr(at(path), *name, &[*value], XattrFlags::empty())
            }
            Self::RemoveAttribute(path, name) => lremovexattr(at(path), *name),
            Self::Truncate(path, length) => ftruncate(opened(&at(path), OFlags::empty())?, *length),
            Self::Utimes(path, seconds) => {
                let time = Timespec { tv_sec: *seconds, tv_nsec: 123_456_789 };
                let times = Timestamps { last_access: time, last_modification: time };
                utimensat(CWD, at(path), &times, AtFlags::SYMLINK_NOFOLLOW)
            }
            Self::Mkfifo(path) => mknodat(CWD, at(path), FileType::Fifo, mode(0o644), 0),
        }
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Opens a file to write to it. A pipe that nobody reads is no reason to wait.
fn opened(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(path, flags, Mode::from_raw_mode(0o644))
}

/// Puts a copy in the place of a file.
fn replace(path: &Path) -> Result<(), Errno> {
    let of = |error: std::io::Error| Errno::from_io_error(&error).unwrap();
    let metadata = fs::symlink_metadata(path).map_err(of)?;
    if !metadata.is_file() {
        return Err(Errno::INVAL);
    }
    let aside = path.with_extension("new");
    fs::write(&aside, fs::read(path).map_err(of)?).map_err(of)?;
    std::os::unix::fs::chown(&aside, Some(metadata.uid()), Some(metadata.gid())).map_err(of)?;
    chmod(&aside, Mode::from_raw_mode(metadata.mode() & 0o7777))?;
    let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, &aside, &times, AtFlags::empty())?;
    fs::rename(&aside, path).map_err(of)
}
