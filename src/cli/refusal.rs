//! Why a verb does not do what it was asked for, and what would help.

use super::output;

/// What is said of it.
#[derive(Debug)]
pub(super) struct Refusal {
    message: String,
    hint: Option<String>,
}

impl Refusal {
    /// Creates one with what to do about it.
    pub(super) fn with_hint(message: String, hint: String) -> Self {
        Self { message, hint: Some(hint) }
    }

    /// Returns it without what would help.
    pub(super) fn message(self) -> String {
        self.message
    }

    /// Says it on standard error.
    pub(super) fn say(&self) {
        output::error(&self.message, self.hint.as_deref());
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message, hint: None }
    }
}
