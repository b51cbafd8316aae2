//! Where the store is, and how its directories are made.

use std::env;
use std::fs;
use std::io;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, Mode, OFlags, access, openat};
use rustix::io::Errno;

use super::lock::Lock;
use crate::digest::Digest;
use crate::host::account::{self, Range};
use crate::host::caller::{self, Caller};
use crate::host::owned::{OwnerIds, make_all, make_one};
use crate::host::trust;
use crate::host::userns::Ids;
use crate::plan::{EntryId, StorageMode};
use crate::tree::{Form, Marks};

/// The variable that puts the store elsewhere.
pub(crate) const VARIABLE: &str = "LAYERED_TEMPLATE_STORE";

/// What is said where [`directory`] knows no place for the store.
pub(crate) const NO_DIRECTORY: &str = "cannot locate the layer store: set HOME";

/// Returns the user whom the store of a caller belongs to. Behind an id map that is the id that stands for whoever
/// entered it.
pub(crate) fn owner(caller: &Caller) -> u32 {
    let ids = Ids::of_this_process().map(|ids| ids.mapped().uid);
    let is_mapped =
        |id: &u32| caller.map.as_ref().is_some_and(|map| caller::outside(map, *id).is_some());
    ids.filter(is_mapped).unwrap_or(caller.uid)
}

/// Returns where the store of a caller is; `None`, where there is no home for one.
///
/// Behind an id map the caller may still be the host's root: its store is where root's is, since
/// nobody else passes root's home.
pub(crate) fn directory(caller: &Caller) -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(path) = variable(VARIABLE) {
        return Some(path);
    }
    if caller.has_host_root() {
        return Some("/var/lib/layered-template/store".into());
    }
    variable("XDG_DATA_HOME")
        .or_else(|| Some(variable("HOME")?.join(".local/share")))
        .map(|base| base.join("layered-template/store"))
}

/// Checks that a store can be at `top`, and tells whether it is there yet.
///
/// # Errors
///
/// Where no overlay can have the path, where others than a user and root may write there, and for root also
/// where others could put something else there.
pub(crate) fn check(top: &Path, uid: u32) -> io::Result<bool> {
    let fits = |text: &str| {
        // An overlay's options, and LXC's config, know no way to write these.
        !text.contains([':', ',', '\\', '"', '\'', '#']) && !crate::shell::has_control(text)
    };
    if !top.to_str().is_some_and(fits) {
        return Err(io::Error::other(
            "its path contains a character that overlay options cannot represent",
        ));
    }
    trust::check(top)?;
    let metadata = match fs::metadata(top) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata?,
    };
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if ![uid, 0].contains(&owner) {
        return Err(io::Error::other(format!("it belongs to {}, who may change it", user(owner))));
    }
    if mode & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "its mode is {mode:04o}: others may write there (`chmod go-w {}` fixes that)",
            crate::shell::word(top)
        )));
    }
    check_inside(top)?;
    Ok(true)
}

/// Names a user by the id that the host has for it.
fn user(id: u32) -> String {
    let outside = match Caller::observe().map {
        None => Some(id),
        // What has no id here has this one.
        Some(_) if id == trust::UNKNOWN => None,
        Some(map) => caller::outside(&map, id),
    };
    match outside.map(|id| (id, account::user_name(id))) {
        None => "a user whom this user namespace does not know".to_owned(),
        Some((id, None)) => format!("user {id}"),
        Some((_, Some(name))) => format!("user `{name}`"),
    }
}

/// Checks that nobody may write into the directories in a store but their owners.
fn check_inside(top: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(top) {
        // Who may not look there finds nothing else either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() && metadata.mode() & 0o022 != 0 {
            let (name, top) = (entry.file_name(), crate::shell::word(top));
            return Err(io::Error::other(format!(
                "others may write into `{}` there, and may have changed what is stored: `chmod -R \
                 go-w {top}`, then `layered-template store verify`",
                name.display()
            )));
        }
    }
    Ok(())
}

/// Returns the name of an id map: trees of different maps share nothing.
pub(crate) fn map_of(ids: Option<Ids>) -> String {
    match ids {
        None => "host".to_owned(),
        Some(Ids { users, groups }) => {
            format!("u{}-{}-g{}-{}", users.first, users.count, groups.first, groups.count)
        }
    }
}

/// Returns the ids of a map by its name, `Some(None)` for the host's own; `None` if it names no map.
#[expect(clippy::option_option, reason = "the host's map has no ids")]
pub(crate) fn ids_of(map: &str) -> Option<Option<Ids>> {
    if map == "host" {
        return Some(None);
    }
    let mut numbers = map.strip_prefix('u')?.split('-');
    let mut number =
        |letter: &str| -> Option<u32> { numbers.next()?.strip_prefix(letter)?.parse().ok() };
    let (users, user_count, groups, group_count) =
        (number("")?, number("")?, number("g")?, number("")?);
    let ids = Ids {
        users: Range { first: users, count: user_count },
        groups: Range { first: groups, count: group_count },
    };
    (map_of(Some(ids)) == map).then_some(Some(ids))
}

/// The store of one id map.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    top: PathBuf,
    map: String,
}

impl Store {
    /// Returns the store below `top` for an id map. Nothing is made, or looked at.
    pub(crate) fn new(top: &Path, map: &str) -> Self {
        Self { top: top.to_path_buf(), map: map.to_owned() }
    }

    /// Returns the store and the entry of what LXC has as the rootfs of a container.
    pub(crate) fn of_rootfs(value: &str) -> Option<(Self, EntryId)> {
        let (lower, _) = value.strip_prefix("overlay:")?.split_once(":/")?;
        let tree = Path::new(lower).parent()?;
        let id = EntryId::parse(tree.file_name()?.to_str()?)?;
        let of_map = tree.parent().filter(|trees| trees.ends_with("trees"))?.parent()?;
        Some((Self::new(of_map.parent()?, of_map.file_name()?.to_str()?), id))
    }

    /// Makes the directories that are missing. `owner` is the caller behind the id map.
    ///
    /// # Errors
    ///
    /// Also where [`check`] refuses it.
    pub(crate) fn make(&self, owner: OwnerIds) -> io::Result<()> {
        let (uid, _) = owner.unwrap_or((rustix::process::geteuid().as_raw(), 0));
        if !check(&self.top, uid)? {
            make_all(&self.top, 0o711, owner)?;
            // Somebody else may have been faster.
            check(&self.top, uid)?;
        }
        for (path, owner) in [
            (self.trees_of_map(), Some((0, 0))),
            (self.trees(), Some((0, 0))),
            (self.work(), Some((0, 0))),
            (self.meta(), owner),
            (self.documents(), owner),
            (self.lists(), owner),
            (self.latest_dir(), owner),
            (self.roles(), owner),
            (self.locks(), owner),
            (self.readings(), owner),
            (self.refused(), owner),
            (self.blobs(), owner),
            (self.roots(), owner),
        ] {
            match make_one(&path, 0o700, owner) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Checks that this process may read there what it has to, and may write there what it has to.
    ///
    /// # Errors
    ///
    /// Which directory is in the way, and why.
    pub(crate) fn access(&self, mode: StorageMode) -> Result<(), String> {
        let documents = self.documents();
        let is_there = |path: &&Path| access(*path, Access::EXISTS) != Err(Errno::NOENT);
        // What is missing is made.
        let nearest = documents.ancestors().find(is_there).unwrap_or(&documents);
        let read = (nearest, Access::READ_OK | Access::EXEC_OK, "read");
        let write = (nearest, Access::WRITE_OK | Access::EXEC_OK, "written");
        let roots = self.roots();
        let root = (roots.as_path(), Access::WRITE_OK | Access::EXEC_OK, "written");
        let first = if nearest == documents { read } else { write };
        let notes_container = mode == StorageMode::Overlay && is_there(&root.0);
        for (path, mode, done) in iter::once(first).chain(notes_container.then_some(root)) {
            access(path, mode).map_err(|error| {
                format!("`{}` cannot be {done}: {}", path.display(), io::Error::from(error))
            })?;
        }
        Ok(())
    }

    /// Returns the id maps, by name, of which there is something in a store.
    pub(crate) fn maps(top: &Path) -> io::Result<Vec<String>> {
        let entries = listed(top)?.into_iter();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut maps: Vec<_> =
            names.filter_map(|name| Some(name.strip_suffix(".meta")?.to_owned())).collect();
        maps.retain(|map| ids_of(map).is_some());
        maps.sort();
        Ok(maps)
    }

    /// Returns where the stores of all id maps are.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// Returns the name of the id map.
    pub(crate) fn map(&self) -> &str {
        &self.map
    }

    fn trees_of_map(&self) -> PathBuf {
        self.top.join(&self.map)
    }

    fn meta(&self) -> PathBuf {
        self.top.join(format!("{}.meta", self.map))
    }

    /// Returns where the trees are, each in a directory named as its entry.
    pub(crate) fn trees(&self) -> PathBuf {
        self.trees_of_map().join("trees")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.trees_of_map().join("work")
    }

    pub(super) fn roots(&self) -> PathBuf {
        self.top.join("roots")
    }

    /// Returns where the rootfs of an entry is.
    pub(crate) fn rootfs(&self, id: EntryId) -> PathBuf {
        self.trees().join(id.to_string()).join("rootfs")
    }

    /// Returns where the files are that stood beside the rootfs and the config.
    pub(crate) fn sidecar(&self, id: EntryId) -> PathBuf {
        self.trees().join(id.to_string()).join("beside")
    }

    pub(super) fn documents(&self) -> PathBuf {
        self.meta().join("entries")
    }

    pub(super) fn document(&self, id: EntryId) -> PathBuf {
        self.documents().join(id.to_string())
    }

    pub(super) fn lists(&self) -> PathBuf {
        self.meta().join("lists")
    }

    pub(super) fn list(&self, id: EntryId) -> PathBuf {
        self.lists().join(id.to_string())
    }

    pub(super) fn latest_dir(&self) -> PathBuf {
        self.meta().join("last")
    }

    pub(super) fn roles(&self) -> PathBuf {
        self.meta().join("roles")
    }

    pub(super) fn latest(&self, manifest: &Path, slot: &str) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let mut text = manifest.as_os_str().as_bytes().to_vec();
        text.push(0);
        text.extend_from_slice(slot.as_bytes());
        self.latest_dir().join(Digest::of(&text).short())
    }

    pub(super) fn readings(&self) -> PathBuf {
        self.meta().join("readings")
    }

    pub(super) fn refused(&self) -> PathBuf {
        self.meta().join("refused")
    }

    /// Returns where blobs of images are, those that are on their way among them.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.meta().join("blobs")
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.meta().join("locks")
    }

    /// Opens the lock of whoever makes a key.
    pub(crate) fn lock_of(&self, key: Digest) -> io::Result<Lock> {
        let key = key.to_string();
        let name = key.rsplit(':').next().unwrap_or_default();
        Lock::open(&self.locks().join(name))
    }
}

/// Returns the time in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Returns a name that nobody else has: ids of processes are those of a run's own namespace.
pub(super) fn unique() -> io::Result<String> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// Returns how the trees of the caller's id map have attributes of overlayfs's names.
pub(crate) fn stored_marks() -> Marks {
    Marks::Escaped(form())
}

/// Returns where overlays of the caller's id map keep their own attributes.
pub(super) fn form() -> Form {
    if Caller::observe().is_mapped_root() { Form::User } else { Form::Trusted }
}

/// Returns what is in a directory: nothing, where there is no such directory.
pub(super) fn listed(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

/// Opens a directory of the store, a link at its end not followed.
pub(super) fn open(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_of_a_container_is_found_by_its_config() {
        let id = EntryId { key: Digest::of(b"x"), generation: 7 };
        let store = Store::new(Path::new("/s/t"), "host");
        let value = format!("overlay:{}:/l/c/delta", store.rootfs(id).display());
        let (found, entry) = Store::of_rootfs(&value).unwrap();
        assert_eq!((found.rootfs(id), entry), (store.rootfs(id), id));
        for value in ["dir:/l/c/rootfs", "overlay:/l/c/rootfs:/l/d/delta", "", "overlay:/:/"] {
            assert!(Store::of_rootfs(value).is_none(), "{value}");
        }
    }

    #[test]
    fn names_of_id_maps_are_read_back() {
        let range = |first, count| Range { first, count };
        let ids = Ids { users: range(100_000, 65_536), groups: range(200_000, 65_536) };
        assert_eq!(ids_of(&map_of(None)), Some(None));
        assert_eq!(ids_of(&map_of(Some(ids))), Some(Some(ids)));
        for name in ["", "u", "u1-2-g3", "u1-2-g3-4-5", "u01-2-g3-4", "x", "u1-2-3-4"] {
            assert_eq!(ids_of(name), None, "{name}");
        }
    }
}
