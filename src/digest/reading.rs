//! What a file was when its digest was taken.

use serde::{Deserialize, Serialize};

use super::Digest;

/// What a filesystem says of a file, and changes whenever its bytes change, if it is a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When its bytes were changed, in seconds since 1970 and nanoseconds: anybody may set that.
    pub modified: (i64, i64),
    /// When anything of it was changed: nobody sets that but the clock.
    pub changed: (i64, i64),
}

/// A file that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What it was, before and after.
    pub stamp: Stamp,
    /// The digest of its bytes.
    pub digest: Digest,
}
