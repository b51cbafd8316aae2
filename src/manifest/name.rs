//! Names of layers and variables.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// The name of a layer: letters, digits, `-`, `_` and `.`, at most 64 of them, the first a letter
/// or a digit. It stands in the container's config and in messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct LayerName(Arc<str>);

impl LayerName {
    /// Returns the name, or `None` if `text` cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.chars().next()?;
        let sound = first.is_ascii_alphanumeric()
            && text.len() <= 64
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        sound.then(|| Self(text.into()))
    }

    /// Returns the name of a reusable layer before it is used.
    pub(super) fn unnamed() -> Self {
        Self(SELF.into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a reusable layer calls itself.
pub const SELF: &str = "self";

/// What templates never take for the name of a variable: the words for values, the word that is put
/// before one, and the object that has `lxc.name`.
pub const WORDS: [&str; 5] = ["true", "false", "none", "not", "lxc"];

/// Tells whether `text` can be the name of a variable: `[a-z_][a-z0-9_]*`.
pub fn is_variable_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
