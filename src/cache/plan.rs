//! Which layers of a plan can come from the layer store, and which cannot.

use std::ffi::OsString;
use std::path::PathBuf;

use super::inputs::BaseInputs;
use super::offer::PinnedEntry;
use crate::digest::{Digest, Reading};
use crate::manifest::{Duration, LayerName, RootfsPath};
use crate::plan::{Layer, StorageMode, Target, Upstream};

/// What a caller wants of the layer store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How the container uses it.
    pub mode: StorageMode,
    /// Whether everything is rebuilt.
    pub rebuild: bool,
    /// What was made before this time is rebuilt, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Whether the role is held to its lock: what that pins is never rebuilt.
    pub locked: bool,
    /// Whether what is not stored is looked for in a registry.
    pub pulling: Pulling,
    /// Whether that is taken even if nobody vouches for it.
    pub trusts_all: bool,
    /// What it is wanted for.
    pub purpose: Purpose,
}

/// What the layer store is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Something new is made, which may do without it.
    #[default]
    Make,
    /// A container is upgraded: what it is to be has to be stored as well as what it was.
    Upgrade,
}

/// Whether what is not stored is looked for in a registry, and what is done about what is not there either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pulling {
    /// It is not.
    #[default]
    No,
    /// What is not there is built.
    First,
    /// What is not there ends the run.
    Only,
}

impl Wanted {
    /// Tells whether nothing can be done without the store.
    pub fn needs_store(&self) -> bool {
        self.locked
            || self.purpose == Purpose::Upgrade
            || self.pulling == Pulling::Only
            || matches!(self.mode, StorageMode::Overlay | StorageMode::Fill)
    }

    /// Tells whether nothing is wanted but to fill it: there is no container.
    pub fn fills(&self) -> bool {
        self.mode == StorageMode::Fill
    }
}

/// How a run uses the layer store.
#[derive(Debug, Clone)]
pub enum Cache {
    /// It is not wanted.
    Off,
    /// It is wanted, and cannot be used.
    Unusable {
        /// What was wanted.
        wanted: Wanted,
        /// Why it cannot be.
        why: String,
    },
    /// It is used.
    Usable(Box<CachePlan>),
}

impl Cache {
    /// Returns what is wanted, where anything is.
    pub fn wanted(&self) -> Option<&Wanted> {
        match self {
            Self::Off => None,
            Self::Unusable { wanted, .. } => Some(wanted),
            Self::Usable(cache) => Some(&cache.wanted),
        }
    }

    /// Returns the plan of what can be stored, where the store can be used.
    pub fn plan(&self) -> Option<&CachePlan> {
        match self {
            Self::Usable(cache) => Some(cache),
            Self::Off | Self::Unusable { .. } => None,
        }
    }

    /// Holds it to a lock: what slots have to be, from the innermost on.
    pub(crate) fn hold_to(&mut self, pins: Vec<Option<PinnedEntry>>) {
        match self {
            Self::Off => {}
            Self::Unusable { wanted, .. } => wanted.locked = true,
            Self::Usable(cache) => {
                cache.wanted.locked = true;
                cache.pins = pins;
            }
        }
    }

    /// Builds nothing, where layers are pulled: there is no template to begin with.
    pub(crate) fn pull_only(&mut self) {
        let wanted = match self {
            Self::Off => return,
            Self::Unusable { wanted, .. } => wanted,
            Self::Usable(cache) => &mut cache.wanted,
        };
        if wanted.pulling == Pulling::First {
            wanted.pulling = Pulling::Only;
        }
    }

    /// Tells whether a run only fills the store.
    pub fn fills(&self) -> bool {
        self.wanted().is_some_and(Wanted::fills)
    }
}

/// The layers of a plan that can be stored, as the store builds them: for a container of the
/// placeholder's name.
#[derive(Debug, Clone)]
pub struct CachePlan {
    /// What is wanted.
    pub wanted: Wanted,
    /// The container that is made.
    pub container: Target,
    /// The placeholder's container, for which the store builds.
    pub target: Target,
    /// The outermost layer, as it is built for the placeholder.
    pub twin: Layer,
    /// The arguments of the upstream besides those that LXC gives.
    pub arguments: Vec<OsString>,
    /// What is stored, the innermost first. Empty where the upstream is not stored.
    pub slots: Vec<Slot>,
    /// Why nothing more is.
    pub end: Option<String>,
    /// What slots have to be, from the innermost on; `None`, or nothing, where it is not said.
    pub pins: Vec<Option<PinnedEntry>>,
    /// What defines a stored upstream besides its call.
    pub inputs: BaseInputs,
    /// The files of arguments that were read, and that need not be read again.
    pub readings: Vec<Reading>,
    /// What the config of a container on an overlay says of this host.
    pub host: OverlayHost,
    /// What the container's config starts with, as far as it is known before the run.
    pub config: Vec<u8>,
}

/// What the config of a container on an overlay says of its host.
#[derive(Debug, Clone, Default)]
pub struct OverlayHost {
    /// The directory of stored trees, each in a directory named as its entry.
    pub trees: PathBuf,
    /// Whether the overlay is mounted in a user namespace, where it needs an option of its own.
    pub is_mapped: bool,
    /// A directory that leads to the trees, and that root of the container cannot pass.
    pub closed: Option<PathBuf>,
    /// The hook that tells the store of copies and snapshots.
    pub clone_hook: Option<String>,
}

/// A part of a role that is stored by itself.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The layer that it belongs to.
    pub layer: LayerName,
    /// What of the layer it is.
    pub kind: SlotKind,
    /// After how long it is rebuilt.
    pub refresh: Option<Duration>,
    /// What makes a container itself, besides what always does.
    pub identity: Vec<RootfsPath>,
    /// The layer whose pre step hands a variable inward that defines it: nobody knows its key
    /// beforehand.
    pub decided_by: Option<LayerName>,
    /// Variables of its steps that are no part of its key: paths of the host that no step names.
    pub unnamed_paths: Vec<String>,
    /// Whether it is stored even where it holds the container's name in a form that cannot be replaced.
    pub keeps_name: bool,
}

/// What of a layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// What the upstream leaves.
    Upstream,
    /// What the layer does after what it wraps, but for checks on the host.
    Layer,
}

impl Slot {
    /// Returns what a person calls it; unique in a chain.
    pub fn label(&self) -> String {
        label(&self.layer, self.kind)
    }
}

/// Returns what a person calls a part of a layer.
pub fn label(layer: &LayerName, kind: SlotKind) -> String {
    match kind {
        SlotKind::Upstream => format!("template of layer `{layer}`"),
        SlotKind::Layer => format!("layer `{layer}`"),
    }
}

/// Variables that pre steps have handed inward, by the layer that sees them.
pub type Handed<'a> = &'a dyn Fn(&LayerName) -> Vec<(OsString, OsString)>;

impl CachePlan {
    /// Returns a layer of the chain as it is built for the store: the twin has the same layers.
    pub fn twin_of(&self, name: &LayerName) -> &Layer {
        self.twin.all().find(|layer| layer.name == *name).unwrap_or(&self.twin)
    }

    /// Returns the call of the upstream as it is made for the store.
    pub fn upstream(&self) -> &Upstream {
        self.twin.upstream()
    }

    /// Returns what the lock pins of a key.
    pub(crate) fn pin_of(&self, key: Digest) -> Option<PinnedEntry> {
        self.pins.iter().flatten().find(|pin| pin.entry.key == key).copied()
    }

    /// Returns the slot of a layer itself.
    pub(super) fn slot_of(&self, layer: &LayerName) -> Option<usize> {
        self.slots.iter().position(|slot| slot.layer == *layer && slot.kind == SlotKind::Layer)
    }
}
