//! What an entry of the store is, as a document beside its tree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{Store, now, unique};
use super::paths;
use super::write::{put, write_whole};
use crate::cache::{IdentityKeys, KeyInputs, KeyMaker, Provenance, StoredEntry};
use crate::digest::Digest;
use crate::host::files;
use crate::lxc::given;
use crate::plan::EntryId;
use crate::shell;
use crate::tree::{Listing, Occurrence};

/// The version of the format.
const FORMAT: u32 = 6;

/// The longest name of an entry, in bytes, and more.
pub(super) const LARGEST_NAME: usize = 4096;

/// The largest document, in bytes.
const LARGEST: usize = 256 * 1024 * 1024;

/// An entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The version of this format.
    pub format: u32,
    /// Its name.
    pub id: EntryId,
    /// What it stands on.
    pub parent: Option<EntryId>,
    /// What made it.
    pub made: Made,
    /// When it was made, in milliseconds since 1970. Its generation may be later: that only rises.
    pub made_at: u64,
    /// What defines it.
    pub document: KeyInputs,
    /// The directories of containers that it, and what it stands on, were made in: each may stand in
    /// what they have left.
    #[serde(with = "paths::several")]
    pub lxcpaths: Vec<PathBuf>,
    /// The config that it left.
    pub config: given::Config,
    /// The files and links that hold the placeholder, where a container's name is put in its place.
    pub places: Vec<Occurrence>,
    /// Where it stands, or a part of it, of what its own layer made, and no name can be put in its
    /// place: in names of files, in what is no text, and where it was taken apart.
    pub fixed: Vec<Vec<u8>>,
    /// A device 0:0 that it has: an overlay takes one for a file that was removed.
    pub whiteout: Option<Vec<u8>>,
    /// What its layers drop themselves of what would be taken for an identity: it stays.
    #[serde(with = "paths::several")]
    pub kept: Vec<PathBuf>,
    /// The keys that were taken out of it.
    pub keys: IdentityKeys,
    /// How those are made for each container that the rootfs has programs for.
    pub makers: Vec<KeyMaker>,
    /// The record that the upstream left, where it is this program again.
    pub record: Option<serde_json::Value>,
    /// The digest of its listing.
    pub listing: Digest,
    /// That of what stands beside its rootfs, where something does.
    pub sidecar: Option<Digest>,
    /// Where the placeholder's name stands in that.
    pub sidecar_places: Vec<Occurrence>,
    /// Whence it came, where it was not made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Provenance>,
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// What made an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The layer.
    pub layer: String,
    /// What of it, for people.
    pub slot: String,
    /// The manifest.
    #[serde(with = "paths::one")]
    pub manifest: PathBuf,
    /// What the role is.
    pub role: Option<String>,
}

impl Entry {
    /// Returns a new one, without what only its tree can tell.
    pub(super) fn new(
        id: EntryId,
        parent: Option<EntryId>,
        made: Made,
        document: KeyInputs,
    ) -> Self {
        Self {
            format: FORMAT,
            id,
            parent,
            made,
            made_at: now(),
            document,
            lxcpaths: Vec::new(),
            config: given::Config::default(),
            places: Vec::new(),
            fixed: Vec::new(),
            whiteout: None,
            kept: Vec::new(),
            keys: IdentityKeys::default(),
            makers: Vec::new(),
            record: None,
            listing: Digest::of(b""),
            sidecar: None,
            sidecar_places: Vec::new(),
            origin: None,
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// Also where a byte of the document is not as it was written; [`io::ErrorKind::Unsupported`] where
    /// another version of the program wrote it.
    pub(crate) fn read(store: &Store, id: EntryId) -> io::Result<Self> {
        Self::parse(&files::read_regular(&store.document(id), LARGEST)?, id)
    }

    /// Reads the document of the entry that has this name.
    pub(crate) fn parse(bytes: &[u8], id: EntryId) -> io::Result<Self> {
        let damaged = || io::Error::other("it is damaged");
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let (head, text) = (&bytes[..end], &bytes[end + 1..]);
        let head = str::from_utf8(head).ok().and_then(Digest::parse);
        if head != Some(Digest::of(text)) {
            return Err(damaged());
        }
        let entry = serde_json::from_slice::<Self>(text);
        let format = match &entry {
            Ok(entry) => entry.format,
            // Another version's has other fields.
            Err(_) => serde_json::from_slice::<Version>(text)?.format,
        };
        if format != FORMAT {
            let message = format!("its format is {format}, not {FORMAT}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let entry = entry?;
        if entry.id == id { Ok(entry) } else { Err(damaged()) }
    }

    /// Writes the document: from then on the entry exists.
    pub(super) fn write(&self, store: &Store) -> io::Result<()> {
        write_whole(&store.document(self.id), &self.to_bytes()?)
    }

    /// Returns the document, for [`Entry::parse`].
    pub(crate) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        Ok(Self::seal(&shell::to_json(self)?))
    }

    /// Returns a text behind its digest.
    pub(crate) fn seal(text: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{}\n", Digest::of(text)).into_bytes();
        bytes.extend_from_slice(text);
        bytes
    }

    /// Returns what is to be known of it for a container to be made from it.
    pub(crate) fn contents(&self) -> StoredEntry {
        let paths = |places: &[Occurrence]| places.iter().map(|place| place.path.clone()).collect();
        StoredEntry {
            lxcpaths: self.lxcpaths.clone(),
            config: self.config.clone(),
            names: paths(&self.places),
            sidecar: self.sidecar.map(|_| paths(&self.sidecar_places)),
            record: self.record.clone(),
            kept_names: self.fixed.clone(),
            whiteout: self.whiteout.clone(),
            makers: self.makers.clone(),
            origin: self.origin.clone(),
        }
    }

    /// Reads what its tree holds.
    pub(crate) fn list(&self, store: &Store) -> io::Result<Listing> {
        let bytes = files::read_regular(&store.list(self.id), LARGEST)?;
        if Digest::of(&bytes) != self.listing {
            return Err(io::Error::other("its listing is damaged"));
        }
        Listing::read(&bytes[..])
    }

    /// Notes that this is what was last made, or used, for a role's layer.
    pub(super) fn set_latest(
        store: &Store,
        id: EntryId,
        manifest: &Path,
        slot: &str,
    ) -> io::Result<()> {
        let path = store.latest(manifest, slot);
        let text = id.to_string();
        if files::read_regular(&path, LARGEST_NAME).is_ok_and(|there| there == text.as_bytes()) {
            return Ok(());
        }
        let temporary = path.with_extension(unique()?);
        put(&temporary, &path, fs::write(&temporary, text))
    }
}
