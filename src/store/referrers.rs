//! Who stands on what is stored.
//!
//! A tree that something stands on must stay. So every source is asked: the links in `roots/`, every
//! config below a known directory of containers, and what is mounted anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::gc_roots::{GENERATIONS, GcRoot, OLD_GENERATION, SNAPSHOTS, lxcpath_of};
use super::layout::{Store, now};
use crate::host::fault::about;
use crate::host::files;
use crate::lxc;
use crate::plan::EntryId;

/// Who stands on entries.
#[derive(Debug, Default)]
pub(crate) struct Referrers {
    /// The configs of containers and snapshots, by entry; of a mount, what shows it.
    pub of: BTreeMap<EntryId, BTreeSet<PathBuf>>,
    /// Links to containers that cannot be reached now, or do not say what they stand on.
    pub unreachable: Vec<GcRoot>,
    /// Links to containers that are gone, or stand on something else, since a short time.
    pub missed: Vec<GcRoot>,
    /// Links to those that are gone for long.
    pub stale: Vec<GcRoot>,
    /// Links to those that were missed, and are there again.
    pub found_again: Vec<GcRoot>,
    /// Links that were asked to be forgotten: they go with what their containers stood on.
    pub forgotten: Vec<GcRoot>,
    /// All links.
    pub links: BTreeSet<PathBuf>,
    /// The containers that a link is of, each with what it says that they stand on.
    pub noted: BTreeSet<(EntryId, PathBuf)>,
}

impl Referrers {
    /// Finds them for the store below `top`. `lxcpaths` are directories of containers that are known
    /// besides those of the links.
    pub(crate) fn find(top: &Path, lxcpaths: &[PathBuf]) -> io::Result<Self> {
        let mut users = Self::default();
        let now = now();
        let mut directories: BTreeSet<PathBuf> = lxcpaths.iter().cloned().collect();
        for root in GcRoot::all(top)? {
            let lxcpath = lxcpath_of(&root.config);
            users.links.insert(root.link.clone());
            // Where it stands twice, it was made again on the same: one link is enough.
            let is_first = users.noted.insert((root.entry, root.config.clone()));
            if is_being_made(&root.config) {
                users.of.entry(root.entry).or_default().insert(root.config.clone());
                directories.insert(lxcpath);
                continue;
            }
            match files::read_regular(&root.config, lxc::config::LARGEST) {
                Ok(text) if entries_in(&text).contains(&root.entry) => {
                    users.of.entry(root.entry).or_default().insert(root.config.clone());
                    if !is_first {
                        users.stale.push(root);
                    } else if root.missed.is_some() {
                        users.found_again.push(root);
                    }
                }
                Ok(text) if stands_elsewhere(&root.config, &text) && root.is_of_living() => {
                    users.stale.push(root);
                }
                Ok(text) if stands_elsewhere(&root.config, &text) => users.miss(root, now),
                Err(_) if root.is_gone() && root.is_of_living() => users.stale.push(root),
                Err(_) if root.is_gone() => users.miss(root, now),
                // It may stand on a disk that is not there now, or be just being written.
                _ => users.unreachable.push(root),
            }
            directories.insert(lxcpath);
        }
        for directory in directories {
            users.look_below(&directory)?;
        }
        users.look_at_mounts()?;
        Ok(users)
    }

    fn miss(&mut self, root: GcRoot, now: u64) {
        if root.is_over(now) { self.stale.push(root) } else { self.missed.push(root) }
    }

    /// Tells whether an entry must stay.
    pub(crate) fn needs(&self, id: EntryId) -> bool {
        self.uses(id) || self.missed.iter().any(|root| root.entry == id)
    }

    /// Tells whether a container that is there, as far as that can be seen, stands on an entry.
    pub(crate) fn uses(&self, id: EntryId) -> bool {
        self.of.contains_key(&id) || self.unreachable.iter().any(|root| root.entry == id)
    }

    /// Looks at the configs of all containers in a directory, of their snapshots and of what they were before.
    fn look_below(&mut self, lxcpath: &Path) -> io::Result<()> {
        for container in names_in(lxcpath)? {
            configs_of(&container)?.iter().try_for_each(|config| self.look_at(config))?;
        }
        Ok(())
    }

    fn look_at(&mut self, config: &Path) -> io::Result<()> {
        let text = there(config, files::read_regular(config, lxc::config::LARGEST))?;
        for entry in text.map(|text| entries_in(&text)).unwrap_or_default() {
            self.of.entry(entry).or_default().insert(config.to_path_buf());
        }
        Ok(())
    }

    /// Looks at the mounts of every process that may be looked at: those of running containers are
    /// in mount namespaces of their own.
    fn look_at_mounts(&mut self) -> io::Result<()> {
        let mut seen = BTreeSet::new();
        for process in names_in(Path::new("/proc"))? {
            let number = process.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            if let Ok(namespace) = fs::read_link(process.join("ns/mnt"))
                && !seen.insert(namespace)
            {
                continue;
            }
            let Ok(text) = fs::read(process.join("mountinfo")) else { continue };
            for entry in entries_in(&text) {
                self.of.entry(entry).or_default().insert(process.join("mountinfo"));
            }
        }
        Ok(())
    }
}

fn names_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    Ok(there(directory, listed)?.unwrap_or_default())
}

/// Returns what was read at a path: nothing, where no container can be. What cannot be read for another reason
/// may be one that stands on something.
fn there<T>(path: &Path, read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_nothing(&error) => Ok(None),
        Err(error) => Err(about(crate::shell::word(path), error)),
    }
}

/// Tells whether there is nothing of a container's: no such file, another type of file, or one of somebody else,
/// who has a store of his own.
fn is_nothing(error: &io::Error) -> bool {
    const NOTHING: [Errno; 6] =
        [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::ACCESS, Errno::PERM];
    let number = Errno::from_io_error(error);
    number.is_none_or(|number| NOTHING.contains(&number))
}

/// Tells whether a container, or what it is to become, is just being made, or was never finished: no config may say yet
/// what it stands on.
fn is_being_made(config: &Path) -> bool {
    let directory = config.parent().unwrap_or(Path::new("/"));
    let generations = names_in(&directory.join(GENERATIONS)).unwrap_or_default();
    [directory.to_path_buf()]
        .into_iter()
        .chain(generations)
        .any(|made| made.join("partial").symlink_metadata().is_ok())
}

/// Returns the configs of a container, of its snapshots and of what it was and is to become.
fn configs_of(container: &Path) -> io::Result<Vec<PathBuf>> {
    let mut configs = vec![container.join("config")];
    for below in [SNAPSHOTS, GENERATIONS] {
        for other in names_in(&container.join(below))? {
            configs.push(other.join("config"));
            // What a generation that just takes its place is followed by.
            configs.push(other.join(OLD_GENERATION).join("config"));
        }
    }
    // It may have come to its place meanwhile.
    configs.push(container.join("config"));
    Ok(configs)
}

impl GcRoot {
    /// Tells whether what it says holds now, or may come to hold: of its container, or of another generation of that.
    pub(super) fn holds(&self) -> io::Result<bool> {
        if is_being_made(&self.config) {
            return Ok(true);
        }
        let container = self.config.parent().unwrap_or(Path::new("/"));
        for config in configs_of(container)? {
            let text = there(&config, files::read_regular(&config, lxc::config::LARGEST))?;
            if text.is_some_and(|text| entries_in(&text).contains(&self.entry)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what is noted of a container that is there and does not hold. Nobody makes it anew meanwhile.
    pub(crate) fn tidy(store: &Store, config: &Path) -> io::Result<()> {
        // One that was moved meanwhile may hold elsewhere.
        files::read_regular(config, lxc::config::LARGEST)?;
        let of_container = |root: &Self| root.map == store.map() && root.config == config;
        for root in Self::all(store.top())?.into_iter().filter(of_container) {
            if !root.holds()? {
                there(&root.link, fs::remove_file(&root.link))?;
            }
        }
        Ok(())
    }
}

/// Tells whether a config says that its container stands on something that is none of this. LXC writes
/// it anew when a template has ended, and `partial` is there as long as it does.
fn stands_elsewhere(config: &Path, text: &[u8]) -> bool {
    let rootfs = lxc::config::last_value(&String::from_utf8_lossy(text), "lxc.rootfs.path")
        .is_some_and(|value| !value.is_empty());
    rootfs && !is_being_made(config)
}

/// Returns the entries whose trees a text names, wherever the store is by that text.
fn entries_in(text: &[u8]) -> BTreeSet<EntryId> {
    let before = b"/trees/";
    memchr::memmem::find_iter(text, before)
        .filter_map(|at| {
            let rest = &text[at + before.len()..];
            let end = rest.iter().position(|byte| *byte == b'/')?;
            EntryId::parse(str::from_utf8(&rest[..end]).ok()?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn entries_are_found_in_any_text() {
        let id = |text: &str| EntryId { key: Digest::of(text.as_bytes()), generation: 7 };
        let (a, b) = (id("a"), id("b"));
        let text = format!(
            "lxc.rootfs.path = overlay:/s/host/trees/{a}/rootfs:/l/c/delta\n\
             36 35 0:1 / /m rw - overlay overlay rw,lowerdir=/s/trees/{b}/rootfs,upperdir=/u\n\
             /trees/nothing/ /trees/{a}"
        );
        assert_eq!(entries_in(text.as_bytes()), BTreeSet::from([a, b]));
    }

    #[test]
    fn a_snapshot_is_its_container_s() {
        assert_eq!(lxcpath_of(Path::new("/l/c/config")), Path::new("/l"));
        assert_eq!(lxcpath_of(Path::new("/l/c/snaps/snap0/config")), Path::new("/l"));
        assert_eq!(lxcpath_of(Path::new("/l/c/upgrade/previous/config")), Path::new("/l"));
        assert_eq!(lxcpath_of(Path::new("/l/c/upgrade/switch/old/config")), Path::new("/l"));
        assert_eq!(lxcpath_of(Path::new("/l/old/config")), Path::new("/l"));
    }
}
