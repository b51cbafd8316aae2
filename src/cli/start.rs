//! What a container starts with that is made without LXC, or only looked at: as LXC would have it.

use std::path::Path;

use super::mapping::{LARGEST, Mapping, including, lax_config, starting_config};
use super::output;
use super::request::ContainerIds;
use crate::chain::judge_config_file;
use crate::host::caller::Caller;
use crate::host::trust::Trust;
use crate::host::userns::Ids;
use crate::host::{files, lxcpath};
use crate::observe::lxc::HostLxc;
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

    /// Reads that of a container that there is: only its id map is looked for.
    pub(super) fn of_container(path: &Path, caller: &Caller) -> Result<Self, String> {
        let config = lax_config(path)?;
        let mapping = Mapping::decide(&including(&config), caller);
        Ok(Self { config, mapping })
    }

    /// Judges the config that somebody has given for a new container, and returns the exit status where LXC would not
    /// load it: its reasons are shown.
    pub(super) fn refused(given: Option<&Path>) -> Option<u8> {
        // One that cannot be read is told of where it is needed.
        let (source, _) = files::read_source(given?, LARGEST, &Trust::default()).ok()?;
        let report = judge_config_file(&source, &HostLxc::default());
        report.has_errors().then(|| output::refused(&report))
    }

    /// Returns the config of a container with this rootfs.
    pub(super) fn config(&self, rootfs: &Path) -> Vec<u8> {
        self.mapping.initial_config(&self.config, rootfs)
    }

    /// Returns the ids of the user namespace that it is made in.
    pub(super) fn ids(&self, caller: &Caller) -> ContainerIds {
        let ids = self.mapping.ids(caller);
        // So may the ids be that this process has already.
        let are_in_pieces = match self.mapping {
            Mapping::Pieces => true,
            Mapping::None => Ids::are_in_pieces(),
            Mapping::CallerAlone | Mapping::Ids(_) => false,
        };
        let map = (!are_in_pieces).then(|| store::map_of(ids));
        ContainerIds { map, is_mapped: ids.is_some() || caller.is_mapped_root() }
    }
}
