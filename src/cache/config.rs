//! The config of a container that comes from the layer store.

use std::convert::Infallible;
use std::path::Path;

use super::index::StoredEntry;
use super::names::Names;
use super::plan::{CachePlan, OverlayHost};
use crate::lxc::config;
use crate::plan::{EntryId, Target};
use crate::shell;

/// The name of the config in the container's directory.
pub const CONFIG_NAME: &str = "config";

/// The upper directory of a container's overlay, in the container's directory.
pub const DELTA: &str = "delta";

/// The working directory of the overlay, which LXC makes anew at each start.
pub const WORK: &str = "work";

impl StoredEntry {
    /// Returns the config of a container that was given `own` and comes from this entry. Each address
    /// that it has yet to be given is [`config::ANY_ADDRESS`].
    pub fn config_of(&self, own: &[u8], target: &Target) -> Vec<u8> {
        let names = Names::of(&self.lxcpaths, target);
        let written = |text: &[u8]| Ok::<_, Infallible>(named(text, &names));
        let Ok(text) = self.config.around(own, written);
        text
    }
}

/// Writes names into a config. A value that LXC would read otherwise than it is meant, such as a name in
/// quotes, is put in quotes.
fn named(text: &[u8], names: &Names) -> Vec<u8> {
    let put = |text: &str| String::from_utf8(names.put_into(text.as_bytes())).ok();
    let text = config::rewrite(text, |_, old| {
        let meant = put(config::unquoted(old))?;
        (config::unquoted(&put(old)?) != meant).then_some(meant)
    });
    names.put_into(&text)
}

/// Returns a config whose rootfs is an overlay on an entry, and that lets the store know of copies.
pub(super) fn on_overlay(
    text: &[u8],
    host: &OverlayHost,
    entry: EntryId,
    target: &Target,
) -> Vec<u8> {
    let lower = lower(host, entry);
    let path = format!("overlay:{}:{}", lower.display(), target.path.join(DELTA).display());
    let text = config::rewrite(text, |key, _| (key == "lxc.rootfs.path").then(|| path.clone()));
    let mut lines = Vec::new();
    let there = String::from_utf8_lossy(&text).into_owned();
    if config::last_value(&there, "lxc.rootfs.path").is_none() {
        lines.push(("lxc.rootfs.path", path));
    }
    if host.is_mapped {
        let options = config::last_value(&there, "lxc.rootfs.options").unwrap_or_default();
        let comma = if options.is_empty() { "" } else { "," };
        lines.push(("lxc.rootfs.options", format!("{options}{comma}userxattr")));
    }
    if let Some(hook) = &host.clone_hook {
        lines.push(("lxc.hook.clone", hook.clone()));
    }
    let lines = lines.iter().map(|(key, value)| (*key, value.as_str()));
    config::append_note(&text, "stands on the layer store", lines)
}

/// Returns the lower directory of an overlay on an entry.
pub(super) fn lower(host: &OverlayHost, entry: EntryId) -> std::path::PathBuf {
    host.trees.join(entry.to_string()).join("rootfs")
}

/// Returns a config in which every network that has yet to be given an address has one that
/// `address` gives: three bytes behind those of LXC's own.
///
/// # Errors
///
/// Those of `address`.
pub fn with_addresses<E>(
    text: &[u8],
    mut address: impl FnMut() -> Result<[u8; 3], E>,
) -> Result<Vec<u8>, E> {
    let mut fault = None;
    let text = config::rewrite(text, |key, value| {
        if !config::is_address(key) || value != config::ANY_ADDRESS || fault.is_some() {
            return None;
        }
        match address() {
            Ok([a, b, c]) => Some(format!("00:16:3e:{a:02x}:{b:02x}:{c:02x}")),
            Err(error) => {
                fault = Some(error);
                None
            }
        }
    });
    fault.map_or(Ok(text), Err)
}

/// Returns why a container with this config cannot have an overlay.
pub(super) fn no_overlay(text: &[u8], cache: &CachePlan) -> Option<String> {
    let target = &cache.container;
    // Anything else of an overlay's options ends one.
    let fits = |path: &str| !path.contains([':', ',', '\\', '"', '\'']);
    if !target.path.to_str().is_some_and(fits) {
        let why = "the container's path contains a character that overlay options cannot represent";
        return Some(why.to_owned());
    }
    let text = String::from_utf8_lossy(text);
    let value = config::last_value(&text, "lxc.rootfs.path").unwrap_or_default();
    let path = value.strip_prefix("dir:").unwrap_or(value);
    if Path::new(path) != target.rootfs {
        return Some(format!("LXC has not given a plain directory, but `{value}`"));
    }
    // The overlay's own directories are beside its config: another one would stay empty.
    if target.rootfs != target.path.join("rootfs") {
        return Some(format!(
            "its rootfs is wanted at `{path}`, and an overlay is in the directory of its container"
        ));
    }
    // It would be made, and not start.
    let closed = shell::word(cache.host.closed.as_ref()?);
    Some(format!(
        "the ids of the container may not pass {closed}, which leads to the store: `chmod o+x {closed}` \
         lets them"
    ))
}
