//! What keeps the processes of a sandbox from being somebody on the host: a user namespace, or at least
//! Landlock.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::user_namespace::UserNamespace;
use super::{Network, Settings, mounts};
use crate::host::caller::Caller;
use crate::host::rootfs::Rootfs;
use crate::host::{files, kernel};
use crate::lxc::call::Mapped;

/// What to say where a filesystem cannot map ids.
const CANNOT_MAP: &str = "its filesystem cannot map ids, as an overlay";

/// How to go on without a boundary.
const ANYWAY: &str = "`--allow-untrusted` runs it all the same";

/// The capabilities that count in a network alone.
const OF_NETWORK: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_BROADCAST)
    .union(CapabilitySet::NET_RAW);

/// Returns the user namespace that a sandbox has; `None` if it has none and does without.
///
/// # Errors
///
/// Where it would be able to take over the host without one.
pub(super) fn decide(
    settings: &Settings<'_>,
    rootfs: &Rootfs,
) -> io::Result<Option<&'static UserNamespace>> {
    let found = UserNamespace::of_this_process(settings.mapped).map_err(str::to_owned);
    let why = match found {
        Ok(users) => match map(users, &rootfs.directory(Path::new("/"))?) {
            Ok(()) => return Ok(Some(users)),
            Err(error) => error.to_string(),
        },
        Err(why) => why,
    };
    tracing::debug!(why, "the sandbox has no user namespace of its own");
    let more = settings.capabilities.difference(match settings.network {
        Network::Own => OF_NETWORK,
        Network::Host => CapabilitySet::empty(),
    });
    let danger = if settings.unguarded {
        None
    } else if settings.network == Network::Host && !kernel::has_scopes() {
        Some(
            "with the host's network it could reach the host's containers: this kernel has no \
             Landlock scopes (Linux 6.12)",
        )
    } else if !more.is_empty() && Caller::observe().has_host_root() {
        Some("its `capabilities` would be those of the host's root: nothing here takes them away")
    } else {
        None
    };
    match danger {
        None => Ok(None),
        Some(danger) => {
            let message =
                format!("{danger}: it can have no user namespace of its own ({why}); {ANYWAY}");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }
    }
}

/// Returns the capabilities of a sandbox besides those that every one has. In the host's network, those
/// for networks are worth nothing in a user namespace, and far too much without.
pub(super) fn capabilities(settings: &Settings<'_>) -> CapabilitySet {
    match settings.network {
        Network::Own => settings.capabilities | super::IN_OWN_NETWORK,
        Network::Host => settings.capabilities.difference(OF_NETWORK),
    }
}

/// Tries whether sandboxes in a rootfs like `directory` can have a user namespace of their own.
///
/// # Errors
///
/// Why they cannot.
pub(crate) fn try_users(mapped: Option<Mapped>, directory: &Path) -> io::Result<()> {
    let users = UserNamespace::of_this_process(mapped).map_err(io::Error::other)?;
    map(users, &files::open_directory(directory)?)
}

/// Tries whether a mount of a directory can map ids.
fn map(users: &UserNamespace, directory: &OwnedFd) -> io::Result<()> {
    let mount = mounts::copy_of(directory)?;
    users.map(&mount).map_err(cannot_map)
}

/// Says so, where a filesystem is one whose mounts cannot map ids.
pub(super) fn cannot_map(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::EPERM | libc::EOPNOTSUPP) => io::Error::other(CANNOT_MAP),
        _ => error,
    }
}
