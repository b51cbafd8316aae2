//! Runs a step on the host.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use super::failure::{Cause, Failure, status};
use super::observe::{Doing, Event, Observer, Subject};
use super::output_tail::OutputTail;
use super::{Handed, Run};
use crate::chain::{MaskedStream, Secret};
use crate::host::child::{self, End, SpawnOptions, Watcher};
use crate::host::ended::describe;
use crate::host::event_loop::EventLoop;
use crate::host::interrupts::Work;
use crate::host::state::RunDirectory;
use crate::host::{clock, files, program, signals};
use crate::lxc::upstream::HELD;
use crate::manifest::Phase;
use crate::plan::{Layer, Place, Step};
use crate::shell;
use crate::source::At;

/// How much is read of what a server has said of a file, in bytes.
const LONGEST_HEADS: usize = 256 * 1024;

impl Run<'_> {
    /// Runs a step; `more` is environment of its kind alone.
    pub(super) fn step(
        &mut self,
        layer: &Layer,
        step: &Step,
        handed: &Handed,
        more: &[(OsString, OsString)],
    ) -> Result<(), Failure> {
        let doing = Doing::Step { phase: step.phase, title: step.title.clone() };
        let subject = Subject { layer: layer.name.clone(), doing };
        let text = step.argv.last().map(String::as_str).unwrap_or_default();
        let status = status_of(step.phase);
        let job = Job { subject, at: &step.at, text, status, download: None };
        let options = self.options(step);
        if let Place::Rootfs(inside) = &step.place {
            // Neither the host nor the rootfs has the path by which the step sees its script.
            let script = inside.script.as_ref().map(|script| format!(" # {}", shell::word(script)));
            let command = shell::command(&step.argv) + script.as_deref().unwrap_or_default();
            return self.step_inside(job, layer, step, inside, handed).map_err(|failure| Failure {
                command: Some(command),
                hint: failure.hint.clone().or_else(|| hint(step, &failure)),
                ..failure
            });
        }
        let mut command = host_command(&step.argv[0]);
        command.args(&step.argv[1..]).current_dir(&step.directory);
        self.surround(&mut command, layer);
        for name in &self.plan.hidden {
            command.env_remove(name);
        }
        let pairs = layer.environment.iter().chain(seen(layer, handed)).chain(more);
        command.envs(pairs.map(|(name, value)| (name, value)));
        for (name, variable) in &layer.secrets {
            let value = self.context.secrets.get(variable).map(Secret::expose).unwrap_or_default();
            command.env(name, value);
        }
        self.command(job, command, options).map_err(|failure| Failure {
            command: Some(shell::command(&step.argv)),
            hint: failure.hint.clone().or_else(|| hint(step, &failure)),
            ..failure
        })
    }

    /// Adds what every step knows of the container and of its layer.
    fn surround(&self, command: &mut Command, layer: &Layer) {
        let container = &self.workspace.target;
        command
            .env("LXC_NAME", &container.name)
            .env("LXC_PATH", &container.path)
            .env("LXC_ROOTFS", &container.rootfs)
            .env("LAYER_NAME", layer.name.as_str())
            .env("LAYER_DIR", &layer.directory)
            // The caller may be a step of this program's too; these two would be that one's.
            .env_remove("LAYER_ENV")
            .env_remove("LAYER_STATUS");
        match container.mapped {
            Some(mapped) => command
                .env("LXC_MAPPED_UID", mapped.uid.to_string())
                .env("LXC_MAPPED_GID", mapped.gid.to_string()),
            None => command.env_remove("LXC_MAPPED_UID").env_remove("LXC_MAPPED_GID"),
        };
    }

    /// Runs a command of a layer, and tells of it.
    pub(super) fn command(
        &mut self,
        job: Job<'_>,
        mut command: Command,
        options: SpawnOptions,
    ) -> Result<(), Failure> {
        match self.held().join(" ") {
            nothing if nothing.is_empty() => command.env_remove(HELD),
            held => command.env(HELD, held),
        };
        let name = command.get_program().to_owned();
        self.job(job, options, |events, watcher| {
            events
                .run(command, options, watcher)
                .map_err(|error| program::not_started(&name, error))
        })
    }

    /// Runs something of a layer that `run` brings to its end, and tells of it.
    pub(super) fn job(
        &mut self,
        job: Job<'_>,
        options: SpawnOptions,
        run: impl FnOnce(&mut EventLoop, &mut dyn Watcher) -> io::Result<End>,
    ) -> Result<(), Failure> {
        let Job { subject, at, text, status, download } = job;
        let begun = format!("{} {subject} ({at}): {text}\n", clock::present());
        self.log(begun.as_bytes());
        let text = &self.context.secrets.mask(text);
        self.context.observer.event(&Event::Begun { subject: &subject, at, text });
        let started = Instant::now();
        let mut sink = OutputSink {
            subject: &subject,
            observer: &mut *self.context.observer,
            directory: &mut self.context.directory,
            download,
            tail: OutputTail::default(),
            masked: self.context.secrets.stream(),
        };
        let over = self.workspace.over();
        let end = run(self.context.events, &mut sink);
        let tail = sink.end();
        let elapsed = started.elapsed();
        let failure = match judge(end, self.context.events, status, options) {
            Ok(()) => None,
            Err(Ended { status, cause, reason }) => {
                Some(Failure::of(status, subject.clone(), at, reason).because(cause))
            }
        };
        let succeeded = failure.is_none();
        let is_interrupted =
            failure.as_ref().is_some_and(|failure| failure.cause == Cause::Interrupted);
        if is_interrupted && self.context.events.asked().is_some() {
            self.context.observer.event(&Event::Interrupted);
        }
        self.context.observer.event(&Event::Ended { subject: &subject, succeeded, elapsed });
        let unmounted = self.unmount(&subject, over).err();
        let failure = failure
            .or_else(|| unmounted.map(|reason| Failure::of(status, subject.clone(), at, reason)));
        let Some(failure) = failure else { return Ok(()) };
        self.log(format!("{failure}\n").as_bytes());
        Err(Failure { tail, ..failure })
    }
}

/// Where temporary files go, by whatever name the caller has said it. What is the caller's alone, as
/// `libpam-tmpdir` makes it, is of no use to a root with mapped ids.
const TEMPORARY: [&str; 4] = ["TMPDIR", "TMP", "TEMP", "TEMPDIR"];

/// Returns a command of the host that has the caller's environment, as far as that concerns it.
pub(super) fn host_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in TEMPORARY {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A command of a layer.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) subject: Subject,
    pub(super) at: &'a At,
    /// What it is, for people.
    pub(super) text: &'a str,
    /// The exit status of its failure.
    pub(super) status: u8,
    /// What it downloads, where that can be watched.
    pub(super) download: Option<Growing<'a>>,
}

/// A file that grows while a command runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growing<'a> {
    /// The file.
    pub(super) file: &'a Path,
    /// What the server has said of it: the heads of its answers.
    pub(super) heads: &'a Path,
}

impl Growing<'_> {
    /// Returns how long the file is, and how long it will be, where that is known.
    fn lengths(&self) -> Option<(u64, Option<u64>)> {
        let done = std::fs::metadata(self.file).ok()?.len();
        let heads = files::read_regular(self.heads, LONGEST_HEADS).unwrap_or_default();
        Some((done, length_told(&String::from_utf8_lossy(&heads))))
    }
}

/// Returns the length that the last of several answers of a server tells of.
fn length_told(heads: &str) -> Option<u64> {
    let last = heads.trim_end().rsplit("\r\n\r\n").next()?;
    let told = last.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok()).flatten()
    });
    told.fold(None, |_, length| Some(length))
}

/// The end of a command that is a failure.
struct Ended {
    status: u8,
    cause: Cause,
    reason: String,
}

/// Judges how a command ended.
fn judge(
    end: io::Result<End>,
    events: &mut EventLoop,
    status: u8,
    options: SpawnOptions,
) -> Result<(), Ended> {
    let failed = |cause, reason| Err(Ended { status, cause, reason });
    match end {
        Err(error) => failed(Cause::from(&error), format!("could not be run: {error}")),
        Ok(End::TimedOut) => {
            let limit = options.timeout.map(|limit| format!(" after {} s", limit.as_secs()));
            failed(Cause::TimedOut, format!("timed out{}", limit.unwrap_or_default()))
        }
        Ok(End::Interrupted(signal)) => Err(asked(signal)),
        Ok(End::Own(own)) => match events.asked() {
            // It came while the step was ending by itself, or the terminal has told both at once.
            Some(signal) if options.work == Work::Ordinary => Err(asked(signal)),
            _ if own.success() => Ok(()),
            // A shell whose command was killed ends with the status that stands for that.
            _ if child::code(own) == KILLED => failed(Cause::Killed, describe(own)),
            _ => failed(Cause::Ended, describe(own)),
        },
    }
}

fn asked(signal: Signal) -> Ended {
    let (status, reason) = interrupted(signal);
    Ended { status, cause: Cause::Interrupted, reason }
}

pub(super) fn interrupted(signal: Signal) -> (u8, String) {
    let number = u8::try_from(signal.as_raw()).unwrap_or_default();
    (status::SIGNAL + number, format!("was interrupted by {}", signals::name(signal)))
}

/// The status that stands for SIGKILL.
const KILLED: u8 = 128 + 9;

/// Returns what a layer sees of the variables that were handed inward: a reusable layer sees its own
/// alone.
pub(super) fn seen<'a>(
    layer: &'a Layer,
    handed: &'a Handed,
) -> impl Iterator<Item = &'a (OsString, OsString)> {
    handed.iter().filter(|(name, _)| layer.sees.iter().any(|seen| name == seen.as_str()))
}

fn status_of(phase: Phase) -> u8 {
    match phase {
        Phase::Pre => status::PRE,
        Phase::Post | Phase::Finally => status::POST,
        Phase::Check => status::CHECK,
    }
}

fn hint(step: &Step, failure: &Failure) -> Option<String> {
    match (failure.cause, step.phase) {
        (Cause::TimedOut, _) => {
            let (limit, at) = (step.timeout?, step.timeout_at.as_ref()?);
            Some(format!("`timeout = \"{limit}\"` at {at} is its limit"))
        }
        // One that was ended from outside has not looked.
        (Cause::Ended, Phase::Check) => {
            Some("a check proves a layer's work; what it looks for is missing".to_owned())
        }
        _ => None,
    }
}

/// Hands a command's output to the log, to the observer, and to the failure that may come.
struct OutputSink<'a> {
    subject: &'a Subject,
    observer: &'a mut dyn Observer,
    directory: &'a mut Option<RunDirectory>,
    download: Option<Growing<'a>>,
    tail: OutputTail,
    masked: MaskedStream,
}

impl OutputSink<'_> {
    fn hand(&mut self, bytes: &[u8]) {
        if let Some(directory) = self.directory {
            directory.write(bytes);
        }
        self.tail.add(bytes);
        self.observer.event(&Event::Output { subject: self.subject, bytes });
    }

    /// Hands on what is left, and returns the last lines.
    fn end(mut self) -> String {
        let rest = self.masked.end();
        if !rest.is_empty() {
            self.hand(&rest);
        }
        self.tail.tail()
    }
}

impl Watcher for OutputSink<'_> {
    fn output(&mut self, bytes: &[u8]) {
        let masked = self.masked.push(bytes);
        if !masked.is_empty() {
            self.hand(&masked);
        }
    }

    fn tick(&mut self) {
        if let Some((done, total)) = self.download.and_then(|download| download.lengths()) {
            self.observer.event(&Event::Bytes { done, total });
        }
        self.observer.event(&Event::Tick);
    }

    fn note(&mut self, text: &str) {
        if let Some(directory) = self.directory {
            directory.write(format!("{}\n", shell::printable(text)).as_bytes());
        }
        self.observer.event(&Event::Note(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_of_a_server_tells_of_the_length() {
        let moved = "HTTP/1.1 302 Found\r\nContent-Length: 5\r\n\r\n";
        let found = "HTTP/2 200\r\ncontent-length: 1234\r\n\r\n";
        assert_eq!(length_told(found), Some(1234));
        assert_eq!(length_told(&format!("{moved}{found}")), Some(1234));
        assert_eq!(length_told(&format!("{found}HTTP/2 200\r\nserver: x\r\n\r\n")), None);
        for heads in ["", "HTTP/1.1 200 OK\r\n", "Content-Length: many\r\n"] {
            assert_eq!(length_told(heads), None, "{heads}");
        }
    }
}
