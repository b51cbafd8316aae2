//! A registry that layers are pulled from, and what is known of it by now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::client::Client;
use super::download::Download;
use super::entry::RemoteEntry;
use super::fault::RegistryError;
use super::reference::{LATEST, Repository, Version};
use super::settings::Settings;
use super::signature::{Signers, Statement};
use crate::cache::{Answer, Evidence, Offer, PinnedEntry, Provenance, Required, Vouched};
use crate::digest::Digest;
use crate::export::ENTRY;
use crate::plan::EntryId;
use crate::store::Portable;
use crate::tree::Interrupt;

/// A registry that layers are pulled from.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    signers: Option<Signers>,
    required: Option<Required>,
    /// What was found, by entry.
    found: RefCell<BTreeMap<EntryId, (RemoteEntry, Vouched)>>,
    /// Why it is not asked any more.
    down: RefCell<Option<String>>,
}

impl Remote {
    /// Opens a repository. Nothing is asked yet.
    pub(crate) fn open(repository: &Repository, settings: Settings) -> Result<Self, RegistryError> {
        let Settings { signers, required, .. } = settings;
        let client = Client::new(repository)?;
        let (found, down) = (RefCell::default(), RefCell::default());
        Ok(Self { client, signers, required, found, down })
    }

    /// Returns the repository.
    pub(crate) fn repository(&self) -> &Repository {
        self.client.repository()
    }

    /// Forgets its connections: another process may have them too.
    pub(crate) fn reconnect(&self) {
        self.client.reconnect();
    }

    /// Asks for a key, of which the lock pins `pinned`, and `stored` is the newest generation here.
    pub(crate) fn answer(
        &self,
        key: Digest,
        pinned: Option<PinnedEntry>,
        stored: Option<u64>,
        interrupt: Interrupt<'_>,
    ) -> Answer {
        if let Some(why) = self.down.borrow().clone() {
            return Answer::Unreachable(why);
        }
        match self.look(key, pinned, stored, interrupt) {
            Ok(None) => Answer::Nothing,
            Ok(Some(offer)) => Answer::Offered(offer),
            Err(error) if error.is_unfit() => Answer::Unfit(error.to_string()),
            // One key more would take as long.
            Err(error) => {
                Answer::Unreachable(self.down.borrow_mut().insert(error.to_string()).clone())
            }
        }
    }

    fn look(
        &self,
        key: Digest,
        pinned: Option<PinnedEntry>,
        stored: Option<u64>,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Offer>, RegistryError> {
        let Some(found) = self.client.entry(key, interrupt)? else { return Ok(None) };
        let entry = found.portable.entry;
        let document = found.document;
        let evidence = |signed_by| {
            let has_signers = self.signers.is_some();
            Evidence { entry, document, pinned, signed_by, has_signers, stored }
        };
        let mut vouched = evidence(None).judge(self.required);
        if let (Vouched::Nobody { .. }, Some(signers)) = (&vouched, &self.signers) {
            let (repository, manifest) = (self.repository(), found.manifest);
            let statement = Statement { repository, entry, manifest };
            let (signed_by, more) = self.client.signed_by(signers, &statement, interrupt)?;
            vouched = evidence(signed_by).judge(self.required);
            if let (Vouched::Nobody { why }, 1..) = (&mut vouched, more) {
                let _ = write!(why, " among the first; {more} more were not looked at");
            }
        }
        let offer = Offer {
            entry,
            size: found.layer.size,
            repository: self.repository().to_string(),
            manifest: found.manifest,
            vouched: vouched.clone(),
        };
        self.found.borrow_mut().insert(entry, (found, vouched));
        Ok(Some(offer))
    }

    /// Returns the digest of the template that the role's image was made by, as its innermost layer tells. It says
    /// what to look for, and vouches for nothing.
    pub(crate) fn template(
        &self,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Digest>, RegistryError> {
        let tag = Version::Tag(LATEST.to_owned());
        let Some((image, _)) = self.client.manifest(&tag, interrupt)? else { return Ok(None) };
        let first = image.layers.first().and_then(|layer| layer.annotations.get(ENTRY));
        let Some(entry) = first.and_then(|text| EntryId::parse(text)) else { return Ok(None) };
        let found = self.client.entry(entry.key, interrupt)?;
        Ok(found.and_then(|found| found.portable.inputs.template()))
    }

    /// Downloads an entry that was offered, into a file of `directory`.
    pub(crate) fn fetch(
        &self,
        entry: EntryId,
        directory: &Path,
        interrupt: Interrupt<'_>,
    ) -> Result<Pulled, RegistryError> {
        let found = self.found.borrow().get(&entry).cloned();
        let Some((RemoteEntry { portable, manifest, layer, .. }, vouched)) = found else {
            return Err(RegistryError::malformed(entry.name(), "nobody has offered it"));
        };
        let blob = self.client.download(&layer, directory, &mut |_| {}, interrupt)?;
        let repository = self.repository().to_string();
        Ok(Pulled { portable, blob, origin: Provenance { repository, manifest, vouched } })
    }
}

/// A layer that was downloaded.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// What is told of it.
    pub portable: Portable,
    /// Its blob.
    pub blob: Download,
    /// Whence it came.
    pub origin: Provenance,
}
