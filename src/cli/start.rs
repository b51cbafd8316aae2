//! What a container starts with that is made without LXC, or only looked at: as LXC would have it.

use std::path::Path;

use super::mapping::{Mapping, including, starting_config};
use super::request::ContainerIds;
use crate::host::caller::Caller;
use crate::host::lxcpath;
use crate::store;

/// The config that a container starts with, and its id map.
#[derive(Debug)]
pub(super) struct InitialConfig {
    config: String,
    pub(super) mapping: Mapping,
}

impl InitialConfig {
    /// Reads the config that is given, or else the caller's default.
    pub(super) fn read(given: Option<&Path>, caller: &Caller) -> Result<Self, String> {
        let path = given.map(Path::to_path_buf).or_else(|| lxcpath::default_config(caller));
        let config = path.map_or_else(|| Ok(String::new()), |path| starting_config(&path))?;
        let mapping = Mapping::decide(&including(&config), caller);
        Ok(Self { config, mapping })
    }

    /// Returns the config of a container with this rootfs.
    pub(super) fn config(&self, rootfs: &Path) -> Vec<u8> {
        self.mapping.initial_config(&self.config, rootfs)
    }

    /// Returns the ids of the user namespace that it is made in.
    pub(super) fn ids(&self, caller: &Caller) -> ContainerIds {
        let ids = self.mapping.ids(caller);
        let map = (self.mapping != Mapping::Pieces).then(|| store::map_of(ids));
        ContainerIds { map, is_mapped: ids.is_some() || caller.is_mapped_root() }
    }
}
