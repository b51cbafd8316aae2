//! Observes what the store holds, for the cache to decide by.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::entry::{Entry, LARGEST_NAME};
use super::layout::{Store, listed, now, open};
use super::refused;
use crate::cache::{AskRegistry, BadEntry, Fault, Index, KeyInputs, Ladder};
use crate::digest::Digest;
use crate::host::fault::is_shortage;
use crate::host::files;
use crate::plan::EntryId;

impl Store {
    /// Returns the entries, the oldest first.
    pub(crate) fn entries(&self) -> io::Result<Vec<EntryId>> {
        let names = listed(&self.documents())?.into_iter().map(|entry| entry.file_name());
        let mut ids: Vec<_> = names.filter_map(|name| EntryId::parse(name.to_str()?)).collect();
        ids.sort_by_key(|id| (id.generation, id.key));
        Ok(ids)
    }

    /// Observes what is stored.
    pub(crate) fn index(&self) -> io::Result<Index> {
        let mut entries: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut older = BTreeSet::new();
        // The oldest come first.
        for EntryId { key, generation } in self.entries()? {
            if let Some(generation) = entries.insert(key, generation) {
                older.insert(EntryId { key, generation });
            }
        }
        let now = now();
        // Of a generation that is past, it is the time of making.
        let ahead = entries.iter().filter(|(_, generation)| **generation > now);
        let made_at = ahead.filter_map(|(key, generation)| {
            let entry = Entry::read(self, EntryId { key: *key, generation: *generation }).ok()?;
            Some((*key, entry.made_at))
        });
        let made_at = made_at.collect();
        let refused = refused::all(self)?;
        Ok(Index { entries, older, made_at, now, refused, ..Index::default() })
    }

    /// Asks for a ladder until the index knows all that it needs to: what is in the entries that the
    /// ladder takes, which of them cannot be used, what a `registry` has of what is missing, and what defined
    /// that before.
    pub(crate) fn ladder(
        &self,
        manifest: &Path,
        index: &mut Index,
        ask: impl Fn(&Index) -> Ladder,
        mut registry: Option<AskRegistry<'_>>,
    ) -> Ladder {
        loop {
            let ladder = ask(index);
            let unknown = ladder.unknown(index);
            if unknown.is_empty() {
                if let (Some(key), Some(registry)) = (ladder.unasked, &mut registry) {
                    let answer = registry(index, key);
                    index.offers.insert(key, answer);
                    continue;
                }
                let Some(label) = ladder.unexplained(index) else { return ladder };
                let earlier = self.earlier(manifest, &label);
                index.earlier.insert(label, earlier);
                continue;
            }
            for (id, what) in unknown {
                match self.look_at(id) {
                    Ok(entry) => {
                        index.looked_at.insert(id, entry.contents());
                    }
                    Err(fault) => {
                        index.faults.insert(id, BadEntry { what, fault });
                    }
                }
            }
        }
    }

    /// Reads an entry, and tells what is wrong with it at first sight.
    fn look_at(&self, id: EntryId) -> Result<Entry, Fault> {
        let fault = |error: io::Error| match error.kind() {
            io::ErrorKind::Unsupported => Fault::Format,
            io::ErrorKind::NotFound => Fault::Damaged("its tree is gone".to_owned()),
            _ => Fault::Damaged(error.to_string()),
        };
        let entry = Entry::read(self, id).map_err(fault)?;
        let sidecar = entry.sidecar.map(|_| open(&self.sidecar(id)));
        // A link where the tree is would lead out of the store.
        let tree = open(&self.trees().join(id.to_string())).and_then(|_| open(&self.rootfs(id)));
        match tree.and(sidecar.transpose()) {
            // Whoever uses it is told. A user's trees are the mapped root's: a plan does not come to
            // see them.
            Err(error)
                if !is_shortage(&error) && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                Err(fault(error))
            }
            _ => Ok(entry),
        }
    }

    fn earlier(&self, manifest: &Path, slot: &str) -> Option<KeyInputs> {
        let id = files::read_regular(&self.latest(manifest, slot), LARGEST_NAME).ok()?;
        let id = EntryId::parse(str::from_utf8(&id).ok()?.trim())?;
        let entry = Entry::read(self, id).ok()?;
        Some(entry.document)
    }
}
