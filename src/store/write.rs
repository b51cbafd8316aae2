//! Writes files that are there whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::layout::unique;

/// Writes a file that is there whole, on the disk, or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("new-{}", unique()?));
    let mut file = File::create_new(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    put(&temporary, path, written)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Gives a file that was written its name; one that could not be written, or named, goes.
pub(super) fn put(temporary: &Path, path: &Path, written: io::Result<()>) -> io::Result<()> {
    written.and_then(|()| fs::rename(temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
