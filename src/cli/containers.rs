//! `status`: the containers that this program made, and whether each is still what its role makes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::arguments::{ReportFormat, StatusArguments, ValueArguments};
use super::container_tree::ContainerTree;
use super::hang::Hang;
use super::load::Loaded;
use super::meant::{asked, was_never_finished};
pub(super) use super::meant::{find, named};
use super::prepare::Prepared;
use super::request::{LockUse, Request, target, wanted};
use super::role_difference::RoleDifference;
use super::start::InitialConfig;
use super::within::within;
use super::{diff, output, show, store as store_verb};
use crate::cache::{CachePlan, DELTA, Index, SlotKind};
use crate::diagnostic::Report;
use crate::execute::{Generations, status};
use crate::host::caller::Caller;
use crate::host::trust::Trust;
use crate::host::{files, lxcpath};
use crate::manifest::LayerName;
use crate::observe::container::{Container, manifest_of};
use crate::plan::{EntryId, StorageMode};
use crate::record::{Outcome, Record};
use crate::store::{Entry, Store};
use crate::tree::Interrupt;
use crate::{lxc, shell, tree};

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
    let mut judge = Judge::new(caller);
    let places = manifest_places(&found);
    let rows = found.iter().map(|container| judge.row(container, &places, arguments.drift));
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

/// Returns where else manifests are: here, and where other containers have theirs.
pub(super) fn manifest_places(containers: &[Container]) -> Vec<PathBuf> {
    let records = containers.iter().filter_map(|container| container.record.as_ref().ok());
    let manifests = records.map(|record| Path::new(&record.manifest.path));
    let mut places: Vec<_> =
        manifests.filter_map(|path| Some(path.parent()?.to_path_buf())).collect();
    places.sort();
    places.dedup();
    std::env::current_dir().into_iter().chain(places).collect()
}

/// Says that an upgrade or a rollback of a container was cut off, and how that is ended.
pub(super) fn cut_off(container: &Container, caller: &Caller) -> Option<String> {
    let is_cut_off = Generations::of(&container.path).is_cut_off(container.is_running);
    is_cut_off.then(|| {
        let name = typed(container, caller);
        format!(
            "an upgrade or rollback of it was interrupted: `layered-template upgrade {name}` ends that, \
             `layered-template rollback {name}` goes back"
        )
    })
}

/// Returns the word by which a container is found: its name where LXC looks, else its directory.
fn typed(container: &Container, caller: &Caller) -> String {
    match container.path.parent() == Some(lxcpath::default(caller).as_path()) {
        true => shell::word(&container.name),
        false => shell::word(&container.path),
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
        (
            State::Drifted,
            Some(format!("{both} changed in it: `layered-template diff {name}` shows them")),
        )
    }
}

/// A manifest, the variables that are set, and the files that give values.
type RoleKey = (PathBuf, Vec<String>, Vec<PathBuf>);

/// Judges containers, and remembers what several of them have in common.
pub(super) struct Judge {
    caller: Caller,
    /// What was read of a role, by its manifest and what gives it values.
    roles: BTreeMap<RoleKey, Result<Loaded, String>>,
    /// What is stored, by the id map.
    indexes: BTreeMap<String, Index>,
}

impl Judge {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, roles: BTreeMap::new(), indexes: BTreeMap::new() }
    }

    /// Judges a container. A manifest that is gone from its place is looked for in `places`.
    fn row(&mut self, container: &Container, places: &[PathBuf], with_drift: bool) -> Row {
        let mut moved = None;
        let cut_off = cut_off(container, &self.caller);
        let (mut state, why) = match &container.record {
            _ if cut_off.is_some() => (State::Interrupted, cut_off.clone().into_iter().collect()),
            Err(error) => (State::Unknown, vec![format!("its record cannot be used: {error}")]),
            Ok(record) => {
                let own = PathBuf::from(&record.manifest.path);
                let manifest = manifest_of(record, places).unwrap_or_else(|| own.clone());
                moved = Some(manifest.clone()).filter(|manifest| *manifest != own);
                match (lost_tree(container), self.changes(container, record, &manifest)) {
                    (Some(tree), _) => {
                        let why = "what it stands on is gone from the store, and it does not start";
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
            .map(|record| self.drift(container, record));
        if let Some(drift) = &drift {
            let (found, line) = drift.state(container, &self.caller);
            state = if state == State::Current { found } else { state };
            why.splice(0..0, line);
        }
        let age = container.made_at.and_then(|made| SystemTime::now().duration_since(made).ok());
        let storage = record.map(Record::storage);
        let size = files::open_directory(&container.path.join(DELTA))
            .and_then(|delta| tree::usage(delta.as_fd()))
            .map(|usage| usage.alone + usage.shared);
        Row {
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

    /// Looks how much was changed in a container since it was made.
    fn drift(&self, container: &Container, record: &Record) -> FoundDrift {
        let lines = diff::config_changes(record, &container.config()).len();
        let found = ContainerTree::find(container, record, &self.caller)
            .and_then(ContainerTree::with_base)
            .and_then(|tree| {
                within(tree.mapping, || {
                    let drift = tree.told_drift(record, false, Interrupt::NEVER);
                    drift.map(|drift| drift.told.len()).map_err(|error| error.to_string())
                })
            });
        FoundDrift { found: found.map(|paths| (paths, lines)) }
    }

    /// Says what a new run of a manifest would do otherwise than what a container was made by.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub(super) fn changes(
        &mut self,
        container: &Container,
        record: &Record,
        manifest: &Path,
    ) -> Result<Vec<String>, String> {
        let prepared = self.prepare(container, record, manifest)?;
        let now = Record::of(&prepared.plan, Outcome::default());
        let changes = record.changes_to(&now);
        if changes.is_empty() {
            return Ok(self
                .superseded(record, &prepared)
                .map(|(_, lines)| lines)
                .unwrap_or_default());
        }
        Ok(changes.into_iter().map(|change| change.text).collect())
    }

    /// Prepares a new run of a manifest for a container, with the values that it was made with.
    ///
    /// # Errors
    ///
    /// Why that cannot be done.
    pub(super) fn prepare(
        &mut self,
        container: &Container,
        record: &Record,
        manifest: &Path,
    ) -> Result<Prepared, String> {
        let manifest = manifest.to_path_buf();
        if !manifest.exists() {
            return Err(match manifest == Path::new(&record.manifest.path) {
                true => format!("its manifest `{}` is gone", manifest.display()),
                false => format!("there is no such file `{}`", manifest.display()),
            });
        }
        let set = record.call.set.clone();
        let vars_files: Vec<PathBuf> = record.call.vars_files.iter().map(PathBuf::from).collect();
        let values = ValueArguments { set: set.clone(), vars_files: vars_files.clone() };
        let role = self.roles.entry((manifest.clone(), set, vars_files));
        let loaded = role.or_insert_with(|| {
            let (loaded, report) = Loaded::read(&manifest, &values, &Trust::default());
            loaded.filter(|_| !report.has_errors()).ok_or_else(|| first_of(&report))
        });
        let loaded = loaded.as_ref().map_err(Clone::clone)?;
        let config = container.path.join("config");
        let start = InitialConfig::read(Some(&config), &self.caller)?;
        let mapped = start.mapping.mapped();
        let args = record.call.args.iter().map(Into::into).collect();
        let request = Request {
            manifest,
            values,
            trust: Trust::default(),
            target: target(&container.name, &container.path, mapped, args),
            wanted: wanted(record.storage(), false),
            ids: start.ids(&self.caller),
            config: container.config(),
            lock: LockUse::Ignore,
            remote: None,
        };
        request.look(loaded).map_err(|report| first_of(&report))
    }

    /// Says what a new run that is prepared would change in a container.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub(super) fn difference(
        &mut self,
        container: &Container,
        record: &Record,
        prepared: &Prepared,
    ) -> Result<RoleDifference, String> {
        let tree = ContainerTree::find(container, record, &self.caller)?;
        let superseded = self.superseded(record, prepared);
        RoleDifference::find(&tree, (record, &container.config()), &prepared.plan, superseded)
    }

    /// Finds the innermost layer that a container stands on and that would be another one now, with what is to be
    /// said of it.
    fn superseded(
        &mut self,
        record: &Record,
        prepared: &Prepared,
    ) -> Option<(LayerName, Vec<String>)> {
        let (Some(cache), Some(store)) = (prepared.cache.plan(), &prepared.store) else {
            return None;
        };
        let index = self.indexes.entry(store.map().to_owned());
        let index = index.or_insert_with(|| store.index().unwrap_or_default());
        superseded(record, cache, index, store)
    }
}

/// Returns the stored tree that a container's overlay stands on, where it is gone.
pub(super) fn lost_tree(container: &Container) -> Option<PathBuf> {
    let config = String::from_utf8_lossy(&container.config()).into_owned();
    let value = lxc::config::last_value(&config, "lxc.rootfs.path")?;
    let (lower, _) = value.strip_prefix("overlay:")?.rsplit_once(':')?;
    let found = Path::new(lower).symlink_metadata();
    // Who may not look there cannot tell.
    let is_gone = found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_gone.then(|| PathBuf::from(lower))
}

/// Returns the first of what is wrong, and where that is.
fn first_of(report: &Report) -> String {
    let first = report.first_error().map(|fault| {
        let place = fault.at.as_ref().map(ToString::to_string);
        let place = place.unwrap_or_else(|| shell::one_line(&fault.file.to_string_lossy()));
        format!("{} ({place})", fault.message)
    });
    let first = first.unwrap_or_else(|| "nobody knows why".to_owned());
    format!("its role cannot be planned: {first}")
}

fn superseded(
    record: &Record,
    cache: &CachePlan,
    index: &Index,
    store: &Store,
) -> Option<(LayerName, Vec<String>)> {
    let mut parent = None;
    for (number, slot) in cache.slots.iter().enumerate() {
        let supply = match slot.kind {
            SlotKind::Upstream => record.upstream.supply.as_ref(),
            SlotKind::Layer => {
                let layers = record.layers.iter();
                let mut own = layers.filter(|layer| layer.name == slot.layer.as_str());
                own.next().and_then(|layer| layer.supply.as_ref())
            }
        };
        let entry = supply.and_then(|supply| EntryId::parse(&supply.entry));
        let (None, Some(entry)) = (&slot.decided_by, entry) else { break };
        let (inputs, key) = cache.lookup(number, parent, &|_| Vec::new());
        let label = slot.label();
        if key != entry.key {
            let before = Entry::read(store, entry).map(|entry| entry.document);
            let changes = before.map(|before| inputs.changes_since(&before)).unwrap_or_default();
            let lines = match changes.as_slice() {
                [] => vec![format!("{label} is defined otherwise now")],
                changes => changes.iter().map(|change| format!("{label}: {change}")).collect(),
            };
            return Some((slot.layer.clone(), lines));
        }
        if index.entries.get(&key).is_some_and(|newest| *newest > entry.generation) {
            let age = index.age(key).map(|age| ago(age.as_secs())).unwrap_or_default();
            return Some((slot.layer.clone(), vec![format!("{label} was rebuilt{age}")]));
        }
        parent = Some(entry);
    }
    None
}

/// Says how long ago something was, behind a space.
pub(super) fn ago(seconds: u64) -> String {
    let (count, unit) = crate::cache::in_largest_unit(seconds);
    let plural = if count == 1 { "" } else { "s" };
    format!(" {count} {unit}{plural} ago")
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
        let age = row.age.map_or_else(|| "?".to_owned(), store_verb::age);
        let running = if row.running { "yes" } else { "no" };
        let size = row.size.map_or_else(|| "-".to_owned(), store_verb::short_bytes);
        let role = store_verb::fitted(&role(row), role_width);
        let name = store_verb::fitted(&row.name, name_width);
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

/// Returns a path as `show` and `status` have it.
pub(super) fn shown_path(path: &Path) -> String {
    shell::one_line(&path.to_string_lossy())
}
