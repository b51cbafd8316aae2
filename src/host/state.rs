//! The state directory: what a failed run leaves for people to look at.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::files;
use super::log::{self, Log};
use super::owned::{OwnerIds, make_all, make_file, make_one};
use super::userns::Ids;

/// The variable that puts the state directory elsewhere.
pub(crate) const VARIABLE: &str = "LAYERED_TEMPLATE_STATE";

/// How many runs' logs are kept.
const MOST_RUNS: usize = 64;

/// How long nothing must have been written to a log for it to be that of a run of the past.
const YOUNG: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of a container's name stands in that of a run's directory, in bytes.
const LONGEST_NAME: usize = 200;

/// The file that is locked in those.
const HELD: &str = "held";

/// What the names of runs' directories start with where temporary files go.
const TEMPORARY: &str = "layered-template-";

/// Returns where the state directory of a caller is; `None` if there is no home for one.
pub(crate) fn directory(caller: &Caller) -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let absolute = |path: &PathBuf| path.is_absolute();
    if let Some(path) = variable(VARIABLE).filter(absolute) {
        return Some(path);
    }
    if caller.is_host_root() {
        return Some("/var/lib/layered-template/state".into());
    }
    variable("XDG_STATE_HOME")
        .filter(absolute)
        .or_else(|| variable("HOME").filter(absolute).map(|home| home.join(".local/state")))
        .map(|base| base.join("layered-template"))
}

/// The directory of one run, with its log. Dropped, it is removed, unless it is kept.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    log: Log,
    owner: OwnerIds,
    kept: bool,
    /// Why nothing more is written into the log.
    fault: Option<io::Error>,
    /// What is locked as long as somebody works there, where it is one that goes.
    held: Option<File>,
}

impl RunDirectory {
    /// Makes a directory for a run that makes the container `name`.
    pub(crate) fn make(state: &Path, name: &str, owner: OwnerIds) -> io::Result<Self> {
        make_all(state, 0o700, owner)?;
        forget_old(state);
        Self::make_in(state, name, owner)
    }

    /// Makes a directory for a run where temporary files go.
    ///
    /// It stands there by itself: a directory above it that anybody can make beforehand would be
    /// somebody else's, and so would be all that is done in it.
    ///
    /// Those of the same name whose makers were killed are removed.
    pub(crate) fn make_temporary(name: &str, owner: OwnerIds) -> io::Result<Self> {
        let (at, name) = (env::temp_dir(), format!("{TEMPORARY}{name}"));
        remove_leftovers(&at, &name);
        let mut made = Self::make_in(&at, &name, owner)?;
        made.held = Some(hold(&made.path)?);
        Ok(made)
    }

    fn make_in(state: &Path, name: &str, owner: OwnerIds) -> io::Result<Self> {
        // With the time behind it, a name of the longest kind would be none any more.
        let name = crate::shell::cut(name, LONGEST_NAME);
        let stem = format!("{name}-{}", super::clock::now().replace([':', '-'], ""));
        let path = (1..1000)
            .map(|count| match count {
                1 => state.join(&stem),
                count => state.join(format!("{stem}-{count}")),
            })
            .find_map(|path| match make_one(&path, 0o700, owner) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                other => Some(other.map(|()| path)),
            })
            .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
        let log = Log::make(&path.join("log"), owner).inspect_err(|_| {
            let _ = fs::remove_dir_all(&path);
        })?;
        Ok(Self { path, log, owner, kept: false, fault: None, held: None })
    }

    /// Returns where the log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Adds to the log. That a log cannot be written ends no run.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.fault.is_none() {
            self.fault = self.log.write(bytes).err();
        }
    }

    /// Returns why the log ends early, where it does.
    pub(crate) fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }

    /// Makes an empty file for a step to write into.
    pub(crate) fn file(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        make_file(&path, self.owner).map(|_| path)
    }

    /// Returns where something of the run can be put.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Keeps the directory for people to look at, and makes the log one that they can read.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
        if self.held.take().is_some() {
            let _ = fs::remove_file(self.path.join(HELD));
        }
        let finished = self.log.finish();
        self.fault = self.fault.take().or(finished.err());
    }

    /// Removes the directory, unless it is kept.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.kept, true) {
            return Ok(());
        }
        fs::remove_dir_all(&self.path).map_err(|error| {
            let path = self.path.display();
            io::Error::new(error.kind(), format!("`{path}` could not be removed: {error}"))
        })
    }
}

/// What must be known of a failed run to enter its rootfs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptRun {
    /// The name of the container that it was to make.
    pub name: String,
    /// The ids of the rootfs, where they are not the host's own.
    pub ids: Option<Ids>,
}

impl KeptRun {
    /// The name of its file.
    const NAME: &str = "run.json";

    /// Reads that of a run's directory.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let text = files::read_regular(&directory.join(Self::NAME), 64 * 1024)?;
        if !directory.join("rootfs").is_dir() {
            return Err(io::Error::other("there is no rootfs in it"));
        }
        Ok(serde_json::from_slice(&text)?)
    }

    /// Finds the directory of the last run that was to make the container `name`.
    pub(crate) fn last(state: &Path, name: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(state).ok()?.flatten().map(|entry| entry.path());
        let mut runs: Vec<_> = entries
            .filter(|path| Self::read(path).is_ok_and(|run| run.name == name))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        runs.sort();
        runs.pop().map(|(_, path)| path)
    }
}

impl RunDirectory {
    /// Notes what must be known to enter the rootfs that is kept.
    pub(crate) fn describe(&self, run: &KeptRun) -> io::Result<()> {
        let text = serde_json::to_vec(run)?;
        make_file(&self.path.join(KeptRun::NAME), self.owner)?.write_all(&text)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "the run's directory stays");
        }
    }
}

/// Locks a temporary directory: nobody finds the lock before it is held.
fn hold(directory: &Path) -> io::Result<File> {
    let new = directory.join("held.new");
    let file = File::create_new(&new)?;
    flock(&file, FlockOperation::LockExclusive)?;
    fs::rename(new, directory.join(HELD))?;
    Ok(file)
}

/// Removes temporary directories of this user whose makers were killed.
fn remove_leftovers(at: &Path, name: &str) {
    let is_meant = |found: &str| {
        found.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')) && is_of_a_run(found)
    };
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_own = || {
            let found = fs::symlink_metadata(&path).ok()?;
            Some(found.is_dir() && found.uid() == geteuid().as_raw())
        };
        if !entry.file_name().to_str().is_some_and(is_meant) || is_own() != Some(true) {
            continue;
        }
        let opened = files::open_real_directory(&path);
        let Ok(held) = opened.and_then(|opened| files::open_in(&opened, HELD)) else { continue };
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::debug!(%error, path = %path.display(), "a leftover stays");
        }
    }
}

/// Removes the logs of the oldest runs, where there are too many. Of what was kept on purpose, a
/// rootfs, none is removed.
fn forget_old(state: &Path) {
    let Ok(entries) = fs::read_dir(state) else { return };
    let mut runs: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            if !is_of_a_run(entry.file_name().to_str()?) {
                return None;
            }
            let path = entry.path();
            let written = log::written(&path.join("log"))?;
            // A run that goes on may not have written for a while.
            let old = written.elapsed().is_ok_and(|age| age > YOUNG);
            (old && !path.join("rootfs").exists()).then_some((written, path))
        })
        .collect();
    if runs.len() <= MOST_RUNS {
        return;
    }
    runs.sort();
    for (_, path) in &runs[..runs.len() - MOST_RUNS] {
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::debug!(%error, path = %path.display(), "an old log stays");
        }
    }
}

/// Tells whether a name is one that [`RunDirectory`] gives: it ends with the time, and perhaps with a
/// count. The state directory may be one that others use too.
fn is_of_a_run(name: &str) -> bool {
    let stamped = |name: &str| {
        let Some((_, stamp)) = name.rsplit_once('-') else { return false };
        stamp.len() == "20200101T000000Z".len()
            && stamp.bytes().enumerate().all(|(index, byte)| match index {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    };
    let counted = name.rsplit_once('-').filter(|(_, count)| {
        !count.is_empty() && count.len() <= 3 && count.bytes().all(|byte| byte.is_ascii_digit())
    });
    stamped(name) || counted.is_some_and(|(name, _)| stamped(name))
}
