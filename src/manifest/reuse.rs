//! What a manifest takes from other files: a base, and reusable layers.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Layer, LayerName, Text, Value, Variable};
use crate::source::{At, Source};

/// The base of a manifest.
#[derive(Debug, Clone)]
pub struct Extends {
    /// Its path, relative to the manifest's directory.
    pub path: PathBuf,
    /// Where it is named.
    pub at: At,
}

/// A reusable layer: a file of its own.
#[derive(Debug, Clone)]
pub struct LayerFile {
    /// Where it was read from.
    pub source: Arc<Source>,
    /// What the layer does, for people.
    pub description: Option<String>,
    /// Its own variables, the only ones that it sees.
    pub variables: Vec<Variable>,
    /// The layer, still without a name.
    pub layer: Layer,
}

/// One `[[layer]]` of a manifest.
#[derive(Debug, Clone)]
pub enum LayerEntry {
    /// A layer that stands here.
    Own(Box<Layer>),
    /// A reusable layer.
    Use(Use),
}

impl LayerEntry {
    /// Returns the layer's name.
    pub fn name(&self) -> &LayerName {
        match self {
            Self::Own(layer) => &layer.name,
            Self::Use(used) => &used.name,
        }
    }

    /// Returns where the layer is named.
    pub fn at(&self) -> &At {
        match self {
            Self::Own(layer) => &layer.at,
            Self::Use(used) => &used.at,
        }
    }
}

/// The use of a reusable layer.
#[derive(Debug, Clone)]
pub struct Use {
    /// The name in this chain.
    pub name: LayerName,
    /// Where that name stands.
    pub at: At,
    /// The name of the layer's file.
    pub used: LayerName,
    /// Where that stands.
    pub used_at: At,
    /// What binds the layer's variables.
    pub with: Vec<With>,
}

/// A value that is bound to a variable of a reusable layer.
#[derive(Debug, Clone)]
pub struct With {
    /// The variable's name.
    pub name: String,
    /// Where that stands.
    pub name_at: At,
    /// The value.
    pub value: WithValue,
    /// Where the value stands.
    pub at: At,
}

/// The value of a [`With`].
#[derive(Debug, Clone)]
pub enum WithValue {
    /// A number or a boolean.
    Plain(Value),
    /// Text with the names of the manifest's variables in it.
    Text(Text),
}
