//! Brings an image, and each of its layers by its key, to a registry.

use super::client::Client;
use super::entry;
use super::fault::RegistryError;
use super::reference::Version;
use super::signature::{Signer, Statement};
use super::upload::Sent;
use crate::cache::PinnedEntry;
use crate::digest::Digest;
use crate::export::{Image, LayerBlob, Warnings};
use crate::plan::EntryId;
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
    /// What the lock pins: nothing else is pushed by these names.
    pub pinned: &'a [PinnedEntry],
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

/// A layer of an image, as it is found by its key.
struct Keyed {
    entry: EntryId,
    tag: Version,
    /// What is told of it.
    text: Vec<u8>,
    manifest: Vec<u8>,
    digest: Digest,
    /// Whether the registry lacks it.
    is_missing: bool,
}

impl Client {
    /// Pushes an image, and each layer of it by its key. What the registry has is not sent.
    ///
    /// Nothing is sent before all is signed, and no tag leads to a layer before its signature is there: whatever ends
    /// a push, what hosts find is signed as it was before. The key of a layer says what it stands on, so the innermost
    /// is put last: until then, hosts find all that was there before.
    pub(crate) fn push(
        &self,
        image: &Image,
        push: Push<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Pushed, RegistryError> {
        let mut warnings = Warnings::default();
        if let Some(entry) = image.stored().find(|entry| entry.sidecar.is_some()) {
            let files = image.beside(entry).map_err(RegistryError::of_image)?;
            let files = files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ");
            return Err(RegistryError::Beside { slot: entry.made.slot.clone(), files });
        }
        let blobs = image.blobs(&mut warnings, interrupt).map_err(RegistryError::of_image)?;
        let (layers, mut files): (Vec<LayerBlob>, Vec<_>) = blobs.into_iter().unzip();
        let documents = image.documents(&layers, &mut warnings);
        let (config, manifest) = documents.map_err(RegistryError::of_image)?;
        let digest = Digest::of(&manifest);
        let mut pushed =
            Pushed { image: digest, bytes: 0, mounted: 0, warnings, older: Vec::new() };
        let keyed = self.keyed((image, &layers), push.pinned, &mut pushed, interrupt)?;
        let statements = keyed.iter().map(|layer| {
            let (repository, entry, manifest) = (self.repository(), layer.entry, layer.digest);
            Statement { repository, entry, manifest }
        });
        let statements: Vec<_> = statements.collect();
        let signatures = match push.signer {
            Some(signer) => self.make_signatures(signer, &statements, interrupt)?,
            None => Vec::new(),
        };
        let tag = Version::Tag(push.tag.to_owned());
        // Who has a manifest has all that it names.
        let is_missing = self.manifest_digest(&tag, interrupt)? != Some(digest);
        if is_missing {
            for (index, (layer, file)) in layers.iter().zip(&mut files).enumerate() {
                self.number(index + 1, layers.len());
                self.measured(0, layer.size);
                let blob = (layer.digest, layer.size);
                let sent = match self.upload(blob, file, push.mount_from, interrupt) {
                    Err(RegistryError::DamagedBlob) => {
                        let anew = image.remake_blob(index, layer, interrupt);
                        *file = anew.map_err(RegistryError::of_image)?;
                        self.upload(blob, file, push.mount_from, interrupt)?
                    }
                    sent => sent?,
                };
                pushed.count(sent, layer.size);
            }
            self.upload_text(&config, &mut pushed, interrupt)?;
        }
        for layer in keyed.iter().filter(|layer| layer.is_missing) {
            self.upload_text(&layer.text, &mut pushed, interrupt)?;
        }
        if let Some(signer) = push.signer {
            self.sign(signer, &statements, signatures, interrupt)?;
        }
        for layer in keyed.iter().rev().filter(|layer| layer.is_missing) {
            self.put_manifest(&layer.tag, &layer.manifest, interrupt)?;
        }
        if is_missing {
            self.put_manifest(&tag, &manifest, interrupt)?;
        }
        if let Some(innermost) = image.stored().next() {
            self.tell_innermost(push.tag, innermost.id, interrupt)?;
        }
        Ok(pushed)
    }

    /// Returns the layers by their keys, but for those of which the registry has newer generations.
    ///
    /// # Errors
    ///
    /// Also where one is not what the lock pins by its name.
    fn keyed(
        &self,
        (image, layers): (&Image, &[LayerBlob]),
        pinned: &[PinnedEntry],
        pushed: &mut Pushed,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<Keyed>, RegistryError> {
        let mut all = Vec::new();
        for (stored, layer) in image.stored().zip(layers) {
            let portable = image.portable(stored, layer.diff_id);
            let text = portable.text().map_err(RegistryError::of_image)?;
            if text.len() > entry::LARGEST {
                let (bytes, most) = (text.len(), entry::LARGEST);
                let why =
                    format!("what is told of it has {bytes} bytes, and at most {most} are taken");
                return Err(RegistryError::malformed(portable.slot, why));
            }
            let locked = pinned.iter().find(|pin| pin.entry == stored.id);
            if locked.and_then(|pin| pin.document).is_some_and(|it| it != Digest::of(&text)) {
                return Err(RegistryError::NotLocked { slot: portable.slot });
            }
            let manifest = entry::manifest(&text, layer).text()?;
            all.push((portable.slot, text, manifest, stored.id));
        }
        let mut keyed = Vec::new();
        for (slot, text, manifest, entry) in all {
            let (digest, tag) = (Digest::of(&manifest), entry::tag(entry.key));
            let is_missing = self.manifest_digest(&tag, interrupt)? != Some(digest);
            if is_missing
                && let Ok(Some(there)) = self.entry(entry.key, interrupt)
                && there.portable.entry.generation > entry.generation
            {
                pushed.older.push(slot);
                continue;
            }
            keyed.push(Keyed { entry, tag, text, manifest, digest, is_missing });
        }
        Ok(keyed)
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
