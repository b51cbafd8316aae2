//! Writes an image into an OCI layout.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::digested::Digested;
use super::image::Image;
use super::oci_config::{self, LayerBlob};
use super::output::Output;
use super::room::{BLOBS, LAYOUT};
use super::warnings::Warnings;
use crate::digest::{Digest, Reading};
use crate::host::filesystem::stamp;
use crate::host::new_file::NewFile;
use crate::host::settled::settled;
use crate::host::{fault, files};
use crate::tree::Interrupt;

/// The largest index that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// The file of a layout that names its images.
const INDEX: &str = "index.json";

/// The version of layouts. Source: the image specification of OCI 1.1.
const VERSION: &str = "1.0.0";

/// Writes an image by a tag. What the layout has besides stays.
pub(super) fn write(
    image: &Image,
    layout: &Path,
    tag: &str,
    output: Output,
    warnings: &mut Warnings,
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    let blobs = layout.join(BLOBS).join("sha256");
    for path in [layout, &layout.join(BLOBS), &blobs] {
        output.make_directory(path)?;
    }
    // Whoever else writes into it has other tags to add.
    let layout_lock = files::open_directory(layout)?;
    while !lock(&layout_lock)? {
        interrupt.sleep(POLL_INTERVAL)?;
    }
    check_version(layout)?;
    let before = read(&layout.join(INDEX), |index| {
        let has_manifests = index.get("manifests").is_none_or(Value::is_array);
        if index.is_object() && has_manifests { Ok(()) } else { Err("it is no index of images") }
    })?;
    let made = image.blobs(warnings, interrupt)?;
    let mut layers = Vec::new();
    let into = files::open_directory(&blobs)?;
    for (number, (layer, mut from)) in made.into_iter().enumerate() {
        let name = hex(layer.digest);
        let path = blobs.join(&name);
        // A blob is named by what should be in it.
        if !is_whole(image, &path, &layer, interrupt)? {
            let write = |from: &mut File| -> io::Result<bool> {
                let new = NewFile::create(into.as_fd(), output.mode())?;
                output.give(new.file())?;
                let mut to = Digested::new(new.file());
                copy(from, &mut to, interrupt)?;
                let is_sound = to.digest.finish() == layer.digest;
                if is_sound {
                    new.put(name.as_ref())?;
                }
                Ok(is_sound)
            };
            let write = |from: &mut File| write(from).map_err(|error| about(&path, error));
            if !write(&mut from)? && !write(&mut image.remake_blob(number, &layer, interrupt)?)? {
                return Err(about(&path, io::Error::other("it is not what it was made as")));
            }
        }
        layers.push(layer);
    }
    let put = |text: &[u8]| -> io::Result<(Digest, u64)> {
        let digest = Digest::of(text);
        replace(&blobs, &hex(digest), text, output)?;
        Ok((digest, text.len() as u64))
    };
    let (config, manifest) = image.documents(&layers, warnings)?;
    put(&config)?;
    let manifest = put(&manifest)?;
    let version = serde_json::to_vec(&json!({ "imageLayoutVersion": VERSION }))?;
    replace(layout, LAYOUT, &version, output)?;
    // Nobody finds the image before it is whole, on the disk.
    rustix::fs::syncfs(&into).map_err(|error| about(layout, error.into()))?;
    let index = serde_json::to_vec(&oci_config::index(before, tag, manifest))?;
    replace(layout, INDEX, &index, output)?;
    File::open(layout)?.sync_all()
}

/// Sees that a layout that is there is of the version that is written.
fn check_version(layout: &Path) -> io::Result<()> {
    let is_known = |layout: &Value| match layout["imageLayoutVersion"].as_str() {
        Some(VERSION) => Ok(()),
        _ => Err("it is of another version of layouts"),
    };
    read(&layout.join(LAYOUT), is_known).map(|_| ())
}

/// Reads a document of a layout; `None` where there is none. `check` says why it cannot be used.
fn read(
    path: &Path,
    check: impl FnOnce(&Value) -> Result<(), &'static str>,
) -> io::Result<Option<Value>> {
    let text = match files::read_regular(path, LARGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| about(path, error))?,
    };
    let value = serde_json::from_slice(&text).map_err(|error| about(path, error.into()))?;
    check(&value).map_err(|why| about(path, io::Error::other(why)))?;
    Ok(Some(value))
}

/// Tells whether a blob is there, and is what its name says. One that has not changed since it was read is not read again.
fn is_whole(
    image: &Image,
    path: &Path,
    layer: &LayerBlob,
    interrupt: Interrupt<'_>,
) -> io::Result<bool> {
    let is_like = |there: fs::Metadata| there.is_file() && there.len() == layer.size;
    if !fs::symlink_metadata(path).is_ok_and(is_like) {
        return Ok(false);
    }
    let Ok(mut there) = File::open(path) else { return Ok(false) };
    let before = stamp(&fstat(&there)?);
    if image.store.recall(&before) == Some(layer.digest) {
        return Ok(true);
    }
    let begun = SystemTime::now();
    let mut digested = Digested::new(io::sink());
    let copied = copy(&mut there, &mut digested, interrupt);
    interrupt.check()?;
    let is_whole = copied.is_ok() && digested.digest.finish() == layer.digest;
    if is_whole && settled(&there, begun) == Some(before) {
        let reading = Reading { stamp: before, digest: layer.digest };
        if let Err(error) = image.store.remember(&reading) {
            tracing::debug!(%error, "a blob will be read again");
        }
    }
    Ok(is_whole)
}

fn about(path: &Path, error: io::Error) -> io::Error {
    fault::about(format!("`{}`", path.display()), error)
}

/// How many bytes are copied before it is looked whether a signal has come.
const PIECE: u64 = 64 << 20;

/// Copies a blob.
fn copy(from: &mut File, mut to: impl Write, interrupt: Interrupt<'_>) -> io::Result<()> {
    loop {
        interrupt.check()?;
        if io::copy(&mut Read::by_ref(from).take(PIECE), &mut to)? == 0 {
            return Ok(());
        }
    }
}

fn hex(digest: Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}

/// How often it is looked whether another has done with the layout.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Takes the lock of a layout; false, where another has it.
fn lock(layout: &OwnedFd) -> io::Result<bool> {
    match flock(layout, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn replace(directory: &Path, name: &str, text: &[u8], output: Output) -> io::Result<()> {
    let replaced = || -> io::Result<()> {
        let opened = files::open_directory(directory)?;
        files::replace_in(&opened, name, text, output.ownership())
    };
    replaced().map_err(|error| about(&directory.join(name), error))
}
