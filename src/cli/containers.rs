//! `status`: the containers that this program made, and whether each is still what its role makes.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::amount::{age, fitted, short_bytes};
use super::arguments::{ReportFormat, StatusArguments};
use super::container_tree::ContainerTree;
use super::hang::Hang;
use super::judge::Judge;
use super::meant::{
    asked, cut_off, lost_tree, manifest_places, stands_elsewhere, typed, was_never_finished,
};
use super::within::within;
use super::{diff, output, show};
use crate::cache::DELTA;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::files;
use crate::observe::container::{Container, manifest_of};
use crate::plan::StorageMode;
use crate::record::Record;
use crate::tree::Interrupt;
use crate::{shell, tree};

/// The exit status of findings.
const FINDINGS: u8 = 1;

/// How many reasons of a container are shown in the table.
const MOST_REASONS: usize = 3;

/// What stands beside a name and a role, with what separates it: storage, age, whether it runs, size.
const OTHER_COLUMNS: usize = 2 + 2 + 7 + 2 + 4 + 2 + 7 + 2 + 6 + 2;

/// The least room for a name, and for a role beside a long name, in characters.
const LEAST_NAME: usize = 8;
const LEAST_ROLE: usize = 14;

pub(super) fn main(arguments: &StatusArguments) -> u8 {
    let caller = Caller::observe();
    let found = match asked(&arguments.containers, &arguments.places.lxcpath, &caller) {
        Ok(found) => found,
        Err(message) => {
            output::error(&message, None);
            return status::USAGE;
        }
    };
    let (found, unfinished) = found;
    let mut judge = Judge::new(caller.clone());
    let places = manifest_places(&found);
    let rows = found
        .iter()
        .map(|container| Row::judged(container, (&mut judge, &caller), &places, arguments.drift));
    let mut rows: Vec<Row> = rows.chain(unfinished.into_iter().map(Row::unfinished)).collect();
    rows.sort_by(|one, other| (&one.name, &one.path).cmp(&(&other.name, &other.path)));
    let is_found = rows
        .iter()
        .any(|row| matches!(row.state, State::Outdated | State::Drifted | State::Interrupted));
    let ends_with = if arguments.exit_code && is_found { FINDINGS } else { 0 };
    match arguments.output.format {
        ReportFormat::Json => output::printed_data(ends_with, |to| {
            serde_json::to_writer_pretty(&mut *to, &rows)?;
            to.write_all(b"\n")
        }),
        ReportFormat::Text => output::printed_report(ends_with, Hang::Reasons, |to| {
            table(&rows, arguments.containers.is_empty(), to)?;
            // One that is asked for by name is shown with all that it stands on.
            let named = if arguments.containers.is_empty() { &[][..] } else { &found[..] };
            for record in named.iter().filter_map(|container| container.record.as_ref().ok()) {
                writeln!(to)?;
                show::nest(record, to)?;
            }
            Ok(())
        }),
    }
}

/// What is shown of a container.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    path: PathBuf,
    role: Option<String>,
    manifest: Option<String>,
    storage: Option<StorageMode>,
    /// In seconds.
    age: Option<u64>,
    running: bool,
    state: State,
    /// Why it is in that state.
    why: Vec<String>,
    /// What it has of its own on an overlay, in bytes of disk.
    size: Option<u64>,
    /// How many paths were changed in it, where that was asked for and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<usize>,
}

impl Row {
    /// That of a container. A manifest that is gone from its place is looked for in `places`.
    fn judged(
        container: &Container,
        (judge, caller): (&mut Judge, &Caller),
        places: &[PathBuf],
        with_drift: bool,
    ) -> Self {
        let mut moved = None;
        let cut_off = cut_off(container, caller);
        let (mut state, why) = match &container.record {
            _ if cut_off.is_some() => (State::Interrupted, cut_off.clone().into_iter().collect()),
            Err(error) => (State::Unknown, vec![format!("its record cannot be used: {error}")]),
            Ok(record) => {
                let own = PathBuf::from(&record.manifest.path);
                let manifest = manifest_of(record, places).unwrap_or_else(|| own.clone());
                moved = Some(manifest.clone()).filter(|manifest| *manifest != own);
                let elsewhere = stands_elsewhere(container, record);
                match (lost_tree(container), judge.changes(container, record, &manifest)) {
                    _ if elsewhere.is_some() => (State::Unknown, elsewhere.into_iter().collect()),
                    (Some(tree), _) => {
                        let why = "what it is based on is gone from the store, so it cannot start";
                        (State::Unknown, vec![format!("{why}: `{}`", shell::word(&tree))])
                    }
                    (None, Err(why)) => (State::Unknown, vec![why]),
                    (None, Ok(changes)) if changes.is_empty() => (State::Current, Vec::new()),
                    (None, Ok(changes)) => (State::Outdated, changes),
                }
            }
        };
        let note = moved
            .as_ref()
            .map(|manifest| format!("its manifest has moved: it is {} now", shell::word(manifest)));
        let why = why.iter().map(|why| shell::reason(why).into_owned());
        let mut why: Vec<_> = note.into_iter().chain(why).collect();
        let record = container.record.as_ref().ok();
        let drift = record
            .filter(|_| with_drift && cut_off.is_none())
            .map(|record| FoundDrift::look(container, record, caller));
        if let Some(drift) = &drift {
            let (found, line) = drift.state(container, caller);
            state = if state == State::Current { found } else { state };
            why.splice(0..0, line);
        }
        let age = container.made_at.and_then(|made| SystemTime::now().duration_since(made).ok());
        let storage = record.map(Record::storage);
        let size = files::open_directory(&container.path.join(DELTA))
            .and_then(|delta| tree::usage(delta.as_fd()))
            .map(|usage| usage.alone + usage.shared);
        Self {
            name: container.name.clone(),
            path: container.path.clone(),
            role: record.and_then(|record| record.manifest.description.clone()),
            manifest: record.map(|record| record.manifest.path.clone()),
            storage,
            age: age.map(|age| age.as_secs()),
            running: container.is_running,
            state,
            why,
            size: size.ok().filter(|_| storage == Some(StorageMode::Overlay)),
            drift: drift.and_then(|drift| drift.found.ok()).map(|(paths, _)| paths),
        }
    }

    /// That of the directory of a container that was never finished.
    fn unfinished(path: PathBuf) -> Self {
        let why = vec![was_never_finished(&path)];
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            name,
            path,
            role: None,
            manifest: None,
            storage: None,
            age: None,
            running: false,
            state: State::Unfinished,
            why,
            size: None,
            drift: None,
        }
    }
}

/// Whether a container is what its role makes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Current,
    Outdated,
    /// It is what its role makes now, but for what was changed in it.
    Drifted,
    /// The run was killed that was making it.
    Unfinished,
    /// An upgrade or a rollback of it was cut off.
    Interrupted,
    Unknown,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Outdated => "outdated",
            Self::Drifted => "drifted",
            Self::Unfinished => "unfinished",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        }
    }
}

/// How many paths, and lines of its config, were changed in a container; or why nobody knows.
struct FoundDrift {
    found: Result<(usize, usize), String>,
}

impl FoundDrift {
    /// Looks how much was changed in a container since it was made.
    fn look(container: &Container, record: &Record, caller: &Caller) -> Self {
        let lines = diff::config_changes(record, &container.config()).len();
        let found = ContainerTree::find(container, record, caller)
            .and_then(ContainerTree::with_base)
            .and_then(|tree| {
                within(tree.mapping, || {
                    let drift = tree.told_drift(record, false, Interrupt::NEVER);
                    drift.map(|drift| drift.told.len()).map_err(|error| error.to_string())
                })
            });
        Self { found: found.map(|paths| (paths, lines)) }
    }

    /// Returns the state of a container that is current but for this, and what is to be said of it.
    fn state(&self, container: &Container, caller: &Caller) -> (State, Option<String>) {
        let (paths, lines) = match &self.found {
            Err(why) => {
                return (
                    State::Unknown,
                    Some(format!("what was changed in it is not known: {why}")),
                );
            }
            Ok((0, 0)) => return (State::Current, None),
            Ok(found) => *found,
        };
        let numbered = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let both = numbered(paths, "path").into_iter().chain(numbered(lines, "config line"));
        let both = both.collect::<Vec<_>>().join(" and ");
        let name = typed(container, caller);
        (State::Drifted, Some(format!("{both} changed in it: see `layered-template diff {name}`")))
    }
}

fn table(rows: &[Row], is_short: bool, to: &mut dyn Write) -> io::Result<()> {
    let longest = |texts: &mut dyn Iterator<Item = usize>, title: &str| {
        texts.max().unwrap_or_default().max(title.len())
    };
    let role = |row: &Row| shell::one_line(row.role.as_deref().unwrap_or("-"));
    let name = |row: &Row| shell::one_line(&row.name);
    let states = longest(&mut rows.iter().map(|row| row.state.word().len()), "outdated");
    let room = output::table_columns().saturating_sub(OTHER_COLUMNS + states);
    let role_width = longest(&mut rows.iter().map(|row| role(row).chars().count()), "ROLE");
    let name_width = longest(&mut rows.iter().map(|row| name(row).chars().count()), "NAME");
    let name_width =
        name_width.min(room.saturating_sub(role_width.min(LEAST_ROLE)).max(LEAST_NAME));
    let role_width = role_width.min(room.saturating_sub(name_width).max(LEAST_NAME));
    writeln!(
        to,
        "{:name_width$}  {:role_width$}  STORAGE   AGE  RUNNING    SIZE  STATE",
        "NAME", "ROLE"
    )?;
    for row in rows {
        let storage = match row.storage {
            Some(StorageMode::Copy | StorageMode::Fill) => "copy",
            Some(StorageMode::Overlay) => "overlay",
            Some(StorageMode::None) => "none",
            None => "?",
        };
        let age = row.age.map_or_else(|| "?".to_owned(), age);
        let running = if row.running { "yes" } else { "no" };
        let size = row.size.map_or_else(|| "-".to_owned(), short_bytes);
        let role = fitted(&role(row), role_width);
        let name = fitted(&row.name, name_width);
        writeln!(
            to,
            "{name:name_width$}  {role:role_width$}  {storage:7}  {age:>4}  {running:7}  {size:>6}  {}",
            row.state.word()
        )?;
        if rows.iter().filter(|other| other.name == row.name).count() > 1 {
            writeln!(to, "  {}", shell::word(&row.path))?;
        }
        let shown = if is_short { MOST_REASONS } else { row.why.len() };
        for why in row.why.iter().take(shown) {
            writeln!(to, "  {}", shell::one_line(why))?;
        }
        if row.why.len() > shown {
            writeln!(to, "  and {} more", row.why.len() - shown)?;
        }
    }
    Ok(())
}
