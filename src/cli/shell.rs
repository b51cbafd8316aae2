//! `shell`: enters a rootfs in the sandbox that steps inside it have.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::thread::CapabilitySet;

use super::arguments::ShellArguments;
use super::refusal::Refusal;
use super::{mapping, output};
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::rootfs::Rootfs;
use crate::host::sandbox::{
    CacheMounts, Lending, Network, Outcome, Sandbox, SandboxCommand, Settings, Streams, not_built,
};
use crate::host::signals::Signals;
use crate::host::state::{self, KeptRun};
use crate::host::terminal::{self, Terminal};
use crate::host::userns::{self, Ids};
use crate::host::{child, contain, files, lxcpath, machine};
use crate::lxc::call::is_container_name;
use crate::lxc::config::{last_value, unquoted};
use crate::lxc::machine::ADVICE;
use crate::shell;

/// The largest config that is read, in bytes.
const LARGEST_CONFIG: usize = 1024 * 1024;

/// A rootfs to enter.
struct ShellTarget {
    rootfs: PathBuf,
    name: String,
    ids: Option<Ids>,
}

pub(super) fn main(arguments: &ShellArguments) -> u8 {
    match enter(arguments) {
        Ok(status) => status,
        Err(refusal) => {
            refusal.say();
            status::USAGE
        }
    }
}

fn enter(arguments: &ShellArguments) -> Result<u8, Refusal> {
    let caller = Caller::observe();
    let target = find(arguments, &caller)?;
    let ids = target.ids.or_else(|| Ids::subordinate(&caller));
    let needs_namespace = caller.uid != 0 || (caller.is_host_root() && target.ids.is_some());
    if needs_namespace {
        userns::enter(ids).map_err(|error| format!("no user namespace can be entered: {error}"))?;
    }
    let contained = Signals::keep().and_then(|mut signals| {
        let work = |mut signals| {
            within(arguments, &target, &mut signals).unwrap_or_else(|error| {
                output::error(&error.to_string(), None);
                status::POST
            })
        };
        contain::run(&mut signals, work, || Ok(()))
    });
    let ended = contained.map_err(|error| format!("nothing can be run: {error}"))?;
    Ok(child::code(ended.status))
}

fn within(
    arguments: &ShellArguments,
    target: &ShellTarget,
    signals: &mut Signals,
) -> io::Result<u8> {
    let mut argv = arguments.command.clone();
    if argv.is_empty() {
        argv.push("/bin/sh".into());
    }
    if let Some(reason) = machine::refusal(&Rootfs::open(&target.rootfs)?, &argv[0]) {
        return Err(io::Error::other(format!("{reason}: {ADVICE}")));
    }
    let mut environment = vec![("LXC_NAME".into(), OsString::from(&target.name))];
    // By its descriptor it would be a way out.
    let kind = FileType::from_raw_mode(fstat(stdin())?.st_mode);
    if matches!(kind, FileType::Directory | FileType::BlockDevice) {
        return Err(io::Error::other("standard input must not be a directory or a disk"));
    }
    let terminal = Terminal::open()?;
    if let (Some(_), Some(kind)) = (&terminal, std::env::var_os("TERM")) {
        environment.push(("TERM".into(), kind));
    }
    let program = SandboxCommand { argv, environment };
    let sandbox = Sandbox::set_up(Settings {
        rootfs: &target.rootfs,
        name: &target.name,
        network: if arguments.network { Network::Host } else { Network::Own },
        unguarded: arguments.allow_untrusted,
        resolver: arguments.network,
        policy: true,
        lending: Lending::Mounts,
        capabilities: CapabilitySet::empty(),
        mapped: target.ids.map(|ids| ids.mapped()),
        caches: CacheMounts::default(),
        script: None,
    })?;
    let streams = match terminal.as_ref().and_then(Terminal::theirs) {
        None => {
            Streams { input: Some(stdin()), output: stdout(), errors: stderr(), terminal: false }
        }
        Some(theirs) => {
            let theirs = theirs.as_fd();
            Streams { input: Some(theirs), output: theirs, errors: theirs, terminal: true }
        }
    };
    let (id, report) = sandbox.start(&program, &streams)?;
    let ended = terminal::attend(id, terminal, signals);
    sandbox.give_back()?;
    let ended = ended?;
    match report.read()? {
        Outcome::NotBuilt(reason) => Err(not_built(io::Error::other(reason))),
        Outcome::NotRun(reason) => {
            Err(io::Error::other(format!("the command could not be run: {reason}")))
        }
        Outcome::Ended(status) => Ok(child::code(status)),
        Outcome::Unknown => Ok(child::code(ended)),
    }
}

/// Finds what is meant: the directory of a failed run, a container, or the last failed run that was
/// to make a container of this name.
fn find(arguments: &ShellArguments, caller: &Caller) -> Result<ShellTarget, Refusal> {
    let given = &arguments.place;
    let state = state::directory(caller);
    if given.components().count() > 1 {
        let path = std::path::absolute(given).map_err(|error| error.to_string())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.join("config").exists() && is_container_name(&name) {
            return Ok(container(&path, &name)?);
        }
        return Ok(failed_run(&path)?);
    }
    let lxcpath = arguments.lxcpath.clone().unwrap_or_else(|| lxcpath::default(caller));
    let lxcpath = std::path::absolute(&lxcpath).map_err(|error| error.to_string())?;
    let name = given.to_string_lossy();
    let sound = is_container_name(&name);
    if sound && lxcpath.join(given).join("config").exists() {
        return Ok(container(&lxcpath.join(given), &name)?);
    }
    if sound && let Some(run) = state.as_deref().and_then(|state| KeptRun::last(state, &name)) {
        return Ok(failed_run(&run)?);
    }
    let message = format!(
        "there is neither a container `{}` in `{}` nor a kept rootfs of a failed run of that name \
         in the state directory{}",
        shell::word(given),
        lxcpath.display(),
        state.map(|state| format!(" `{}`", state.display())).unwrap_or_default()
    );
    let hint = "`lxc-ls`, or `layered-template status`, lists containers; `--keep-failed` keeps the rootfs of \
                a failed run";
    Err(Refusal::with_hint(message, hint.to_owned()))
}

fn failed_run(path: &Path) -> Result<ShellTarget, String> {
    let run = KeptRun::read(path).map_err(|error| {
        format!(
            "`{}` holds no rootfs of a failed run ({error}); `--keep-failed` keeps one",
            path.display()
        )
    })?;
    Ok(ShellTarget { rootfs: path.join("rootfs"), name: run.name, ids: run.ids })
}

fn container(path: &Path, name: &str) -> Result<ShellTarget, String> {
    let config = path.join("config");
    let text = files::read_regular(&config, LARGEST_CONFIG)
        .map_err(|error| format!("`{}`: {error}", config.display()))?;
    let text = String::from_utf8_lossy(&text);
    let rootfs = match last_value(&text, "lxc.rootfs.path").map(unquoted) {
        None => path.join("rootfs"),
        Some(value) => {
            match (value.strip_prefix("dir:").unwrap_or(value), value.starts_with('/')) {
                (rest, plain) if plain || rest.starts_with('/') => rest.into(),
                _ => {
                    return Err(format!(
                        "the rootfs of `{name}` is no plain directory but `{}`; start the container, \
                     and use lxc-attach",
                        shell::one_line(value)
                    ));
                }
            }
        }
    };
    Ok(ShellTarget {
        rootfs,
        name: name.to_owned(),
        ids: mapping::idmap(&mapping::including(&text))?,
    })
}
