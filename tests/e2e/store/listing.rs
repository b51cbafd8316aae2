//! All of a tree that a container can see of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

const ENOENT: Option<i32> = Some(rustix::io::Errno::NOENT.raw_os_error());
const EIO: Option<i32> = Some(rustix::io::Errno::IO.raw_os_error());

/// Types, modes, owners, times, extended attributes, link targets and bytes below a directory. Link
/// counts are left out: stored trees share files with each other.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Listing(pub(super) BTreeMap<PathBuf, Whole>);

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Whole {
    mode: u32,
    uid: u32,
    gid: u32,
    device: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
    attributes: BTreeMap<OsString, Vec<u8>>,
    /// The bytes of a file, the target of a link.
    pub(super) content: Vec<u8>,
}

impl Listing {
    pub(super) fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut open = vec![root.to_path_buf()];
        while let Some(path) = open.pop() {
            // An overlay names whiteouts of the tree below it, and files that it cannot show, and has
            // none of them.
            let unseen = |error: io::Error| [ENOENT, EIO].contains(&error.raw_os_error());
            if fs::symlink_metadata(&path).is_err_and(unseen) {
                continue;
            }
            let entry = Whole::of(&path);
            if entry.mode & 0o170_000 == 0o040_000 {
                let inner = fs::read_dir(&path).expect("a directory can be read");
                open.extend(inner.map(|inner| inner.expect("a directory entry").path()));
            }
            let name = path.strip_prefix(root).expect("it is below the root").to_path_buf();
            entries.insert(name, entry);
        }
        Self(entries)
    }

    /// The same without times.
    pub(super) fn timeless(mut self) -> Self {
        self.0.values_mut().for_each(|entry| entry.changed = (0, 0));
        self
    }

    /// The same with one text for another in all files and links.
    pub(super) fn renamed(mut self, old: &str, new: &str) -> Self {
        for entry in self.0.values_mut() {
            if let Ok(text) = str::from_utf8(&entry.content) {
                entry.content = text.replace(old, new).into_bytes();
            }
        }
        self
    }

    /// The regular files.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.0.iter().filter(|(_, entry)| entry.mode & 0o170_000 == 0o100_000);
        files.map(|(path, _)| path.as_path())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(Path::new(path))
    }

    /// The text of a file.
    #[track_caller]
    pub(super) fn text(&self, path: &str) -> String {
        let entry = self.0.get(Path::new(path)).unwrap_or_else(|| panic!("there is no {path}"));
        String::from_utf8_lossy(&entry.content).into_owned()
    }

    /// The paths at which two trees differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<PathBuf> {
        let names = self.0.keys().chain(other.0.keys());
        let mut different: Vec<_> =
            names.filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect();
        different.sort();
        different.dedup();
        different
    }

    /// Sees that two trees are the same; what is not is listed.
    #[track_caller]
    pub(super) fn assert_same(&self, other: &Self, what: &str) {
        let different: Vec<_> = self
            .differing(other)
            .into_iter()
            .map(|path| {
                format!("{}: {:?} {:?}", path.display(), self.0.get(&path), other.0.get(&path))
            })
            .collect();
        assert!(different.is_empty(), "{what}: {different:#?}");
    }
}

impl Whole {
    fn of(path: &Path) -> Self {
        let metadata = fs::symlink_metadata(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let content = match metadata.file_type() {
            kind if kind.is_file() => fs::read(path).expect("root reads all"),
            kind if kind.is_symlink() => {
                fs::read_link(path).expect("a link").into_os_string().into_vec()
            }
            _ => Vec::new(),
        };
        Self {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            device: metadata.rdev(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
            attributes: attributes(path),
            content,
        }
    }
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = llistxattr(path, &mut names[..]).expect("root reads all");
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    // How XFS shows access lists a second time.
    let names = names.filter(|name| !name.starts_with(b"trusted.SGI_ACL_"));
    names
        .map(|name| {
            let name = std::ffi::OsStr::from_bytes(name).to_owned();
            let mut value = vec![0; 65536];
            let length = lgetxattr(path, &name, &mut value[..]).expect("root reads all");
            value.truncate(length);
            (name, value)
        })
        .collect()
}

impl fmt::Debug for Listing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(&self.0).finish()
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, uid, gid, device, changed, attributes, content } = self;
        let shown = String::from_utf8_lossy(&content[..content.len().min(60)]);
        let size = content.len();
        write!(
            formatter,
            "{mode:06o} {uid}:{gid} device {device} {changed:?} {attributes:?} {size} {shown:?}"
        )
    }
}
