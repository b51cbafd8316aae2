//! What a run that fills the store tells of it.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::config;
use super::super::workspace::Workspace;
use crate::host::files;
use crate::plan::EntryId;

/// The largest list, in bytes: a role has few layers that are stored.
const LARGEST: usize = 1024 * 1024;

/// Something of a role that is stored by now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Filled {
    /// The layer.
    pub layer: String,
    /// The entry.
    pub entry: EntryId,
    /// How long it took to make or to pull it; nothing, where it was there.
    pub took: Option<Duration>,
    /// Whether it was pulled.
    pub is_pulled: bool,
}

impl Filled {
    /// The name of the list in the directory of the container that the run was for.
    const NAME: &str = "filled.json";

    /// Reads what a run has left in a directory, the innermost first; nothing, where it did not come to
    /// the store.
    pub(crate) fn read(directory: &Path) -> Vec<Self> {
        let text = files::read_regular(&directory.join(Self::NAME), LARGEST).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Leaves it there.
    pub(super) fn write(filled: &[Self], workspace: &Workspace) -> io::Result<()> {
        let text = serde_json::to_vec(filled)?;
        let ownership = config::ownership(&workspace.container, workspace.target.mapped)?;
        files::replace_in(&workspace.container, Self::NAME, &text, ownership)
    }
}
