//! Writes an image into an OCI layout: one layer for each that is stored.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::digested::Digested;
use super::gzip::Gzip;
use super::image::{Image, Warnings};
use super::oci_config::{self, LayerBlob};
use super::output::Output;
use super::room::{BLOBS, LAYOUT};
use crate::digest::Digest;
use crate::host::clock;
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
    let mut layers = Vec::new();
    let into = files::open_directory(&blobs)?;
    for (number, (entry, _)) in image.layers.iter().enumerate() {
        let created = clock::format(image.made_at(number));
        let by = entry.made.slot.replace('`', "");
        let new = NewFile::create(into.as_fd(), output.mode())?;
        let (digest, size, diff_id) =
            write_layer(image, number, new.file(), output, warnings, interrupt)?;
        new.put(hex(digest).as_ref())?;
        layers.push(LayerBlob { digest, size, diff_id, created, by });
    }
    let put = |value: &Value| -> io::Result<(Digest, u64)> {
        let text = serde_json::to_vec(value)?;
        let digest = Digest::of(&text);
        replace(&blobs, &hex(digest), &text, output)?;
        Ok((digest, text.len() as u64))
    };
    let config = put(&oci_config::config(image.arch(), &layers, &image.config()))?;
    let manifest = put(&oci_config::manifest(config, &layers))?;
    let version = serde_json::to_vec(&json!({ "imageLayoutVersion": "1.0.0" }))?;
    replace(layout, LAYOUT, &version, output)?;
    // Nobody finds the image before it is whole, on the disk.
    rustix::fs::syncfs(&into)?;
    let index = serde_json::to_vec(&oci_config::index(before, tag, manifest))?;
    replace(layout, "index.json", &index, output)?;
    File::open(layout)?.sync_all()
}

/// Writes the archive of a layer, compressed, and returns the digest and the size of that, and the digest of the
/// archive.
fn write_layer(
    image: &Image,
    number: usize,
    file: &File,
    output: Output,
    warnings: &mut Warnings,
    interrupt: Interrupt<'_>,
) -> io::Result<(Digest, u64, Digest)> {
    output.give(file)?;
    let gzip = Gzip::new(Digested::new(file))?;
    let mut to = BufWriter::with_capacity(1 << 20, Digested::new(gzip));
    image.write_layer(number, &mut to, warnings, interrupt)?;
    let Digested { to: gzip, digest, .. } =
        to.into_inner().map_err(io::IntoInnerError::into_error)?;
    let diff_id = digest.finish();
    let Digested { digest, size, .. } = gzip.finish()?;
    Ok((digest.finish(), size, diff_id))
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
