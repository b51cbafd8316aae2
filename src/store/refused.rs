//! Notes of what was built once and could not be stored, so that it is not built for the store again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::layout::{Store, listed};
use super::write::write_whole;
use crate::cache::Refusal;
use crate::digest::Digest;
use crate::host::files;
use crate::shell;

/// The largest note, in bytes.
const LARGEST: usize = 64 * 1024;

/// How long a note holds at the least, in milliseconds: 30 days.
const LIFE: u64 = 30 * 24 * 60 * 60 * 1000;

impl Store {
    /// Notes that what a key defines cannot be stored, and why.
    pub(crate) fn refuse(&self, key: Digest, refusal: &Refusal) -> io::Result<()> {
        write_whole(&self.refused().join(digits(key)), &shell::to_json(refusal)?)
    }
}

/// Returns the notes. One that cannot be read is none: what it is of is built once more.
pub(super) fn all(store: &Store) -> io::Result<BTreeMap<Digest, Refusal>> {
    let mut notes = BTreeMap::new();
    for note in listed(&store.refused())? {
        let read = || {
            let key = Digest::parse(note.file_name().to_str()?)?;
            let text = files::read_regular(&note.path(), LARGEST).ok()?;
            Some((key, serde_json::from_slice(&text).ok()?))
        };
        notes.extend(read());
    }
    Ok(notes)
}

/// Tells whether a note is so old that what it is of is worth another try.
pub(super) fn is_old(note: &Path, now: u64) -> bool {
    let text = files::read_regular(note, LARGEST).ok();
    let refusal = text.and_then(|text| serde_json::from_slice::<Refusal>(&text).ok());
    refusal.is_none_or(|refusal| now.saturating_sub(refusal.at) >= LIFE)
}

fn digits(key: Digest) -> String {
    key.to_string().split_off("sha256:".len())
}
