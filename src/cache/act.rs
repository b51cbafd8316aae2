//! One thing that a run does about the layer store.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::keys::KeyMaker;
use super::names::Names;
use super::offer::{Unfit, Vouched};
use crate::digest::Digest;
use crate::manifest::LayerName;
use crate::plan::{EntryId, StorageMode};

/// An act, and when it is done.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Planned {
    /// When: 0 in the place of the template, `n` after what the layer wraps that is the `n`th from the
    /// inside.
    #[serde(skip)]
    pub at: usize,
    /// The layer on whose way out it is done; `None` in the place of the template.
    pub after: Option<LayerName>,
    /// The layer that it is done for.
    pub layer: LayerName,
    /// The act.
    #[serde(flatten)]
    pub act: CacheAct,
}

/// What a run lacks that cannot do without the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lack {
    /// The store itself: it cannot be used, or has nothing of the role.
    #[default]
    Store,
    /// An overlay on what is stored.
    Overlay,
    /// A layer: it is neither stored nor to be had otherwise.
    Layer,
}

/// One thing that a run does about the layer store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum CacheAct {
    /// The store is not used, or used no further.
    Without {
        /// Why.
        why: String,
    },
    /// The run ends with a failure: it cannot do what it should without the store.
    Refuse {
        /// Why.
        why: String,
        /// What it lacks.
        #[serde(skip)]
        lack: Lack,
    },
    /// An entry of the store is used.
    Take {
        /// What it is of.
        what: String,
        /// The entry.
        #[cfg_attr(test, schemars(with = "String"))]
        entry: EntryId,
    },
    /// An entry that the store lacks is had from a registry.
    Pull {
        /// What it is of.
        what: String,
        /// Its slot.
        #[serde(skip)]
        slot: usize,
        /// The entry.
        #[cfg_attr(test, schemars(with = "String"))]
        entry: EntryId,
        /// How many bytes are fetched.
        size: u64,
        /// Where it is.
        repository: String,
        /// Who vouches for it.
        vouched: Vouched,
    },
    /// The run ends with a failure: what a registry has must not be used.
    Distrust {
        /// Why.
        why: String,
        /// What kind of thing is wrong.
        #[serde(skip)]
        unfit: Unfit,
    },
    /// Something is built in a place of its own, and stored.
    Build {
        /// What.
        what: String,
        /// Its slot.
        #[serde(skip)]
        slot: usize,
        /// Its key; `None` where that is not known before the run.
        key: Option<Digest>,
        /// What it is built on.
        on: BuildBase,
        /// The layer whose pre steps decide whether it has to be built at all.
        #[serde(skip_serializing_if = "Option::is_none")]
        decided_by: Option<LayerName>,
        /// Why it is not found, field by field.
        why: Vec<String>,
    },
    /// Something is made in the container itself.
    Make {
        /// What.
        what: String,
        /// Why it is not stored; `None` where the store is not used.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Something is not stored, and there is no container that it could be made in.
    Leave {
        /// What.
        what: String,
        /// Why it is not stored.
        why: String,
    },
    /// The container is given the stored tree.
    Install {
        /// Of what.
        what: String,
        /// How.
        by: StorageMode,
        /// The entry; `None` where it has yet to be built.
        #[cfg_attr(test, schemars(with = "Option<String>"))]
        entry: Option<EntryId>,
        /// The lower directory of an overlay.
        #[serde(skip_serializing_if = "Option::is_none")]
        lower: Option<PathBuf>,
    },
    /// What is the container's own is made: what that is, is decided by what is built.
    Personalise {
        /// What decides it.
        decided_by: String,
    },
    /// The container's name is written in the place of the placeholder.
    WriteName {
        /// The files and links of the rootfs.
        #[serde(serialize_with = "lossy")]
        #[cfg_attr(test, schemars(with = "Vec<String>"))]
        files: Vec<Vec<u8>>,
        /// What is written for what.
        #[serde(skip)]
        names: Names,
    },
    /// What the template has left beside the rootfs and the config is put into the container's
    /// directory.
    PutSidecar {
        /// The files and links of it in which the container's name is written.
        #[serde(serialize_with = "lossy")]
        #[cfg_attr(test, schemars(with = "Vec<String>"))]
        files: Vec<Vec<u8>>,
        /// What is written for what.
        #[serde(skip)]
        names: Names,
    },
    /// The container's config is written.
    WriteConfig {
        /// Its text, line by line; an address with `xx` in it is drawn by lot.
        #[serde(rename = "lines", serialize_with = "lossy_lines")]
        #[cfg_attr(test, schemars(with = "Vec<String>"))]
        text: Vec<u8>,
    },
    /// The container's keys are made, by programs of its rootfs.
    MakeKeys {
        /// What is made, and how.
        keys: Vec<Key>,
    },
    /// The layer's checks on the host run.
    Check {
        /// What they see.
        sees: CheckSees,
        /// How many slots there are within the layer.
        #[serde(skip)]
        within: usize,
    },
}

/// A key that is made for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Key {
    /// The file, as a path of the rootfs.
    pub path: String,
    /// The command.
    pub command: String,
}

impl From<&KeyMaker> for Key {
    fn from(maker: &KeyMaker) -> Self {
        Self { path: maker.path.clone(), command: maker.command.clone() }
    }
}

/// What a layer is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BuildBase {
    /// Nothing: an empty directory.
    Nothing,
    /// An overlay on the stored tree of what is inside it.
    Overlay,
    /// A private copy of the stored tree of what is inside it: steps can do there all that they can do
    /// in a plain directory.
    Copy,
}

/// What a check on the host sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CheckSees {
    /// The container.
    Container,
    /// What the container would be with nothing outside the layer.
    Layer,
}

fn lossy<S: Serializer>(paths: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| format!("/{}", String::from_utf8_lossy(path))))
}

fn lossy_lines<S: Serializer>(text: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(String::from_utf8_lossy(text).lines())
}
