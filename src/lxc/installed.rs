//! What of the host decides whether LXC takes a line of a config.

use std::fmt;

use super::version::LxcVersion;

/// The LXC that will read a config, and what it reads beside it.
pub trait InstalledLxc: fmt::Debug {
    /// Returns its version, where it is known.
    fn version(&self) -> Option<LxcVersion>;

    /// Tells whether it is of this version or a later one; where it is not known, it is.
    fn is_since(&self, version: LxcVersion) -> bool {
        self.version().is_none_or(|installed| installed >= version)
    }

    /// Tells whether the environment has a variable of this name.
    fn has_variable(&self, name: &str) -> bool;

    /// Tells whether it would find what a config includes by this absolute path; where there is no LXC, it
    /// would.
    fn finds(&self, included: &str) -> bool;
}

/// A version alone, in an empty environment.
impl InstalledLxc for Option<LxcVersion> {
    fn version(&self) -> Option<LxcVersion> {
        *self
    }

    fn has_variable(&self, _: &str) -> bool {
        false
    }

    fn finds(&self, _: &str) -> bool {
        true
    }
}
