//! Roles that are pushed to a registry, and pulled from one.

mod access;
mod counter;
mod fake;
mod faults;
mod hosts;
mod locking;
mod pulling;
mod pushing;
mod refusing;
mod server;
mod signing;

use crate::requirement::root;
use server::Registry;

/// Starts a registry; nothing, where the host has none.
pub(crate) fn start() -> Option<Registry> {
    start_with("", "")
}

/// Starts one with more lines of configuration, as [`Registry::with`].
fn start_with(http: &str, parts: &str) -> Option<Registry> {
    if root() { Registry::with(http, parts) } else { None }
}
