//! What an entry of the store is, as a document beside its tree.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{Store, now, unique};
use crate::digest::Digest;
use crate::host::files;
use crate::lxc::given;
use crate::plan::{Document, EntryId};
use crate::tree::{Listing, Occurrence};

/// The version of the format.
const FORMAT: u32 = 5;

/// The longest name of an entry, in bytes, and more.
pub(super) const LARGEST_NAME: usize = 4096;

/// The largest document, in bytes.
const LARGEST: usize = 256 * 1024 * 1024;

/// An entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
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
    pub document: Document,
    /// The directories of containers that it, and what it stands on, were made in: each may stand in
    /// what they have left.
    pub lxcpaths: Vec<PathBuf>,
    /// The config that it left.
    pub config: given::Config,
    /// Where the placeholder's name stands in it.
    pub places: Vec<Occurrence>,
    /// Where it stands, of what its own layer made, and nobody can write another: in names, and in
    /// what is no text.
    pub fixed: Vec<Vec<u8>>,
    /// What its layers drop themselves of what would be taken for an identity: it stays.
    pub kept: Vec<PathBuf>,
    /// The keys that are made anew for each container.
    pub keys: Keys,
    /// The record that the upstream left, where it is this program again.
    pub record: Option<serde_json::Value>,
    /// The digest of its listing.
    pub listing: Digest,
    /// That of what stands beside its rootfs, where something does.
    pub sidecar: Option<Digest>,
    /// Where the placeholder's name stands in that.
    pub sidecar_places: Vec<Occurrence>,
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// What made an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// The layer.
    pub layer: String,
    /// What of it, for people.
    pub slot: String,
    /// The manifest.
    pub manifest: PathBuf,
    /// What the role is.
    pub role: Option<String>,
}

/// The keys of an entry that are made anew for each container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The types of the SSH host keys.
    pub ssh: Vec<String>,
    /// The types of dropbear's host keys.
    pub dropbear: Vec<String>,
    /// Whether there is a snakeoil certificate.
    pub snakeoil: bool,
    /// Whether there is a name of an iSCSI initiator.
    pub iscsi: bool,
}

impl Keys {
    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Leaves out those whose files are at these paths.
    pub fn leave_out<P: AsRef<Path>>(&mut self, paths: &[P]) {
        let is_kept = |path: String| paths.iter().any(|kept| kept.as_ref() == Path::new(&path));
        self.ssh.retain(|kind| !is_kept(format!("/etc/ssh/ssh_host_{kind}_key")));
        self.dropbear.retain(|kind| !is_kept(format!("/etc/dropbear/dropbear_{kind}_host_key")));
        self.snakeoil &= !is_kept("/etc/ssl/private/ssl-cert-snakeoil.key".to_owned())
            && !is_kept("/etc/ssl/certs/ssl-cert-snakeoil.pem".to_owned());
        self.iscsi &= !is_kept("/etc/iscsi/initiatorname.iscsi".to_owned());
    }

    /// Adds those of `other`.
    pub fn add(&mut self, other: Self) {
        self.ssh.extend(other.ssh);
        self.dropbear.extend(other.dropbear);
        for list in [&mut self.ssh, &mut self.dropbear] {
            list.sort();
            list.dedup();
        }
        self.snakeoil |= other.snakeoil;
        self.iscsi |= other.iscsi;
    }
}

impl Entry {
    /// Returns a new one, without what only its tree can tell.
    pub(super) fn new(
        id: EntryId,
        parent: Option<EntryId>,
        made: Made,
        document: Document,
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
            kept: Vec::new(),
            keys: Keys::default(),
            record: None,
            listing: Digest::of(b""),
            sidecar: None,
            sidecar_places: Vec::new(),
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// Also where a byte of the document is not as it was written.
    pub fn read(store: &Store, id: EntryId) -> io::Result<Self> {
        let bytes = files::read_regular(&store.document(id), LARGEST)?;
        let damaged = || io::Error::other("it is damaged");
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let (head, text) = (&bytes[..end], &bytes[end + 1..]);
        let head = str::from_utf8(head).ok().and_then(Digest::parse);
        if head != Some(Digest::of(text)) {
            return Err(damaged());
        }
        // Another version's has other fields.
        let Version { format } = serde_json::from_slice(text)?;
        if format != FORMAT {
            return Err(io::Error::other(format!("its format is {format}, not {FORMAT}")));
        }
        let entry: Self = serde_json::from_slice(text)?;
        if entry.id == id { Ok(entry) } else { Err(damaged()) }
    }

    /// Writes the document: from then on the entry exists.
    pub(super) fn write(&self, store: &Store) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let mut bytes = format!("{}\n", Digest::of(&text)).into_bytes();
        bytes.extend_from_slice(&text);
        write_whole(&store.document(self.id), &bytes)
    }

    /// Reads what its tree holds.
    pub fn list(&self, store: &Store) -> io::Result<Listing> {
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

/// Writes a file that is there whole, on the disk, or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("new-{}", unique()?));
    let mut file = File::create_new(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    put(&temporary, path, written)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Gives a file that was written its name; one that could not be written, or named, goes.
pub(super) fn put(temporary: &Path, path: &Path, written: io::Result<()>) -> io::Result<()> {
    written.and_then(|()| fs::rename(temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
