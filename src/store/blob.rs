//! Compressed archives of layers, kept so that the next image need not make them.
//!
//! They can be made again, byte for byte, from what is stored: nothing is lost with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layout::{Store, listed};
use super::write::write_whole;
use crate::digest::Digest;
use crate::host::fault::is_shortage;
use crate::host::files;
use crate::host::new_file::NewFile;
use crate::plan::EntryId;

/// The largest document, in bytes.
const LARGEST: usize = 4 << 20;

/// What stands between an entry's name and the rest of that of a document.
const MARK: char = '+';

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    /// The digest of the archive in it.
    pub diff_id: Digest,
    /// That of the blob.
    pub digest: Digest,
    /// The length of the blob in bytes.
    pub size: u64,
    /// What no archive can carry of the layer, by what is said of it.
    pub left_out: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Store {
    /// Returns the blob that was made of an entry; `None` where it has to be made. `form` is all that decides about
    /// its bytes besides the entry.
    pub(crate) fn blob(&self, entry: EntryId, form: &str) -> io::Result<Option<(Blob, File)>> {
        let text = match files::read_regular(&self.blob_document(entry, form), LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let Ok(blob) = serde_json::from_slice::<Blob>(&text) else { return Ok(None) };
        let file = match File::open(self.blobs().join(hex(blob.digest))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        Ok((file.metadata()?.len() == blob.size).then_some((blob, file)))
    }

    /// Keeps a blob that was made of an entry.
    pub(crate) fn keep_blob(
        &self,
        entry: EntryId,
        form: &str,
        blob: &Blob,
        new: NewFile<'_>,
    ) -> io::Result<File> {
        let mut file = new.file().try_clone()?;
        file.sync_all()?;
        // A blob that no document names is rubbish.
        write_whole(&self.blob_document(entry, form), &serde_json::to_vec(blob)?)?;
        new.put(hex(blob.digest).as_ref())?;
        file.rewind()?;
        Ok(file)
    }

    /// Removes a blob, to be rebuilt.
    pub(crate) fn remove_blob(&self, digest: Digest) -> io::Result<()> {
        match fs::remove_file(self.blobs().join(hex(digest))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Says of each blob that is kept of an entry, and is not what its name says, that it is damaged.
    pub(crate) fn damaged_blobs(&self, entry: EntryId) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for file in listed(&self.blobs())? {
            let of = file.file_name().to_str().and_then(Self::entry_of_blob);
            if of == Some(entry)
                && let Ok(text) = files::read_regular(&file.path(), LARGEST)
                && let Ok(blob) = serde_json::from_slice::<Blob>(&text)
                && let Some(why) = self.damage(&blob)?
            {
                lines.push(format!(
                    "the archive that images have of it {why}: whatever needs it rebuilds it"
                ));
            }
        }
        Ok(lines)
    }

    /// Says what is wrong with a blob, if it is there.
    fn damage(&self, blob: &Blob) -> io::Result<Option<String>> {
        let read = File::open(self.blobs().join(hex(blob.digest))).and_then(Digest::of_reader);
        match read {
            Ok((digest, _)) => Ok((digest != blob.digest).then(|| "is damaged".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if is_shortage(&error) => Err(error),
            Err(error) => Ok(Some(format!("cannot be read ({error})"))),
        }
    }

    fn blob_document(&self, entry: EntryId, form: &str) -> PathBuf {
        let form = Digest::of(form.as_bytes()).short();
        self.blobs().join(format!("{entry}{MARK}{form}"))
    }

    /// Returns the entry that a document is of, by its name.
    pub(super) fn entry_of_blob(name: &str) -> Option<EntryId> {
        EntryId::parse(name.rsplit_once(MARK)?.0)
    }

    /// Returns how many bytes there are of blobs that are on their way, or were when a run was killed.
    pub(super) fn broken_downloads(&self) -> io::Result<u64> {
        let files = listed(&self.blobs())?.into_iter();
        let parts = files.filter(|file| file.path().extension().is_some_and(|end| end == "part"));
        // One that is gone meanwhile is none.
        Ok(parts.filter_map(|part| part.metadata().ok()).map(|part| part.len()).sum())
    }

    /// Returns the names of the blobs that documents name.
    pub(super) fn named_blobs(&self) -> io::Result<Vec<String>> {
        let mut named = Vec::new();
        for file in listed(&self.blobs())? {
            if file.file_name().to_str().and_then(Self::entry_of_blob).is_some()
                && let Ok(text) = files::read_regular(&file.path(), LARGEST)
                && let Ok(blob) = serde_json::from_slice::<Blob>(&text)
            {
                named.push(hex(blob.digest));
            }
        }
        Ok(named)
    }
}

fn hex(digest: Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}
