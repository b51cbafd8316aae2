//! Drops files into the rootfs.

mod owner;
mod tree;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode as FileMode, OFlags, openat};

pub(crate) use owner::look_up as look_up_owner;

use super::Run;
use super::failure::{Cause, Failure, status};
use super::observe::{Doing, Subject};
use crate::chain::{self, Secret};
use crate::digest::{Digest, Hasher};
use crate::host::holes;
use crate::host::rootfs::{Attributes, Rootfs, RootfsEntry, copy, own};
use crate::manifest::{IfExists, Mode, Owner};
use crate::plan::{Bytes, Content, FileDrop, Layer};

/// The permission bits of a directory that is dropped without any.
const DIRECTORY: Mode = Mode::new(0o755);

/// What is wrong with a source that has become something else.
const NO_LONGER: &str = "it is no longer a file";

/// What decides whether a drop goes ahead.
const IF_EXISTS: &str = "`if_exists` decides what happens then: `\"error\"` ends the run, \
                         `\"replace\"` puts the drop in its place, and `\"keep\"` keeps what is there";

impl Run<'_> {
    pub(super) fn drop(&mut self, layer: &Layer, file: &FileDrop) -> Result<(), Failure> {
        // What is made only during the run is made first: the text of a secret, a fetched file.
        let made = match &file.content {
            Content::Rendered { template, values, .. } => {
                let text = chain::reveal(template, values, &self.context.secrets);
                let text = text.map_err(|fault| {
                    failure(layer, file, fault.diagnostic(&file.at, "").message.trim_start())
                })?;
                Some(Made::Text(text))
            }
            Content::Fetched { url, .. } => Some(Made::File(self.fetch(layer, file, url)?)),
            _ => None,
        };
        let fail = |error: &io::Error, reason: &str| {
            let reason = format!("could not be dropped: {reason}");
            failure(layer, file, &reason).because(Cause::from(error))
        };
        let rootfs = Rootfs::open(&self.workspace.rootfs)
            .map_err(|error| fail(&error, &format!("the rootfs: {error}")))?;
        let dropped = Drop { rootfs: &rootfs, file, made }.make();
        dropped.map_err(|error| {
            let failure = fail(&error, &explain(&error));
            match error.kind() {
                io::ErrorKind::AlreadyExists => failure.hint(IF_EXISTS),
                _ => failure,
            }
        })
    }
}

fn failure(layer: &Layer, file: &FileDrop, reason: &str) -> Failure {
    let doing = Doing::Drop(file.path.to_string());
    let subject = Subject { layer: layer.name.clone(), doing };
    Failure::of(status::FILES, subject, &file.at, reason)
}

/// Says more about errors whose names mislead in a rootfs.
fn explain(error: &io::Error) -> String {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::LOOP) => {
            "a link on the way leads around in a circle, or out of the rootfs".to_owned()
        }
        Some(rustix::io::Errno::NOTDIR) => {
            "something on the way is not a directory, or a link on the way leads nowhere".to_owned()
        }
        Some(rustix::io::Errno::XDEV) => {
            "something is mounted on the way, and what is mounted is no part of the rootfs"
                .to_owned()
        }
        Some(rustix::io::Errno::NOENT) => "a link on the way leads nowhere".to_owned(),
        Some(rustix::io::Errno::INVAL) => {
            format!("{error} (an owner outside the id map of the container is refused like this)")
        }
        _ => error.to_string(),
    }
}

/// One drop that is being made.
struct Drop<'a> {
    rootfs: &'a Rootfs,
    file: &'a FileDrop,
    made: Option<Made>,
}

/// What was made for a drop during the run.
enum Made {
    /// A text that holds secrets.
    Text(Secret),
    /// A file of the host that was fetched.
    File(PathBuf),
}

impl Drop<'_> {
    fn make(&self) -> io::Result<()> {
        let path: &Path = self.file.path.as_ref();
        if let Content::Remove = self.file.content {
            return self.remove(path);
        }
        let (uid, gid) =
            owner::look_up(self.rootfs, self.file.owner.as_ref().unwrap_or(&Owner::ROOT))?;
        if let Content::Tree { source, mode, top, entries } = &self.file.content {
            let tree = tree::Tree::new(self.rootfs, source, (top, entries), (uid, gid), *mode);
            return tree.merge(path, self.file.if_exists);
        }
        let place = self.rootfs.entry(path)?;
        let there = place.look()?.map(|stat| FileType::from_raw_mode(stat.st_mode));
        if there.is_some() && !self.goes_ahead()? {
            return Ok(());
        }
        match &self.file.content {
            Content::File { source, size, digest, mode } => {
                refuse_directory(there)?;
                let attributes = Attributes { uid, gid, mode: mode.bits() };
                put(&place, source, (*size, *digest), attributes)
            }
            Content::Rendered { mode, .. } => {
                refuse_directory(there)?;
                let Some(Made::Text(text)) = &self.made else { return Ok(()) };
                let attributes = Attributes { uid, gid, mode: mode.bits() };
                place.put_file(attributes, |file| file.write_all(text.expose().as_bytes()))
            }
            Content::Fetched { digest, mode, .. } => {
                refuse_directory(there)?;
                let Some(Made::File(path)) = &self.made else { return Ok(()) };
                let attributes = Attributes { uid, gid, mode: mode.bits() };
                put_fetched(&place, path, *digest, attributes)
            }
            Content::Symlink { target } => {
                refuse_directory(there)?;
                place.put_symlink(target.as_ref(), uid, gid)
            }
            Content::Directory { mode } => match there {
                Some(FileType::Directory) => self.adjust(&place, (uid, gid), *mode),
                None | Some(FileType::Symlink) => {
                    let mode = mode.unwrap_or(DIRECTORY).bits();
                    place.put_directory(Attributes { uid, gid, mode }, |_| Ok(()))
                }
                Some(_) => Err(io::Error::other("there is a file, not a directory")),
            },
            Content::Tree { .. } | Content::Remove => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.rootfs.existing_entry(path)? {
            Some(place) if place.look()?.is_some() && self.goes_ahead()? => {
                crate::tree::remove(place.directory(), place.name())
            }
            _ => Ok(()),
        }
    }

    /// Tells whether a drop goes ahead where something is there.
    fn goes_ahead(&self) -> io::Result<bool> {
        goes_ahead(self.file.if_exists)
    }

    /// Gives a directory that is there already what the manifest says of it, and no more.
    fn adjust(
        &self,
        place: &RootfsEntry,
        (uid, gid): (u32, u32),
        mode: Option<Mode>,
    ) -> io::Result<()> {
        if self.file.owner.is_none() && mode.is_none() {
            return Ok(());
        }
        let directory = place.open_directory()?;
        let now = rustix::fs::fstat(&directory)?;
        let (uid, gid) = match &self.file.owner {
            Some(_) => (uid, gid),
            None => (now.st_uid, now.st_gid),
        };
        let mode = mode.map_or(now.st_mode & 0o7777, Mode::bits);
        own(&directory, Attributes { uid, gid, mode })
    }
}

fn goes_ahead(if_exists: IfExists) -> io::Result<bool> {
    match if_exists {
        IfExists::Replace => Ok(true),
        IfExists::Keep => Ok(false),
        IfExists::Error => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "something is there already"))
        }
    }
}

fn refuse_directory(there: Option<FileType>) -> io::Result<()> {
    match there {
        Some(FileType::Directory) => Err(io::Error::other("there is a directory")),
        _ => Ok(()),
    }
}

/// Puts a file at a place. What comes from the host must be what was planned.
fn put(
    place: &RootfsEntry,
    source: &Bytes,
    planned: (u64, Digest),
    attributes: Attributes,
) -> io::Result<()> {
    match source {
        Bytes::Inline(bytes) => place.put_file(attributes, |file| file.write_all(bytes)),
        Bytes::Source(path) => {
            let from = open_source(path).map_err(|error| about_source(path, &error))?;
            place.put_file(attributes, |to| {
                let (digest, size) = holes::copy(&from, to, &mut vec![0; 128 * 1024])?;
                unchanged(path, &planned, &(size, digest))
            })
        }
    }
}

/// Puts a file at a place that was fetched, if it is what the manifest wants.
fn put_fetched(
    place: &RootfsEntry,
    path: &Path,
    wanted: Digest,
    attributes: Attributes,
) -> io::Result<()> {
    let mut from = File::open(path)?;
    place.put_file(attributes, |to| {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 128 * 1024];
        copy(&mut from, to, &mut buffer, |piece| hasher.update(piece))?;
        let found = hasher.finish();
        if found == wanted {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "what was fetched has the digest {found}, and the manifest wants {wanted}"
        )))
    })
}

/// Opens a source that was a file when it was planned. What is a fifo by now is not waited for.
fn open_source(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, FileMode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(NO_LONGER));
    }
    Ok(file)
}

fn about_source(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("its source `{}`: {error}", path.display()))
}

fn unchanged<T: PartialEq>(path: &Path, planned: &T, found: &T) -> io::Result<()> {
    if planned == found {
        return Ok(());
    }
    let path =
        crate::shell::printable(&String::from_utf8_lossy(path.as_os_str().as_bytes())).into_owned();
    Err(io::Error::other(format!("its source `{path}` changed after it was planned")))
}
