//! How a run fails: what, where, with which status, and what there is to look at.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::Signal;

use super::observe::Subject;
use super::step::describe;
use crate::chain::Secrets;
use crate::host::{child, kernel};
use crate::source::At;

/// The exit statuses of a run. They are part of the program's contract.
pub mod status {
    /// The manifest, or the command line, cannot be used.
    pub const USAGE: u8 = 2;
    /// A `pre` step failed.
    pub const PRE: u8 = 3;
    /// The upstream template failed, or is not the one that the manifest pins.
    pub const UPSTREAM: u8 = 4;
    /// A file could not be dropped, or the config not be written.
    pub const FILES: u8 = 5;
    /// A `post` step failed, or a `finally` after all else had succeeded.
    pub const POST: u8 = 6;
    /// A `check` step failed.
    pub const CHECK: u8 = 7;
    /// The layer store failed, or the container cannot stand on it.
    pub const STORE: u8 = 8;
    /// The call only asked for something; LXC keeps no container after it.
    pub const INFORMATIONAL: u8 = 9;
    /// A signal ended the run; its number is added.
    pub const SIGNAL: u8 = 128;
}

/// What to look at where something was killed.
pub(super) const OUT_OF_MEMORY: &str = "where nobody sent it, memory was short: `dmesg` names what the \
     kernel has killed, and `memory.events` of the memory cgroup counts it";

/// A failure of a run.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The exit status of the program.
    pub status: u8,
    /// What failed; nothing, where it was the run as a whole.
    pub subject: Option<Subject>,
    /// Where the manifest has it.
    pub at: Option<At>,
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
    pub fn of_run(status: u8, reason: impl Into<String>) -> Self {
        Self {
            status,
            subject: None,
            at: None,
            reason: reason.into(),
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
    pub fn of_ended(ended: ExitStatus, at_work: Option<&str>) -> Option<Self> {
        let during = at_work.map(|what| format!(" in {what}")).unwrap_or_default();
        if ended.code() == Some(i32::from(kernel::PANICKED)) {
            let reason = format!("the run was ended by a fault of the program{during}");
            let failure = Self::of_run(status::FILES, reason);
            return Some(failure.hint("please report it, with what is said above"));
        }
        ended.signal()?;
        let reason = format!("the run {}{during}", describe(ended));
        Some(Self::of_run(child::code(ended), reason).hint(OUT_OF_MEMORY))
    }

    /// Creates a failure of `subject`, which the manifest has at `at`.
    pub fn of(status: u8, subject: Subject, at: &At, reason: impl Into<String>) -> Self {
        Self { subject: Some(subject), at: Some(at.clone()), ..Self::of_run(status, reason) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
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
    pub fn informational(&self) -> bool {
        self.status == status::INFORMATIONAL
    }

    /// Returns the signal that ended the run, where one did.
    pub fn signal(&self) -> Option<Signal> {
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
