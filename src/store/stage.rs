//! Mounts under which layers are made, and containers stand.
//!
//! All of them are in the run's own mount namespace, and end with it.

use std::env;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, unmount};

use super::layout::open;
use super::leftover;
use crate::host::caller::Caller;
use crate::host::{files, kernel};
use crate::lxc;

/// How long it may take until whoever is at work has ended.
const LONGEST_END: Duration = Duration::from_secs(5);

/// What to say where somebody does not end.
const AT_WORK: &str = "something that was started is still at work in its rootfs";

/// How often it is looked whether they have.
const PATIENCE: Duration = Duration::from_millis(5);

/// An overlay that is mounted. Dropped, it is no longer.
#[derive(Debug)]
pub(crate) struct Overlay {
    at: PathBuf,
}

impl Overlay {
    /// Mounts an overlay over the directory `at`.
    ///
    /// Its options are all stated: distributions differ, and what a redirection or a separated
    /// metadata entry would leave in `upper` is no complete tree. What is written is not on the disk
    /// when it is unmounted: the kernel would write out all of the filesystem below, whoever's it is.
    pub(crate) fn mount(lower: &Path, upper: &Path, work: &Path, at: &Path) -> io::Result<Self> {
        let mut options = Vec::new();
        for (name, path) in [("lowerdir=", lower), ("upperdir=", upper), ("workdir=", work)] {
            let path = path.as_os_str().as_bytes();
            refuse_path(path)?;
            options.extend_from_slice(name.as_bytes());
            options.extend_from_slice(path);
            options.push(b',');
        }
        options.extend_from_slice(b"redirect_dir=nofollow,metacopy=off,index=off,volatile");
        if Caller::observe().is_mapped_root() {
            options.extend_from_slice(b",userxattr");
        }
        let options = CString::new(options).map_err(io::Error::other)?;
        mount("overlay", at, "overlay", MountFlags::empty(), Some(options.as_c_str())).map_err(
            |error| {
                let (error, upper) = (io::Error::from(error), upper.display());
                io::Error::new(error.kind(), format!("no overlay can write to `{upper}`: {error}"))
            },
        )?;
        let overlay = Self { at: at.to_path_buf() };
        // Where the kernel cannot make its own directory in `work`, nobody can write.
        if statvfs(at)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
            let is_full = files::is_on_full_disk(upper)?;
            let kind = if is_full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
            let why = if is_full { ": its disk is full" } else { " by an overlay" };
            let message = format!("nothing can be written to `{}`{why}", upper.display());
            return Err(io::Error::new(kind, message));
        }
        Ok(overlay)
    }

    /// Shows what an overlay of `upper` on `lower` shows over the directory `at`. Nothing can be written to it.
    pub(crate) fn view(lower: &Path, upper: &Path, at: &Path) -> io::Result<Self> {
        let mut options = b"lowerdir=".to_vec();
        for (path, end) in [(upper, b':'), (lower, b',')] {
            let path = path.as_os_str().as_bytes();
            refuse_path(path)?;
            options.extend_from_slice(path);
            options.push(end);
        }
        let is_mapped = Caller::observe().is_mapped_root();
        // What has been renamed by a mount that does so is shown where it is.
        options.extend_from_slice(if is_mapped {
            b"userxattr"
        } else {
            b"redirect_dir=follow,metacopy=on,index=off"
        });
        let options = CString::new(options).map_err(io::Error::other)?;
        mount("overlay", at, "overlay", MountFlags::RDONLY, Some(options.as_c_str()))?;
        Ok(Self { at: at.to_path_buf() })
    }

    /// Unmounts it.
    ///
    /// # Errors
    ///
    /// Also where something still uses it.
    pub(crate) fn unmount(self) -> io::Result<()> {
        let at = self.at.clone();
        std::mem::forget(self);
        match unmount(&at, UnmountFlags::NOFOLLOW) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = unmount(&at, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
                Err(error.into())
            }
        }
    }
}

/// Refuses a path that the options of an overlay cannot have.
fn refuse_path(path: &[u8]) -> io::Result<()> {
    match path.iter().any(|byte| b":,\\".contains(byte)) {
        true => Err(io::Error::other("a path with `:`, `,` or `\\` cannot be an overlay's")),
        false => Ok(()),
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
        if let Err(error) = unmount(&self.at, flags) {
            tracing::debug!(%error, at = %self.at.display(), "an overlay stays until the run ends");
        }
    }
}

/// A lxcpath without its containers, but with the one that a layer is made for. Dropped, all is as it
/// was.
///
/// An upstream that is interrupted removes what it thinks is its own by name.
#[derive(Debug)]
pub(crate) struct HiddenContainers {
    lxcpath: PathBuf,
    /// Where this process was working, if that is hidden.
    here: Option<PathBuf>,
}

impl HiddenContainers {
    /// Hides the containers in `lxcpath`, and shows the directory `shown` as `name` there.
    pub(crate) fn hide(lxcpath: &Path, shown: &Path, name: &str) -> io::Result<Self> {
        // It may be a link to a larger disk.
        let lxcpath = &fs::canonicalize(lxcpath)?;
        let entries: Vec<_> = fs::read_dir(lxcpath)?.collect::<Result<_, _>>()?;
        // What is about to be hidden is reached by its descriptors: all that this needs may be
        // there, the store itself as well.
        let (under, shown) = (open(lxcpath)?, open(shown)?);
        let through =
            |directory: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        mount("tmpfs", lxcpath, "tmpfs", MountFlags::NOSUID, Some(c"mode=0755"))?;
        let here = env::current_dir().ok().filter(|here| here.starts_with(lxcpath));
        let hidden = Self { lxcpath: lxcpath.clone(), here };
        let show = |kind: fs::FileType, from: &Path, to: &Path| -> io::Result<()> {
            if kind.is_symlink() && !is_container(from) {
                std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
            } else if kind.is_dir() && !is_container(from) {
                fs::create_dir(to)?;
                mount_bind_recursive(from, to)?;
            } else if kind.is_file() {
                fs::File::create(to)?;
                mount_bind(from, to)?;
            }
            Ok(())
        };
        for entry in entries {
            let (from, to) =
                (through(&under).join(entry.file_name()), lxcpath.join(entry.file_name()));
            match entry.file_type().and_then(|kind| show(kind, &from, &to)) {
                // Others make and destroy containers meanwhile.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && from.symlink_metadata().is_err() =>
                {
                    let _ = fs::remove_dir(&to).or_else(|_| fs::remove_file(&to));
                }
                shown => shown?,
            }
        }
        let to = lxcpath.join(name);
        fs::create_dir(&to)?;
        mount_bind_recursive(through(&shown), &to)?;
        // A path without a slash in front would still lead to what is hidden.
        if let Some(here) = &hidden.here {
            env::set_current_dir(here).map_err(|error| {
                let here = here.display();
                let message = format!("the working directory `{here}` is a container's: {error}");
                io::Error::new(error.kind(), message)
            })?;
        }
        Ok(hidden)
    }

    /// Takes it away, once nobody is at work any more in the container that it shows: whoever a layer
    /// has left there is ended, since what is stored must not change. `mark` stands in every path of
    /// where that really is.
    ///
    /// # Errors
    ///
    /// Where somebody stays all the same.
    pub(crate) fn reveal(self, name: &str, mark: &[u8]) -> io::Result<()> {
        let shown = self.lxcpath.join(name);
        let deadline = Instant::now() + LONGEST_END;
        let can_be_found = leftover::can_be_found();
        loop {
            // Also who has mounts of its own, and would keep nobody from unmounting these.
            if can_be_found && leftover::end(&shown, mark) {
                if Instant::now() >= deadline {
                    return Err(io::Error::other(AT_WORK));
                }
                sleep(PATIENCE);
                continue;
            }
            // What is mounted within it goes first; of the upstream, nothing is.
            let within = unmount(shown.join("rootfs"), UnmountFlags::NOFOLLOW);
            let within = match within {
                Err(Errno::INVAL | Errno::NOENT) => Ok(()),
                other => other,
            };
            match within.and_then(|()| unmount(&shown, UnmountFlags::NOFOLLOW)) {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY) if Instant::now() < deadline => {
                    if !can_be_found {
                        // Another namespace's `/proc` does not tell who it is.
                        kernel::kill_all_others();
                    }
                    sleep(PATIENCE);
                }
                Err(Errno::BUSY) => return Err(io::Error::other(AT_WORK)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for HiddenContainers {
    fn drop(&mut self) {
        let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
        if let Err(error) = unmount(&self.lxcpath, flags) {
            tracing::warn!(%error, "the containers stay hidden until the run ends");
        }
        if let Some(here) = &self.here
            && let Err(error) = env::set_current_dir(here)
        {
            tracing::debug!(%error, "the working directory is gone");
        }
    }
}

/// Tells whether a directory is a container's: LXC's config stands there, and nobody else's.
fn is_container(path: &Path) -> bool {
    let config = files::read_regular(&path.join("config"), lxc::config::LARGEST);
    config.is_ok_and(|text| text.is_empty() || memchr::memmem::find(&text, b"lxc.").is_some())
}
