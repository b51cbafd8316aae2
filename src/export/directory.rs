//! A role's rootfs as a directory.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{AtFlags, CWD, FlockOperation, Stat, flock, fstat, statat};
use rustix::process::geteuid;

use super::image::Image;
use super::room::directory_above;
use super::warnings::Warnings;
use crate::host::{fault, files};
use crate::tree::{self, Devices, Interrupt, Limits, Omitted, unpack};

/// How many may be made beside a path at once.
const MOST_AT_ONCE: u32 = 64;

/// Writes the rootfs as a directory that is not there yet, or is empty. It is whole or not there at all.
///
/// What is in it belongs to the ids of the rootfs, those of the id map where this process is in one.
pub(super) fn write(
    image: &Image,
    directory: &Path,
    warnings: &mut Warnings,
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    let about = |error| fault::about(format!("`{}`", directory.display()), error);
    check(directory).map_err(about)?;
    let beside = make_beside(directory).map_err(about)?;
    let temporary = &beside.path;
    let written = fill(image, temporary, warnings, interrupt)
        .and_then(|()| fs::rename(temporary, directory))
        .and_then(|()| File::open(directory_above(directory))?.sync_all());
    written.map_err(|error| {
        if let (Ok(above), Some(name)) =
            (files::open_directory(directory_above(directory)), temporary.file_name())
        {
            let _ = tree::remove(above.as_fd(), name);
        }
        about(error)
    })
}

/// Sees that nothing of the directory would be lost.
fn check(directory: &Path) -> io::Result<()> {
    if directory.file_name().is_none() {
        return Err(io::Error::other("it has no name of its own"));
    }
    let found = match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.is_dir() {
        return Err(io::Error::other("it is there, and no directory"));
    }
    match fs::read_dir(directory)?.next() {
        Some(_) => Err(io::Error::other("it is there, and not empty")),
        None => Ok(()),
    }
}

/// A directory beside a path, locked as long as somebody works there.
struct Beside {
    path: PathBuf,
    _held: OwnedFd,
}

/// Makes a new directory beside a path. Those whose maker was killed are removed.
fn make_beside(path: &Path) -> io::Result<Beside> {
    for leftover in hidden_names(path) {
        remove_leftover(&leftover);
    }
    for temporary in hidden_names(path) {
        match DirBuilder::new().mode(0o700).create(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        let held = files::open_real_directory(&temporary)?;
        flock(&held, FlockOperation::LockExclusive)?;
        // Before it was locked, another may have taken it for a leftover.
        if is_at(&held, &temporary) {
            return Ok(Beside { path: temporary, _held: held });
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Returns paths beside one, which nobody lists.
fn hidden_names(path: &Path) -> impl Iterator<Item = PathBuf> {
    let name = path.file_name().unwrap_or_default();
    (0..MOST_AT_ONCE).map(move |number| {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".layered-template.new-{number}"));
        path.with_file_name(hidden)
    })
}

/// Removes what somebody has left who was killed: a directory of the same user that nobody has locked.
fn remove_leftover(path: &Path) {
    let Ok(held) = files::open_real_directory(path) else { return };
    let is_own = fstat(&held).is_ok_and(|found| found.st_uid == geteuid().as_raw());
    if is_own
        && flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
        && is_at(&held, path)
        && let (Ok(above), Some(name)) =
            (files::open_directory(directory_above(path)), path.file_name())
        && let Err(error) = tree::remove(above.as_fd(), name)
    {
        tracing::debug!(%error, path = %path.display(), "a leftover stays");
    }
}

/// Tells whether a directory that is open is the one at a path.
fn is_at(opened: &OwnedFd, path: &Path) -> bool {
    let there = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    let id = |found: rustix::io::Result<Stat>| found.ok().map(|found| (found.st_dev, found.st_ino));
    id(fstat(opened)).is_some_and(|own| id(there) == Some(own))
}

/// Fills a new directory with what an archive of the rootfs would have.
fn fill(
    image: &Image,
    directory: &Path,
    warnings: &mut Warnings,
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    let opened = files::open_directory(directory)?;
    tree::disinherit(opened.as_fd())?;
    let (reader, writer) = io::pipe()?;
    let (written, unpacked) = thread::scope(|scope| {
        let writing = thread::Builder::new().spawn_scoped(scope, || {
            let mut to = BufWriter::with_capacity(1 << 20, writer);
            image.write_whole(&mut to, warnings, interrupt)?;
            to.flush()
        })?;
        // It is this program that writes it.
        let limits =
            Limits { names: 64 << 20, entries: u64::MAX, bytes: u64::MAX, ..Limits::default() };
        let unpacked = unpack(reader, opened.as_fd(), &limits, Devices::LeaveOut, interrupt);
        let written = writing.join();
        let written = written.unwrap_or_else(|_| Err(io::Error::other("a thread has ended early")));
        Ok::<_, io::Error>((written, unpacked))
    })?;
    match (written, unpacked) {
        // Whoever fails first leaves the other alone.
        (Err(error), Err(_)) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        (_, Err(error)) => return Err(error.into()),
        (written, Ok(unpacked)) => {
            written?;
            note(&unpacked.left_out, warnings);
        }
    }
    tree::make_durable(opened.as_fd())
}

fn note(left_out: &Omitted, warnings: &mut Warnings) {
    for line in left_out.to_string().lines() {
        warnings.tell(line);
    }
}
