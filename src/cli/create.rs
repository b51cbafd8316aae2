//! `create`: makes a container where LXC is not installed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use super::arguments::CreateArguments;
use super::run::{Options, run};
use super::{output, plan};
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::files::{self, Ownership};
use crate::host::lxcpath;
use crate::host::userns::{self, Ids};
use crate::lxc::call::{Mapped, is_container_name};
use crate::shell;

/// The largest config that a container can start with, in bytes.
const LARGEST_CONFIG: usize = 1024 * 1024;

pub(super) fn main(arguments: CreateArguments) -> u8 {
    match create(arguments) {
        Ok(status) => status,
        Err(message) => {
            output::error(&message, None);
            status::USAGE
        }
    }
}

fn create(arguments: CreateArguments) -> Result<u8, String> {
    let name = arguments.name;
    if !is_container_name(&name) {
        return Err(format!("`{}` cannot be the name of a container", shell::word(&name)));
    }
    if let Some(word) = arguments.args.iter().find(|word| shell::has_control(word)) {
        return Err(format!("the argument {} holds a control character", shell::word(word)));
    }
    // What depends on who calls is found out before that is changed.
    let caller = Caller::observe();
    let lxcpath = arguments.lxcpath.unwrap_or_else(|| lxcpath::default(&caller));
    let lxcpath = std::path::absolute(&lxcpath).map_err(|error| error.to_string())?;
    let config = arguments.config.or_else(|| lxcpath::default_config(&caller));
    let config = match &config {
        None => String::new(),
        Some(path) => starting_config(path)?,
    };
    let ids = idmap(&config).or_else(|| Ids::subordinate(&caller).filter(|_| caller.uid != 0));
    let needs_namespace = caller.uid != 0 || idmap(&config).is_some();
    let mapped = needs_namespace.then(|| ids.map_or(Mapped { uid: 0, gid: 0 }, |ids| ids.mapped()));
    let path = lxcpath.join(&name);
    let target = plan::target(&name, &path, mapped, arguments.args);
    // A manifest that cannot be used is found out before anything is made.
    let Some(plan) = plan::make(&arguments.manifest.path(), target) else {
        return Ok(status::USAGE);
    };
    make_lxcpath(&lxcpath)?;
    if needs_namespace {
        if ids.is_none() {
            let user = shell::word(&name);
            output::say(&format!(
                "warning: you have no subordinate ids, so that all files of `{user}` will be yours, \
                 and no layer can give one to somebody else\n\
                 hint: as root, `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`"
            ));
        }
        userns::enter(ids).map_err(|error| format!("no user namespace can be entered: {error}"))?;
    }
    let shell = Shell::make(&path, &config, ids, mapped)
        .map_err(|error| format!("`{}` cannot be made: {error}", path.display()))?;
    let options =
        Options { talk: arguments.talk, keep_failed: arguments.keep_failed, under_lxc: false };
    let status = run(&plan, options);
    if status == 0 {
        shell.keep();
    }
    Ok(status)
}

/// Reads what a container's config starts with.
fn starting_config(path: &Path) -> Result<String, String> {
    let bytes = files::read_regular(path, LARGEST_CONFIG)
        .map_err(|error| format!("the config `{}`: {error}", path.display()))?;
    let mut text = String::from_utf8(bytes)
        .map_err(|_| format!("the config `{}` is not UTF-8", path.display()))?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Returns the id map of a config, where it has one that starts at 0 for users and groups.
pub(super) fn idmap(config: &str) -> Option<Ids> {
    let range = |kind: &str| {
        config.lines().find_map(|line| {
            let value = line.trim().strip_prefix("lxc.idmap")?.trim_start().strip_prefix('=')?;
            let mut words = value.split_whitespace();
            let fits = words.next()? == kind && words.next()? == "0";
            let first = words.next()?.parse().ok()?;
            let count = words.next()?.parse().ok()?;
            fits.then_some(crate::host::account::Range { first, count })
        })
    };
    Some(Ids { users: range("u")?, groups: range("g")? })
}

/// Makes the directory of all containers, which is the caller's own.
fn make_lxcpath(lxcpath: &Path) -> Result<(), String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(lxcpath)
        .map_err(|error| format!("`{}` cannot be made: {error}", lxcpath.display()))
}

/// A container's directory without its rootfs's contents. Dropped, it is removed with all in it,
/// unless it is kept.
struct Shell {
    path: PathBuf,
    kept: bool,
}

impl Shell {
    /// Makes it with owners and modes as LXC gives them.
    fn make(
        path: &Path,
        config: &str,
        ids: Option<Ids>,
        mapped: Option<Mapped>,
    ) -> io::Result<Self> {
        rustix::process::umask(rustix::fs::Mode::empty());
        DirBuilder::new().mode(0o770).create(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => io::Error::other("it exists already"),
            _ => error,
        })?;
        let shell = Self { path: path.to_path_buf(), kept: false };
        if let Some(mapped) = mapped {
            chown(path, None, Some(mapped.gid))?;
        }
        let rootfs = path.join("rootfs");
        DirBuilder::new().mode(0o755).create(&rootfs)?;
        let caller = Caller::observe();
        let (uid, gid) = mapped.map_or((caller.uid, caller.gid), |mapped| (mapped.uid, mapped.gid));
        let mut text = config.to_owned();
        if idmap(config).is_none()
            && let Some(Ids { users, groups }) = ids
        {
            text += &format!("lxc.idmap = u 0 {} {}\n", users.first, users.count);
            text += &format!("lxc.idmap = g 0 {} {}\n", groups.first, groups.count);
        }
        text += &format!("lxc.rootfs.path = dir:{}\n", rootfs.display());
        let directory = files::open_directory(path)?;
        let ownership = Ownership { uid, gid, mode: 0o640 };
        files::replace_in(&directory, "config", text.as_bytes(), ownership)?;
        Ok(shell)
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            let path = self.path.display();
            output::error(&format!("`{path}` could not be removed: {error}"), None);
        }
    }
}
