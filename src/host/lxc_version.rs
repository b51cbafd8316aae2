//! Which LXC is installed.

use std::process::{Command, Stdio};

use super::child;
use crate::lxc::LxcVersion;

/// Returns the version of the installed LXC.
pub(crate) fn installed() -> Option<LxcVersion> {
    LxcVersion::parse(&said()?)
}

/// Returns what `lxc-create --version` says.
pub(crate) fn said() -> Option<String> {
    let mut command = Command::new("lxc-create");
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    let (said, _) = child::output_of(command).ok()?;
    Some(String::from_utf8_lossy(&said).trim().to_owned())
}
