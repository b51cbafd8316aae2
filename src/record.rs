//! The record: what a run did, kept as `layered-template.json` beside the container's config.
//!
//! These types are a format, not the program's own values: what is read back later must not change
//! with them. A field is added with a new [`FORMAT`]; none changes its meaning.

mod comparison;
mod file;
mod run;
mod state;
mod volatile;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use comparison::RoleChange;
pub(crate) use file::{File, FileKind, LastDrops};
pub(crate) use run::{ProcessId, RunFailure, RunRecord, RunStart, RunState, RunVerb};
pub(crate) use volatile::is_volatile;

use crate::chain::Origin;
use crate::digest::Digest;
use crate::plan::{self, Act, Plan, StorageMode, Template};
use crate::source::Source;

/// The name of the file in the container's directory.
pub(crate) const NAME: &str = "layered-template.json";

/// The version of the format.
pub(crate) const FORMAT: u32 = 5;

/// How far the stamps of files may be behind the clock: the kernel stamps them by its ticks, of at most 10 ms.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// The record of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(clippy::struct_field_names, reason = "the format has this key")]
pub(crate) struct Record {
    /// The version of this format.
    pub record: u32,
    /// The version of the program that ran.
    pub version: String,
    /// When the run ended, in UTC, as RFC 3339 has it.
    pub created: String,
    /// How long the run took, in milliseconds; nothing where `SOURCE_DATE_EPOCH` stands in for its time.
    /// New in format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// When the record was written, in seconds since 1970 with nanoseconds behind a point: what of the container
    /// is later than that was changed since. Nothing where `SOURCE_DATE_EPOCH` stands in for its time. New in
    /// format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The manifest.
    pub manifest: Manifest,
    /// What the run was called with. New in format 3.
    #[serde(default)]
    pub call: Call,
    /// The manifest's variables. New in format 3.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// The container's name.
    pub name: String,
    /// The container's architecture.
    pub arch: String,
    /// What of it came from the layer store; nothing, where all was made in the container itself.
    /// New in format 2.
    pub stored: Option<Stored>,
    /// The lines of the container's config when the run ended, as LXC reads them. New in format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Vec<String>>,
    /// Those that it had when the run began: they are none of the role's. New in format 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Vec<String>>,
    /// The template that was called.
    pub upstream: Upstream,
    /// The layers, the innermost first.
    pub layers: Vec<Layer>,
}

/// The manifest of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Manifest {
    /// Its path, absolute.
    pub path: String,
    /// The digest of its text.
    pub digest: Digest,
    /// What the role is.
    pub description: Option<String>,
    /// All the files that define it, the manifest among them: their digests, by their absolute paths.
    /// Reusable layers that are part of the program stand there as `<name>`. New in format 3.
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
}

/// What a run was called with, of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Call {
    /// The variables that it set, as `name=value`.
    pub set: Vec<String>,
    /// The files that gave variables values, by their absolute paths.
    pub vars_files: Vec<String>,
    /// The arguments for the template.
    pub args: Vec<String>,
}

/// A variable of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; nothing for a secret, and where the run decided it.
    pub value: Option<String>,
    /// Where its value came from.
    pub origin: Option<String>,
}

/// Where a layer came from, of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Supply {
    /// How the run came to it.
    pub by: SuppliedBy,
    /// The entry of the layer store.
    pub entry: String,
    /// How long it took to build it, in milliseconds; nothing where it was there, or where
    /// `SOURCE_DATE_EPOCH` stands in for time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Whence it came, where another host has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled: Option<Pulled>,
}

/// Whence a layer came that another host has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Pulled {
    /// The registry, and the repository of it.
    pub repository: String,
    /// The digest of its manifest there.
    pub manifest: Digest,
    /// What vouched for it.
    pub vouched_by: VouchedBy,
    /// Who has signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

/// What vouched for a layer that another host has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum VouchedBy {
    /// The role's lock.
    Lock,
    /// A signature.
    Signature,
    /// Nothing: `--allow-untrusted` let it in.
    Nobody,
}

/// How a run came to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum SuppliedBy {
    /// It was stored already.
    Store,
    /// The run built it.
    Build,
    /// The run pulled it.
    Registry,
}

/// What a run has of the layer store: how it came to each layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supplies {
    /// What the template made, and in which layer.
    pub template: Option<Supply>,
    /// What each layer made itself.
    pub layers: BTreeMap<String, Supply>,
}

/// What came from the layer store, of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Stored {
    /// How the container came to it.
    pub storage: StorageMode,
    /// The entry.
    pub entry: String,
    /// The outermost layer that is in it.
    pub layer: String,
}

/// The upstream of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Upstream {
    /// The template as the manifest names it.
    pub template: String,
    /// The program behind it.
    pub program: String,
    /// The digest of the program; nothing for what is built in.
    pub digest: Option<Digest>,
    /// Whether the manifest held the program to that digest. What a template fetches is its own
    /// affair, and is not vouched for here.
    pub pinned: bool,
    /// Its arguments, as words.
    pub args: Vec<String>,
    /// Where what it makes came from; nothing where it was made in the container. New in format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supply: Option<Supply>,
    /// The record that the upstream left itself, where it is this program again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<serde_json::Value>,
}

/// A layer of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Layer {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub at: String,
    /// Where it came from; nothing where it was made in the container, or makes nothing. New in format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supply: Option<Supply>,
    /// The variables that its pre steps handed inward, by name.
    pub handed: Vec<String>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What it dropped.
    pub files: Vec<File>,
    /// The lines that it added to the config.
    pub config: Vec<String>,
    /// Absolute paths inside the rootfs that belong to the container and not to the role. New in format 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
}

/// A step of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Step {
    /// Its kind.
    #[serde(rename = "stop")]
    pub phase: String,
    /// Where the manifest has it.
    pub at: String,
    /// The digest of its text or script.
    pub digest: Digest,
}

/// What is known of a run when it has ended, besides its plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// When it ended.
    pub created: String,
    /// The same since 1970, where nothing stands in for it.
    pub ended: Option<Duration>,
    /// How long it took.
    pub took: Option<Duration>,
    /// The record that the upstream left.
    pub upstream_record: Option<serde_json::Value>,
    /// What came from the layer store.
    pub stored: Option<Stored>,
    /// The lines of the container's config.
    pub config: Option<Vec<String>>,
    /// Those that it had when the run began.
    pub given: Option<Vec<String>>,
    /// Where each layer came from.
    pub supplies: Supplies,
}

impl Record {
    /// Returns how the container uses the layer store.
    pub(crate) fn storage(&self) -> StorageMode {
        self.stored.as_ref().map_or(StorageMode::None, |stored| stored.storage)
    }

    /// Returns the layers, the innermost first, each with whether it came from the layer store.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (&Layer, bool)> {
        let stored = self.stored.as_ref().map(|stored| stored.layer.as_str());
        let outermost = self.layers.iter().position(|layer| Some(layer.name.as_str()) == stored);
        let is_stored = move |number| outermost.is_some_and(|outermost| number <= outermost);
        self.layers.iter().enumerate().map(move |(number, layer)| (layer, is_stored(number)))
    }

    /// Returns when the run began and when it ended, as far as that is known, since 1970: what it made bears no
    /// older stamp than the first.
    pub(crate) fn times(&self) -> (Option<Duration>, Option<Duration>) {
        let ended = self.ended.as_deref().and_then(|text| {
            let (seconds, nanoseconds) = text.split_once('.')?;
            let nanoseconds = nanoseconds.parse().ok().filter(|parsed| *parsed < 1_000_000_000)?;
            Some(Duration::new(seconds.parse().ok()?, nanoseconds))
        });
        let took = self.took_ms.map(Duration::from_millis);
        let began = ended.zip(took).and_then(|(ended, took)| ended.checked_sub(took + TICK));
        (began, ended)
    }

    /// Takes the times of the record `before`, which is of the same tree. Where that does not say when it was `written`,
    /// in seconds and nanoseconds since 1970, its file does.
    pub(crate) fn keep_times(&mut self, before: &Self, written: (i64, i64)) {
        self.created.clone_from(&before.created);
        self.took_ms = before.took_ms;
        self.ended = match before.times() {
            (_, Some(_)) => before.ended.clone(),
            (_, None) => Some(format!("{}.{:09}", written.0, written.1)),
        };
    }

    /// Reads one, of this format or an older one.
    ///
    /// # Errors
    ///
    /// Where it is none; [`io::ErrorKind::Unsupported`] where a later version of the program wrote it.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            record: u32,
        }
        let Version { record } = serde_json::from_slice(bytes).map_err(damaged)?;
        if record > FORMAT {
            let message = format!("its format is {record}, and this program reads up to {FORMAT}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    /// Returns the record of a plan that was run to its end.
    pub(crate) fn of(plan: &Plan, outcome: Outcome) -> Self {
        let Outcome { created, ended, took, upstream_record, stored, config, given, mut supplies } =
            outcome;
        let mut layers: Vec<_> = plan
            .layers()
            .map(|layer| self::layer(layer, supplies.layers.remove(layer.name.as_str())))
            .collect();
        layers.reverse();
        let call = plan.upstream();
        let (program, digest) = match &call.program {
            Template::Busybox { path } => (path, None),
            Template::File { path, digest, .. } => (path, Some(*digest)),
        };
        Self {
            record: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created,
            took_ms: took.map(milliseconds),
            ended: ended.map(|time| format!("{}.{:09}", time.as_secs(), time.subsec_nanos())),
            call: call_of(plan),
            variables: plan.variables.iter().map(variable).collect(),
            manifest: Manifest {
                path: plan.manifest.absolute.to_string_lossy().into_owned(),
                digest: plan.manifest.digest,
                description: plan.manifest.description.clone(),
                files: files_of(plan),
            },
            name: plan.container.name.clone(),
            arch: plan.container.arch.clone(),
            stored,
            config,
            given,
            upstream: Upstream {
                template: call.template.clone(),
                program: program.to_string_lossy().into_owned(),
                digest,
                pinned: call.pin.is_some(),
                args: call.args.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
                supply: supplies.template,
                record: upstream_record,
            },
            layers,
        }
    }
}

/// Returns the fault of a record that is not what was written.
fn damaged(error: serde_json::Error) -> io::Error {
    tracing::debug!(%error, "a record cannot be read");
    io::Error::new(io::ErrorKind::InvalidData, format!("`{NAME}` is damaged"))
}

fn layer(layer: &plan::Layer, supply: Option<Supply>) -> Layer {
    let after = layer.after.iter().filter_map(|act| match act {
        Act::Step(step) => Some(step),
        _ => None,
    });
    let steps = layer.before.iter().chain(after).chain(&layer.finally).map(step).collect();
    let mut files = Vec::new();
    let mut config = Vec::new();
    for act in &layer.after {
        match act {
            Act::Drop(drop) => files.extend(File::of(drop)),
            Act::Config(lines) => config
                .extend(lines.iter().map(|line| crate::lxc::config::line(&line.key, &line.value))),
            Act::Step(_) => {}
        }
    }
    Layer {
        name: layer.name.to_string(),
        at: layer.at.to_string(),
        supply,
        handed: layer.hands.clone(),
        steps,
        files,
        config,
        state: layer.state.iter().map(ToString::to_string).collect(),
    }
}

/// Returns a time in whole milliseconds.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn call_of(plan: &Plan) -> Call {
    let mut call = Call {
        args: plan.container.args.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        ..Call::default()
    };
    for variable in &plan.variables {
        match (&variable.origin, &variable.value) {
            (Some(Origin::Set), Some(value)) => {
                call.set.push(format!("{}={value}", variable.name));
            }
            (Some(Origin::VarsFile(at)), _) => {
                let path = path_of(&at.source);
                if !call.vars_files.contains(&path) {
                    call.vars_files.push(path);
                }
            }
            _ => {}
        }
    }
    call
}

fn variable(variable: &plan::Variable) -> Variable {
    Variable {
        name: variable.name.clone(),
        value: variable.value.clone(),
        origin: variable.origin.as_ref().map(ToString::to_string),
    }
}

/// Returns the files that define a plan's layers and variables.
fn files_of(plan: &Plan) -> BTreeMap<String, Digest> {
    let layers = plan.layers().flat_map(|layer| {
        let variables = layer.variables.iter().map(|variable| &variable.at);
        std::iter::once(&layer.at).chain(variables)
    });
    let variables = plan.variables.iter().map(|variable| &variable.at);
    let sources = layers.chain(variables).map(|at| &at.source);
    let named = sources.map(|source| (path_of(source), Digest::of(source.text.as_bytes())));
    let own = (plan.manifest.absolute.to_string_lossy().into_owned(), plan.manifest.digest);
    named.chain([own]).collect()
}

/// Returns the absolute path of a file; of one that is part of the program, its name.
fn path_of(source: &Source) -> String {
    let path = match source.path.file_name() {
        Some(name) if source.has_dir() => source.dir.join(name),
        _ => source.path.clone(),
    };
    path.to_string_lossy().into_owned()
}

fn step(step: &plan::Step) -> Step {
    let text = step.argv.last().map(String::as_bytes).unwrap_or_default();
    Step {
        phase: step.phase.to_string(),
        at: step.at.to_string(),
        digest: step.script.unwrap_or_else(|| Digest::of(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_format_are_read() {
        let records = [
            include_str!("../tests/records/1.json"),
            include_str!("../tests/records/2.json"),
            include_str!("../tests/records/3.json"),
            include_str!("../tests/records/4.json"),
            include_str!("../tests/records/5.json"),
        ];
        for (number, text) in (1..).zip(records) {
            let record = Record::parse(text.as_bytes()).unwrap();
            assert_eq!(record.record, number);
            assert_eq!((record.name.as_str(), record.layers.len()), ("web1", 2));
            assert_eq!(record.stored.is_some(), number > 1);
            assert_eq!(record.manifest.files.is_empty(), number < 3);
            assert_eq!(record.given.is_some(), number > 4);
            let states = ["srv/data", "srv/data/x", "srv/database", "srv"];
            assert_eq!(
                states.map(|path| record.is_state(path.as_bytes())),
                [number > 3, number > 3, false, false]
            );
            // What was written is all there.
            let before: serde_json::Value = serde_json::from_str(text).unwrap();
            let after = serde_json::to_value(&record).unwrap();
            let lost = before.as_object().unwrap().iter().filter(|(key, value)| {
                !["manifest"].contains(&key.as_str()) && after.get(key) != Some(value)
            });
            assert_eq!(lost.count(), 0, "{after:#}");
        }
    }

    #[test]
    fn a_record_of_a_later_version_says_so() {
        let text = format!("{{\"record\": {}, \"layers\": 7}}", FORMAT + 1);
        let error = Record::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(Record::parse(b"{}").is_err());
        assert!(Record::parse(b"").is_err());
    }

    #[test]
    fn nothing_that_a_run_made_is_older_than_its_beginning() {
        let text = include_str!("../tests/records/4.json");
        let mut record = Record::parse(text.as_bytes()).unwrap();
        record.ended = Some("100.500000000".to_owned());
        record.took_ms = Some(250);
        let (began, ended) = record.times();
        assert_eq!(ended, Some(Duration::from_millis(100_500)));
        // A file that was made at once, stamped by a clock that stood still for a tick.
        assert!(began.unwrap() <= Duration::from_millis(100_250 - 10));
        record.took_ms = None;
        assert_eq!(record.times().0, None);
    }
}
