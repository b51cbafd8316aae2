//! `create`: makes a container where LXC is not installed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FlockOperation, fcntl_lock, fstat, fsync, unlinkat};
use rustix::io::Errno;

use super::arguments::CreateArguments;
use super::containers::ago;
use super::load::Loaded;
use super::mapping::{IN_PIECES, Mapping};
use super::output;
use super::refusal::Refusal;
use super::remote::RemoteChoice;
use super::request::{LockUse, Request, check, check_lxcpath, target, wanted};
use super::run::{Options, run};
use super::start::InitialConfig;
use crate::diagnostic::nearest;
use crate::execute::{FULL_DISK_HINT, status};
use crate::host::account::{self, Range};
use crate::host::caller::Caller;
use crate::host::files::{self, Ownership};
use crate::host::lxcpath;
use crate::host::signals::Signals;
use crate::host::trust::{Policy, Trust};
use crate::host::userns::{self, Ids};
use crate::lxc::call::Mapped;
use crate::observe::container::{Container, PARTIAL, is_unfinished};
use crate::record::RunVerb;
use crate::{shell, tree};

pub(super) fn main(arguments: CreateArguments) -> u8 {
    match create(arguments) {
        Ok(status) => status,
        Err(refusal) => {
            refusal.say();
            status::USAGE
        }
    }
}

fn create(arguments: CreateArguments) -> Result<u8, Refusal> {
    let name = arguments.name;
    check(Some(&name), &arguments.args)?;
    // What depends on who calls is found out before that is changed.
    let caller = Caller::observe();
    let is_given = arguments.lxcpath.is_some();
    let lxcpath = arguments.lxcpath.unwrap_or_else(|| lxcpath::default(&caller));
    let lxcpath = std::path::absolute(&lxcpath).map_err(|error| error.to_string())?;
    check_lxcpath(&lxcpath)?;
    if let Some(status) = InitialConfig::refused(arguments.config.as_deref()) {
        return Ok(status);
    }
    let start = InitialConfig::read(arguments.config.as_deref(), &caller)?;
    if start.mapping == Mapping::Pieces {
        return Err(IN_PIECES.to_owned().into());
    }
    let mapped = start.mapping.mapped();
    let target = target(&name, &lxcpath.join(&name), mapped, arguments.args);
    let mut wanted = wanted(arguments.storage.storage.into(), arguments.storage.rebuild);
    let choice = RemoteChoice {
        from: arguments.remote.from.as_deref(),
        only_pull: arguments.remote.only_pull,
        allow_untrusted: arguments.run.allow_untrusted,
    };
    let remote = match choice.open(&mut wanted) {
        Ok(remote) => remote,
        Err(status) => return Ok(status),
    };
    let request = Request {
        manifest: arguments.manifest.path(),
        values: arguments.values,
        trust: Trust::observe(Policy::Refuse.unless(arguments.run.allow_untrusted)),
        config: start.config(&target.rootfs),
        ids: start.ids(&caller),
        wanted,
        remote,
        lock: LockUse::Ignore.unless(arguments.storage.lock.locked),
        target,
    };
    // A manifest that cannot be used is found out before anything is made.
    let options = Options::of(arguments.run, RunVerb::Create);
    let (loaded, report) = Loaded::read(&request.manifest, &request.values, &request.trust);
    let (prepared, secrets) = match request.prepare_run(loaded.as_ref(), report, options) {
        Ok(prepared) => prepared,
        Err(status) => return Ok(status),
    };
    if let Some(doubt) = doubt(&lxcpath).filter(|_| is_given) {
        output::warning(&doubt, arguments.run.talk.log_format);
    }
    make_lxcpath(&lxcpath)?;
    enter(start.mapping)?;
    // One that comes while the directory is made is heard when the run begins, which ends at it.
    let _kept = Signals::keep().map_err(|error| format!("signals cannot be kept: {error}"))?;
    let path = &request.target.path;
    let shell = Shell::make(path, &request.config, mapped).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(&name, &lxcpath, &caller),
        _ => not_made(path, &error),
    })?;
    let ran = run(&prepared, secrets, options);
    if ran.status == 0
        && let Err(error) = shell.keep()
    {
        let message = format!("`{}` cannot be finished: {error}", path.display());
        output::error(&message, None);
        return Ok(ran.failed(status::FILES, &message).told());
    }
    Ok(ran.told())
}

/// Says that there is such a container, and how it is removed.
fn exists(name: &str, lxcpath: &Path, caller: &Caller) -> Refusal {
    // It has that as long as somebody holds it: a run that was killed is told of where it is found.
    if lxcpath.join(name).join(PARTIAL).exists() {
        let message = format!("another run is making container `{name}` in {}", lxcpath.display());
        return Refusal::with_hint(message, "wait for it, or choose another name".to_owned());
    }
    let what = Container::at(&lxcpath.join(name)).map(|container| in_words(&container));
    let what = what.unwrap_or_default();
    let message = format!("container `{name}` exists already in {}{what}", lxcpath.display());
    let name = shell::word(name);
    let place = match lxcpath == lxcpath::default(caller) {
        true => String::new(),
        false => format!("-P {} ", shell::word(lxcpath)),
    };
    let hint = format!("choose another name, or `lxc-destroy {place}-n {name}` removes it");
    Refusal::with_hint(message, hint)
}

/// Says what a container is that this program has made: of what, when, and whether it runs.
fn in_words(container: &Container) -> String {
    let age = container.made_at.and_then(|made| SystemTime::now().duration_since(made).ok());
    let age = age.map(|age| ago(age.as_secs())).unwrap_or_default();
    let of = match &container.record {
        Ok(record) => format!(" from {}", shell::word(&record.manifest.path)),
        Err(_) => String::new(),
    };
    let running = if container.is_running { ", and it is running" } else { "" };
    format!(": it was made{of}{age}{running}")
}

/// Enters the user namespace that a container's ids are mapped in.
pub(super) fn enter(mapping: Mapping) -> Result<(), Refusal> {
    let caller = Caller::observe();
    let ids = match mapping {
        Mapping::None | Mapping::Pieces => return Ok(()),
        Mapping::CallerAlone => None,
        Mapping::Ids(ids) => Some(ids),
    };
    if ids.is_none() {
        output::say(&format!(
            "warning: you have no subordinate ids, so that all files of the container will be \
             yours, and no layer can give one to somebody else\n\
             hint: as root: {}",
            account::giving_ids(caller.uid, account::USUAL_IDS)
        ));
    }
    userns::enter(ids).map_err(|error| {
        let message = format!("no user namespace can be entered: {error}");
        match ids.filter(|ids| !ids.are_given_to(&caller)) {
            Some(Ids { users: Range { first, count }, .. }) => {
                let given = (first, first.saturating_add(count).saturating_sub(1));
                let user = account::user_name(caller.uid).unwrap_or_else(|| caller.uid.to_string());
                let hint = format!(
                    "`/etc/subuid` and `/etc/subgid` do not give {user} these ids; as root: {}",
                    account::giving_ids(caller.uid, given)
                );
                Refusal::with_hint(message, hint)
            }
            None => message.into(),
        }
    })
}

/// Says that a directory of containers is made which is not there, where that is most likely a slip: another beside it
/// has nearly the same name, or what it is to be in is not there either.
fn doubt(lxcpath: &Path) -> Option<String> {
    let name = lxcpath.file_name()?.to_str().filter(|_| !lxcpath.exists())?;
    let said = format!("there is no directory `{}`, and it is made", lxcpath.display());
    let Ok(entries) = fs::read_dir(lxcpath.parent()?) else { return Some(said) };
    let directories = entries.flatten().filter(|entry| entry.path().is_dir());
    let names: Vec<_> =
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let near = nearest(name, names.iter().map(String::as_str))?;
    let near = lxcpath.with_file_name(near);
    Some(format!("{said}; did you mean `{}`?", near.display()))
}

/// Makes the directory of all containers, which is the caller's own.
fn make_lxcpath(lxcpath: &Path) -> Result<(), Refusal> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(lxcpath)
        .map_err(|error| not_made(lxcpath, &error))
}

/// Says that a directory cannot be made, and what to do where its disk is full.
fn not_made(path: &Path, error: &io::Error) -> Refusal {
    let path_shown = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists && path.is_file() {
        return format!("`{path_shown}` is a file, not a directory").into();
    }
    let message = format!("`{path_shown}` cannot be made: {error}");
    if !files::is_full(error) {
        return message.into();
    }
    let above = path.parent().unwrap_or(path).display();
    let hint =
        format!("the disk of `{above}` is full; if the layer store is on it, {FULL_DISK_HINT}");
    Refusal::with_hint(message, hint)
}

/// Tells whether a run was killed that has made a directory, or was removing it.
fn is_leftover(path: &Path) -> bool {
    is_unfinished(path) || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Returns the command that removes a container that was never finished.
pub(super) fn removal(path: &Path) -> String {
    shell::command(["rm".as_ref(), "-r".as_ref(), path.as_os_str()])
}

/// A container's directory without its rootfs's contents. Dropped, it is removed with all in it,
/// unless it is kept.
pub(super) struct Shell {
    path: PathBuf,
    /// The directory itself: another may have come to its place.
    directory: OwnedFd,
    kept: bool,
    /// Locked as long as the container is being made. Of a file that this process has locked, it
    /// closes no other descriptor: the lock would go with that.
    partial: Option<File>,
}

impl Shell {
    /// Makes it with owners and modes as LXC gives them.
    pub(super) fn make(path: &Path, config: &[u8], mapped: Option<Mapped>) -> io::Result<Self> {
        rustix::process::umask(rustix::fs::Mode::empty());
        DirBuilder::new().mode(0o770).create(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if is_leftover(path) => io::Error::other(format!(
                "it exists already, and was never finished: `{}`, then create it again",
                removal(path)
            )),
            io::ErrorKind::AlreadyExists => io::Error::new(error.kind(), "it exists already"),
            _ => error,
        })?;
        let directory = files::open_directory(path)?;
        let caller = Caller::observe();
        if mapped.is_some() {
            // It may have the group of what it stands in, and no file of a group outside the map can be given away.
            fchown(&directory, None, Some(caller.gid))?;
        }
        let mut shell = Self { path: path.to_path_buf(), directory, kept: false, partial: None };
        // It comes first and goes last: nothing without it is taken for a container.
        let partial = path.join(PARTIAL);
        let partial = File::options().write(true).create_new(true).mode(0o640).open(partial)?;
        fcntl_lock(&partial, FlockOperation::NonBlockingLockExclusive)?;
        let (uid, gid) = mapped.map_or((caller.uid, caller.gid), |mapped| (mapped.uid, mapped.gid));
        fchown(&partial, Some(uid), Some(gid))?;
        shell.partial = Some(partial);
        let rootfs = path.join("rootfs");
        DirBuilder::new().mode(0o755).create(&rootfs)?;
        if mapped.is_some() {
            let group = lxcpath::group(&caller, mapped);
            chown(path, None, Some(group))?;
            chown(&rootfs, None, Some(group))?;
        }
        let ownership = Ownership { uid, gid, mode: 0o640 };
        files::replace_in(&shell.directory, "config", config, ownership)?;
        Ok(shell)
    }

    /// Keeps it as a whole container.
    pub(super) fn keep(mut self) -> io::Result<()> {
        if !self.is_in_place()? {
            return Err(io::Error::other("it was removed or replaced while it was made"));
        }
        match unlinkat(&self.directory, PARTIAL, AtFlags::empty()) {
            // Somebody was faster.
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
        // All else of it is on the disk by now.
        fsync(&self.directory)?;
        self.kept = true;
        // From now on nobody need wait for it.
        drop(self.partial.take());
        Ok(())
    }

    /// Removes it, and last of all what says that it is unfinished.
    fn remove(&self) -> io::Result<()> {
        let shown = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        for entry in fs::read_dir(shown)? {
            let name = entry?.file_name();
            if name != PARTIAL {
                tree::remove(self.directory.as_fd(), &name)?;
            }
        }
        if !self.is_in_place()? {
            // What is there is somebody else's.
            return Ok(());
        }
        let above = files::open_directory(self.path.parent().unwrap_or(Path::new("/")))?;
        tree::remove(above.as_fd(), self.path.file_name().unwrap_or_default())
    }

    /// Tells whether its path still leads to it.
    fn is_in_place(&self) -> io::Result<bool> {
        let own = fstat(&self.directory)?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.st_dev, own.st_ino)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match self.remove() {
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = self.path.display();
                output::error(&format!("`{path}` could not be removed: {error}"), None);
            }
            Ok(()) => {}
        }
    }
}
