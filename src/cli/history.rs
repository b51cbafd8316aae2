//! The history of this host's runs: a journal in the state directory, which `runs` shows.
//!
//! What cannot be written there ends no run.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::Signal;

use super::arguments::LogFormat;
use super::notify::Notify;
use super::options::Options;
use super::output;
use crate::chain::Secrets;
use crate::execute::{Failure, status};
use crate::host::caller::Caller;
use crate::host::clock;
use crate::host::journal::{Journal, There};
use crate::host::owned::{OwnerIds, make_all};
use crate::host::process::ProcessStatus;
use crate::host::signals::ENDING;
use crate::host::state;
use crate::host::{template, trust};
use crate::record::{self, ProcessId, RunFailure, RunRecord, RunStart, RunState, RunVerb};

/// The name of the journal in the state directory.
const NAME: &str = "runs";

/// How much of its end is looked at first for the number of a run, in bytes: dozens of lines.
const LATELY: usize = 16 * 1024;

/// Opens the journal of a state directory. A new one belongs to `owner`.
pub(super) fn open(state: &Path, owner: OwnerIds) -> io::Result<Journal> {
    Journal::open(state, NAME, owner)
}

/// Returns the directories of the containers that the caller's runs were for and that have a record, each once.
pub(super) fn container_directories(caller: &Caller) -> BTreeSet<PathBuf> {
    let state = state::directory(caller).filter(|state| trust::check(state).is_ok());
    let journal = state.and_then(|state| open(&state, None).ok());
    let text = journal.and_then(|journal| journal.read().ok()).unwrap_or_default();
    let paths = RunRecord::all(&text).into_iter().filter_map(|run| run.path).map(PathBuf::from);
    let paths: BTreeSet<PathBuf> = paths.collect();
    paths.into_iter().filter(|path| path.join(record::NAME).exists()).collect()
}

/// Notes that something begins.
pub(super) fn begin(
    subject: &RunSubject<'_>,
    secrets: &Secrets,
    options: Options,
    owner: OwnerIds,
) -> RunNote {
    // As LXC has it; `create` may be called with another.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let journal = state_directory().and_then(|state| {
        let opened = make_all(&state, 0o700, owner).and_then(|()| open(&state, owner));
        opened
            .inspect_err(|error| tracing::warn!(%error, "the history of runs cannot be written"))
            .ok()
    });
    let notify = Notify::read(options.talk.log_format);
    RunNote::begin(subject, journal, notify, options.talk.log_format, secrets.clone())
}

/// Returns the state directory, where there is one for the caller that nobody else writes to.
pub(super) fn state_directory() -> Option<PathBuf> {
    let state = state::directory(&Caller::observe())?;
    if let Err(untrusted) = trust::check(&state) {
        let state = state.display();
        output::say(&format!("warning: the state directory `{state}` is not used: {untrusted}"));
        return None;
    }
    Some(state)
}

/// What a run is to make, and of what.
#[derive(Debug)]
pub(super) struct RunSubject<'a> {
    pub(super) verb: RunVerb,
    /// The name and the directory of the container, where there is to be one.
    pub(super) container: Option<(&'a str, &'a Path)>,
    /// The description of the role.
    pub(super) role: Option<&'a str>,
    /// The absolute path of the manifest.
    pub(super) manifest: &'a Path,
    /// The words that the program was called with.
    pub(super) command: String,
}

/// A run in the history, from its beginning to its end.
#[derive(Debug)]
pub(super) struct RunNote {
    record: RunRecord,
    began: Instant,
    /// Where it is noted; `None` where that cannot be, or the run is a part of another.
    journal: Option<Journal>,
    /// Who is told of its end.
    notify: Option<Notify>,
    /// How that is told which goes wrong.
    log_format: LogFormat,
    /// What no line of the history has in it.
    secrets: Secrets,
}

impl RunNote {
    /// Notes that a run begins. Its `secrets` are taken out of all that is noted.
    pub(super) fn begin(
        subject: &RunSubject<'_>,
        journal: Option<Journal>,
        notify: Option<Notify>,
        log_format: LogFormat,
        secrets: Secrets,
    ) -> Self {
        let id = std::process::id();
        let process = ProcessStatus::read(id).map_or(0, |process| process.began);
        let mask = |text: &str| secrets.mask(text).into_owned();
        let text = |path: &Path| mask(&path.to_string_lossy());
        let record = RunRecord::begin(RunStart {
            verb: subject.verb,
            began: clock::present(),
            container: subject.container.map(|(name, path)| (mask(name), text(path))),
            role: subject.role.map(mask),
            manifest: text(subject.manifest),
            command: mask(&subject.command),
            directory: std::env::current_dir().ok().map(|directory| text(&directory)),
            process: ProcessId { id, began: process },
        });
        // What a template does that is this program again is told by the run that calls it.
        let is_outermost = template::depth() == 0;
        let (journal, notify) = (journal.filter(|_| is_outermost), notify.filter(|_| is_outermost));
        let mut note = Self { record, began: Instant::now(), journal, notify, log_format, secrets };
        note.add();
        note
    }

    /// Notes how it has ended, and tells whoever is to be told.
    pub(super) fn end(self, status: u8, failure: Option<RunFailure>, log: Option<&Path>) {
        self.close(state_of(status), status, failure, log);
    }

    /// Notes that it was refused, and tells whoever is to be told.
    pub(super) fn refuse(self, status: u8, failure: RunFailure) {
        self.close(RunState::Refused, status, Some(failure), None);
    }

    fn close(
        mut self,
        state: RunState,
        status: u8,
        failure: Option<RunFailure>,
        log: Option<&Path>,
    ) {
        let mask = |text: &str| self.secrets.mask(text).into_owned();
        let record = &mut self.record;
        record.state = state;
        record.ended = Some(clock::present());
        record.milliseconds = u64::try_from(self.began.elapsed().as_millis()).ok();
        record.status = Some(status);
        record.failure = failure.map(|failure| failure.masked(mask).shortened());
        record.log = log.map(|log| mask(&log.to_string_lossy()));
        self.add();
        if let Some(Err(why)) = self.notify.as_ref().map(|notify| notify.tell(&self.record)) {
            output::warning(&why, self.log_format);
        }
    }

    /// Adds what is known of it to the journal, with the next number where it has none.
    fn add(&mut self) {
        let Some(journal) = &self.journal else { return };
        let record = &mut self.record;
        let added = journal.add(|there| {
            if record.run == 0 {
                record.run = next_number(there)?;
            }
            Ok(record.line())
        });
        if let Err(error) = added {
            tracing::warn!(%error, "the history of runs cannot be written");
        }
    }
}

/// Returns the number of the next run. It is known from the last lines, unless those are of runs that began long ago.
fn next_number(there: &There<'_>) -> io::Result<u64> {
    match RunRecord::next_number(&there.last(LATELY)?) {
        (number, true) => Ok(number),
        _ => Ok(RunRecord::next_number(&there.last(usize::MAX)?).0),
    }
}

fn state_of(status: u8) -> RunState {
    match status {
        0 | status::INFORMATIONAL => RunState::Done,
        status if ENDING.iter().any(|signal| is_of(status, *signal)) => RunState::Interrupted,
        _ => RunState::Failed,
    }
}

/// Tells whether a status is that of a run which a signal has ended.
fn is_of(status: u8, signal: Signal) -> bool {
    i32::from(status) == i32::from(status::SIGNAL) + signal.as_raw()
}

/// Returns what a history tells of a failure.
pub(super) fn failure(failure: &Failure) -> RunFailure {
    let subject = failure.subject.as_ref();
    RunFailure {
        layer: subject.map(|subject| subject.layer.to_string()),
        what: subject.map(|subject| super::progress::what(subject).to_owned()),
        at: failure.at.as_ref().map(ToString::to_string),
        message: failure.to_string(),
        hint: failure.hint.clone(),
        rootfs: failure.rootfs.as_ref().map(|path| path.to_string_lossy().into_owned()),
    }
}

/// Tells whether the process of a run still is one.
fn still_runs(process: ProcessId) -> bool {
    ProcessStatus::read(process.id).is_some_and(|there| there.began == process.began)
}

/// Returns the runs of a journal, the oldest first.
pub(super) fn runs(journal: &Journal) -> io::Result<Vec<RunRecord>> {
    let mut runs = RunRecord::all(&journal.read()?);
    for run in &mut runs {
        if run.state == RunState::Running && !still_runs(run.process) {
            run.state = RunState::Lost;
        }
    }
    Ok(runs)
}
