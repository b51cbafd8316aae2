//! Runs a step inside the rootfs.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use rustix::thread::CapabilitySet;

use super::failure::Failure;
use super::step::{Job, seen};
use super::{Handed, Run};
use crate::digest::Digest;
use crate::host::cache::{self, Kept};
use crate::host::caller::Caller;
use crate::host::child::{End, SpawnOptions, Watcher};
use crate::host::event_loop::EventLoop;
use crate::host::files;
use crate::host::machine;
use crate::host::rootfs::{Attributes, Rootfs};
use crate::host::sandbox::{
    CacheMount, CacheMounts, Lending, Network, Outcome, Sandbox, SandboxCommand, Settings, Streams,
    not_built,
};
use crate::lxc::machine::ADVICE;
use crate::manifest;
use crate::plan::{Inside, Layer, Step};

/// The largest script, in bytes.
const LARGEST_SCRIPT: usize = 16 * 1024 * 1024;

/// How often it is looked whether another run has done with a cache.
const PATIENCE: Duration = Duration::from_millis(100);

impl Run<'_> {
    pub(super) fn step_inside(
        &mut self,
        job: Job<'_>,
        layer: &Layer,
        step: &Step,
        inside: &Inside,
        handed: &Handed,
    ) -> Result<(), Failure> {
        let options = self.options(step);
        let status = job.status;
        let fail = |subject, reason| Failure::of(status, subject, &step.at, reason);
        let script = script(step, inside).map_err(|reason| fail(job.subject.clone(), reason))?;
        let refused = Rootfs::open(&self.workspace.rootfs)
            .ok()
            .and_then(|rootfs| machine::refusal(&rootfs, step.argv.first()?.as_ref()));
        if let Some(reason) = refused {
            return Err(fail(job.subject, format!("could not be run: {reason}")).hint(ADVICE));
        }
        let caches = self.caches(&job, &inside.sandbox)?;
        let workspace = Rc::clone(&self.workspace);
        let settings = Settings {
            rootfs: &workspace.rootfs,
            name: &workspace.target.name,
            network: if inside.sandbox.network { Network::Host } else { Network::Own },
            unguarded: self.context.allow_untrusted,
            resolver: inside.sandbox.resolver,
            policy: true,
            lending: Lending::Files,
            capabilities: capabilities(&inside.sandbox),
            mapped: workspace.target.mapped,
            caches,
            script,
        };
        let argv = step.argv.iter().map(OsString::from).collect();
        let environment = self.environment_inside(layer, inside, handed);
        let program = SandboxCommand { argv, environment };
        self.job(job, options, |events, watcher| run(settings, &program, options, events, watcher))
            .map_err(|failure| match hint(&failure, &inside.sandbox) {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
    }

    /// Returns what a step inside the rootfs has as environment, besides what all have. Paths of
    /// the host are of no use there.
    fn environment_inside(
        &self,
        layer: &Layer,
        inside: &Inside,
        handed: &Handed,
    ) -> Vec<(OsString, OsString)> {
        let name = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let of_run = [
            name("LXC_NAME", &self.workspace.target.name),
            name("LAYER_NAME", layer.name.as_str()),
        ];
        let given =
            inside.environment.iter().chain(layer.environment.iter()).chain(seen(layer, handed));
        let secrets = layer.secrets.iter().filter_map(|(name, variable)| {
            let value = self.context.secrets.get(variable)?;
            Some((OsString::from(name), OsString::from(value.expose())))
        });
        of_run.into_iter().chain(given.cloned()).chain(secrets).collect()
    }

    /// Takes the caches of a step, each for this run alone: a package manager cannot share its own.
    fn caches(
        &mut self,
        job: &Job<'_>,
        sandbox: &manifest::SandboxOptions,
    ) -> Result<CacheMounts, Failure> {
        let mut caches = CacheMounts::default();
        for path in &sandbox.cache {
            let fail = |error: io::Error| {
                let reason = format!("cannot have its cache `{path}`: {error}");
                Failure::of(job.status, job.subject.clone(), job.at, reason)
            };
            let path: &Path = path.as_ref();
            let owner = self.workspace.target.mapped.map(|mapped| (mapped.uid, mapped.gid));
            let kept = cache::directory(&Caller::observe())
                .ok_or_else(|| io::Error::other("no directory for it is known"))
                .and_then(|directory| Kept::find(&directory, owner, path))
                .map_err(fail)?;
            let mut waiting = false;
            while !kept.take().map_err(fail)? {
                if !std::mem::replace(&mut waiting, true) {
                    let path = path.display();
                    self.note(&format!("another run uses the cache of `{path}`; waiting for it"));
                }
                self.uninterrupted()?;
                sleep(PATIENCE);
            }
            let like = attributes(&self.workspace.rootfs, path);
            let (directory, lock) = kept.open(like).map_err(fail)?;
            caches.push(CacheMount { path: path.to_path_buf(), directory, lock });
        }
        Ok(caches)
    }
}

/// Says what to do about faults that are met again and again.
fn hint(failure: &Failure, sandbox: &manifest::SandboxOptions) -> Option<&'static str> {
    let offline =
        ["resolve", "resolving", "bad address", "Network is unreachable", "Network unreachable"];
    (!sandbox.network && offline.iter().any(|words| failure.tail.contains(words)))
        .then_some("a step inside the rootfs has no network, unless it says `network = true`")
}

pub(super) fn run(
    settings: Settings<'_>,
    program: &SandboxCommand,
    options: SpawnOptions,
    events: &mut EventLoop,
    watcher: &mut dyn Watcher,
) -> io::Result<End> {
    let sandbox = Sandbox::set_up(settings).map_err(not_built)?;
    let mut report = None;
    let end = events.supervise(options, watcher, |output| {
        let (output, errors) = (output.as_fd(), output.as_fd());
        let streams = Streams { input: None, output, errors, terminal: false };
        let (id, told) = sandbox.start(program, &streams).map_err(not_built)?;
        report = Some(told);
        Ok(id)
    });
    let returned = sandbox.give_back();
    let end = match (end?, report) {
        (End::Own(own), Some(report)) => match report.read()? {
            Outcome::Ended(status) => End::Own(status),
            Outcome::NotBuilt(reason) => return Err(not_built(io::Error::other(reason))),
            Outcome::NotRun(reason) => return Err(io::Error::other(reason)),
            Outcome::Unknown => End::Own(own),
        },
        (end, _) => end,
    };
    returned.map_err(|error| {
        io::Error::other(format!("what the sandbox had put into the rootfs stays: {error}"))
    })?;
    Ok(end)
}

/// Reads the script of a step; it must be what was planned.
fn script(step: &Step, inside: &Inside) -> Result<Option<(PathBuf, Vec<u8>)>, String> {
    let (Some(path), Some(planned)) = (&inside.script, step.script) else { return Ok(None) };
    let bytes = files::read_regular(path, LARGEST_SCRIPT)
        .map_err(|error| format!("has a script that cannot be read: {error}"))?;
    if Digest::of(&bytes) != planned {
        return Err("has a script that changed after it was planned".to_owned());
    }
    Ok(step.argv.last().map(|place| (place.into(), bytes)))
}

fn capabilities(sandbox: &manifest::SandboxOptions) -> CapabilitySet {
    sandbox.capabilities.iter().fold(CapabilitySet::empty(), |all, capability| {
        all | CapabilitySet::from_bits_retain(1 << capability.number())
    })
}

/// Returns whose a directory of the rootfs is; nothing, where it is not there.
fn attributes(rootfs: &Path, path: &Path) -> Option<Attributes> {
    let directory = Rootfs::open(rootfs).and_then(|rootfs| rootfs.directory(path)).ok()?;
    let stat = rustix::fs::fstat(directory).ok()?;
    Some(Attributes { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 })
}
