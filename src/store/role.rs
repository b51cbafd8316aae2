//! What the runs of each role have come to: `gc` keeps that as long as the manifest is there.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::layout::{Store, unique};
use super::write::put;
use crate::digest::Digest;
use crate::host::files;
use crate::plan::EntryId;

/// The largest file, in bytes: a path, and some names of entries.
const LARGEST: usize = 16 * 1024;

/// How many entries are remembered of a role.
const MOST: usize = 16;

/// A role, by its manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// The absolute path of the manifest.
    pub manifest: PathBuf,
    /// The outermost entry of a run that has failed since the last good one.
    pub unfinished: Option<EntryId>,
    /// The outermost entries that good runs had, the newest first.
    pub entries: Vec<EntryId>,
}

impl Role {
    /// Reads what is noted of a role; nothing, where the file is none of these.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let text = files::read_regular(path, LARGEST).ok()?;
        let mut parts = text.split(|byte| *byte == 0);
        let manifest = PathBuf::from(OsStr::from_bytes(parts.next()?));
        let id = |part: &[u8]| EntryId::parse(str::from_utf8(part).ok()?);
        let unfinished = id(parts.next()?);
        Some(Self { manifest, unfinished, entries: parts.filter_map(id).collect() })
    }

    /// Tells whether its manifest is there, as far as that can be seen.
    pub(super) fn is_known(&self) -> bool {
        self.manifest.try_exists().unwrap_or(true)
    }

    /// Notes what a run has come to.
    fn add(&mut self, entry: EntryId, is_whole: bool) {
        if !is_whole {
            self.unfinished = Some(entry);
            return;
        }
        self.unfinished = None;
        self.entries.retain(|known| *known != entry);
        self.entries.insert(0, entry);
        self.entries.truncate(MOST);
    }

    fn text(&self) -> Vec<u8> {
        let mut text = self.manifest.as_os_str().as_bytes().to_vec();
        text.push(0);
        text.extend(self.unfinished.map(|id| id.to_string()).unwrap_or_default().bytes());
        for id in &self.entries {
            text.push(0);
            text.extend(id.to_string().bytes());
        }
        text
    }
}

impl Store {
    /// Notes the outermost entry that a run of a role has come to; `is_whole` where it did not fail on
    /// the way to the outermost layer.
    pub(crate) fn note_role(
        &self,
        manifest: &Path,
        entry: EntryId,
        is_whole: bool,
    ) -> io::Result<()> {
        let path = self.roles().join(Digest::of(manifest.as_os_str().as_bytes()).short());
        let before = Role::read(&path).filter(|role| role.manifest == manifest);
        let mut role =
            before.clone().unwrap_or_else(|| Role { manifest: manifest.into(), ..Role::default() });
        role.add(entry, is_whole);
        if before.as_ref() == Some(&role) {
            return Ok(());
        }
        let temporary = path.with_extension(unique()?);
        put(&temporary, &path, fs::write(&temporary, role.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_back_the_newest_first() {
        let top = tempfile::tempdir().unwrap();
        let store = Store::new(&top.path().join("store"), "host");
        store.make(None).unwrap();
        let manifest = Path::new(OsStr::from_bytes(b"/roles/\xffweb\n.toml"));
        let id = |generation| EntryId { key: Digest::of(b"x"), generation };
        let read = || {
            let only = fs::read_dir(store.roles()).unwrap().next().unwrap().unwrap();
            Role::read(&only.path()).unwrap()
        };
        let role = |unfinished, entries: &[u64]| Role {
            manifest: manifest.to_path_buf(),
            unfinished,
            entries: entries.iter().copied().map(id).collect(),
        };
        store.note_role(manifest, id(1), false).unwrap();
        assert_eq!(read(), role(Some(id(1)), &[]));
        for (entry, is_whole, expected) in [
            (2, true, role(None, &[2])),
            (3, true, role(None, &[3, 2])),
            (4, false, role(Some(id(4)), &[3, 2])),
            (2, true, role(None, &[2, 3])),
        ] {
            store.note_role(manifest, id(entry), is_whole).unwrap();
            assert_eq!(read(), expected);
        }
        (10..40).for_each(|entry| store.note_role(manifest, id(entry), true).unwrap());
        assert_eq!((read().entries.len(), read().entries[0]), (MOST, id(39)));
    }
}
