//! Where a variable's value came from.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::manifest::{LayerName, SecretSource};
use crate::source::At;

/// Where a variable's value came from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A manifest or a reusable layer gives it in its `[vars]`.
    Vars(At),
    /// The `with` of a `use`.
    With(At),
    /// A vars file.
    VarsFile(At),
    /// `--set`.
    Set,
    /// A secret's source, read during a run.
    Secret(SecretSource),
    /// The pre steps of a layer, during a run.
    Pre(LayerName),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vars(at) | Self::With(at) | Self::VarsFile(at) => write!(formatter, "{at}"),
            Self::Set => formatter.write_str("--set"),
            Self::Secret(source) => write!(formatter, "{source}"),
            Self::Pre(layer) => write!(formatter, "decided by pre of {layer}"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
