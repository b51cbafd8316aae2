//! Runs a plan, and tells people of it.

use super::arguments::{LogFormat, TalkArguments};
use super::{output, progress, report};
use crate::chain::Secrets;
use crate::execute::{self, Failure, Means, status};
use crate::host::caller::Caller;
use crate::host::signals::Signals;
use crate::host::state::{self, RunDirectory};
use crate::host::{child, contain, privacy};
use crate::plan::Plan;

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

/// Runs a plan in namespaces of its own, and returns the exit status.
pub(super) fn run(plan: &Plan, secrets: Secrets, options: Options) -> u8 {
    // As LXC has it; `create` may be called with another.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if !secrets.is_empty()
        && let Err(error) = privacy::keep()
    {
        output::error(&format!("the run cannot keep its secrets to itself: {error}"), None);
        return status::FILES;
    }
    let directory = run_directory(plan);
    let log = directory.as_ref().map(RunDirectory::log);
    match contain::run(|signals| within(plan, secrets, options, directory, signals)) {
        Ok(ended) => {
            if let Some(failure) = Failure::of_killed(ended) {
                let log = log.filter(|log| log.exists());
                tell(&Failure { log, ..failure }, plan, options);
            }
            child::code(ended)
        }
        Err(error) => {
            output::error(&format!("the run cannot begin: {error}"), None);
            status::FILES
        }
    }
}

fn within(
    plan: &Plan,
    secrets: Secrets,
    options: Options,
    directory: Option<RunDirectory>,
    signals: Signals,
) -> u8 {
    let mut observer = progress::observer(options.talk);
    let Options { keep_failed, allow_untrusted, .. } = options;
    let observer = &mut *observer;
    let means = Means { observer, signals, secrets, directory, keep_failed, allow_untrusted };
    match execute::run(plan, means) {
        Ok(()) => 0,
        Err(failure) if failure.informational() => {
            output::say(&format!("{failure}; no container is kept"));
            failure.status
        }
        Err(failure) => {
            tell(&failure, plan, options);
            failure.status
        }
    }
}

fn tell(failure: &Failure, plan: &Plan, options: Options) {
    match options.talk.log_format {
        LogFormat::Text => report::text(failure, plan, options.under_lxc),
        LogFormat::Json => report::json(failure, plan, options.under_lxc),
    }
}

/// Makes a directory for the log: in the state directory, or else where temporary files go.
fn run_directory(plan: &Plan) -> Option<RunDirectory> {
    let caller = Caller::observe();
    let owner = plan.container.mapped.map(|mapped| (mapped.uid, mapped.gid));
    let name = &plan.container.name;
    let made = state::directory(&caller).and_then(|state| {
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
