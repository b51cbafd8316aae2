//! Whose side holds in an upgrade without anybody being asked.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Rebase;
use crate::cache::Names;
use crate::merge::{self, Merged, Renumbered, Rules, Side, Tree, TreePath, Trees};
use crate::record::{Record, is_volatile};
use crate::store;
use crate::tree::Reader;

/// The largest file of accounts that is put together, in bytes.
const LARGEST_TEXT: u64 = 16 << 20;

/// What of the trees is decided without looking.
pub(super) struct Decisions<'a> {
    pub(super) rebase: &'a Rebase<'a>,
    pub(super) new_record: &'a Record,
    pub(super) own: &'a Tree,
    /// The three trees: the old one, the new one and the container's own.
    pub(super) texts: RefCell<[Reader<'a>; 3]>,
    pub(super) names: &'a Names,
}

impl Decisions<'_> {
    /// Finds what of the accounts comes to have other numbers while files that stay the container's own have them: the
    /// file of the accounts, with what is wrong. Nothing is where somebody has decided that.
    pub(super) fn renumbered(&self, trees: Trees<'_>, merged: &Merged) -> Vec<(TreePath, String)> {
        let kinds = [(&b"etc/passwd"[..], "uid"), (&b"etc/group"[..], "gid")].into_iter();
        let kinds = kinds.filter(|(path, _)| {
            !merged.conflicts.contains(*path)
                && self.prefers(path).is_none()
                && !self.is_state(path)
        });
        let found = kinds.filter_map(|(path, kind)| {
            let [_, new, own] = &mut *self.texts.borrow_mut();
            let text = |reader: &mut Reader<'_>| -> Option<Vec<u8>> {
                let mut text = Vec::new();
                reader.file(path).ok()?.take(LARGEST_TEXT).read_to_end(&mut text).ok()?;
                Some(text)
            };
            let now = match (merged.texts.get(path), merged.sides.get(path)?) {
                (Some(text), _) => text.clone(),
                (None, Side::New) => text(new)?,
                (None, Side::Own) => return None,
            };
            let numbers = merge::renumbered(path, &text(own)?, &now);
            let own = merged.sides.iter().filter(|(_, side)| **side == Side::Own);
            let found = own.filter_map(|(of, _)| Some((of, trees.own.get(of)?.owner))).find_map(
                |(of, (uid, gid))| {
                    let number = if kind == "uid" { uid } else { gid };
                    let found = numbers.iter().find(|found| found.number == number)?;
                    Some((of, found))
                },
            );
            let (of, Renumbered { number, was, is }) = found?;
            let of = crate::shell::word(OsStr::from_bytes(&[b"/", of.as_slice()].concat()));
            let [was, is] = [was, is].map(|whose| match whose {
                Some(name) => format!("`{name}`"),
                None => "no account".to_owned(),
            });
            let why = format!(
                "{kind} {number} is {was}, and would be {is}: {of} belongs to it, and stays"
            );
            Some((path.to_vec(), why))
        });
        found.collect()
    }
}

/// What a program makes of other files: the newer one fits more of them.
const DERIVED: [&[u8]; 1] = [b"etc/ld.so.cache"];

/// What is left of files of accounts by whoever changes one.
const BACKUPS: [&[u8]; 6] = [
    b"etc/group-",
    b"etc/gshadow-",
    b"etc/passwd-",
    b"etc/shadow-",
    b"etc/subgid-",
    b"etc/subuid-",
];

/// Tells whether a path makes a container itself: of what is beside host keys, the keys alone.
fn is_identity(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_beside_keys =
        [&b"etc/ssh/"[..], b"etc/dropbear/"].iter().any(|above| path.starts_with(above));
    let is_key = name.starts_with(b"ssh_host_") || name.starts_with(b"dropbear_");
    let absolute = [b"/", path].concat();
    store::is_identity(Path::new(OsStr::from_bytes(&absolute))) && (is_key || !is_beside_keys)
}

impl Rules for Decisions<'_> {
    fn is_state(&self, path: &[u8]) -> bool {
        let records = [self.rebase.record, self.new_record];
        let mut roots = records.iter().filter_map(|record| record.state_of(path));
        roots.any(|root| self.own.contains_key(root))
    }

    fn prefers(&self, path: &[u8]) -> Option<Side> {
        // What can be put together of accounts is, unless the file itself is named.
        if let Some((_, word)) = self.rebase.choices.at(path)
            && word != path
            && self.text(path).is_some()
        {
            return None;
        }
        let is_named = || self.rebase.choices.at(path).is_some_and(|(_, word)| word == path);
        let is_own = || is_volatile(path) || BACKUPS.contains(&path) || is_identity(path);
        match self.decides(path) {
            Some(Side::New) => Some(Side::New),
            _ if DERIVED.contains(&path) && !is_named() => Some(Side::New),
            Some(Side::Own) => Some(Side::Own),
            None => is_own().then_some(Side::Own),
        }
    }

    fn decides(&self, path: &[u8]) -> Option<Side> {
        self.rebase.choices.at(path).map(|(side, _)| side)
    }

    fn text(&self, path: &[u8]) -> Option<Vec<u8>> {
        if !merge::has_accounts(path) {
            return None;
        }
        let mut readers = self.texts.borrow_mut();
        let mut texts = readers.iter_mut().map(|reader| {
            let mut text = Vec::new();
            reader.file(path).ok()?.take(LARGEST_TEXT + 1).read_to_end(&mut text).ok()?;
            // What is longer is not put together, rather than cut off.
            (text.len() as u64 <= LARGEST_TEXT).then_some(text)
        });
        let (old, new, own) = (texts.next()??, texts.next()??, texts.next()??);
        merge::merge_accounts(path, &self.names.put_into(&old), &new, &own)
    }
}
