//! A lock: what a role was made from, and what came of it, as a file beside its manifest.
//!
//! Pure. [`Lock::inputs`] tells what defines a role now, and [`Lock::hold`] what of that is not as it was
//! locked. A lock is TOML with one fact a line, sorted, so that it merges well.

mod difference;
mod inputs;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use difference::Held;
pub(crate) use inputs::RoleInputs;

use inputs::template_name;

use crate::cache::{Slot, SlotKind};
use crate::chain::Chain;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::plan::EntryId;
use crate::source::{At, Source};

/// The version of the format.
const FORMAT: u32 = 1;

/// What stands at the beginning of every lock.
const HEAD: &str = "\
# What this role was made from. `layered-template lock` writes this file; keep it beside the manifest.
";

/// What a role was made from, by name and digest, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// The version of this format.
    pub format: u32,
    /// The manifest and those it extends, by their paths from the manifest's directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<String, Digest>,
    /// The reusable layers that it uses, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<String, Digest>,
    /// The values of variables that are no secrets, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Digest>,
    /// The template, by its name; for the built-in one, the host's busybox.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, Digest>,
    /// Files of the host that the template is given, or copies, by what a person calls them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Digest>,
    /// Files and trees of the host that are dropped into the rootfs, by their paths from the manifest's
    /// directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Digest>,
    /// Scripts of steps, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scripts: BTreeMap<String, Digest>,
    /// What is fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub urls: BTreeMap<String, Digest>,
    /// What the layer store makes of what the template leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<LockedSlot>,
    /// What it makes of each layer, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, LockedSlot>,
}

/// What the layer store makes of a layer, or of its template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedSlot {
    /// The key: the digest of all that defines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// What was built by that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryId>,
    /// The digest of what it holds: of the layer in an OCI image, uncompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// The digest of all that a registry tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Digest>,
}

impl Lock {
    /// Returns an empty one.
    pub(crate) fn new() -> Self {
        Self {
            format: FORMAT,
            manifests: BTreeMap::new(),
            used: BTreeMap::new(),
            variables: BTreeMap::new(),
            template: BTreeMap::new(),
            inputs: BTreeMap::new(),
            sources: BTreeMap::new(),
            scripts: BTreeMap::new(),
            urls: BTreeMap::new(),
            upstream: None,
            layers: BTreeMap::new(),
        }
    }

    /// Returns where the lock of a manifest is: beside it, with `.lock` behind its name.
    pub(crate) fn path_of(manifest: &Path) -> PathBuf {
        let mut path = OsString::from(manifest);
        path.push(".lock");
        path.into()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// Where it is none, or a later version of the program wrote it.
    pub(crate) fn parse(source: &Arc<Source>) -> Result<Self, Diagnostic> {
        let lock: Self = toml::from_str(&source.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let at = At { source: Arc::clone(source), span };
            Diagnostic::error(&at, error.message()).help("`layered-template lock` rewrites it")
        })?;
        if lock.format != FORMAT {
            let message = format!("its format is {}, and this program reads {FORMAT}", lock.format);
            return Err(Diagnostic::of_file(&source.path, message));
        }
        Ok(lock)
    }

    /// Returns its text.
    pub(crate) fn text(&self) -> Result<String, toml::ser::Error> {
        Ok(format!("{HEAD}{}", toml::to_string(self)?))
    }

    /// Returns what it says of a slot.
    pub(crate) fn slot(&self, slot: &Slot) -> Option<LockedSlot> {
        match slot.kind {
            SlotKind::Upstream => self.upstream,
            SlotKind::Layer => self.layers.get(slot.layer.as_str()).copied(),
        }
    }

    /// Sets what it says of a slot.
    pub(crate) fn set_slot(&mut self, slot: &Slot, locked: LockedSlot) {
        match slot.kind {
            SlotKind::Upstream => self.upstream = Some(locked),
            SlotKind::Layer => {
                self.layers.insert(slot.layer.as_str().to_owned(), locked);
            }
        }
    }

    /// Returns the digest of a chain's template, where what that has made is locked too: then nothing needs the
    /// template itself.
    pub(crate) fn template_of(&self, chain: &Chain) -> Option<Digest> {
        self.upstream?.entry?;
        self.template.get(&template_name(chain)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Lock, Diagnostic> {
        Lock::parse(&Arc::new(Source::new("web.toml.lock", "/", text)))
    }

    fn full() -> Lock {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let entry = |text: &str| Some(EntryId { key: digest(text), generation: 7 });
        let mut lock = Lock::new();
        lock.manifests.insert("web.toml".into(), digest("m"));
        lock.manifests.insert("../base \"x\".toml".into(), digest("b"));
        lock.urls.insert("https://example.org/a b?c=[d]".into(), digest("u"));
        let (key, entry, content) = (Some(digest("k")), entry("k"), Some(digest("c")));
        let document = Some(digest("d"));
        lock.upstream = Some(LockedSlot { key: Some(digest("t")), ..LockedSlot::default() });
        lock.layers.insert("os.1".into(), LockedSlot { key, entry, content, document });
        lock
    }

    #[test]
    fn what_is_written_is_read() {
        let lock = full();
        let text = lock.text().unwrap();
        assert_eq!(read(&text).unwrap(), lock, "{text}");
        assert_eq!(read(&Lock::new().text().unwrap()).unwrap(), Lock::new());
    }

    #[test]
    fn each_fact_has_a_line_of_its_own() {
        let text = full().text().unwrap();
        let mut changed = full();
        changed.manifests.insert("web.toml".into(), Digest::of(b"other"));
        let other = changed.text().unwrap();
        let differing = text.lines().zip(other.lines()).filter(|(one, other)| one != other);
        assert_eq!(differing.count(), 1, "{text}");
        assert!(text.lines().all(|line| line.len() < 200), "{text}");
    }

    #[test]
    fn what_is_no_lock_is_refused_where_it_is_wrong() {
        for (text, message) in [
            ("", "missing field"),
            ("format = 2\n", "its format is 2"),
            ("format = 1\nx = 1\n", "unknown field"),
            ("format = 1\n[manifests]\n\"a\" = \"b\"\n", "no digest"),
            ("format = 1\n[layers.os]\nentry = \"x\"\n", "not the name of an entry"),
            ("format = 1\n[layers.os]\nsize = 1\n", "unknown field"),
            ("<<<<<<< ours\n", ""),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.message.contains(message), "{text}: {}", fault.message);
        }
    }
}
