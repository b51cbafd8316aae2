//! Writes an image into an OCI layout.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::image::{Image, Warnings};
use super::oci_config;
use super::output::Output;
use super::room::{BLOBS, LAYOUT};
use crate::digest::Digest;
use crate::host::files;
use crate::host::new_file::NewFile;
use crate::tree::Interrupt;

/// The largest index that is read, in bytes.
const LARGEST: usize = 4 << 20;

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
    let before = match files::read_regular(&layout.join("index.json"), LARGEST) {
        Ok(text) => Some(serde_json::from_slice::<Value>(&text).map_err(|error| {
            io::Error::other(format!("`{}`: {error}", layout.join("index.json").display()))
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let made = image.blobs(warnings, interrupt)?;
    let mut layers = Vec::new();
    let into = files::open_directory(&blobs)?;
    for (layer, mut from) in made {
        let name = hex(layer.digest);
        // A blob is named by what is in it.
        let is_there = fs::symlink_metadata(blobs.join(&name))
            .is_ok_and(|there| there.is_file() && there.len() == layer.size);
        if !is_there {
            let new = NewFile::create(into.as_fd(), output.mode())?;
            output.give(new.file())?;
            copy(&mut from, new.file(), interrupt)?;
            new.put(name.as_ref())?;
        }
        layers.push(layer);
    }
    let put = |text: &[u8]| -> io::Result<(Digest, u64)> {
        let digest = Digest::of(text);
        replace(&blobs, &hex(digest), text, output)?;
        Ok((digest, text.len() as u64))
    };
    let (config, manifest) = image.documents(&layers)?;
    put(&config)?;
    let manifest = put(&manifest)?;
    let version = serde_json::to_vec(&json!({ "imageLayoutVersion": "1.0.0" }))?;
    replace(layout, LAYOUT, &version, output)?;
    // Nobody finds the image before it is whole, on the disk.
    rustix::fs::syncfs(&into)?;
    let index = serde_json::to_vec(&oci_config::index(before, tag, manifest))?;
    replace(layout, "index.json", &index, output)?;
    File::open(layout)?.sync_all()
}

/// How many bytes are copied before it is looked whether a signal has come.
const PIECE: u64 = 64 << 20;

/// Copies a blob.
fn copy(from: &mut File, mut to: &File, interrupt: Interrupt<'_>) -> io::Result<()> {
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
    let directory = files::open_directory(directory)?;
    files::replace_in(&directory, name, text, output.ownership())
}
