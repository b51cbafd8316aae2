//! Runs a plan, and tells people of it.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::arguments::LogFormat;
use super::at_work::AtWork;
use super::history::{self, RunNote, RunSubject};
use super::options::Options;
use super::output::Look;
use super::prepare::Prepared;
use super::scene::Scene;
use super::wrap::wrapped_to;
use super::{output, progress, report, request};
use crate::cache::Cache;
use crate::chain::Secrets;
use crate::execute::{self, Cause, Failure, Rebase, Rebased, RunContext, status};
use crate::host::event_loop::EventLoop;
use crate::host::output::{LeftOut, Output};
use crate::host::owned::OwnerIds;
use crate::host::signals::Signals;
use crate::host::state::RunDirectory;
use crate::host::template;
use crate::host::{child, clock, contain, privacy};
use crate::plan::Plan;
use crate::record::{RunFailure, RunVerb};
use crate::registry::Remote;

/// A run that has ended, and of which the history knows nothing yet.
#[derive(Debug)]
#[must_use = "the history waits for its end"]
pub(super) struct Ran {
    /// The exit status.
    pub(super) status: u8,
    failure: Option<RunFailure>,
    /// Where the log is, if it was kept.
    log: Option<PathBuf>,
    note: RunNote,
}

impl Ran {
    /// Notes its end, tells whoever is to be told, and returns the exit status.
    pub(super) fn told(self) -> u8 {
        let log = self.log.filter(|log| log.exists());
        self.note.end(self.status, self.failure, log.as_deref());
        self.status
    }

    /// Returns it as one that has failed by what came after it.
    pub(super) fn failed(self, status: u8, message: &str) -> Self {
        let failure = history::failure(&Failure::of_run(status, message));
        Self { status, failure: Some(failure), ..self }
    }
}

/// What a part of a run has come to.
#[derive(Debug)]
pub(super) struct Part {
    /// The exit status.
    pub(super) status: u8,
    failure: Option<RunFailure>,
    /// Where its log is, if it was kept.
    log: Option<PathBuf>,
}

impl Part {
    /// Returns one that has ended with a status by what a message tells of.
    pub(super) fn failed(status: u8, message: impl Into<String>) -> Self {
        let failure = history::failure(&Failure::of_run(status, message));
        Self { status, failure: Some(failure), log: None }
    }

    /// Returns one that did what it should.
    pub(super) fn done() -> Self {
        Self { status: 0, failure: None, log: None }
    }

    /// Returns why it failed, where that is known.
    pub(super) fn message(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.message.as_str())
    }

    /// Returns the run that ends with it.
    pub(super) fn of(self, note: RunNote) -> Ran {
        let Self { status, failure, log } = self;
        Ran { status, failure, log, note }
    }
}

/// Says what comes before a failure, by what says a line of it.
type BeforeFailure<'a> = dyn Fn(&dyn Fn(&str)) + 'a;

/// What is done with a plan.
#[derive(Clone, Copy)]
pub(super) enum Task<'a> {
    /// It is run.
    Run,
    /// It is run for the store; before a failure is told, more is to be said.
    Fill(&'a BeforeFailure<'a>),
    /// It is run in another directory, which is shown in the place of the container's.
    Stage(&'a Path),
    /// What the container has changed is put on what was made so.
    Rebase(&'a Rebase<'a>, &'a dyn Fn(&Rebased) -> u8),
}

/// Runs a plan in namespaces of its own.
pub(super) fn run(prepared: &Prepared, secrets: Secrets, options: Options) -> Ran {
    ran(Task::Run, prepared, secrets, options)
}

/// Runs a plan for the store alone. `before_failure` says what is to be said before a failure is.
pub(super) fn run_filling(
    prepared: &Prepared,
    secrets: Secrets,
    options: Options,
    before_failure: &BeforeFailure<'_>,
) -> Ran {
    ran(Task::Fill(before_failure), prepared, secrets, options)
}

fn ran(task: Task<'_>, prepared: &Prepared, secrets: Secrets, options: Options) -> Ran {
    let note = begin(prepared, &secrets, options, owner(prepared));
    perform(task, prepared, secrets, options).of(note)
}

/// Notes in the history that a run begins. What is written there belongs to `owner`.
pub(super) fn begin(
    prepared: &Prepared,
    secrets: &Secrets,
    options: Options,
    owner: OwnerIds,
) -> RunNote {
    let plan = &prepared.plan;
    let fills = matches!(options.verb, RunVerb::Build | RunVerb::Pull | RunVerb::Push);
    let container = (plan.container.name.as_str(), plan.container.path.as_path());
    let subject = RunSubject {
        verb: options.verb,
        container: Some(container).filter(|_| !fills),
        role: plan.manifest.description.as_deref(),
        manifest: &plan.manifest.absolute,
        command: request::words(),
    };
    history::begin(&subject, secrets, options, owner)
}

/// Does something with a plan in namespaces of its own, of which the history learns from the caller.
pub(super) fn perform(
    task: Task<'_>,
    prepared: &Prepared,
    secrets: Secrets,
    options: Options,
) -> Part {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let container = &prepared.plan.container;
    let state = history::state_directory();
    let mut directory = run_directory(&container.name, state.as_deref(), owner(prepared));
    let mask = |text: &str| secrets.mask(text).into_owned();
    if let Some(directory) = &mut directory {
        directory.write(log_head(&mask(&request::words())).as_bytes());
    }
    let log = directory.as_ref().map(RunDirectory::log);
    let begun = match secrets.is_empty() {
        true => Ok(()),
        false => privacy::keep().map_err(|error| {
            let reason = format!("the run cannot keep its secrets to itself: {error}");
            Failure::of_run(status::FILES, reason)
        }),
    };
    let ended = begun.and_then(|()| {
        contained(task, prepared, secrets, options, directory).map_err(|error| {
            let reason = format!("the run cannot begin: {error}");
            Failure::of_run(status::FILES, reason).because(Cause::from(&error))
        })
    });
    let (status, failure) = ended.unwrap_or_else(|failure| {
        output::error(&failure.to_string(), failure.hint.as_deref());
        (failure.status, Some(history::failure(&failure)))
    });
    Part { status, failure, log }
}

/// Returns whose a run's files are.
fn owner(prepared: &Prepared) -> OwnerIds {
    prepared.plan.container.mapped.map(|mapped| (mapped.uid, mapped.gid))
}

/// Returns what a log begins with: when, by which version, where, and by which words.
fn log_head(command: &str) -> String {
    let host = rustix::system::uname();
    format!(
        "{} layered-template {} on {} ({} {})\n{command}\n\n",
        clock::present(),
        env!("CARGO_PKG_VERSION"),
        host.nodename().to_string_lossy(),
        host.sysname().to_string_lossy(),
        host.release().to_string_lossy(),
    )
}

fn contained(
    task: Task<'_>,
    prepared: &Prepared,
    secrets: Secrets,
    options: Options,
    directory: Option<RunDirectory>,
) -> io::Result<(u8, Option<RunFailure>)> {
    let log = directory.as_ref().map(RunDirectory::log);
    let line = progress::left_out(options.talk.log_format);
    let look = Look::observe();
    let at_work = AtWork::new()?;
    let mut signals = Signals::keep()?;
    let (output, mut writer, reader) = Output::begin(LeftOut { log: log.clone(), line })?;
    let Prepared { plan, cache, remote, .. } = prepared;
    let remote = remote.as_deref();
    let told = Told { task, plan, cache, remote, options, look, output: &output };
    let work = |signals| {
        let events = EventLoop::new(signals, output.clone());
        let result = events.map(|events| told.run(secrets, directory, events, &at_work));
        result.unwrap_or_else(|error| {
            tracing::error!(%error, "nothing can be waited for");
            status::FILES
        })
    };
    let ended = contain::run(&mut signals, work, || writer.start(reader));
    let result =
        ended.map(|ended| match Failure::of_ended(ended.status, at_work.read().as_deref()) {
            Some(failure) => {
                let log = log.filter(|log| log.exists());
                let failure = Failure { log, ..failure };
                if look.live {
                    output.clear_line();
                }
                told.tell(&failure);
                (failure.status, Some(history::failure(&failure)), ended.asked)
            }
            None => (child::code(ended.status), at_work.failure(), ended.asked),
        });
    // One that was asked behind this process's back has ended as if it had been asked here.
    let asked = result.as_ref().is_ok_and(|(status, _, asked)| *asked || *status > status::SIGNAL);
    writer.end(output, &mut signals, asked);
    result.map(|(status, failure, _)| (status, failure))
}

/// A run that is told of.
struct Told<'a> {
    task: Task<'a>,
    plan: &'a Plan,
    cache: &'a Cache,
    remote: Option<&'a Remote>,
    options: Options,
    look: Look,
    output: &'a Output,
}

impl Told<'_> {
    fn run(
        &self,
        secrets: Secrets,
        directory: Option<RunDirectory>,
        mut events: EventLoop,
        at_work: &AtWork,
    ) -> u8 {
        // What has called a run within a run tells of the whole.
        let is_whole = template::depth() == 0;
        let is_made = is_whole && matches!(self.task, Task::Run | Task::Fill(_));
        let scene = Scene::of(self.plan, is_made);
        let (talk, look) = (self.options.talk, self.look);
        let mut observer = progress::observer(talk, look, self.output.clone(), scene);
        let mut observer = at_work.noted(&mut *observer);
        if let Some(remote) = self.remote {
            remote.tell(progress::notice(talk, self.output.clone()));
        }
        let context = RunContext {
            observer: &mut observer,
            events: &mut events,
            secrets,
            directory,
            keep_failed: self.options.keep_failed,
            allow_untrusted: self.options.allow_untrusted,
            remote: self.remote,
            shown: match self.task {
                Task::Stage(directory) => Some(directory),
                Task::Run | Task::Fill(_) | Task::Rebase(..) => None,
            },
        };
        let done = match self.task {
            Task::Run | Task::Fill(_) | Task::Stage(_) => {
                execute::run(self.plan, self.cache, context).map(|()| 0)
            }
            Task::Rebase(rebase, tell) => {
                let rebased = execute::rebase(self.plan, self.cache, context, rebase);
                rebased.map(|rebased| tell(&rebased))
            }
        };
        let status = match done {
            Ok(status) => status,
            Err(failure) if failure.informational() => {
                let said = format!("{failure}; no container is kept");
                self.output.say(&output::line(&crate::shell::printable(&said)));
                failure.status
            }
            Err(failure) => {
                at_work.failed(&history::failure(&failure));
                self.tell(&failure);
                failure.status
            }
        };
        events.finish();
        status
    }

    /// Says a line of what was asked for. Another process writes to standard error: where that is a terminal as
    /// standard output is, the line has to come by the same way, behind what takes the line of what goes on away.
    fn say_result(&self, text: &str) {
        if self.output.is_terminal() && io::stdout().is_terminal() {
            self.output.say(&output::line(&crate::shell::printable(text)));
        } else {
            // Nobody who listens no more is kept from the store.
            let _ = output::print(|to| writeln!(to, "{text}"));
        }
    }

    fn tell(&self, failure: &Failure) {
        if let Task::Fill(before_failure) = self.task {
            before_failure(&|line| self.say_result(line));
        }
        let under_lxc = self.options.is_under_lxc();
        self.output.say(&match self.options.talk.log_format {
            LogFormat::Text => {
                let container = (under_lxc, self.options.keep_failed);
                let text = report::text(failure, self.plan, container, self.look.styled);
                wrapped_to(&text, self.output.columns()).into_owned()
            }
            LogFormat::Json => report::json(failure, self.plan, under_lxc),
        });
    }
}

/// Makes a directory for the log: in the state directory, or else where temporary files go.
fn run_directory(name: &str, state: Option<&Path>, owner: OwnerIds) -> Option<RunDirectory> {
    let made = state.and_then(|state| {
        RunDirectory::make(state, name, owner)
            .inspect_err(|error| {
                tracing::debug!(%error, state = %state.display(), "no state directory");
            })
            .ok()
    });
    made.map_or_else(|| RunDirectory::make_temporary(name, owner), Ok)
        .inspect_err(|error| tracing::warn!(%error, "this run has no log"))
        .ok()
}
