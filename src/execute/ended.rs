//! How a command ended, in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

use crate::host::signals;

/// Says how a command ended: `ended with status 1`.
pub(super) fn describe(own: ExitStatus) -> String {
    match (own.code(), own.signal().and_then(Signal::from_named_raw)) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by {}", signals::name(signal)),
        (None, None) => format!("ended with {own}"),
    }
}
