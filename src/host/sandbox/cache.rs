//! Directories of the host that stand in for directories of the rootfs, and outlast the run.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::mount::MountAttrFlags;

use super::boundary::cannot_map;
use super::loan::LentFiles;
use super::mounts;
use super::user_namespace::UserNamespace;
use crate::host::kernel;
use crate::host::rootfs::Rootfs;

/// A directory of the host for one of the rootfs.
#[derive(Debug)]
pub(crate) struct CacheMount {
    /// Where it stands inside.
    pub path: PathBuf,
    /// The directory of the host.
    pub directory: OwnedFd,
    /// What is held as long as it is in use.
    #[expect(dead_code, reason = "only held")]
    pub lock: OwnedFd,
}

/// Those of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct CacheMounts(Vec<CacheMount>);

impl CacheMounts {
    /// Adds one.
    pub(crate) fn push(&mut self, cache: CacheMount) {
        self.0.push(cache);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, index: usize) -> &CacheMount {
        &self.0[index]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CacheMount> {
        self.0.iter()
    }

    /// Returns a mount of each, not yet anywhere, with its ids as the sandbox has them.
    pub(super) fn mounts(&self, users: Option<&UserNamespace>) -> io::Result<Vec<OwnedFd>> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
        self.0
            .iter()
            .map(|cache| {
                let mount = mounts::copy_of(&cache.directory)?;
                kernel::restrict_mount(&mount, attributes)?;
                if let Some(users) = users {
                    users.map(&mount).map_err(cannot_map).map_err(|error| {
                        let path = cache.path.display();
                        io::Error::other(format!(
                            "the directory of the host for the cache `{path}`: {error}; \
                             `$LAYERED_TEMPLATE_CACHE` names another place"
                        ))
                    })?;
                }
                Ok(mount)
            })
            .collect()
    }
}

/// Lends the rootfs the directories down to `path` that it lacks.
pub(super) fn mount_points(
    rootfs: &Rootfs,
    path: &Path,
    loans: &mut Vec<LentFiles>,
) -> io::Result<()> {
    let mut above: Vec<_> = path.ancestors().filter(|above| above.file_name().is_some()).collect();
    above.reverse();
    for directory in above {
        match rootfs.directory(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => {
                other?;
                continue;
            }
        }
        loans.extend(LentFiles::mount_point(&rootfs.entry(directory)?)?);
    }
    Ok(())
}
