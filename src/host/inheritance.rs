//! What a process has from its caller besides words and environment, and what is made of it.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::kernel;

/// How many files must be allowed to be open at once: a deep rootfs is held by a chain of directories.
const NEEDED: u64 = 32;

/// How many are asked for where fewer are allowed, and more can be had.
const WANTED: u64 = 1024;

/// How many files the caller allows, which is what those have that this process starts.
static FILES: OnceLock<Rlimit> = OnceLock::new();

/// Sees to it that nothing that the caller left behind gets in the way, or on to what is started: its
/// descriptors go no further, and children can be waited for.
///
/// # Errors
///
/// With the limit that is too low, where too few files may be open.
pub(crate) fn take_over() -> Result<(), String> {
    if let Err(error) = kernel::close_on_exec_from(3) {
        tracing::debug!(%error, "the caller's descriptors stay open");
    }
    // Where it is ignored, the kernel reaps, and nobody learns how a child has ended.
    kernel::heed(Signal::CHILD);
    // A file that must not become longer is an error like any other.
    kernel::disregard(Signal::XFSZ);
    let given = files();
    let Some(current) = given.current.filter(|current| *current < WANTED) else { return Ok(()) };
    let most = given.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..given });
    let have = if raised.is_ok() { most } else { current };
    if have < NEEDED {
        return Err(format!("the limit on open files, {have}, is too low"));
    }
    Ok(())
}

/// What to do where too few files may be open.
pub(crate) const ADVICE: &str = "raise it before the call: `ulimit -n 64`";

/// Returns how many files the caller allows to be open.
pub(crate) fn files() -> Rlimit {
    *FILES.get_or_init(|| getrlimit(Resource::Nofile))
}
