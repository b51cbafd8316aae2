//! Files of the host outside any rootfs: read with bounds, replaced in one go.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};

use super::caller::Caller;
use super::new_file::NewFile;
use super::trust::{Opened, Trust};
use crate::diagnostic::{Diagnostic, Report};
use crate::source::Source;

/// Reads a text of at most `limit` bytes: a manifest, or what it names as one. Beside it there may be a
/// warning that others could have written it.
///
/// # Errors
///
/// What cannot be read is a diagnostic of the file: not there, a fifo or a device, too large, not
/// UTF-8. So is what must not be taken.
pub(crate) fn read_source(
    path: &Path,
    limit: usize,
    trust: &Trust,
) -> Result<(Arc<Source>, Report), Diagnostic> {
    let fault = |message: String| Diagnostic::of_file(path, message);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => fault("there is no such file".to_owned()),
        _ => fault(error.to_string()),
    };
    let Opened { file, untrusted } = trust.open(path).map_err(unreadable)?;
    let bytes = read_opened(file, limit).map_err(unreadable)?;
    let warnings = match untrusted {
        None => Report::default(),
        Some(untrusted) if untrusted.is_refused() => return Err(untrusted.of_file(path)),
        Some(untrusted) => untrusted.of_file(path).into(),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        fault(format!("line {line}, column {column}: a byte that is not UTF-8"))
            .help("TOML is UTF-8; `iconv -f LATIN1 -t UTF-8` may convert the file")
    })?;
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    // TOML leaves it open what a line's end in a text over several lines is. A carriage return would
    // be part of a step's command, and of a dropped file.
    let text = if text.contains("\r\n") { text.replace("\r\n", "\n") } else { text };
    let dir = std::path::absolute(path)
        .ok()
        .and_then(|path| path.parent().map(Path::to_path_buf))
        .unwrap_or_else(|| PathBuf::from("/"));
    Ok((Arc::new(Source::new(path, dir, text)), warnings))
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read_regular(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_opened(open_at_once(path)?, limit)
}

/// Reads the first bytes of a regular file, at most `limit`.
pub(crate) fn read_head(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    regular(open_at_once(path)?)?.0.take(limit).read_to_end(&mut head)?;
    Ok(head)
}

fn open_at_once(path: &Path) -> io::Result<OwnedFd> {
    // A fifo without a writer would be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Returns a file and its size, if it is a regular one.
fn regular(file: OwnedFd) -> io::Result<(File, u64)> {
    let file = File::from(file);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((file, metadata.len()))
}

/// Reads an open file likewise, if it is a regular one.
pub(crate) fn read_opened(file: OwnedFd, limit: usize) -> io::Result<Vec<u8>> {
    let (file, size) = regular(file)?;
    if size > limit as u64 {
        return Err(io::Error::other(format!("it is {size} bytes long, and {limit} is the most")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // The file may grow meanwhile, or be one that has no length of its own.
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!(
            "it has more than {limit} bytes, the most that is allowed"
        )));
    }
    Ok(bytes)
}

/// Who a file belongs to, and its permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

impl Ownership {
    /// Returns those of an open file or directory.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 })
    }
}

/// Opens a directory by which files in it are reached.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Likewise, unless a link stands in its place.
pub(crate) fn open_real_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Opens a regular file of a directory for reading, a link not followed.
pub(crate) fn open_in(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => {
            return Err(io::Error::other(format!("`{name}` is a symbolic link")));
        }
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("`{name}` is not a regular file")));
    }
    Ok(file)
}

/// Replaces or makes the file `name` of a directory: whoever looks sees the old file or the whole
/// new one.
pub(crate) fn replace_in(
    directory: &OwnedFd,
    name: impl AsRef<OsStr>,
    bytes: &[u8],
    ownership: Ownership,
) -> io::Result<()> {
    let new = NewFile::create(directory.as_fd(), Mode::RUSR | Mode::WUSR)?;
    new.file().write_all(bytes)?;
    std::os::unix::fs::fchown(new.file(), Some(ownership.uid), Some(ownership.gid))?;
    rustix::fs::fchmod(new.file(), Mode::from_raw_mode(ownership.mode))?;
    new.put(name.as_ref())
}

/// Tells whether a disk, or what its user may have of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns the error of a full disk alone, without what was written there.
pub(crate) fn without_place(error: &io::Error) -> Option<io::Error> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some(rustix::io::Errno::NOSPC.into()),
        io::ErrorKind::QuotaExceeded => Some(rustix::io::Errno::DQUOT.into()),
        _ => None,
    }
}

/// A disk with less space than this is taken for a full one, in bytes.
const LEAST_SPACE: u64 = 256 * 1024;

/// Returns how many bytes have room on the disk of a path.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    // What is kept for root is root's.
    let is_root = Caller::observe().has_host_root();
    let free = if is_root { disk.f_bfree } else { disk.f_bavail };
    Ok(free.saturating_mul(disk.f_frsize))
}

/// Tells whether nothing more than the smallest files has a place on the disk of a path.
pub(crate) fn is_on_full_disk(path: &Path) -> io::Result<bool> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(free_bytes(path)? < LEAST_SPACE || (disk.f_files > 0 && disk.f_favail == 0))
}
