//! Variables and their values.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::LayerName;
use crate::source::At;

/// A variable of `[vars]`.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub at: At,
    /// What it is for, for people.
    pub description: Option<String>,
    /// Its type, where it is declared.
    pub kind: Option<VariableType>,
    /// Where its value comes from.
    pub source: VariableSource,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone)]
pub enum VariableSource {
    /// The file gives it, in this place.
    Value(Value, At),
    /// Whoever uses the file must give it.
    Required,
    /// The pre steps of a layer hand it inward while the chain runs; in the file of a reusable
    /// layer that layer is [`SELF`](super::SELF).
    From(LayerName),
    /// It is a secret, read from here during a run; without a source, whoever uses the file must
    /// bind it to a secret.
    Secret(Option<SecretSource>),
}

/// Where the value of a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A variable of the caller's environment.
    Env(String),
    /// A file of the host, as an absolute path.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "environment variable {name}"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
        }
    }
}

/// The type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A path of the host, relative to the file that gives it.
    Path,
}

impl VariableType {
    /// Returns the type's name, as manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Path => "path",
        }
    }

    /// Returns the type's name with its article, as messages say it.
    pub fn article(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
            Self::Path => "a path",
        }
    }

    /// Tells whether a value is of the type.
    pub fn admits(self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::String | Self::Path, Value::String(_))
                | (Self::Integer, Value::Integer(_))
                | (Self::Boolean, Value::Boolean(_))
        )
    }
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
}

impl Value {
    /// Returns the type that the value is of.
    pub fn kind(&self) -> VariableType {
        match self {
            Self::String(_) => VariableType::String,
            Self::Integer(_) => VariableType::Integer,
            Self::Boolean(_) => VariableType::Boolean,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(value) => formatter.write_str(value),
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Boolean(value) => write!(formatter, "{value}"),
        }
    }
}
