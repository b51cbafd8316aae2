//! What a plan drops into the rootfs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::chain::Values;
use crate::digest::Digest;
use crate::manifest::{IfExists, Mode, Owner, RootfsPath};
use crate::source::At;

/// One drop.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileDrop {
    /// Where: an absolute path inside the rootfs.
    pub path: RootfsPath,
    /// Where the manifest says so.
    pub at: At,
    /// What.
    #[serde(flatten)]
    pub content: Content,
    /// Its owner; root:root, and where a directory is there already as it is, if the manifest says
    /// nothing.
    pub owner: Option<Owner>,
    /// What happens where something is there.
    pub if_exists: IfExists,
}

/// What a drop makes.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// A file.
    File {
        /// Where its bytes come from: a path of the host; nothing for bytes of the manifest.
        #[cfg_attr(test, schemars(with = "Option<String>"))]
        source: Bytes,
        /// Its length in bytes.
        size: u64,
        /// The digest of its bytes.
        digest: Digest,
        /// Its permission bits.
        mode: Mode,
    },
    /// A directory of the host with all below it, merged into what is there.
    Tree {
        /// The directory, as an absolute path of the host.
        #[serde(serialize_with = "super::lossy::text")]
        #[cfg_attr(test, schemars(with = "String"))]
        source: PathBuf,
        /// The permission bits of every file, where they are not the source's own.
        mode: Option<Mode>,
        /// The directory itself: what it is where it is new in the rootfs.
        top: EntryKind,
        /// All below it, each directory before what is in it.
        entries: Arc<[TreeEntry]>,
    },
    /// A file whose text holds secrets, so that it is made only during the run, and never digested.
    Rendered {
        /// The template.
        #[serde(skip)]
        template: Arc<str>,
        /// What the template's names stand for.
        #[serde(skip)]
        values: Values,
        /// The secrets in it.
        secrets: Vec<String>,
        /// Its permission bits.
        mode: Mode,
    },
    /// A file that is fetched from the network during the run.
    Fetched {
        /// Where from.
        url: String,
        /// What its bytes must digest to.
        digest: Digest,
        /// Its permission bits.
        mode: Mode,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: String,
    },
    /// A directory.
    Directory {
        /// Its permission bits; 0755 where it is new and the manifest says nothing.
        mode: Option<Mode>,
    },
    /// What is there goes, with all below it.
    Remove,
}

/// Where the bytes of a file come from.
#[derive(Clone)]
pub enum Bytes {
    /// From the manifest, or from a template that is rendered already.
    Inline(Arc<[u8]>),
    /// From a file of the host, by its absolute path.
    Source(PathBuf),
}

impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => write!(formatter, "{} inline bytes", bytes.len()),
            Self::Source(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// A path of the host, or nothing for bytes of the manifest.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(_) => serializer.serialize_none(),
            Self::Source(path) => serializer.serialize_some(&path.to_string_lossy()),
        }
    }
}

/// Something below a tree's top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Entry"))]
pub struct TreeEntry {
    /// Its path below the top.
    #[serde(serialize_with = "super::lossy::text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: PathBuf,
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// What an entry of a tree is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EntryKind {
    /// A directory.
    Directory {
        /// Its permission bits.
        mode: Mode,
        /// What tells its extended attributes from others, as far as they are kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        attributes: Option<Digest>,
    },
    /// A regular file.
    File {
        /// Its permission bits.
        mode: Mode,
        /// Its length in bytes.
        size: u64,
        /// The digest of its bytes.
        digest: Digest,
        /// What tells its extended attributes from others, as far as they are kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        attributes: Option<Digest>,
        /// The entry whose file this is too, by its place in the list: a hard link.
        #[serde(skip_serializing_if = "Option::is_none")]
        link: Option<usize>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        #[serde(serialize_with = "super::lossy::text")]
        #[cfg_attr(test, schemars(with = "String"))]
        target: PathBuf,
    },
}
