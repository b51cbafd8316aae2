//! The LXC of this host, looked at once it is asked for.

use std::cell::OnceCell;
use std::env;
use std::fs;
use std::io;

use crate::host::lxc_version;
use crate::lxc::{InstalledLxc, LxcVersion};

/// The installed LXC, in the environment of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostLxc {
    version: OnceCell<Option<LxcVersion>>,
}

impl InstalledLxc for HostLxc {
    fn version(&self) -> Option<LxcVersion> {
        *self.version.get_or_init(lxc_version::installed)
    }

    fn has_variable(&self, name: &str) -> bool {
        env::var_os(name).is_some()
    }

    fn finds(&self, included: &str) -> bool {
        let is_missing = match fs::metadata(included) {
            // LXC reads a directory that is not there as an empty one, if a slash makes it one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => !included.ends_with('/'),
            Err(error) => error.kind() == io::ErrorKind::NotADirectory,
            Ok(_) => false,
        };
        !is_missing || self.version().is_none()
    }
}
