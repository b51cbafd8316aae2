//! Paths in documents: a path need not be text, and JSON knows nothing else.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path as it stands in a document.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    /// One that is no text.
    Bytes(Vec<u8>),
}

impl From<&Path> for Written {
    fn from(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }
}

impl From<Written> for PathBuf {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => text.into(),
            Written::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

/// One path.
pub(super) mod one {
    use super::{Deserialize, Deserializer, Path, PathBuf, Serialize, Serializer, Written};

    pub(in crate::store) fn serialize<S: Serializer>(
        path: &Path,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Written::from(path).serialize(to)
    }

    pub(in crate::store) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<PathBuf, D::Error> {
        Written::deserialize(from).map(PathBuf::from)
    }
}

/// Several.
pub(super) mod several {
    use super::{Deserialize, Deserializer, PathBuf, Serializer, Written};

    pub(in crate::store) fn serialize<S: Serializer>(
        paths: &[PathBuf],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| Written::from(path.as_path())))
    }

    pub(in crate::store) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        let written = Vec::<Written>::deserialize(from)?;
        Ok(written.into_iter().map(PathBuf::from).collect())
    }
}
