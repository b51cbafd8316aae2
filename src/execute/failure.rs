//! How a run fails: what, where, with which status, and what there is to look at.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde::Serialize;

use super::observe::Subject;
use crate::chain::Secrets;
use crate::host::ended::describe;
use crate::host::{child, fault, files, kernel};
use crate::shell;
use crate::source::At;

/// The exit statuses of a run. They are part of the program's contract.
pub(crate) mod status {
    /// The manifest, or the command line, cannot be used.
    pub(crate) const USAGE: u8 = 2;
    /// A `pre` step failed.
    pub(crate) const PRE: u8 = 3;
    /// The upstream template failed, or is not the one that the manifest pins.
    pub(crate) const UPSTREAM: u8 = 4;
    /// A file could not be dropped, or the config not be written.
    pub(crate) const FILES: u8 = 5;
    /// A `post` step failed, or a `finally` after all else had succeeded.
    pub(crate) const POST: u8 = 6;
    /// A `check` step failed.
    pub(crate) const CHECK: u8 = 7;
    /// The layer store failed, or the container cannot stand on it.
    pub(crate) const STORE: u8 = 8;
    /// The call only asked for something; LXC keeps no container after it.
    pub(crate) const INFORMATIONAL: u8 = 9;
    /// Others could have written what root was to take, or the program is set-user-id.
    pub(crate) const TRUST: u8 = 10;
    /// A signal ended the run; its number is added.
    pub(crate) const SIGNAL: u8 = 128;
}

/// What to look at where something was killed.
const OUT_OF_MEMORY: &str = "where nobody sent it, memory was short: `dmesg` names what the \
     kernel has killed, and `memory.events` of the memory cgroup counts it";

/// What to do where there is no memory, or no descriptor.
pub(crate) const SHORTAGE: &str = "`free -h` shows how much memory the host has left, `memory.max` of the memory cgroup \
     how much may be used, and `ulimit -n` how many files may be open; end what is not needed, or allow more";

/// What kind of thing has failed: what to do about it depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// A command ended by itself, and not well.
    Ended,
    /// A command was killed, and by nobody of this program.
    Killed,
    /// A command took longer than it may.
    TimedOut,
    /// A signal asked for the end.
    Interrupted,
    /// This host does not let a step's sandbox be built.
    Sandbox,
    /// A path of the rootfs has led out of it, or was changed while it was followed.
    UnsafePath,
    /// The disk that was written to is full, or a user has all that it may have of it.
    FullDisk,
    /// There is no memory left, or there are no more descriptors.
    Shortage,
    /// Anything else; the reason says what.
    Other,
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        match fault::kind(error) {
            Some(fault::FaultKind::Sandbox) => Self::Sandbox,
            Some(fault::FaultKind::UnsafePath) => Self::UnsafePath,
            None if files::is_full(error) => Self::FullDisk,
            None if fault::is_shortage(error) => Self::Shortage,
            None => Self::Other,
        }
    }
}

impl Cause {
    /// Returns what to do about it, where that is the same whatever has failed.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Killed => Some(OUT_OF_MEMORY),
            Self::Sandbox => Some("`layered-template doctor` says what this host lacks"),
            Self::UnsafePath => Some(
                "something was still at work in the rootfs, such as a process that a step has left \
                 running",
            ),
            Self::Shortage => Some(SHORTAGE),
            Self::Ended | Self::TimedOut | Self::Interrupted | Self::FullDisk | Self::Other => None,
        }
    }
}

/// A failure of a run.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The exit status of the program.
    pub status: u8,
    /// What failed; nothing, where it was the run as a whole.
    pub subject: Option<Subject>,
    /// Where the manifest has it.
    pub at: Option<At>,
    /// What kind of thing has failed.
    pub cause: Cause,
    /// Why, in words that follow the subject: `ended with status 1`.
    pub reason: String,
    /// The command that failed, as a shell would need it.
    pub command: Option<String>,
    /// The last lines that it printed.
    pub tail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What was stored of the layers that it stands on, and how long ago.
    pub stands_on: Option<String>,
    /// Where the whole log is.
    pub log: Option<PathBuf>,
    /// Where the failed rootfs is kept.
    pub rootfs: Option<PathBuf>,
}

impl Failure {
    /// Creates a failure of the run as a whole.
    pub(crate) fn of_run(status: u8, reason: impl Into<String>) -> Self {
        Self {
            status,
            subject: None,
            at: None,
            cause: Cause::Other,
            reason: shell::reason(&reason.into()).into_owned(),
            command: None,
            tail: String::new(),
            hint: None,
            stands_on: None,
            log: None,
            rootfs: None,
        }
    }

    /// Returns the failure of a run whose process could say nothing itself: it was killed, or ended by a
    /// fault of the program. `at_work` is what it was at.
    pub(crate) fn of_ended(ended: ExitStatus, at_work: Option<&str>) -> Option<Self> {
        let during = at_work.map(|what| format!(" in {what}")).unwrap_or_default();
        if ended.code() == Some(i32::from(kernel::PANICKED)) {
            let reason = format!("the run was ended by a fault of the program{during}");
            let failure = Self::of_run(status::FILES, reason);
            return Some(failure.hint("please report it, with what is said above"));
        }
        ended.signal()?;
        let reason = format!("the run {}{during}", describe(ended));
        Some(Self::of_run(child::code(ended), reason).because(Cause::Killed))
    }

    /// Creates a failure of `subject`, which the manifest has at `at`.
    pub(crate) fn of(status: u8, subject: Subject, at: &At, reason: impl Into<String>) -> Self {
        Self { subject: Some(subject), at: Some(at.clone()), ..Self::of_run(status, reason) }
    }

    /// Says what kind of thing has failed, and what to do about that.
    #[must_use]
    pub(crate) fn because(self, cause: Cause) -> Self {
        let hint = self.hint.or_else(|| cause.hint().map(str::to_owned));
        Self { cause, hint, ..self }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Replaces secrets in what it says; what was printed last holds none.
    #[must_use]
    pub(super) fn masked(self, secrets: &Secrets) -> Self {
        let mask = |text: String| secrets.mask(&text).into_owned();
        Self {
            reason: mask(self.reason),
            command: self.command.map(mask),
            hint: self.hint.map(mask),
            ..self
        }
    }

    /// Tells whether it is no failure at all: the call only asked for something.
    pub(crate) fn informational(&self) -> bool {
        self.status == status::INFORMATIONAL
    }

    /// Returns the signal that ended the run, where one did.
    pub(crate) fn signal(&self) -> Option<Signal> {
        self.status
            .checked_sub(status::SIGNAL)
            .and_then(|number| Signal::from_named_raw(i32::from(number)))
    }
}

/// One line: what failed and why.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write!(formatter, "{subject} {}", self.reason),
            None => formatter.write_str(&self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_a_shortage_asks_for_is_said() {
        for errno in [Errno::NOMEM, Errno::MFILE] {
            let error = fault::about("no process can be started", errno.into());
            let failure = Failure::of_run(status::FILES, "x").because(Cause::from(&error));
            assert_eq!(failure.hint.as_deref(), Some(SHORTAGE));
        }
    }
}
