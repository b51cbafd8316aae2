//! The record: what a run did, kept as `layered-template.json` beside the container's config.
//!
//! These types are a format, not the program's own values: what is read back later must not change
//! with them. A field is added with a new [`FORMAT`]; none changes its meaning.

use std::path::Path;

use serde::Serialize;

use crate::digest::Digest;
use crate::plan::{self, Act, Content, EntryKind, Plan, StorageMode, Template};

/// The name of the file in the container's directory.
pub(crate) const NAME: &str = "layered-template.json";

/// The version of the format.
pub(crate) const FORMAT: u32 = 3;

/// The record of a run.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(clippy::struct_field_names, reason = "the format has this key")]
pub(crate) struct Record {
    /// The version of this format.
    pub record: u32,
    /// The version of the program that ran.
    pub version: String,
    /// When the run ended, in UTC, as RFC 3339 has it.
    pub created: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The container's name.
    pub name: String,
    /// The container's architecture.
    pub arch: String,
    /// What of it came from the layer store; nothing, where all was made in the container itself.
    /// New in format 2.
    pub stored: Option<Stored>,
    /// The template that was called.
    pub upstream: Upstream,
    /// The layers, the innermost first.
    pub layers: Vec<Layer>,
}

/// The manifest of a record.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Manifest {
    /// Its path, absolute.
    pub path: String,
    /// The digest of its text.
    pub digest: Digest,
    /// What the role is.
    pub description: Option<String>,
}

/// What came from the layer store, of a record.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Stored {
    /// How the container came to it.
    pub storage: StorageMode,
    /// The entry.
    pub entry: String,
    /// The outermost layer that is in it.
    pub layer: String,
    /// What it was made of, the innermost first. New in format 3.
    pub layers: Vec<StoredLayer>,
}

/// A stored layer of a record, and whence it came.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StoredLayer {
    /// The layer.
    pub layer: String,
    /// The entry.
    pub entry: String,
    /// Whence it came.
    pub from: StoredFrom,
    /// The registry and the repository that it was pulled from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The digest of its manifest there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// Who vouched for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vouched: Option<Vouched>,
}

/// Whence a stored layer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoredFrom {
    /// It was stored.
    Stored,
    /// The run has built it.
    Built,
    /// The run has pulled it.
    Pulled,
}

/// Who vouched for a layer that was pulled.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "by", rename_all = "lowercase")]
pub(crate) enum Vouched {
    /// The role's lock.
    Lock,
    /// Somebody who has signed it.
    Signature {
        /// Who.
        principal: String,
    },
    /// Nobody: `--allow-untrusted` let it in.
    Nobody,
}

/// The upstream of a record.
#[derive(Debug, Clone, Serialize)]
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
    /// The record that the upstream left itself, where it is this program again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<serde_json::Value>,
}

/// A layer of a record.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Layer {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub at: String,
    /// The variables that its pre steps handed inward, by name.
    pub handed: Vec<String>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What it dropped.
    pub files: Vec<File>,
    /// The lines that it added to the config.
    pub config: Vec<String>,
}

/// A step of a record.
#[derive(Debug, Clone, Serialize)]
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

/// Something dropped, of a record; of a tree, each entry by itself.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct File {
    /// Its path inside the rootfs.
    pub path: String,
    /// `file`, `directory`, `symlink` or `remove`.
    pub kind: &'static str,
    /// Its permission bits, in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Its owner, as the manifest gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The digest of a file's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Record {
    /// Returns the record of a plan that was run to its end at `created`.
    pub(crate) fn of(
        plan: &Plan,
        created: String,
        upstream_record: Option<serde_json::Value>,
        stored: Option<Stored>,
    ) -> Self {
        let mut layers: Vec<_> = plan.layers().map(layer).collect();
        layers.reverse();
        let call = plan.upstream();
        let (program, digest) = match &call.program {
            Template::Busybox { path } => (path, None),
            Template::File { path, digest } => (path, Some(*digest)),
        };
        Self {
            record: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created,
            manifest: Manifest {
                path: plan.manifest.absolute.to_string_lossy().into_owned(),
                digest: plan.manifest.digest,
                description: plan.manifest.description.clone(),
            },
            name: plan.container.name.clone(),
            arch: plan.container.arch.clone(),
            stored,
            upstream: Upstream {
                template: call.template.clone(),
                program: program.to_string_lossy().into_owned(),
                digest,
                pinned: call.pin.is_some(),
                args: call.args.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
                record: upstream_record,
            },
            layers,
        }
    }
}

fn layer(layer: &plan::Layer) -> Layer {
    let after = layer.after.iter().filter_map(|act| match act {
        Act::Step(step) => Some(step),
        _ => None,
    });
    let steps = layer.before.iter().chain(after).chain(&layer.finally).map(step).collect();
    let mut files = Vec::new();
    let mut config = Vec::new();
    for act in &layer.after {
        match act {
            Act::Drop(drop) => file(drop, &mut files),
            Act::Config(lines) => config
                .extend(lines.iter().map(|line| crate::lxc::config::line(&line.key, &line.value))),
            Act::Step(_) => {}
        }
    }
    Layer {
        name: layer.name.to_string(),
        at: layer.at.to_string(),
        handed: layer.hands.clone(),
        steps,
        files,
        config,
    }
}

fn step(step: &plan::Step) -> Step {
    let text = step.argv.last().map(String::as_bytes).unwrap_or_default();
    Step {
        phase: step.phase.to_string(),
        at: step.at.to_string(),
        digest: step.script.unwrap_or_else(|| Digest::of(text)),
    }
}

fn file(drop: &plan::FileDrop, files: &mut Vec<File>) {
    let path = drop.path.as_str();
    let owner = drop.owner.as_ref().map(ToString::to_string);
    let none = File {
        path: path.to_owned(),
        kind: "file",
        mode: None,
        owner: owner.clone(),
        digest: None,
        target: None,
    };
    match &drop.content {
        Content::File { digest, mode, .. } | Content::Fetched { digest, mode, .. } => {
            files.push(File { mode: Some(mode.to_string()), digest: Some(*digest), ..none });
        }
        Content::Rendered { mode, .. } => {
            files.push(File { mode: Some(mode.to_string()), ..none });
        }
        Content::Symlink { target } => {
            files.push(File { kind: "symlink", target: Some(target.clone()), ..none });
        }
        Content::Directory { mode } => {
            files.push(File { kind: "directory", mode: mode.map(|mode| mode.to_string()), ..none });
        }
        Content::Remove => files.push(File { kind: "remove", ..none }),
        Content::Tree { mode: given, entries, .. } => {
            for entry in entries.iter() {
                let path = Path::new(path).join(&entry.path).to_string_lossy().into_owned();
                let none = File { path, ..none.clone() };
                files.push(match &entry.kind {
                    EntryKind::Directory { mode, .. } => {
                        File { kind: "directory", mode: Some(mode.to_string()), ..none }
                    }
                    EntryKind::File { mode, digest, .. } => File {
                        mode: Some(given.unwrap_or(*mode).to_string()),
                        digest: Some(*digest),
                        ..none
                    },
                    EntryKind::Symlink { target } => {
                        let target = Some(target.to_string_lossy().into_owned());
                        File { kind: "symlink", target, ..none }
                    }
                });
            }
        }
    }
}
