//! `rollback`: restores what a container was before its last upgrade.

use std::path::Path;

use super::subject::{AnySubject, ROLLBACK, Subject, has_tree};
use super::tell;
use crate::cache::CONFIG_NAME;
use crate::chain::Secrets;
use crate::cli::arguments::RollbackArguments;
use crate::cli::history::{self, RunSubject};
use crate::cli::meant::{self, lost};
use crate::cli::options::Options;
use crate::cli::refusal::Refusal;
use crate::cli::{output, request};
use crate::execute::{Failure, status};
use crate::host::caller::Caller;
use crate::host::signals::Signals;
use crate::observe::container::Container;
use crate::record::{self, RunVerb};
use crate::shell;
use crate::store::GENERATIONS;

/// Restores a container to its state before the last upgrade.
pub(in crate::cli) fn rollback(arguments: &RollbackArguments) -> u8 {
    let caller = Caller::observe();
    let (what, lxcpaths) = (&arguments.container, &arguments.places.lxcpath);
    let found = meant::named(what, lxcpaths, &caller);
    // What it was before has a record of its own.
    let found = found.or_else(|message| lost(what, lxcpaths, &caller).ok_or(message));
    let container = match found {
        Ok(container) => container,
        Err(message) => {
            output::error(&message, None);
            return status::USAGE;
        }
    };
    match roll_back(&container, &caller) {
        Ok(status) => status,
        Err(refusal) => {
            refusal.say();
            status::USAGE
        }
    }
}

fn roll_back(container: &Container, caller: &Caller) -> Result<u8, Refusal> {
    let subject = Subject::find_any(container, caller, ROLLBACK)?;
    let _lock = subject.lock()?;
    let mut signals =
        Signals::keep().map_err(|error| format!("signals cannot be kept: {error}"))?;
    let generations = &subject.generations;
    let owes_start = generations.owes_start();
    if !generations.has_previous() && !generations.is_back() && !owes_start {
        let tidied = subject.within(|| subject.done(generations.discard()));
        if tidied != 0 {
            return Ok(tidied);
        }
        return Err(format!(
            "`{}` was never upgraded: there is nothing to go back to",
            container.name
        )
        .into());
    }
    subject.stands_alone()?;
    if !generations.is_interrupted() {
        has_tree(container, "rolled back")?;
        if let Some(tree) = generations.without_record() {
            let record = shell::word(generations.previous().join(record::NAME));
            return Err(Refusal::with_hint(
                format!(
                    "`{}` cannot go back: `{record}`, its record, is gone or damaged",
                    container.name
                ),
                by_hand(&subject, &tree),
            ));
        }
    }
    let previous = Container::at(&generations.previous());
    if let Some(tree) = previous.as_ref().and_then(meant::lost_tree)
        && !generations.is_interrupted()
    {
        return Err(Refusal::with_hint(
            format!(
                "`{}` cannot go back: what it stood on is gone from the store: `{}`",
                container.name,
                shell::word(&tree)
            ),
            format!("`rm -r {}` gives that up", shell::word(container.path.join(GENERATIONS))),
        ));
    }
    let record = container.record.as_ref().ok();
    let subject_of_run = RunSubject {
        verb: RunVerb::Rollback,
        container: Some((&container.name, &container.path)),
        role: record.and_then(|record| record.manifest.description.as_deref()),
        manifest: record.map_or(Path::new(""), |record| Path::new(&record.manifest.path)),
        command: request::words(),
    };
    let options = Options::plain(RunVerb::Rollback);
    let note = history::begin(&subject_of_run, &Secrets::default(), options, None);
    let status = turn(&subject, owes_start, &mut signals);
    let failure =
        (status != 0).then(|| history::failure(&Failure::of_run(status, "the rollback failed")));
    note.end(status, failure, None);
    Ok(status)
}

/// Returns the command that makes of a container by hand what it was, as far as that can be done without a record.
fn by_hand(subject: &AnySubject<'_>, tree: &str) -> String {
    let kept = format!("{GENERATIONS}/previous");
    let (now, before) = (shell::word(format!("{tree}.now")), shell::word(format!("{kept}/{tree}")));
    let (at, tree) = (shell::word(&subject.container.path), shell::word(tree));
    // The record that is there tells of another tree, by which an upgrade would be wrong.
    let record = record::NAME;
    let mut moves = format!("mv {tree} {now} && mv {record} {record}.now && mv {before} {tree}");
    if subject.generations.has_sidecars() {
        moves.extend([" && cp -a ", &kept, "/beside/. ."]);
    }
    if subject.is_mapped() {
        moves = format!("lxc-usernsexec -- sh -c {}", shell::word(&moves));
    }
    // The config is the caller's own, whom no map of the container's knows.
    format!(
        "by hand, while it does not run: cd {at} && test -r {kept}/{CONFIG_NAME} && {moves} && \
         cp -p {kept}/{CONFIG_NAME} {CONFIG_NAME}"
    )
}

/// Turns a container to its other generation, and returns the exit status.
fn turn(subject: &AnySubject<'_>, owes_start: bool, signals: &mut Signals) -> u8 {
    let AnySubject { container, generations, .. } = subject;
    let was_upgraded = generations.is_interrupted_upgrade();
    let is_back = generations.is_back() || !generations.has_previous();
    let was_running = subject.is_running();
    if was_running && !is_back {
        output::say(&format!("{}: stopping it", shell::one_line(&container.name)));
        let halted = subject.halt(Some(signals));
        if halted != 0 {
            return halted;
        }
    }
    let runs = was_running || owes_start;
    let status = subject.within(|| {
        let done = if is_back { generations.tidy(false) } else { generations.roll_back() };
        let is_noted = runs && done.is_ok();
        subject
            .done(done.and_then(|()| if is_noted { generations.note_halt(true) } else { Ok(()) }))
    });
    let is_started = !runs || subject.is_running() || subject.resume();
    subject.forget_halt();
    subject.within(|| subject.done(generations.forget_back()));
    if !is_started {
        return status::FILES;
    }
    if runs {
        output::say(&format!("{}: started again", shell::one_line(&container.name)));
    }
    if status != 0 && !generations.is_interrupted() {
        tell::untouched(&container.name, false);
    }
    if status == 0 {
        output::say(&format!(
            "{}: {}",
            container.name,
            tell::way(generations, container, was_upgraded)
        ));
    }
    status
}
