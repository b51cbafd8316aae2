//! What a container starts with that is made without LXC, or only looked at: as LXC would have it.

use std::path::Path;

use super::mapping::{Mapping, including, starting_config};
use super::storage::Wanted;
use crate::host::caller::Caller;
use crate::host::lxcpath;
use crate::plan::Mode;
use crate::store;

/// The config that a container starts with, and its id map.
#[derive(Debug)]
pub(super) struct Start {
    config: String,
    pub(super) mapping: Mapping,
}

impl Start {
    /// Reads the config that is given, or else the caller's default.
    pub(super) fn read(given: Option<&Path>, caller: &Caller) -> Result<Self, String> {
        let path = given.map(Path::to_path_buf).or_else(|| lxcpath::default_config(caller));
        let config = path.map_or_else(|| Ok(String::new()), |path| starting_config(&path))?;
        let mapping = Mapping::decide(&including(&config), caller);
        Ok(Self { config, mapping })
    }

    /// Returns what a run for a container with this rootfs wants of the layer store.
    pub(super) fn wanted(
        &self,
        mode: Mode,
        rebuild: bool,
        caller: &Caller,
        rootfs: &Path,
    ) -> Wanted {
        let ids = self.mapping.ids(caller);
        let config = self.mapping.initial_config(&self.config, rootfs).into_bytes();
        let map = (self.mapping != Mapping::Pieces).then(|| store::map_of(ids));
        Wanted::new(mode, rebuild, config, map)
    }
}
