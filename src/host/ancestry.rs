//! The processes that this one was started by, up to `lxc-create`.
//!
//! A killed `lxc-create` leaves its template behind, and in a user namespace there is a
//! `lxc-usernsexec` between the two, so that the death of the parent alone says nothing.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

/// How many generations are looked at.
const GENERATIONS: usize = 8;

/// Opens descriptors that become readable when an ancestor dies: the ancestors up to and with
/// `lxc-create`, or none where it is not among them.
pub(crate) fn up_to_lxc_create() -> Vec<OwnedFd> {
    let mut ancestors = Vec::new();
    let mut next = getppid();
    for _ in 0..GENERATIONS {
        let Some(id) = next else { break };
        let Ok(descriptor) = pidfd_open(id, PidfdFlags::empty()) else { break };
        // Read with the descriptor open, it is the same process throughout.
        let Some((name, parent)) = describe(id) else { break };
        ancestors.push(descriptor);
        if name == "lxc-create" {
            return ancestors;
        }
        next = parent;
    }
    Vec::new()
}

/// Returns the name of a process and its parent.
fn describe(id: Pid) -> Option<(String, Option<Pid>)> {
    let path = format!("/proc/{}/stat", id.as_raw_nonzero());
    let stat = String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned();
    // The name stands in brackets, and may itself hold brackets and spaces.
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let parent = tail.split_whitespace().nth(1)?.parse().ok()?;
    Some((name, Pid::from_raw(parent)))
}
