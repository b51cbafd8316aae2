//! What is asked for, by whichever door: by a subcommand, or by LXC's call of the template.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::arguments::ValueArguments;
use crate::cache::{Pulling, Purpose, Wanted};
use crate::host::trust::Trust;
use crate::lxc::call::{Mapped, is_container_name};
use crate::observe::probe;
use crate::plan::{StorageMode, Target};
use crate::registry::Remote;
use crate::shell;

/// A request to make a container, to look how one would be made, or to fill the store.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) manifest: PathBuf,
    pub(super) values: ValueArguments,
    /// Whose files are taken.
    pub(super) trust: Trust,
    pub(super) target: Target,
    pub(super) wanted: Wanted,
    pub(super) ids: ContainerIds,
    /// What LXC starts the container's config with.
    pub(super) config: Vec<u8>,
    /// What its lock is for.
    pub(super) lock: LockUse,
    /// What layers are pulled from that are not stored.
    pub(super) remote: Option<Rc<Remote>>,
}

/// What the lock beside a manifest is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockUse {
    /// Nothing.
    Ignore,
    /// To be compared.
    Compare,
    /// To be replaced by a new one, which has of it what is still true.
    Renew,
    /// To be told of, where it is out of date.
    Tell,
    /// To be held to.
    Hold,
}

impl LockUse {
    /// Returns it, or what a role that is `locked` is held by.
    pub(super) fn unless(self, locked: bool) -> Self {
        if locked { Self::Hold } else { self }
    }
}

/// The ids of the user namespace that a container is made in.
#[derive(Debug, Clone)]
pub(super) struct ContainerIds {
    /// The name of their map in the store; `None` where it has several pieces.
    pub(super) map: Option<String>,
    /// Whether they are others than the host's.
    pub(super) is_mapped: bool,
}

/// Returns what is wanted of the store from now on.
pub(super) fn wanted(mode: StorageMode, rebuild: bool) -> Wanted {
    Wanted {
        mode,
        rebuild,
        since: rebuild.then(now),
        locked: false,
        pulling: Pulling::No,
        trusts_all: false,
        purpose: Purpose::Make,
    }
}

/// Returns what is wanted of the store where all that is older is rebuilt.
pub(super) fn wanted_since(mode: StorageMode, older_than: Duration) -> Wanted {
    Wanted {
        mode,
        rebuild: false,
        since: ago(older_than),
        locked: false,
        pulling: Pulling::No,
        trusts_all: false,
        purpose: Purpose::Make,
    }
}

/// Returns the time so long ago, in milliseconds since 1970; nothing, where that is before.
pub(super) fn ago(age: Duration) -> Option<u64> {
    now().checked_sub(u64::try_from(age.as_millis()).ok()?)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the words that this process was called with, as a shell would need them.
pub(super) fn words() -> String {
    shell::command(std::env::args_os())
}

/// Says what is wrong with the name of a container, or with arguments for its template.
pub(super) fn check(name: Option<&str>, arguments: &[OsString]) -> Result<(), String> {
    if let Some(name) = name.filter(|name| !is_container_name(name)) {
        let why = match name {
            "" => "it is empty",
            "." | ".." => "it is a directory that is there",
            _ if name.contains('/') => "it contains a `/`",
            _ if shell::has_control(name) => "it contains a control character",
            _ => "it is longer than 255 bytes",
        };
        return Err(format!("`{}` cannot be the name of a container: {why}", shell::word(name)));
    }
    match arguments.iter().find(|word| shell::has_control(word)) {
        None => Ok(()),
        Some(word) => {
            Err(format!("the argument {} contains a control character", shell::word(word)))
        }
    }
}

/// Says what is wrong with a directory of containers: LXC reads its path in every container's config, line by
/// line.
pub(super) fn check_lxcpath(lxcpath: &Path) -> Result<(), String> {
    match shell::has_control(lxcpath) {
        false => Ok(()),
        true => Err(format!("the path {} contains a control character", shell::word(lxcpath))),
    }
}

/// Returns the target that LXC would make of a container's directory.
pub(super) fn target(
    name: &str,
    path: &Path,
    mapped: Option<Mapped>,
    args: Vec<OsString>,
) -> Target {
    Target {
        name: name.to_owned(),
        arch: probe::arch().to_owned(),
        path: path.to_path_buf(),
        rootfs: path.join("rootfs"),
        mapped,
        args,
    }
}
