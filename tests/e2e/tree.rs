//! A rootfs as a value: all that can be compared of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::lab::Lab;

/// Names, types, modes, owners, link counts, link targets and contents below a directory.
pub(crate) struct Tree(BTreeMap<PathBuf, Entry>);

#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    /// Type and permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    links: u64,
    device: u64,
    /// The bytes of a file, the target of a link.
    pub(crate) content: Vec<u8>,
}

impl Tree {
    pub(crate) fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut open = vec![root.to_path_buf()];
        while let Some(path) = open.pop() {
            let entry = Entry::of(&path);
            if entry.is(0o040_000) {
                let inner = fs::read_dir(&path).expect("a directory can be read");
                open.extend(inner.map(|inner| inner.expect("a directory entry").path()));
            }
            let name = path.strip_prefix(root).expect("it is below the root").to_path_buf();
            entries.insert(name, entry);
        }
        Self(entries)
    }

    /// The same tree without what stands below some paths, and with the ids as the container counts
    /// them.
    pub(crate) fn inside(mut self, lab: &Lab, without: &[&str]) -> Self {
        self.0.retain(|path, _| !without.iter().any(|other| path.starts_with(other)));
        if let Some((users, groups)) = lab.first_ids() {
            for entry in self.0.values_mut() {
                entry.uid -= users;
                entry.gid -= groups;
            }
        }
        self
    }

    /// Sees that two trees are the same; what is not is listed.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self) {
        let different = self.differences(other);
        let shown = different.iter().map(|name| {
            format!("{}: {:?} {:?}", name.display(), self.0.get(name), other.0.get(name))
        });
        let shown: Vec<_> = shown.collect();
        assert!(shown.is_empty(), "{shown:#?}");
    }

    /// The paths that are not the same in two trees.
    pub(crate) fn differences(&self, other: &Self) -> Vec<PathBuf> {
        let names = self.0.keys().chain(other.0.keys());
        let different = names.filter(|name| self.0.get(*name) != other.0.get(*name)).cloned();
        different.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }
}

impl Entry {
    /// What stands at a path, a link not followed.
    pub(crate) fn of(path: &Path) -> Self {
        let metadata = fs::symlink_metadata(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let content = match metadata.file_type() {
            kind if kind.is_file() => fs::read(path).expect("root reads all"),
            kind if kind.is_symlink() => {
                fs::read_link(path).expect("a link").into_os_string().into_encoded_bytes()
            }
            _ => Vec::new(),
        };
        Self {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            // A directory's count says what is in it, which is compared anyhow.
            links: if metadata.is_dir() { 0 } else { metadata.nlink() },
            device: metadata.rdev(),
            content,
        }
    }

    fn is(&self, kind: u32) -> bool {
        self.mode & 0o170_000 == kind
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, uid, gid, links, device, content } = self;
        let shown = String::from_utf8_lossy(&content[..content.len().min(60)]);
        let size = content.len();
        write!(formatter, "{mode:06o} {uid}:{gid} links {links} device {device} {size} {shown:?}")
    }
}
