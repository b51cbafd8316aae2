//! What there is to say of one thing that was looked at: whether it is as it should be, and what to do.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::shell;

/// What there is to say of one thing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// Whether it is as it should be.
    pub verdict: Verdict,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub says: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Ok,
    /// Something is missing that only some roles need.
    Note,
    /// Something is missing that not every run needs.
    Warn,
    /// Runs fail.
    Bad,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Bad => "bad",
        })
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Says that something is as it should be.
pub(super) fn ok(subject: &'static str, says: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Ok, subject, says: says.into(), advice: None }
}

/// Says what is wrong, and what to do about it.
pub(crate) fn fault(
    verdict: Verdict,
    subject: &'static str,
    says: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    let says = shell::reason(&says.into()).into_owned();
    Finding { verdict, subject, says, advice: Some(advice.into()) }
}
