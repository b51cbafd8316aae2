//! What a sandbox puts into a rootfs for as long as it lasts.
//!
//! A loan is a real file or directory, not a mount: a package may replace it, which a mount would
//! refuse with EBUSY. What was there before is kept aside under another name in the same directory,
//! so that it comes back as the same inode, with its times, links and attributes. A sandbox that was
//! killed could not give it back: the next one does, by [`give_back_of_killed`].
//!
//! The directory's own time of change is set back at once. So it shows later whether the step has
//! changed the directory, and is set back again only if it has not.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use super::edit::Edit;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fstat,
    futimens, mkdirat, openat, renameat_with, statat, unlinkat,
};

use crate::host::rootfs::{Attributes, RootfsEntry, own};

/// The permission bits of a mount point, which nobody sees.
const MOUNT_POINT: u32 = 0o755;

/// Something lent to a rootfs.
#[derive(Debug)]
pub(super) struct LentFiles {
    directory: OwnedFd,
    name: OsString,
    /// The name that what was there has meanwhile.
    aside: Option<OsString>,
    /// What was put there.
    ours: Identity,
    /// The text and permission bits of a file.
    lent: Option<(Vec<u8>, u32)>,
    /// When the directory was changed last.
    changed: Timespec,
}

/// When a placeholder was changed last, by which it is known. Nothing else is of that second.
const PLACEHOLDER: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Tells whether something was only put there to mount a file on it.
pub(super) fn is_placeholder(stat: &Stat) -> bool {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file && stat.st_size == 0 && time_of(stat) == PLACEHOLDER
}

/// How something is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// Length and time of change; `None` for a directory, which is covered by a mount.
    content: Option<(i64, i64, i64)>,
}

impl LentFiles {
    /// Lends a file of root's.
    pub(super) fn file(place: &RootfsEntry, bytes: &[u8], mode: u32) -> io::Result<Self> {
        let loan = Self::make(place, |directory, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut file = File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?);
            file.write_all(bytes)?;
            own(&file, Attributes { uid: 0, gid: 0, mode })
        })?;
        Ok(Self { lent: Some((bytes.to_vec(), mode)), ..loan })
    }

    /// Lends a file to mount something on: empty and no program, so that it means nothing if it stays. One
    /// that is there already is another sandbox's.
    pub(super) fn placeholder(place: &RootfsEntry) -> io::Result<Self> {
        if let Some(stat) = place.look()?.filter(is_placeholder) {
            let directory = place.directory().try_clone_to_owned()?;
            let changed = time_of(&fstat(&directory)?);
            let (name, ours) = (place.name().to_owned(), Identity::of(&stat));
            return Ok(Self { directory, name, aside: None, ours, lent: None, changed });
        }
        Self::make(place, |directory, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
            own(&file, Attributes { uid: 0, gid: 0, mode: 0o644 })?;
            set_time(&file, PLACEHOLDER)
        })
    }

    /// Lends a directory to mount something on, unless there is one.
    pub(super) fn mount_point(place: &RootfsEntry) -> io::Result<Option<Self>> {
        let there = place.look()?.map(|stat| FileType::from_raw_mode(stat.st_mode));
        if there == Some(FileType::Directory) {
            return Ok(None);
        }
        let loan = Self::make(place, |directory, name| {
            mkdirat(directory, name, Mode::from_raw_mode(MOUNT_POINT))?;
            Ok(())
        })?;
        Ok(Some(loan))
    }

    fn make(
        place: &RootfsEntry,
        make: impl FnOnce(&OwnedFd, &OsStr) -> io::Result<()>,
    ) -> io::Result<Self> {
        let directory = place.directory().try_clone_to_owned()?;
        let name = place.name();
        let changed = time_of(&fstat(&directory)?);
        let aside = match place.look()? {
            Some(_) => Some(set_aside(&directory, name)?),
            None => None,
        };
        let made = make(&directory, name).and_then(|()| Ok(Identity::of(&look(&directory, name)?)));
        let ours = match made {
            Ok(ours) => ours,
            Err(error) => {
                let _ = unlinkat(&directory, name, AtFlags::empty());
                if let Some(aside) = &aside {
                    let _ = rename(&directory, aside, name);
                }
                let _ = set_time(&directory, changed);
                return Err(error);
            }
        };
        set_time(&directory, changed)?;
        Ok(Self { directory, name: name.to_owned(), aside, ours, lent: None, changed })
    }

    /// Takes it away, and gives back what was there. What has taken its place is the step's own and
    /// stays. What was changed in a file's text or mode is changed in what was there.
    pub(super) fn give_back(self) -> io::Result<()> {
        if let Some((lent, mode)) = &self.lent
            && let Some(edit) = Edit::find(&self.directory, &self.name, lent, *mode)?
        {
            return self.give_back_edited(&edit);
        }
        let Self { directory, name, aside, ours, changed, .. } = self;
        let now = time_of(&fstat(&directory)?);
        let untouched = match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Identity::of(&stat) == ours,
            Err(rustix::io::Errno::NOENT) => false,
            Err(error) => return Err(error.into()),
        };
        if untouched {
            let flags = match ours.content {
                Some(_) => AtFlags::empty(),
                None => AtFlags::REMOVEDIR,
            };
            unlinkat(&directory, &name, flags)?;
        }
        match aside {
            Some(aside) if untouched => rename(&directory, &aside, &name)?,
            Some(aside) => discard(&directory, &aside)?,
            None => {}
        }
        // Whether the step has changed the directory or not: this has not.
        set_time(&directory, if now == changed { changed } else { now })
    }
}

impl LentFiles {
    /// Gives back what was there, with the step's edit of it.
    fn give_back_edited(self, edit: &Edit) -> io::Result<()> {
        let Self { directory, name, aside, changed, .. } = self;
        let now = time_of(&fstat(&directory)?);
        unlinkat(&directory, &name, AtFlags::empty())?;
        if let Some(aside) = &aside {
            rename(&directory, aside, &name)?;
        }
        edit.apply(&directory, &name)?;
        set_time(&directory, if now == changed { changed } else { now })
    }
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let time = time_of(stat);
        let content = (stat.st_size, time.tv_sec, time.tv_nsec);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            content: Some(content).filter(|_| !directory),
        }
    }
}

fn look(directory: &OwnedFd, name: &OsStr) -> io::Result<Stat> {
    Ok(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Puts back what a sandbox that was killed has set aside at this place.
pub(super) fn give_back_of_killed(place: &RootfsEntry) -> io::Result<()> {
    let directory = place.directory().try_clone_to_owned()?;
    let (name, aside) = (place.name(), aside(place.name(), 0));
    match statat(&directory, &aside, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let changed = time_of(&fstat(&directory)?);
    let removed = match place.look()?.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        None => Ok(()),
        // One that is not empty has become somebody's.
        Some(FileType::Directory) => unlinkat(&directory, name, AtFlags::REMOVEDIR),
        Some(_) => unlinkat(&directory, name, AtFlags::empty()),
    };
    match removed {
        Err(rustix::io::Errno::NOTEMPTY) => return Ok(()),
        other => other?,
    }
    rename(&directory, &aside, name)?;
    set_time(&directory, changed)
}

/// Returns the name that something has meanwhile.
fn aside(name: &OsStr, count: u32) -> OsString {
    let mut aside = OsString::from(".layered-template.");
    aside.push(name);
    aside.push(format!(".{count}"));
    aside
}

/// Gives what is there another name in its directory, and returns that.
fn set_aside(directory: &OwnedFd, name: &OsStr) -> io::Result<OsString> {
    for count in 0..1000 {
        let aside = aside(name, count);
        match rename(directory, name, &aside) {
            // A killed run may have left one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| aside),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn rename(directory: &OwnedFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    Ok(renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE)?)
}

/// Removes what was set aside, unless it went with the directory that it was in. A directory that is not
/// empty is not what was set aside.
fn discard(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        other => return Ok(other?),
    }
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(rustix::io::Errno::NOTEMPTY) => Ok(()),
        other => Ok(other?),
    }
}

fn time_of(stat: &Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    }
}

fn set_time(directory: &OwnedFd, changed: Timespec) -> io::Result<()> {
    let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Ok(futimens(directory, &Timestamps { last_access: unchanged, last_modification: changed })?)
}
