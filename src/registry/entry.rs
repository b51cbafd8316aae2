//! A stored layer in a registry: found by its key, with all that a store needs to know of it.

use std::io;

use super::client::Client;
use super::fault::RegistryError;
use super::manifest::{Descriptor, EMPTY, EMPTY_TEXT, Manifest};
use super::reference::{KEY_MARK, ROLE_MARK, Version};
use crate::digest::Digest;
use crate::export::{LayerBlob, is_layer};
use crate::plan::EntryId;
use crate::store::Portable;
use crate::tree::Interrupt;

/// The media type of what is told of an entry.
const ENTRY: &str = "application/vnd.layered-template.entry.v1+json";

/// The annotation that names the innermost entry of a role.
const INNERMOST: &str = "org.layered-template.innermost";

/// The largest document that is read, in bytes. Nobody has vouched for it yet, and it takes many times the room of its text.
pub(super) const LARGEST: usize = 1 << 20;

/// A stored layer in a registry.
#[derive(Debug, Clone)]
pub(crate) struct RemoteEntry {
    /// What is told of it.
    pub portable: Portable,
    /// The digest of the text that tells it.
    pub document: Digest,
    /// The digest of its manifest: nothing of it can change without that.
    pub manifest: Digest,
    /// Its blob.
    pub layer: Descriptor,
}

/// Returns the tag of a key.
pub(super) fn tag(key: Digest) -> Version {
    Version::Tag(format!("{KEY_MARK}{}", super::download::hex(key)))
}

/// Returns the manifest of an entry, by the text that is told of it and its layer.
pub(super) fn manifest(document: &[u8], layer: &LayerBlob) -> Manifest {
    let layer = Descriptor::new(layer.media_type(), layer.digest, layer.size);
    Manifest::new(Descriptor::of(ENTRY, document), vec![layer])
}

/// Returns the tag of what is told of a role, beside the tag of its image.
fn role_tag(tag: &str) -> Version {
    Version::Tag(format!("{tag}{ROLE_MARK}"))
}

impl Client {
    /// Sees that it is told which entry is the innermost of a role. No image can tell that: it would be
    /// another one for each build.
    pub(super) fn tell_innermost(
        &self,
        tag: &str,
        entry: EntryId,
        interrupt: Interrupt<'_>,
    ) -> Result<(), RegistryError> {
        let empty = Descriptor::of(EMPTY, EMPTY_TEXT);
        let mut manifest = Manifest::new(empty.clone(), vec![empty]);
        manifest.annotations.insert(INNERMOST.to_owned(), entry.to_string());
        let text = manifest.text()?;
        let version = role_tag(tag);
        if self.manifest_digest(&version, interrupt)? == Some(Digest::of(&text)) {
            return Ok(());
        }
        let blob = (Digest::of(EMPTY_TEXT), EMPTY_TEXT.len() as u64);
        self.upload(blob, &mut io::Cursor::new(EMPTY_TEXT), None, interrupt)?;
        self.put_manifest(&version, &text, interrupt)?;
        Ok(())
    }

    /// Returns the innermost entry of a role.
    pub(super) fn innermost(
        &self,
        tag: &str,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<EntryId>, RegistryError> {
        let found = self.manifest(&role_tag(tag), interrupt)?;
        let text = found.as_ref().and_then(|(manifest, _)| manifest.annotations.get(INNERMOST));
        Ok(text.and_then(|text| EntryId::parse(text)))
    }

    /// Looks for the newest entry of a key.
    ///
    /// # Errors
    ///
    /// Also where what is there is no entry, or one of another key.
    pub(crate) fn entry(
        &self,
        key: Digest,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<RemoteEntry>, RegistryError> {
        let version = tag(key);
        let Some((manifest, digest)) = self.manifest(&version, interrupt)? else {
            return Ok(None);
        };
        let malformed = |why: String| {
            RegistryError::malformed(format!("the layer {version} of {}", self.repository()), why)
        };
        let [layer] = &manifest.layers[..] else {
            return Err(malformed("it has not one blob".to_owned()));
        };
        if manifest.config.media_type != ENTRY || !is_layer(&layer.media_type) {
            return Err(malformed("it is not one of this program's".to_owned()));
        }
        let text = self.small_blob(&manifest.config, LARGEST, interrupt)?;
        let portable = Portable::parse(&text, key).map_err(|why| malformed(self.shown(&why)))?;
        // What else is said of it may be long, and is kept for nothing.
        let layer = Descriptor::new(&layer.media_type, layer.digest, layer.size);
        let document = manifest.config.digest;
        Ok(Some(RemoteEntry { portable, document, manifest: digest, layer }))
    }
}
