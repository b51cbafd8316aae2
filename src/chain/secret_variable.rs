//! A variable whose value nobody may see: a chain knows only where it is read from.

use crate::manifest::SecretSource;
use crate::source::At;

/// A variable that is a secret.
#[derive(Debug, Clone)]
pub struct SecretVariable {
    /// Its name where its source is declared.
    pub name: String,
    /// Where its value is read from.
    pub source: SecretSource,
    /// Where it is declared.
    pub at: At,
}
