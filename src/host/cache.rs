//! What steps inside a rootfs download, kept for the next run.
//!
//! Under the cache directory is one directory for each id map, since what is in it belongs to that
//! map's ids. It is open to the map's root alone: a step may put set-id programs there.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

use super::caller::Caller;
use super::files;
use super::owned::{OwnerIds, make_all, make_one};
use super::rootfs::{Attributes, own};
use super::trust;
use crate::digest::Digest;

/// The variable that puts the cache directory elsewhere.
pub(crate) const VARIABLE: &str = "LAYERED_TEMPLATE_CACHE";

/// The longest path that is a name as it stands, in bytes.
const LONGEST: usize = 200;

/// Returns where the cache directory of a caller is.
pub(crate) fn directory(caller: &Caller) -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(path) = variable(VARIABLE) {
        return Some(path);
    }
    if caller.is_host_root() {
        return Some("/var/cache/layered-template".into());
    }
    let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    base.map(|base| base.join("layered-template"))
}

/// The directory that stands in for one of the rootfs, and its lock.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    lock: File,
    new: bool,
}

impl Kept {
    /// Finds or makes the directory for `path` of a rootfs.
    pub(crate) fn find(directory: &Path, owner: OwnerIds, path: &Path) -> io::Result<Self> {
        trust::check(directory)?;
        make_all(directory, 0o700, owner)?;
        let of_map = directory.join(map());
        exists_or(make_one(&of_map, 0o700, Some((0, 0))))?;
        let name = name_of(path);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = files::open_directory(&of_map).and_then(|at| {
            Ok(openat(at, format!("{name}.lock"), flags, Mode::RUSR | Mode::WUSR)?)
        })?;
        let path = of_map.join(name);
        let new = match make_one(&path, 0o755, Some((0, 0))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            other => other.map(|()| true)?,
        };
        Ok(Self { path, lock: lock.into(), new })
    }

    /// Takes it for this run alone; false where another run has it.
    pub(crate) fn take(&self) -> io::Result<bool> {
        match flock(&self.lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens it. A new one becomes like the directory that it stands in for.
    pub(crate) fn open(self, like: Option<Attributes>) -> io::Result<(OwnedFd, OwnedFd)> {
        let directory = files::open_directory(&self.path)?;
        if let (true, Some(like)) = (self.new, like) {
            own(&directory, like)?;
        }
        Ok((directory, self.lock.into()))
    }
}

fn exists_or(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Returns a name for the id map of this process.
fn map() -> String {
    let read = |kind| std::fs::read_to_string(format!("/proc/self/{kind}_map")).unwrap_or_default();
    let text = format!("{} {}", read("uid"), read("gid"));
    let numbers: Vec<_> = text.split_whitespace().collect();
    short(numbers.join(" ").as_bytes())
}

fn short(bytes: &[u8]) -> String {
    let digest = Digest::of(bytes).to_string();
    digest.rsplit(':').next().unwrap_or_default().chars().take(16).collect()
}

/// Returns a path as one name.
fn name_of(path: &Path) -> String {
    let text = path.to_string_lossy();
    let name = text.trim_start_matches('/').replace('%', "%25").replace('/', "%2F");
    if name.len() <= LONGEST { name } else { short(text.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names_that_differ() {
        assert_eq!(name_of(Path::new("/var/cache/apt")), "var%2Fcache%2Fapt");
        assert_eq!(name_of(Path::new("/var%2Fcache")), "var%252Fcache");
        let long = format!("/{}", "a/".repeat(300));
        assert_eq!(name_of(Path::new(&long)).len(), 16);
    }
}
