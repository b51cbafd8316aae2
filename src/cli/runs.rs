//! `runs`: the runs of this host.

use std::io::{self, Write};
use std::path::Path;

use super::amount::{age, fitted};
use super::arguments::{ReportFormat, RunsArguments, RunsVerb, ShowRunArguments};
use super::hang::Hang;
use super::new_container::removal;
use super::report::lxc_destroy;
use super::{history, output};
use crate::execute::status;
use crate::host::files;
use crate::observe::container::is_unfinished;
use crate::record::{RunFailure, RunRecord, RunState, RunVerb};
use crate::shell;

/// The largest log that is printed, in bytes.
const LARGEST_LOG: usize = 16 << 20;

/// The most room for the name of a container, and the least for that and for a role, in characters.
const MOST_NAME: usize = 24;
const LEAST_NAME: usize = "CONTAINER".len();
const LEAST_ROLE: usize = 8;

/// What stands beside the number, the name, the state and the role, with what separates it.
const OTHER_COLUMNS: usize = 2 + 20 + 2 + 5 + 2 + 8 + 2 + 2 + 2;

/// Where what is shown of a run goes on.
const PAGE: Hang = Hang::Column(13);

pub(super) fn main(arguments: &RunsArguments) -> u8 {
    let runs = match all() {
        Ok(runs) => runs,
        Err(error) => {
            output::error(&format!("the history of runs cannot be read: {error}"), None);
            return status::USAGE;
        }
    };
    match &arguments.verb {
        Some(RunsVerb::Show(show)) => self::show(&runs, show),
        None => list(runs, arguments),
    }
}

/// Returns the runs of the caller, the oldest first.
pub(super) fn all() -> io::Result<Vec<RunRecord>> {
    let Some(state) = history::state_directory().filter(|state| state.is_dir()) else {
        return Ok(Vec::new());
    };
    history::runs(&history::open(&state, None)?)
}

fn list(runs: Vec<RunRecord>, arguments: &RunsArguments) -> u8 {
    let is_empty = runs.is_empty();
    let mut runs: Vec<_> =
        runs.into_iter().filter(|run| !arguments.failed || run.state.is_failure()).collect();
    if let Some(last) = arguments.last {
        runs.drain(..runs.len().saturating_sub(last));
    }
    match arguments.output.format {
        ReportFormat::Json => json(&runs),
        ReportFormat::Text => {
            output::printed_report(0, Hang::Reasons, |to| match (is_empty, runs.is_empty()) {
                (true, _) => writeln!(to, "no runs yet"),
                (false, true) if arguments.failed => writeln!(to, "no run has failed"),
                _ => table(&runs, to),
            })
        }
    }
}

fn json(value: &impl serde::Serialize) -> u8 {
    output::printed_json(0, |to| {
        serde_json::to_writer_pretty(&mut *to, value)?;
        to.write_all(b"\n")
    })
}

fn table(runs: &[RunRecord], to: &mut dyn Write) -> io::Result<()> {
    let name = |run: &RunRecord| shell::one_line(run.container.as_deref().unwrap_or("-"));
    let longest = |texts: &mut dyn Iterator<Item = String>, title: &str| {
        texts.map(|text| text.chars().count()).max().unwrap_or_default().max(title.len())
    };
    let number = longest(&mut runs.iter().map(|run| run.run.to_string()), "RUN");
    let states = longest(&mut runs.iter().map(state), "STATE");
    let room = output::table_columns().saturating_sub(number + OTHER_COLUMNS + states);
    let most = room.saturating_sub(LEAST_ROLE).clamp(LEAST_NAME, MOST_NAME);
    let width = longest(&mut runs.iter().map(name), "CONTAINER").min(most);
    let room = room.saturating_sub(width).max("ROLE".len());
    writeln!(
        to,
        "{:>number$}  {:20}  {:>5}  {:8}  {:width$}  {:states$}  ROLE",
        "RUN", "BEGAN", "TOOK", "FOR", "CONTAINER", "STATE"
    )?;
    for run in runs {
        let took = run.milliseconds.map_or_else(|| "-".to_owned(), took);
        let file = Path::new(&run.manifest).file_name().map(|name| name.to_string_lossy());
        let role = run.role.as_deref().or(file.as_deref()).unwrap_or(&run.manifest);
        writeln!(
            to,
            "{:>number$}  {}  {took:>5}  {:8}  {:width$}  {:states$}  {}",
            run.run,
            moment(&run.began),
            run.verb.name(),
            fitted(&name(run), width),
            state(run),
            fitted(role, room),
        )?;
        if let Some(failure) = &run.failure {
            writeln!(to, "  {}", what(failure))?;
        }
        if let Some(log) = run.log.as_ref().filter(|log| Path::new(log).is_file()) {
            writeln!(to, "  log: {}", shell::word(log))?;
        }
    }
    Ok(())
}

fn show(runs: &[RunRecord], arguments: &ShowRunArguments) -> u8 {
    let found = match arguments.run {
        Some(number) => runs
            .iter()
            .find(|run| run.run == number)
            .ok_or_else(|| format!("there is no run {number} in the history")),
        None => runs.last().ok_or_else(|| "there is no run in the history yet".to_owned()),
    };
    let run = match found {
        Ok(run) => run,
        Err(message) => {
            let hint = arguments.run.map(|_| "`layered-template runs` lists those that are known");
            output::error(&message, hint);
            return status::USAGE;
        }
    };
    if arguments.log {
        return log(run);
    }
    match arguments.output.format {
        ReportFormat::Json => json(run),
        ReportFormat::Text => output::printed_report(0, PAGE, |to| page(run, to)),
    }
}

/// Prints the log of a run.
fn log(run: &RunRecord) -> u8 {
    let Some(log) = &run.log else {
        let why = match run.state {
            RunState::Running => "it goes on",
            RunState::Done => "the log of a run that succeeds is not kept",
            _ => "none was kept",
        };
        output::error(&format!("run {} has no log: {why}", run.run), None);
        return status::USAGE;
    };
    match files::read_regular(Path::new(log), LARGEST_LOG) {
        Ok(text) => output::printed(0, |to| to.write_all(&text)),
        Err(error) => {
            output::error(&format!("{}: {error}", shell::word(log)), None);
            status::USAGE
        }
    }
}

fn page(run: &RunRecord, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "run {}: {}, {}", run.run, run.verb.name(), state(run))?;
    let lines = [
        (
            "container",
            run.container
                .as_ref()
                .zip(run.path.as_ref())
                .map(|(name, path)| format!("{}, in {}", shell::one_line(name), shell::word(path))),
        ),
        ("role", run.role.as_deref().map(shell::one_line)),
        ("manifest", Some(shell::word(&run.manifest))),
        ("began", Some(run.began.clone())),
        ("ended", run.ended.clone()),
        ("took", run.milliseconds.map(took)),
        ("command", Some(shell::one_line(&run.command))),
        ("directory", run.directory.as_ref().map(shell::word)),
        ("version", Some(run.version.clone())),
    ];
    for (title, text) in lines {
        if let Some(text) = text {
            writeln!(to, "  {title:9}  {text}")?;
        }
    }
    if run.state == RunState::Lost {
        lost(run, to)?;
    }
    if let Some(failure) = &run.failure {
        writeln!(to, "\n{}", shell::one_line(&failure.message))?;
        let places = [
            ("-->", failure.at.as_ref()),
            ("rootfs:", failure.rootfs.as_ref()),
            ("log:", run.log.as_ref()),
        ];
        for (title, place) in places {
            if let Some(place) = place {
                writeln!(to, "  {title} {}", shell::one_line(place))?;
            }
        }
        if let Some(hint) = &failure.hint {
            writeln!(to, "\nhint: {}", shell::one_line(hint))?;
        }
    }
    match run.state {
        RunState::Running | RunState::Done | RunState::Lost => Ok(()),
        RunState::Failed | RunState::Refused | RunState::Interrupted => match removal_of(run) {
            Some(command) => has_left(&command, to),
            None => Ok(()),
        },
    }
}

/// Returns the command that removes the half-made container that a run has left, where it has.
fn removal_of(run: &RunRecord) -> Option<String> {
    let path = run.path.as_deref().map(Path::new).filter(|path| is_unfinished(path))?;
    Some(match run.verb {
        RunVerb::Template => lxc_destroy(path),
        _ => removal(path),
    })
}

fn has_left(removal: &str, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "\nhint: `{removal}` removes what it has left; then run it again")
}

/// Says what it means that a run was lost, and what to do.
fn lost(run: &RunRecord, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "\nit was killed, or the host went down: nobody noted how it ended")?;
    let is_of_container = matches!(run.verb, RunVerb::Upgrade | RunVerb::Rollback);
    if is_of_container && let Some(path) = &run.path {
        let path = shell::word(path);
        return writeln!(
            to,
            "\nhint: `layered-template status {path}` says how the container stands; \
             `layered-template upgrade {path}` ends what was cut off"
        );
    }
    match removal_of(run) {
        Some(command) => has_left(&command, to),
        None => writeln!(to, "\nhint: it has left no half-made container: run it again"),
    }
}

/// Returns what failed and where, in a line.
fn what(failure: &RunFailure) -> String {
    let message = shell::one_line(&failure.message);
    match &failure.at {
        Some(at) => format!("{message} ({})", shell::one_line(at)),
        None => message,
    }
}

/// Returns what has become of a run, and its exit status unless that goes without saying.
fn state(run: &RunRecord) -> String {
    let name = run.state.name();
    match run.status {
        Some(status) if status > 0 => format!("{name} ({status})"),
        _ => name.to_owned(),
    }
}

/// Returns how long something took, in its largest unit.
fn took(milliseconds: u64) -> String {
    match milliseconds {
        ..=9_999 => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => age(milliseconds / 1000),
    }
}

/// Returns a time to the second.
fn moment(time: &str) -> String {
    let to_the_second = time.split_once('.').map_or(time, |(whole, _)| whole);
    format!("{}Z", to_the_second.trim_end_matches('Z'))
}
