//! What the store remembers of files that templates are given: the digest of what has not changed
//! need not be taken again.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::layout::{Store, unique};
use super::write::put;
use crate::digest::{Digest, Reading, Stamp};
use crate::host::files;

/// The longest reading, in bytes.
const LONGEST: usize = 4096;

impl Store {
    /// Returns the digest of a file that has such a stamp, if it was read before.
    pub(crate) fn recall(&self, stamp: &Stamp) -> Option<Digest> {
        let text = files::read_regular(&self.reading(stamp), LONGEST).ok()?;
        let reading: Reading = serde_json::from_slice(&text).ok()?;
        (reading.stamp == *stamp).then_some(reading.digest)
    }

    /// Remembers a file, in the place of what it was before.
    pub(crate) fn remember(&self, reading: &Reading) -> io::Result<()> {
        let path = self.reading(&reading.stamp);
        let temporary = path.with_extension(unique()?);
        put(&temporary, &path, fs::write(&temporary, serde_json::to_vec(reading)?))
    }

    fn reading(&self, stamp: &Stamp) -> PathBuf {
        self.readings().join(format!("{:x}-{:x}", stamp.device, stamp.inode))
    }
}
