//! Brings an image, and each of its layers by its key, to a registry.

use super::client::Client;
use super::entry;
use super::fault::RegistryError;
use super::reference::Version;
use super::signature::{Signer, Statement};
use super::upload::Sent;
use crate::digest::Digest;
use crate::export::{Image, LayerBlob, Warnings};
use crate::tree::Interrupt;

/// How an image is pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Push<'a> {
    /// The tag of the image.
    pub tag: &'a str,
    /// Another repository of the registry that may have its blobs.
    pub mount_from: Option<&'a str>,
    /// What the layers are signed with.
    pub signer: Option<&'a Signer>,
}

/// What was pushed.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// The digest of the image's manifest.
    pub image: Digest,
    /// How many bytes of blobs were sent.
    pub bytes: u64,
    /// How many blobs were taken from another repository.
    pub mounted: usize,
    /// What no archive can carry.
    pub warnings: Warnings,
    /// The layers of which the registry has newer generations, which stay.
    pub older: Vec<String>,
}

impl Client {
    /// Pushes an image, and each layer of it by its key. What the registry has is not sent.
    pub(crate) fn push(
        &self,
        image: &Image,
        push: Push<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Pushed, RegistryError> {
        let mut warnings = Warnings::default();
        if let Some(entry) = image.stored().find(|entry| entry.sidecar.is_some()) {
            let why = "it has files beside its rootfs, which no layer of a registry has";
            return Err(RegistryError::malformed(entry.made.slot.clone(), why));
        }
        let blobs = image.blobs(&mut warnings, interrupt).map_err(RegistryError::of_image)?;
        let (layers, mut files): (Vec<LayerBlob>, Vec<_>) = blobs.into_iter().unzip();
        let (config, manifest) = image.documents(&layers).map_err(RegistryError::of_image)?;
        let digest = Digest::of(&manifest);
        let mut pushed =
            Pushed { image: digest, bytes: 0, mounted: 0, warnings, older: Vec::new() };
        let tag = Version::Tag(push.tag.to_owned());
        // Who has a manifest has all that it names.
        if self.manifest_digest(&tag, interrupt)? != Some(digest) {
            for (index, (layer, file)) in layers.iter().zip(&mut files).enumerate() {
                self.number(index + 1, layers.len());
                self.measured(0, layer.size);
                let blob = (layer.digest, layer.size);
                let sent = self.upload(blob, file, push.mount_from, interrupt)?;
                pushed.count(sent, layer.size);
            }
            self.upload_text(&config, &mut pushed, interrupt)?;
            self.put_manifest(&tag, &manifest, interrupt)?;
        }
        let mut statements = Vec::new();
        for (stored, layer) in image.stored().zip(&layers) {
            let portable = image.portable(stored, layer.diff_id);
            let text = portable.text().map_err(RegistryError::of_image)?;
            let manifest = entry::manifest(&text, layer).text()?;
            let digest = Digest::of(&manifest);
            let tag = entry::tag(stored.id.key);
            if self.manifest_digest(&tag, interrupt)? != Some(digest) {
                let there = self.entry(stored.id.key, interrupt);
                if let Ok(Some(there)) = there
                    && there.portable.entry.generation > stored.id.generation
                {
                    pushed.older.push(portable.slot);
                    continue;
                }
                self.upload_text(&text, &mut pushed, interrupt)?;
                self.put_manifest(&tag, &manifest, interrupt)?;
            }
            let (repository, entry) = (self.repository(), stored.id);
            statements.push(Statement { repository, entry, manifest: digest });
        }
        if let Some(signer) = push.signer {
            self.sign(signer, &statements, interrupt)?;
        }
        if let Some(innermost) = image.stored().next() {
            self.tell_innermost(push.tag, innermost.id, interrupt)?;
        }
        Ok(pushed)
    }

    fn upload_text(
        &self,
        text: &[u8],
        pushed: &mut Pushed,
        interrupt: Interrupt<'_>,
    ) -> Result<(), RegistryError> {
        let blob = (Digest::of(text), text.len() as u64);
        let sent = self.upload(blob, &mut std::io::Cursor::new(text), None, interrupt)?;
        pushed.count(sent, blob.1);
        Ok(())
    }
}

impl Pushed {
    fn count(&mut self, sent: Sent, size: u64) {
        match sent {
            Sent::There => {}
            Sent::Mounted => self.mounted += 1,
            Sent::Whole => self.bytes += size,
        }
    }
}
