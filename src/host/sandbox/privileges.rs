//! What the processes of a sandbox may do.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::host::kernel;

/// The capabilities that every sandbox has. Without `FSETID` or `SETFCAP` packages are installed
/// with wrong modes, and end with status 0; `apk` needs `SYS_CHROOT` for its scripts, and to stop
/// another user's daemon needs `KILL`.
pub(crate) const ALWAYS: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_CHROOT);

/// The capabilities that a sandbox with a network of its own has as well. A file that needs `NET_RAW`,
/// as `ping` does, does not run at all without; and what checks the config of a server, as `nginx -t`
/// does, binds its ports.
pub(crate) const IN_OWN_NETWORK: CapabilitySet =
    CapabilitySet::NET_RAW.union(CapabilitySet::NET_BIND_SERVICE);

/// Keeps this process and its children from the abstract sockets and from the processes of others,
/// where the kernel can do so.
pub(super) fn restrict_scope() -> io::Result<()> {
    if kernel::has_scopes() { kernel::restrict_scope() } else { Ok(()) }
}

/// Keeps these capabilities and gives up all others, for good.
///
/// `no_new_privs` stays off: `su` and similar programs belong to what maintainers' scripts call, and the
/// bounding set is the limit of what they can get.
pub(super) fn keep(capabilities: CapabilitySet) -> io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if capabilities.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // The kernel knows no more than those before.
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    // Old kernels know no ambient set.
    let _ = clear_ambient_capability_set();
    let held = rustix::thread::capabilities(None)?.permitted;
    let kept = capabilities.intersection(held);
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: none })?;
    Ok(())
}

/// The limit of core dumps, in bytes. No core is that short; at 0 the kernel would still hand it to a program of the
/// host's.
const CORE: u64 = 1;

/// Sets the limit of core dumps of this process and its children, as far as the highest one lets it.
pub(super) fn limit_core() -> io::Result<()> {
    let most = getrlimit(Resource::Core).maximum.map_or(CORE, |most| most.min(CORE));
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// As long as there is one, [`limit_core`] of a process that is forked finds a limit that it can set.
#[derive(Debug)]
pub(super) struct RaisedCoreLimit {
    /// What it was, where it was raised.
    before: Option<Rlimit>,
}

impl RaisedCoreLimit {
    /// Raises the highest limit of core dumps, where that is 0 and this process is one of root's: it may do so, and
    /// nobody in a user namespace may.
    pub(super) fn raise() -> Self {
        let before = getrlimit(Resource::Core);
        let raised = Rlimit { maximum: Some(CORE), ..before };
        let is_raised = before.maximum == Some(0) && setrlimit(Resource::Core, raised).is_ok();
        Self { before: is_raised.then_some(before) }
    }
}

impl Drop for RaisedCoreLimit {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = setrlimit(Resource::Core, before);
        }
    }
}
