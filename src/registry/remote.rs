//! A registry that layers are pulled from, and what is known of it by now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::client::Client;
use super::download::Download;
use super::entry::RemoteEntry;
use super::fault::RegistryError;
use super::notice::Notice;
use super::reference::{LATEST, Repository};
use super::settings::Settings;
use super::signature::{Signers, Statement};
use crate::cache::{Answer, Evidence, Offer, PinnedEntry, Provenance, Required, Vouched};
use crate::digest::Digest;
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
    down: RefCell<Option<Down>>,
}

/// Why a registry is not asked any more, and what to do about it.
#[derive(Debug)]
struct Down {
    why: String,
    hint: Option<String>,
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

    /// From now on, tells of what takes long.
    pub(crate) fn tell(&self, notice: Notice) {
        self.client.tell(notice);
    }

    /// Tells whether it could not be asked.
    pub(crate) fn is_down(&self) -> bool {
        self.down.borrow().is_some()
    }

    /// Returns what to do so that it can be asked, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        self.down.borrow().as_ref().and_then(|down| down.hint.clone())
    }

    /// Asks for a key, of which the lock pins `pinned`, and `stored` is the newest generation here.
    pub(crate) fn answer(
        &self,
        key: Digest,
        pinned: Option<PinnedEntry>,
        stored: Option<u64>,
        interrupt: Interrupt<'_>,
    ) -> Answer {
        if let Some(down) = &*self.down.borrow() {
            return Answer::Unreachable(down.why.clone());
        }
        match self.look(key, pinned, stored, interrupt) {
            Ok(None) => Answer::Nothing { repository: self.repository().to_string() },
            Ok(Some(offer)) => Answer::Offered(offer),
            Err(RegistryError::Interrupted) => Answer::Interrupted,
            Err(error) => match error.unfit() {
                Some(unfit) => Answer::Unfit { why: error.to_string(), unfit },
                // One key more would take as long.
                None => {
                    let down = Down { why: error.to_string(), hint: error.hint() };
                    Answer::Unreachable(self.down.borrow_mut().insert(down).why.clone())
                }
            },
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
        let evidence = |signed_by, is_signed| {
            let has_signers = self.signers.is_some();
            Evidence { entry, document, pinned, signed_by, is_signed, has_signers, stored }
        };
        let mut is_signed = false;
        let is_other = evidence(None, is_signed).is_other();
        let mut vouched = evidence(None, is_signed).judge(self.required);
        if let (Vouched::Nobody { .. }, false) = (&vouched, is_other) {
            let (repository, manifest) = (self.repository(), found.manifest);
            let statement = Statement { repository, entry, manifest };
            let signatures =
                self.client.signatures(self.signers.as_ref(), &statement, interrupt)?;
            is_signed = signatures.is_signed;
            vouched = evidence(signatures.principal, is_signed).judge(self.required);
            if let (Vouched::Nobody { why }, 1..) = (&mut vouched, signatures.unread) {
                let _ =
                    write!(why, " among the first; {} more were not looked at", signatures.unread);
            }
        }
        let offer = Offer {
            entry,
            size: found.layer.size,
            repository: self.repository().to_string(),
            manifest: found.manifest,
            vouched: vouched.clone(),
            is_signed,
            is_other,
        };
        self.found.borrow_mut().insert(entry, (found, vouched));
        Ok(Some(offer))
    }

    /// Returns the digest of the template that the role was made by, as its innermost layer tells. It says
    /// what to look for, and vouches for nothing.
    pub(crate) fn template(
        &self,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Digest>, RegistryError> {
        let Some(entry) = self.client.innermost(LATEST, interrupt)? else { return Ok(None) };
        let found = self.client.entry(entry.key, interrupt)?;
        Ok(found.and_then(|found| found.portable.inputs.template()))
    }

    /// Downloads an entry that was offered, into a file of `directory`. `progress` is told how many bytes are there.
    pub(crate) fn fetch(
        &self,
        entry: EntryId,
        directory: &Path,
        progress: &mut dyn FnMut(u64),
        interrupt: Interrupt<'_>,
    ) -> Result<Pulled, RegistryError> {
        let found = self.found.borrow().get(&entry).cloned();
        let Some((RemoteEntry { portable, manifest, layer, .. }, vouched)) = found else {
            return Err(RegistryError::malformed(entry.name(), "nobody has offered it"));
        };
        let blob = self.client.download(&layer, directory, progress, interrupt)?;
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
