//! The processes that this one was started by, up to `lxc-create`.
//!
//! A killed `lxc-create` leaves its template behind, and in a user namespace there is a
//! `lxc-usernsexec` between the two, so that the death of the parent alone says nothing.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use super::process::ProcessStatus;

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
        let Some(process) = ProcessStatus::read(id.as_raw_nonzero().get().unsigned_abs()) else {
            break;
        };
        ancestors.push(descriptor);
        if process.name == "lxc-create" {
            return ancestors;
        }
        next = Pid::from_raw(process.parent.cast_signed());
    }
    Vec::new()
}
