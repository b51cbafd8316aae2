//! `diff`: what has changed in a container since it was made, or what a new run would make otherwise.

use std::io::{self, Write};
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};

use super::arguments::{DiffArguments, ReportFormat};
use super::build::interrupted;
use super::container_tree::ContainerTree;
use super::file_difference::{self, FileChange, FileDifference};
use super::judge::Judge;
use super::meant::{self, record_of, shown_path};
use super::output;
use super::refusal::Refusal;
use super::within::enter;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::signals::Signals;
use crate::lxc::config;
use crate::record::Record;
use crate::shell;
use crate::tree::{Drift, Interrupt, ListedFile, ListedKind};

/// The exit status where anything differs.
const DIFFERS: u8 = 1;

pub(super) fn main(arguments: &DiffArguments) -> u8 {
    match diff(arguments) {
        Ok(status) => status,
        Err(refusal) => {
            refusal.say();
            status::USAGE
        }
    }
}

fn diff(arguments: &DiffArguments) -> Result<u8, Refusal> {
    let caller = Caller::observe();
    let container = meant::named(&arguments.container, &arguments.places.lxcpath, &caller)?;
    let path = shown_path(&container.path);
    let record = record_of(&container)?;
    if let Some(manifest) = &arguments.manifest {
        let mut judge = Judge::new(caller);
        let prepared = judge.prepare(&container, record, manifest)?;
        let difference = judge.difference(&container, record, &prepared)?;
        return Ok(difference.print(DIFFERS, arguments.output.format, arguments.patch));
    }
    let place = ContainerTree::find(&container, record, &caller)?.with_base()?;
    enter(place.mapping)?;
    let mut signals =
        Signals::keep().map_err(|error| format!("signals cannot be kept: {error}"))?;
    let found = place.told_drift(record, arguments.all, Interrupt::of(signals.as_fd()));
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let why = format!("`{path}` is not compared");
            return match interrupted(&mut signals, &why) {
                Some(status) => Ok(status),
                None => Err(format!("`{path}` cannot be compared: {error}").into()),
            };
        }
    };
    let lines = config_changes(record, &container.config());
    let ends_with = if found.told.is_empty() && lines.is_empty() { 0 } else { DIFFERS };
    Ok(match arguments.output.format {
        ReportFormat::Json => output::printed_data(ends_with, |to| {
            let document = DriftDocument {
                files: found.told.iter().map(FileDifference::of).collect(),
                config: lines,
                left_out: found.left_out,
            };
            serde_json::to_writer_pretty(&mut *to, &document)?;
            to.write_all(b"\n")
        }),
        ReportFormat::Text => output::printed(ends_with, |to| {
            for drift in &found.told {
                writeln!(to, "{}", FileDifference::of(drift).line())?;
                if arguments.patch {
                    patch(&place, drift, to)?;
                }
            }
            for ConfigChange { change, line } in &lines {
                let change = if *change == FileChange::Added { "A" } else { "D" };
                writeln!(to, "{change}  config: {}", shell::one_line(line))?;
            }
            if place.base.is_none() {
                let why = match record.stored {
                    None => "all of it was made in the container",
                    Some(_) => "what it was made of is not stored any more",
                };
                writeln!(
                    to,
                    "{why}: only what was written since is known, and not what was there"
                )?;
            }
            let why = match record.layers.iter().all(|layer| layer.state.is_empty()) {
                true => "that every system writes",
                false => "that every system writes, or that are state,",
            };
            if found.left_out > 0 {
                let (are, it) =
                    if found.left_out == 1 { ("file", "it") } else { ("files", "them") };
                writeln!(to, "{} {are} {why} left out; `--all` shows {it}", found.left_out)?;
            }
            Ok(())
        }),
    })
}

/// What has changed in a container since it was made, as `diff --format json` writes it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DriftDocument {
    /// The files.
    files: Vec<FileDifference>,
    /// The lines of the container's config.
    config: Vec<ConfigChange>,
    /// How many files are not told of: `--all` shows them.
    left_out: usize,
}

/// A line of a container's config that has come or gone.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ConfigChange {
    /// Whether it has come or gone.
    pub(super) change: FileChange,
    /// The line.
    pub(super) line: String,
}

/// Writes how the lines of a text have changed.
fn patch(tree: &ContainerTree, drift: &Drift, to: &mut dyn Write) -> io::Result<()> {
    // What was there before is not known.
    if drift.before.is_none() && !drift.is_new {
        return Ok(());
    }
    let is_text_changed = drift.before.is_none()
        || drift.now.is_none()
        || drift.changed.iter().any(|what| ["bytes", "kind"].contains(what));
    if !is_text_changed {
        return Ok(());
    }
    let (before, now) = (tree.before(drift)?, tree.now(drift)?);
    let is_file = |file: &ListedFile| matches!(file.kind, ListedKind::File { .. });
    if before.is_none() && drift.before.as_ref().is_some_and(is_file) {
        return Ok(());
    }
    let path = String::from_utf8_lossy(&drift.path);
    let before = drift.before.as_ref().map(|_| before.unwrap_or_default());
    let now = drift.now.as_ref().map(|_| now.unwrap_or_default());
    let lines = file_difference::patch(&path, before.as_deref(), now.as_deref());
    to.write_all(lines.unwrap_or_default().as_bytes())
}

/// Returns the lines of config that have come or gone since the record.
pub(super) fn config_changes(record: &Record, now: &[u8]) -> Vec<ConfigChange> {
    let Some(before) = &record.config else { return Vec::new() };
    let now = config::effective(&String::from_utf8_lossy(now));
    // The order counts: the last of several lines is the one that holds.
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let now: Vec<&str> = now.iter().map(String::as_str).collect();
    let lines = TextDiff::from_slices(&before, &now);
    let changes = lines.iter_all_changes().filter_map(|change| {
        let line = change.value().to_owned();
        match change.tag() {
            ChangeTag::Equal => None,
            ChangeTag::Delete => Some(ConfigChange { change: FileChange::Removed, line }),
            ChangeTag::Insert => Some(ConfigChange { change: FileChange::Added, line }),
        }
    });
    changes.collect()
}
