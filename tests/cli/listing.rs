//! A tree as text, to be compared.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Lists all below a directory, sorted: path, kind with permission bits, owner, and what it holds.
pub(crate) fn of(top: &Path) -> String {
    let mut text = String::new();
    below(top, "", &mut text);
    text
}

fn below(directory: &Path, prefix: &str, text: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        let line = one(&entry.path());
        let _ = writeln!(text, "{name} {line}");
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), &name, text);
        }
    }
}

/// Describes what is at a path, a link not followed; `nothing`, where there is nothing.
pub(crate) fn one(path: &Path) -> String {
    let Ok(metadata) = fs::symlink_metadata(path) else { return "nothing".to_owned() };
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return format!("-> {}", fs::read_link(path).unwrap().display());
    }
    let owner = match (metadata.uid(), metadata.gid()) {
        (uid, gid) if uid == own().0 && gid == own().1 => String::new(),
        (uid, gid) => format!(" {uid}:{gid}"),
    };
    let mode = metadata.mode() & 0o7777;
    if kind.is_dir() {
        format!("directory {mode:04o}{owner}")
    } else if kind.is_fifo() {
        format!("fifo {mode:04o}{owner}")
    } else {
        let bytes = fs::read(path).unwrap_or_default();
        format!("file {mode:04o}{owner} {:?}", String::from_utf8_lossy(&bytes))
    }
}

/// Root, or the ordinary user who is root of a namespace.
fn own() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}
