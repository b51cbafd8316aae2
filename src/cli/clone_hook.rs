//! The hook that LXC calls when a container that shares the layer store is copied.
//!
//! It registers the copy, so that what the copy uses is kept, wherever it is. It never makes a copy fail.

use std::path::{Path, PathBuf};

use crate::store::{GcRoot, Store};

/// The word that calls it.
pub(super) const WORD: &str = "--clone-hook";

/// Notes the container that LXC tells of in the environment.
///
/// Source: `lxc.hook.clone` of lxc.container.conf(5).
pub(super) fn main() -> u8 {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    if let (Some(config), Some(rootfs)) = (variable("LXC_CONFIG_FILE"), variable("LXC_ROOTFS_PATH"))
        && let Err(error) = note(&config, &rootfs)
    {
        let config = config.display();
        super::output::say(&format!(
            "warning: `{config}` is not known to the layer store: {error}"
        ));
    }
    0
}

fn note(config: &Path, rootfs: &Path) -> std::io::Result<()> {
    let rootfs = rootfs.to_string_lossy();
    let Some((store, entry)) = Store::of_rootfs(&rootfs) else { return Ok(()) };
    GcRoot::note(&store, entry, config)
}
