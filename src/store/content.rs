//! What is known of the archive of an entry: the digests of those that were made of it, or that it was made of.
//!
//! An entry never changes, but its archive depends on the time up to which it is dated. So there may be several.

use std::io;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::layout::{Store, listed};
use super::write::write_whole;
use crate::digest::Digest;
use crate::host::files;

/// The longest of these documents, in bytes.
const LARGEST: usize = 4096;

/// What stands behind an entry's name in that of such a document.
const MARK: &str = "+content-";

/// An archive of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// The digest of the archive.
    pub digest: Digest,
    /// All that decides about its bytes besides the entry; `None` where another host has made it.
    pub form: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    /// The digest of the entry's document: another entry may have had the name.
    entry: Digest,
    content: Content,
}

impl Store {
    /// Returns what is known of the archives of an entry.
    pub(crate) fn contents(&self, entry: &Entry) -> io::Result<Vec<Content>> {
        let beginning = format!("{}{MARK}", entry.id);
        let own = Digest::of(&entry.to_bytes()?);
        let mut contents = Vec::new();
        for file in listed(&self.blobs())? {
            if file.file_name().to_str().is_some_and(|name| name.starts_with(&beginning))
                && let Ok(text) = files::read_regular(&file.path(), LARGEST)
                && let Ok(known) = serde_json::from_slice::<Known>(&text)
                && known.entry == own
            {
                contents.push(known.content);
            }
        }
        Ok(contents)
    }

    /// Remembers an archive of an entry.
    pub(crate) fn remember_content(&self, entry: &Entry, content: Content) -> io::Result<()> {
        let known = Known { entry: Digest::of(&entry.to_bytes()?), content };
        let text = serde_json::to_vec(&known)?;
        let name = format!("{}{MARK}{}", entry.id, Digest::of(&text).short());
        let path = self.blobs().join(name);
        if path.exists() { Ok(()) } else { write_whole(&path, &text) }
    }
}
