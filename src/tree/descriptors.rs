//! The limit of open descriptors, raised for a while: each level of a tree takes some.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many hold the limit raised now, and what it was before the first of them.
static HELD: Mutex<(usize, Option<Rlimit>)> = Mutex::new((0, None));

/// The limit, raised as far as it can be until this is dropped.
#[derive(Debug)]
pub(super) struct Raised(());

impl Raised {
    /// Raises the limit. That it cannot be raised is no fault: most trees do without.
    pub(super) fn new() -> Self {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 == 0 {
            let before = getrlimit(Resource::Nofile);
            let raised = Rlimit { current: before.maximum, maximum: before.maximum };
            held.1 = setrlimit(Resource::Nofile, raised).is_ok().then_some(before);
        }
        held.0 += 1;
        Self(())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 -= 1;
        if held.0 == 0
            && let Some(before) = held.1.take()
        {
            let _ = setrlimit(Resource::Nofile, before);
        }
    }
}
