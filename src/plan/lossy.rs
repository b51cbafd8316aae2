//! How what may not be UTF-8 is serialised: as people would read it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde::{Serialize, Serializer};

pub(super) fn text<S: Serializer>(text: impl AsRef<OsStr>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text.as_ref().to_string_lossy())
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
pub(super) fn path<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(to)
}

pub(super) fn words<S: Serializer>(words: &[OsString], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(words.iter().map(|word| word.to_string_lossy()))
}

pub(super) fn pairs<S: Serializer>(
    pairs: &[(OsString, OsString)],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(
        pairs.iter().map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy())),
    )
}
