//! `create`: makes a container where LXC is not installed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::SystemTime;

use super::amount::ago;
use super::arguments::CreateArguments;
use super::load::Loaded;
use super::mapping::{IN_PIECES, Mapping, in_the_way};
use super::new_container::NewContainer;
use super::options::Options;
use super::output;
use super::refusal::Refusal;
use super::remote::RemoteChoice;
use super::request::{LockUse, Request, check, check_lxcpath, target, wanted};
use super::run::run;
use super::start::InitialConfig;
use super::within::enter;
use crate::diagnostic::nearest;
use crate::execute::{FULL_DISK_HINT, status};
use crate::host::caller::Caller;
use crate::host::files::{self};
use crate::host::lxcpath;
use crate::host::signals::Signals;
use crate::host::trust::{Policy, Trust};
use crate::observe::container::{Container, PARTIAL};
use crate::record::RunVerb;
use crate::shell;

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
    let new =
        NewContainer::make(path, &request.config, mapped).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&name, &lxcpath, &caller),
            _ => not_made(path, &error),
        })?;
    let ran = run(&prepared, secrets, options);
    if ran.status == 0
        && let Err(error) = new.keep()
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

/// Says that a directory of containers is made which is not there, where that is most likely a slip: another beside it
/// has nearly the same name, or what it is to be in is not there either.
fn doubt(lxcpath: &Path) -> Option<String> {
    let name =
        lxcpath.file_name()?.to_str().filter(|_| matches!(lxcpath.try_exists(), Ok(false)))?;
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

/// Says that a directory cannot be made, and what to do where its disk is full, or what it is to be in may not be
/// written.
fn not_made(path: &Path, error: &io::Error) -> Refusal {
    let path_shown = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists && path.is_file() {
        return format!("`{path_shown}` is a file, not a directory").into();
    }
    let message = format!("`{path_shown}` cannot be made: {error}");
    if error.kind() == io::ErrorKind::PermissionDenied
        && let Some(hint) = in_the_way(path, "the container is made")
    {
        return Refusal::with_hint(message, hint);
    }
    if !files::is_full(error) {
        return message.into();
    }
    let above = path.parent().unwrap_or(path).display();
    let hint =
        format!("the disk of `{above}` is full; if the layer store is on it, {FULL_DISK_HINT}");
    Refusal::with_hint(message, hint)
}
