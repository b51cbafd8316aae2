//! What is told of an entry to other hosts: all of it that its tree does not tell.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::layout::now;
use super::paths;
use crate::cache::{IdentityKeys, KeyInputs, PLACEHOLDER, Provenance};
use crate::digest::Digest;
use crate::lxc::given;
use crate::plan::EntryId;
use crate::shell;

/// The version of the format.
const FORMAT: u32 = 1;

/// How many paths are told of at most, and how many types of keys: each is looked for in a whole tree, or made.
const MOST_PATHS: usize = 4096;
const MOST_KEYS: usize = 64;

/// How far the clock of another host may be ahead, in milliseconds: a day. What comes from later than that would be the
/// newest for ever.
const AHEAD: u64 = 24 * 60 * 60 * 1000;

/// What is told of an entry to other hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Portable {
    /// The version of this format.
    format: u32,
    /// Its name, which it keeps wherever it goes.
    pub entry: EntryId,
    /// What it stands on.
    pub parent: Option<EntryId>,
    /// The digest of the archive that lays it over that.
    pub diff_id: Digest,
    /// The layer that made it.
    pub layer: String,
    /// What of the layer it is, for people.
    pub slot: String,
    /// What the role is.
    pub role: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub made_at: u64,
    /// What defines it: its key.
    pub inputs: KeyInputs,
    /// The directories of containers that it was made in.
    #[serde(with = "paths::several")]
    pub lxcpaths: Vec<PathBuf>,
    /// The config that it left.
    pub config: given::Config,
    /// What makes a container itself and is dropped by its layers.
    #[serde(with = "paths::several")]
    pub kept: Vec<PathBuf>,
    /// The keys that were taken out of it.
    pub keys: IdentityKeys,
    /// The record that the upstream left, where it is this program again.
    pub record: Option<serde_json::Value>,
}

impl Entry {
    /// Returns what is told of it, where `diff_id` is the digest of its archive. What it and its archive
    /// hold of the container's name and path goes through `write`, as if it had been made in `lxcpaths`.
    /// What stands beside its rootfs is not told.
    pub(crate) fn portable(
        &self,
        diff_id: Digest,
        lxcpaths: &[PathBuf],
        write: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Portable {
        let record = self.record.as_ref().map(|record| {
            let text = write(record.to_string().as_bytes());
            serde_json::from_slice(&text).unwrap_or_else(|_| record.clone())
        });
        Portable {
            format: FORMAT,
            entry: self.id,
            parent: self.parent,
            diff_id,
            layer: self.made.layer.clone(),
            slot: self.made.slot.clone(),
            role: self.made.role.clone(),
            made_at: self.made_at,
            inputs: self.document.clone(),
            lxcpaths: lxcpaths.to_vec(),
            config: self.config.rewritten(write),
            kept: self.kept.clone(),
            keys: self.keys.clone(),
            record,
        }
    }
}

impl Entry {
    /// Takes what another host tells of it, but for what its tree tells here.
    pub(super) fn take_pulled(&mut self, portable: &Portable, origin: Provenance) {
        self.made_at = portable.made_at;
        self.lxcpaths.clone_from(&portable.lxcpaths);
        self.config = portable.config.clone();
        self.keys = portable.keys.clone();
        self.record.clone_from(&portable.record);
        self.origin = Some(origin);
    }
}

impl Portable {
    /// Reads what another host tells of the entry of a key.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub(crate) fn parse(text: &[u8], key: Digest) -> Result<Self, String> {
        let portable: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if portable.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", portable.format));
        }
        if portable.entry.key != key || portable.inputs.key() != key {
            return Err("it is of another key".to_owned());
        }
        let (paths, keys) = ([&portable.lxcpaths, &portable.kept], &portable.keys);
        if paths.iter().any(|paths| paths.len() > MOST_PATHS)
            || [&keys.ssh, &keys.dropbear].iter().any(|types| types.len() > MOST_KEYS)
        {
            return Err("it tells of more paths or keys than any layer has".to_owned());
        }
        let latest = now().saturating_add(AHEAD);
        if portable.entry.generation > latest || portable.made_at > latest {
            return Err("it was made in the future, by its clock or by this host's".to_owned());
        }
        let is_rootfs = |path: &str| {
            let own = |lxcpath: &PathBuf| lxcpath.join(PLACEHOLDER).join("rootfs");
            portable.lxcpaths.iter().any(|lxcpath| own(lxcpath).as_path() == Path::new(path))
        };
        portable.config.check(is_rootfs).map_err(|fault| fault.to_string())?;
        Ok(portable)
    }

    /// Returns its text, always the same for the same entry.
    pub(crate) fn text(&self) -> std::io::Result<Vec<u8>> {
        Ok(shell::to_json(self)?)
    }
}
