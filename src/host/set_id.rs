//! Whether this process has rights that its caller lacks.

use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::thread::{CapabilitySet, capabilities, capability_is_in_ambient_set};

/// How a program can have more rights than its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is set-user-id.
    User,
    /// It is set-group-id.
    Group,
    /// It has file capabilities.
    Capabilities,
}

impl Given {
    /// Observes what this process was given.
    ///
    /// `AT_SECURE` would not do: a security module sets it too, where a program only changes its domain.
    pub(crate) fn observe() -> Option<Self> {
        if getuid() != geteuid() {
            return Some(Self::User);
        }
        if getgid() != getegid() {
            return Some(Self::Group);
        }
        (!geteuid().is_root() && has_capabilities()).then_some(Self::Capabilities)
    }

    /// Says what the program is.
    pub(crate) fn is(self) -> &'static str {
        match self {
            Self::User => "is set-user-id",
            Self::Group => "is set-group-id",
            Self::Capabilities => "has file capabilities",
        }
    }

    /// Returns the command that takes it away from a file.
    pub(crate) fn taken_by(self) -> &'static str {
        match self {
            Self::User => "chmod u-s",
            Self::Group => "chmod g-s",
            Self::Capabilities => "setcap -r",
        }
    }
}

/// Tells whether this process has capabilities that it could not have got from its caller: who is not root
/// hands on those of the ambient set alone.
fn has_capabilities() -> bool {
    let permitted = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let is_ambient = |capability| capability_is_in_ambient_set(capability).unwrap_or(false);
    permitted.iter().any(|capability| !is_ambient(capability))
}
