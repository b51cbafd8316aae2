//! The containers of this host that this program made.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::digest::Digest;
use crate::host::files;
use crate::host::trust::Trust;
use crate::record::{self, Record};
use crate::{lxc, manifest};

/// How many files of a directory are looked at for a manifest that has moved.
const MOST_FILES: usize = 1000;

/// The largest record, in bytes.
const LARGEST: usize = 256 << 20;

/// What there is in the directory of a container that is being made, and is locked as long: one that has it still,
/// and not locked, was never finished.
pub(crate) const PARTIAL: &str = "partial";

/// Tells whether the run was killed that was making a container in this directory.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    let partial = File::options().write(true).open(path.join(PARTIAL));
    partial
        .is_ok_and(|partial| fcntl_lock(&partial, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// Finds the directories of containers that were never finished.
pub(crate) fn unfinished(lxcpaths: &[PathBuf]) -> Vec<PathBuf> {
    let listed = lxcpaths.iter().filter_map(|lxcpath| fs::read_dir(lxcpath).ok());
    let paths = listed.flat_map(|listed| listed.flatten().map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| is_unfinished(path)).collect();
    found.sort();
    found
}

/// A container that has a record.
#[derive(Debug)]
pub(crate) struct Container {
    /// Its name.
    pub name: String,
    /// Its directory, as its config spells it.
    pub path: PathBuf,
    /// The directory of containers that it is in, as LXC's commands have to spell it.
    pub lxcpath: PathBuf,
    /// What made it, or why that cannot be read.
    pub record: io::Result<Record>,
    /// When that was written.
    pub made_at: Option<SystemTime>,
    /// Whether it runs.
    pub is_running: bool,
}

impl Container {
    /// Finds those in directories of containers that are finished, by name. A directory that is not there has none.
    ///
    /// # Errors
    ///
    /// Where a directory cannot be read: its path, and why.
    pub(crate) fn all(lxcpaths: &[PathBuf]) -> Result<Vec<Self>, (PathBuf, io::Error)> {
        let sockets = fs::read("/proc/net/unix").unwrap_or_default();
        let mut containers = Vec::new();
        for lxcpath in lxcpaths {
            let listed = match fs::read_dir(lxcpath) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(|error| (lxcpath.clone(), error))?,
            };
            for entry in listed {
                let entry = entry.map_err(|error| (lxcpath.clone(), error))?;
                let found = Self::read(&entry.path(), &sockets);
                containers.extend(found.filter(|found| !is_unfinished(&found.path)));
            }
        }
        containers.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
        Ok(containers)
    }

    /// Reads the container that is in a directory, if this program made one there.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Self::read(path, &fs::read("/proc/net/unix").unwrap_or_default())
    }

    /// Likewise one whose record is gone. That this program made it has to be known otherwise.
    pub(crate) fn without_record(path: &Path) -> Option<Self> {
        let is_gone = fs::symlink_metadata(path.join(record::NAME))
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !is_gone || !path.join("config").is_file() {
            return None;
        }
        let record = Err(io::Error::new(io::ErrorKind::NotFound, "it is gone"));
        let sockets = fs::read("/proc/net/unix").unwrap_or_default();
        Self::with(path, record, None, &sockets)
    }

    fn read(path: &Path, sockets: &[u8]) -> Option<Self> {
        let file = path.join(record::NAME);
        let made_at = match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            // Who may not look at the directory has no container there.
            Err(_) => return None,
            Ok(metadata) => metadata.modified().ok(),
        };
        let record = files::read_regular(&file, LARGEST).and_then(|text| Record::parse(&text));
        Self::with(path, record, made_at, sockets)
    }

    fn with(
        path: &Path,
        record: io::Result<Record>,
        made_at: Option<SystemTime>,
        sockets: &[u8],
    ) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let runs_in = runs_in(path, sockets);
        let path = spelled(path);
        let is_running = runs_in.is_some();
        let lxcpath = runs_in.or_else(|| path.parent().map(Path::to_path_buf))?;
        Some(Self { name, path, lxcpath, record, made_at, is_running })
    }

    /// Returns its config; nothing, where it cannot be read.
    pub(crate) fn config(&self) -> Vec<u8> {
        files::read_regular(&self.path.join("config"), lxc::config::LARGEST).unwrap_or_default()
    }

    /// Returns its config as a run for it would be given it: with the rootfs that an overlay stands in for.
    pub(crate) fn given_config(&self, rootfs: &Path) -> Vec<u8> {
        let path = rootfs.to_str().map(|rootfs| format!("dir:{rootfs}"));
        lxc::config::rewrite(&self.config(), |key, value| {
            let is_overlay = key == "lxc.rootfs.path" && value.starts_with("overlay:");
            path.clone().filter(|_| is_overlay)
        })
    }
}

/// Finds the manifest that a container was made from: where its record has it, or, if nothing is there, a file of the
/// same text in that directory, or in one of `directories`.
pub(crate) fn manifest_of(record: &Record, directories: &[PathBuf]) -> Option<PathBuf> {
    let own = PathBuf::from(&record.manifest.path);
    if own.exists() {
        return Some(own);
    }
    let beside = own.parent().map(Path::to_path_buf);
    let mut seen = BTreeSet::new();
    let directories = beside.into_iter().chain(directories.iter().cloned());
    let files =
        directories.filter(|directory| seen.insert(directory.clone())).flat_map(|directory| {
            let mut files: Vec<_> = fs::read_dir(directory)
                .into_iter()
                .flatten()
                .take(MOST_FILES)
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|end| end == "toml"))
                .collect();
            files.sort();
            files
        });
    let is_it = |path: &PathBuf| {
        let read = files::read_source(path, manifest::LARGEST, &Trust::default());
        read.is_ok_and(|(source, _)| Digest::of(source.text.as_bytes()) == record.manifest.digest)
    };
    files.into_iter().find(is_it)
}

/// Returns a container's directory as its config spells it: its tree is there, or in the generation that it is
/// switched to.
fn spelled(path: &Path) -> PathBuf {
    let text = files::read_regular(&path.join("config"), lxc::config::LARGEST).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let tree = lxc::config::own_tree(&text).map(Path::new).filter(|tree| tree.is_absolute());
    let mut above = tree.into_iter().flat_map(Path::ancestors).skip(1).take(3);
    // A switch may be interrupted where the tree is named by a link to it and back.
    above.find(|above| !above.ends_with("..") && is_same(above, path)).unwrap_or(path).to_path_buf()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    one == other || identity(one).is_some_and(|found| identity(other) == Some(found))
}

/// Returns the directory of containers where a container has its command socket, as that spells it: LXC's
/// monitor of one that runs does.
fn runs_in(path: &Path, sockets: &[u8]) -> Option<PathBuf> {
    let ending = [b"/", path.file_name()?.as_bytes(), b"/command"].concat();
    let mut lines =
        sockets.split(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(&*ending));
    lines.find_map(|line| {
        let at = memchr::memchr(b'@', line)?;
        let lxcpath = Path::new(OsStr::from_bytes(&line[at + 1..]));
        is_same(lxcpath, path.parent()?).then(|| lxcpath.to_path_buf())
    })
}
