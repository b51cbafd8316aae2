//! Where LXC keeps its containers, and what it starts a container's config with.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::caller::Caller;
use crate::lxc::call::Mapped;
use crate::lxc::config::last_value;

/// Returns the caller's lxcpath: what the system's or the user's `lxc.conf` says, else LXC's own
/// default.
pub(crate) fn default(caller: &Caller) -> PathBuf {
    let configured = config_file(caller, "lxc.conf").and_then(|path| {
        let text = fs::read_to_string(path).ok()?;
        last_value(&text, "lxc.lxcpath").map(PathBuf::from)
    });
    configured.unwrap_or_else(|| match home().filter(|_| !caller.is_host_root()) {
        Some(home) => home.join(".local/share/lxc"),
        None => "/var/lib/lxc".into(),
    })
}

/// Returns the caller's `default.conf`, where there is one.
pub(crate) fn default_config(caller: &Caller) -> Option<PathBuf> {
    let own = config_file(caller, "default.conf").filter(|path| path.is_file());
    own.or_else(|| Some("/etc/lxc/default.conf".into())).filter(|path: &PathBuf| path.is_file())
}

/// Returns the group that LXC gives a container's directory and its rootfs, where ids are mapped:
/// the caller's own, unless that is the host's root, who may give them to the container's.
pub(crate) fn group(caller: &Caller, mapped: Option<Mapped>) -> u32 {
    mapped.filter(|_| !caller.has_host_root()).map_or(0, |mapped| mapped.gid)
}

fn config_file(caller: &Caller, name: &str) -> Option<PathBuf> {
    if caller.is_host_root() {
        return Some(Path::new("/etc/lxc").join(name));
    }
    let configured = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = configured.or_else(|| home().map(|home| home.join(".config")));
    base.map(|base| base.join("lxc").join(name))
}

fn home() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}
