//! Runs a plan, and tells people of it.

use std::io;

use super::arguments::{LogFormat, RunArguments, TalkArguments};
use super::at_work::AtWork;
use super::output::Look;
use super::prepare::Prepared;
use super::wrap::wrapped;
use super::{output, progress, report};
use crate::cache::Cache;
use crate::chain::Secrets;
use crate::execute::{self, Failure, RunContext, status};
use crate::host::caller::Caller;
use crate::host::event_loop::EventLoop;
use crate::host::output::{LeftOut, Output};
use crate::host::signals::Signals;
use crate::host::state::{self, RunDirectory};
use crate::host::trust;
use crate::host::{child, contain, privacy};
use crate::plan::Plan;
use crate::registry::Remote;

/// How a run is told of, and what is kept of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) talk: TalkArguments,
    /// Whether the rootfs of a failed run is kept.
    pub(super) keep_failed: bool,
    /// Whether steps have the host's network where nothing keeps them from its containers.
    pub(super) allow_untrusted: bool,
    /// Whether LXC made the container, so that it is LXC's to remove.
    pub(super) under_lxc: bool,
}

impl Options {
    pub(super) fn of(arguments: RunArguments, under_lxc: bool) -> Self {
        let RunArguments { talk, keep_failed, allow_untrusted } = arguments;
        Self { talk, keep_failed, allow_untrusted, under_lxc }
    }
}

/// Runs a plan in namespaces of its own, and returns the exit status.
pub(super) fn run(prepared: &Prepared, secrets: Secrets, options: Options) -> u8 {
    let plan = &prepared.plan;
    // As LXC has it; `create` may be called with another.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if !secrets.is_empty()
        && let Err(error) = privacy::keep()
    {
        output::error(&format!("the run cannot keep its secrets to itself: {error}"), None);
        return status::FILES;
    }
    let directory = run_directory(plan);
    contained(prepared, secrets, options, directory).unwrap_or_else(|error| {
        output::error(&format!("the run cannot begin: {error}"), None);
        status::FILES
    })
}

fn contained(
    prepared: &Prepared,
    secrets: Secrets,
    options: Options,
    directory: Option<RunDirectory>,
) -> io::Result<u8> {
    let log = directory.as_ref().map(RunDirectory::log);
    let line = progress::left_out(options.talk.log_format);
    let look = Look::observe();
    let at_work = AtWork::new()?;
    let mut signals = Signals::keep()?;
    let (output, mut writer, reader) = Output::begin(LeftOut { log: log.clone(), line })?;
    let Prepared { plan, cache, remote, .. } = prepared;
    let remote = remote.as_deref();
    let told = Told { plan, cache, remote, options, look, output: &output };
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
                told.tell(&failure);
                (failure.status, ended.asked)
            }
            None => (child::code(ended.status), ended.asked),
        });
    // One that was asked behind this process's back has ended as if it had been asked here.
    let asked = result.as_ref().is_ok_and(|(status, asked)| *asked || *status > status::SIGNAL);
    writer.end(output, &mut signals, asked);
    result.map(|(status, _)| status)
}

/// A run that is told of.
struct Told<'a> {
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
        let mut observer = progress::observer(self.options.talk, self.look, self.output.clone());
        let mut observer = at_work.noted(&mut *observer);
        if let Some(remote) = self.remote {
            remote.tell(progress::notice(self.options.talk, self.look, self.output.clone()));
        }
        let context = RunContext {
            observer: &mut observer,
            events: &mut events,
            secrets,
            directory,
            keep_failed: self.options.keep_failed,
            allow_untrusted: self.options.allow_untrusted,
            remote: self.remote,
        };
        let status = match execute::run(self.plan, self.cache, context) {
            Ok(()) => 0,
            Err(failure) if failure.informational() => {
                let said = format!("{failure}; no container is kept");
                self.output.say(&output::line(&crate::shell::printable(&said)));
                failure.status
            }
            Err(failure) => {
                self.tell(&failure);
                failure.status
            }
        };
        events.finish();
        status
    }

    fn tell(&self, failure: &Failure) {
        let under_lxc = self.options.under_lxc;
        self.output.say(&match self.options.talk.log_format {
            LogFormat::Text => {
                let text = report::text(failure, self.plan, under_lxc, self.look.styled);
                wrapped(&text).into_owned()
            }
            LogFormat::Json => report::json(failure, self.plan, under_lxc),
        });
    }
}

/// Makes a directory for the log: in the state directory, or else where temporary files go.
fn run_directory(plan: &Plan) -> Option<RunDirectory> {
    let caller = Caller::observe();
    let owner = plan.container.mapped.map(|mapped| (mapped.uid, mapped.gid));
    let name = &plan.container.name;
    let made = state::directory(&caller).and_then(|state| {
        if let Err(untrusted) = trust::check(&state) {
            let state = state.display();
            output::say(&format!(
                "warning: the state directory `{state}` is not used: {untrusted}"
            ));
            return None;
        }
        RunDirectory::make(&state, name, owner)
            .inspect_err(|error| {
                tracing::debug!(%error, state = %state.display(), "no state directory");
            })
            .ok()
    });
    made.map_or_else(|| RunDirectory::make_temporary(name, owner), Ok)
        .inspect_err(|error| tracing::warn!(%error, "this run has no log"))
        .ok()
}
