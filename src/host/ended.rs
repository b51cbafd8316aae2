//! How a command ended, in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::signals;

/// Says how a command ended: `ended with status 1`.
pub(crate) fn describe(own: ExitStatus) -> String {
    match (own.code(), own.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by {}", signals::name_of(signal)),
        (None, None) => format!("ended with {own}"),
    }
}
