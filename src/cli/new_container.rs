//! The directory of a container that is being made without LXC: made first, and removed unless it is kept.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, fcntl_lock, fstat, fsync, unlinkat};
use rustix::io::Errno;

use super::output;
use crate::host::caller::Caller;
use crate::host::files::{self, Ownership};
use crate::host::lxcpath;
use crate::lxc::call::Mapped;
use crate::observe::container::{PARTIAL, is_unfinished};
use crate::{shell, tree};

/// Tells whether a run was killed that has made a directory, or was removing it.
fn is_leftover(path: &Path) -> bool {
    is_unfinished(path) || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Returns the command that removes a container that was never finished.
pub(super) fn removal(path: &Path) -> String {
    shell::command(["rm".as_ref(), "-r".as_ref(), path.as_os_str()])
}

/// A container's directory without its rootfs's contents. Dropped, it is removed with all in it,
/// unless it is kept.
pub(super) struct NewContainer {
    path: PathBuf,
    /// The directory itself: another may have come to its place.
    directory: OwnedFd,
    kept: bool,
    /// Locked as long as the container is being made. Of a file that this process has locked, it
    /// closes no other descriptor: the lock would go with that.
    partial: Option<File>,
}

impl NewContainer {
    /// Makes it with owners and modes as LXC gives them.
    pub(super) fn make(path: &Path, config: &[u8], mapped: Option<Mapped>) -> io::Result<Self> {
        rustix::process::umask(rustix::fs::Mode::empty());
        DirBuilder::new().mode(0o770).create(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if is_leftover(path) => io::Error::other(format!(
                "it exists already, and was never finished: `{}`, then create it again",
                removal(path)
            )),
            io::ErrorKind::AlreadyExists => io::Error::new(error.kind(), "it exists already"),
            _ => error,
        })?;
        let directory = files::open_directory(path).inspect_err(|_| {
            // Nothing is in it.
            let _ = fs::remove_dir(path);
        })?;
        let mut shell = Self { path: path.to_path_buf(), directory, kept: false, partial: None };
        let caller = Caller::observe();
        if mapped.is_some() {
            // It may have the group of what it stands in, and no file of a group outside the map can be given away.
            fchown(&shell.directory, None, Some(caller.gid))?;
        }
        // It comes first and goes last: nothing without it is taken for a container.
        let partial = path.join(PARTIAL);
        let partial = File::options().write(true).create_new(true).mode(0o640).open(partial)?;
        fcntl_lock(&partial, FlockOperation::NonBlockingLockExclusive)?;
        let (uid, gid) = mapped.map_or((caller.uid, caller.gid), |mapped| (mapped.uid, mapped.gid));
        fchown(&partial, Some(uid), Some(gid))?;
        shell.partial = Some(partial);
        let rootfs = path.join("rootfs");
        DirBuilder::new().mode(0o755).create(&rootfs)?;
        if mapped.is_some() {
            let group = lxcpath::group(&caller, mapped);
            chown(path, None, Some(group))?;
            chown(&rootfs, None, Some(group))?;
        }
        let ownership = Ownership { uid, gid, mode: 0o640 };
        files::replace_in(&shell.directory, "config", config, ownership)?;
        Ok(shell)
    }

    /// Keeps it as a whole container.
    pub(super) fn keep(mut self) -> io::Result<()> {
        if !self.is_in_place()? {
            return Err(io::Error::other("it was removed or replaced while it was made"));
        }
        match unlinkat(&self.directory, PARTIAL, AtFlags::empty()) {
            // Somebody was faster.
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
        // All else of it is on the disk by now.
        fsync(&self.directory)?;
        self.kept = true;
        // From now on nobody need wait for it.
        drop(self.partial.take());
        Ok(())
    }

    /// Removes it, and last of all what says that it is unfinished.
    fn remove(&self) -> io::Result<()> {
        let shown = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        for entry in fs::read_dir(shown)? {
            let name = entry?.file_name();
            if name != PARTIAL {
                tree::remove(self.directory.as_fd(), &name)?;
            }
        }
        if !self.is_in_place()? {
            // What is there is somebody else's.
            return Ok(());
        }
        let above = files::open_directory(self.path.parent().unwrap_or(Path::new("/")))?;
        tree::remove(above.as_fd(), self.path.file_name().unwrap_or_default())
    }

    /// Tells whether its path still leads to it.
    fn is_in_place(&self) -> io::Result<bool> {
        let own = fstat(&self.directory)?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.st_dev, own.st_ino)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for NewContainer {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match self.remove() {
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = self.path.display();
                output::error(&format!("`{path}` could not be removed: {error}"), None);
            }
            Ok(()) => {}
        }
    }
}
