//! The paths that a layer has put something at, in eight bytes each.

use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};

use super::UnpackFault;
use crate::tree::archive::ArchiveFault;

/// A path: a digest that nobody can foresee.
pub(super) type Key = u64;

/// How many keys are sorted together at most: more take no room for that.
const RUN: usize = 64 * 1024;

/// A set of paths.
#[derive(Debug)]
pub(super) struct Written {
    digests: RandomState,
    /// Sorted keys, each run longer than those after it, until it is full.
    runs: Vec<Vec<Key>>,
    count: u64,
    limit: u64,
}

impl Written {
    /// Begins with none, and takes up to `limit` of them.
    pub(super) fn new(limit: u64) -> Self {
        Self { digests: RandomState::new(), runs: Vec::new(), count: 0, limit }
    }

    /// Returns the key of a path.
    pub(super) fn key(&self, names: &[CString]) -> Key {
        names.iter().fold(0, |above, name| self.below(above, name.as_bytes()))
    }

    /// Returns the key of a name in a directory; that of the top is zero.
    pub(super) fn below(&self, directory: Key, name: &[u8]) -> Key {
        self.digests.hash_one((directory, name))
    }

    /// Tells whether a path is one of them.
    pub(super) fn has(&self, key: Key) -> bool {
        self.runs.iter().rev().any(|run| run.binary_search(&key).is_ok())
    }

    /// Adds a path.
    pub(super) fn add(&mut self, key: Key) -> Result<(), UnpackFault> {
        if self.has(key) {
            return Ok(());
        }
        if self.count == self.limit {
            return Err(ArchiveFault::Entries(self.limit).into());
        }
        self.count += 1;
        self.runs.push(vec![key]);
        while let [.., before, last] = self.runs.as_slice()
            && before.len() <= last.len()
            && before.len() + last.len() <= RUN
            && let Some(last) = self.runs.pop()
            && let Some(before) = self.runs.last_mut()
        {
            before.extend(last);
            before.sort_unstable();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_found_again_and_no_other() {
        let mut written = Written::new(200_000);
        let keys: Vec<Key> =
            (0..200_000_u32).map(|number| written.below(0, &number.to_le_bytes())).collect();
        for key in keys.iter().chain(&keys[..9]) {
            written.add(*key).unwrap();
        }
        assert!(keys.iter().all(|key| written.has(*key)));
        assert!(
            (0..10_000_u32).all(|number| !written.has(written.below(1, &number.to_le_bytes())))
        );
        assert!(written.runs.len() < 24, "{} runs", written.runs.len());
        assert!(written.add(7).is_err());
        let names = ["a", "b"].map(|name| CString::new(name).unwrap());
        assert_eq!(written.key(&names), written.below(written.below(0, b"a"), b"b"));
    }
}
