//! What a plan shows of the layer store: where each layer comes from, and the names of entries.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::digest::Digest;
use crate::manifest::LayerName;

/// How a container uses the layer store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StorageMode {
    /// It owns a copy of the stored tree.
    #[default]
    Copy,
    /// Its rootfs is an overlay whose lower directory is the stored tree.
    Overlay,
    /// It does not: every layer is made in the container itself.
    None,
    /// There is no container: what the store lacks is built, and nothing else.
    Fill,
}

/// How a run uses the layer store.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Storage {
    /// How the container uses it.
    pub mode: StorageMode,
    /// Whether everything is rebuilt, whatever is stored.
    pub rebuild: bool,
    /// Why the store is not used, where it was wanted.
    pub unused: Option<String>,
}

impl Storage {
    /// Returns that of a run without the store.
    pub fn none() -> Self {
        Self { mode: StorageMode::None, ..Self::default() }
    }
}

/// Where a layer, or the upstream, comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum CacheStatus {
    /// From the store.
    Stored {
        /// The entry.
        #[cfg_attr(test, schemars(with = "String"))]
        entry: EntryId,
    },
    /// From a registry.
    Pulled {
        /// The entry.
        #[cfg_attr(test, schemars(with = "String"))]
        entry: EntryId,
        /// How many bytes are fetched.
        size: u64,
    },
    /// It is built, and stored.
    Built {
        /// Its key; `None` where a layer inside it is built too, since its entry is part of the key.
        key: Option<Digest>,
        /// What is different from what is stored, field by field.
        why: Vec<String>,
    },
    /// A pre step decides it.
    Decided {
        /// The layer whose pre steps do.
        by: LayerName,
    },
    /// It is made at every run.
    Always {
        /// Why it is not stored.
        why: String,
    },
    /// It leaves nothing in the rootfs or config that could be stored.
    Nothing,
}

impl CacheStatus {
    /// Tells whether it is in the store, or will be.
    pub fn is_stored(&self) -> bool {
        matches!(
            self,
            Self::Stored { .. } | Self::Pulled { .. } | Self::Built { .. } | Self::Decided { .. }
        )
    }
}

/// The name of an entry of the store: what was made, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The key.
    pub key: Digest,
    /// The generation: when it was made, in milliseconds since 1970. A later one of the same key
    /// stands beside the earlier one.
    pub generation: u64,
}

impl EntryId {
    /// Parses what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, generation) = text.split_once('.')?;
        let sound = !generation.is_empty() && generation.bytes().all(|byte| byte.is_ascii_digit());
        let key = Digest::parse(key).filter(|_| sound && !key.starts_with("sha256:"))?;
        let id = Self { key, generation: generation.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }

    /// Returns enough of it for a person to tell two apart, also two generations of one key.
    pub fn name(&self) -> String {
        format!("{}.{}", self.key.short(), self.generation)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.to_string();
        write!(formatter, "{}.{}", &key["sha256:".len()..], self.generation)
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the name of an entry"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries_are_read_back() {
        let id = EntryId { key: Digest::of(b"x"), generation: 1_234 };
        assert_eq!(EntryId::parse(&id.to_string()), Some(id));
        for text in ["", ".", "x.1", &format!("{id}0x"), &format!("sha256:{id}"), "a.b.c"] {
            assert_eq!(EntryId::parse(text), None, "{text}");
        }
    }
}
