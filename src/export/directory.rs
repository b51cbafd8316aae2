//! A role's rootfs as a directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;

use super::archive::{directory_above, hidden_names};
use super::image::{Image, Warnings};
use crate::host::{fault, files};
use crate::tree::{self, Devices, Interrupt, Limits, Omitted, unpack};

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
    let temporary = make_beside(directory).map_err(about)?;
    let written = fill(image, &temporary, warnings, interrupt)
        .and_then(|()| fs::rename(&temporary, directory))
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

/// Makes a new directory beside a path.
fn make_beside(path: &Path) -> io::Result<PathBuf> {
    for temporary in hidden_names(path) {
        match DirBuilder::new().mode(0o700).create(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| temporary),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
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
