//! The one door into a rootfs.
//!
//! What a rootfs holds is not trusted: an upstream, or a process in a container that already runs,
//! may put a link anywhere at any time. So a path inside it is never joined to a path of the host.
//! It is resolved from the rootfs's own descriptor, where a link can lead only to another place
//! inside, down to the [`RootfsEntry`] of its last name; all that is done there is done relative to the
//! descriptor of the directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pathrs::flags::{OpenFlags, ResolverFlags};
use pathrs::{Root, error::ErrorKind};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fchmod, mkdirat, openat, openat2,
    renameat, statat, symlinkat, unlinkat,
};
use rustix::mount::{UnmountFlags, unmount};

use super::fault::{self, FaultKind};

/// The permission bits of a directory that is made on the way to a path.
const PARENT: u32 = 0o755;

/// A rootfs, opened once.
#[derive(Debug)]
pub(crate) struct Rootfs {
    root: Root,
}

/// What is at the top of a rootfs: names, inodes, and when they last changed.
pub(crate) type Fingerprint = Vec<(OsString, u64, i64, u64)>;

/// Who something belongs to, and its permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// The user, as the container counts.
    pub uid: u32,
    /// The group, likewise.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

impl Rootfs {
    /// Opens a rootfs by its path on the host, a link at its end not followed.
    ///
    /// What somebody has mounted below it is no part of it: a path that leads there is refused.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::of(Root::open(path).map_err(os_error)?))
    }

    /// Takes an opened directory for a rootfs.
    pub(crate) fn opened(directory: OwnedFd) -> Self {
        Self::of(Root::from_fd(directory))
    }

    fn of(root: Root) -> Self {
        // The library hands this one on to the kernel, and has no name for it.
        let same_mount = ResolverFlags::from_bits_retain(ResolveFlags::NO_XDEV.bits());
        Self { root: root.with_resolver_flags(same_mount) }
    }

    /// Opens a rootfs, which is made where there is none: LXC leaves the directory of `--dir` to
    /// the template.
    pub(crate) fn open_or_make(path: &Path) -> io::Result<Self> {
        match std::fs::create_dir_all(path) {
            Ok(()) => Self::open(path),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory at `path`, links within the rootfs followed.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OpenFlags::O_RDONLY | OpenFlags::O_DIRECTORY;
        self.root.open_subpath(path, flags).map(OwnedFd::from).map_err(os_error)
    }

    /// Opens the directory at `path`, and makes it and those above it, root's and 0755, where they
    /// are missing.
    pub(crate) fn make_directories(&self, path: &Path) -> io::Result<OwnedFd> {
        let place = match (self.directory(path), path.parent()) {
            (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound => {
                RootfsEntry::new(self.make_directories(above)?, path)?
            }
            (other, _) => return other,
        };
        match mkdirat(&place.directory, &place.name, Mode::from_raw_mode(PARENT)) {
            // Somebody else was faster; or it is a link that leads nowhere.
            Err(rustix::io::Errno::EXIST) => self.directory(path),
            Err(error) => Err(error.into()),
            Ok(()) => {
                let directory = place.open_directory()?;
                // A group and its bit are inherited from directories such as Debian's /usr/local.
                own(&directory, Attributes { uid: 0, gid: 0, mode: PARENT })?;
                Ok(directory)
            }
        }
    }

    /// Returns the place at `path`, what is missing above it made. Its last name is not looked at.
    pub(crate) fn entry(&self, path: &Path) -> io::Result<RootfsEntry> {
        let directory = self.make_directories(path.parent().unwrap_or(Path::new("/")))?;
        RootfsEntry::new(directory, path)
    }

    /// Returns the place at `path`, or `None` if there is no directory above it.
    pub(crate) fn existing_entry(&self, path: &Path) -> io::Result<Option<RootfsEntry>> {
        match self.directory(path.parent().unwrap_or(Path::new("/"))) {
            Ok(directory) => RootfsEntry::new(directory, path).map(Some),
            // Below a file there is nothing either.
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a regular file of at most `limit` bytes, links within the rootfs followed.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.regular(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other(format!("it is longer than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Reads the first bytes of a regular file, links within the rootfs followed.
    pub(crate) fn head(&self, path: &Path, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.regular(path)?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn regular(&self, path: &Path) -> io::Result<File> {
        let handle = self.root.resolve(path).map_err(os_error)?;
        // A fifo is not opened: it would be waited for.
        if FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a regular file"));
        }
        handle.reopen(OpenFlags::O_RDONLY).map_err(os_error)
    }

    /// Takes away what is mounted at `path`, and what is mounted on that. A path on which a link lies
    /// is refused: no mount point has one.
    pub(crate) fn detach(&self, path: &Path) -> io::Result<()> {
        let root = self.root.as_ref().with_resolver_flags(ResolverFlags::NO_SYMLINKS);
        let point = root.resolve_nofollow(path).map_err(os_error)?;
        let point = format!("/proc/self/fd/{}", point.as_fd().as_raw_fd());
        Ok(unmount(point, UnmountFlags::DETACH)?)
    }

    /// Takes from the top what it has of the directory that it was made in: a group, a set-group-id bit,
    /// access lists. It would go on to all that is made below. `group` is the one that it has of LXC.
    ///
    /// # Errors
    ///
    /// What the kernel refuses: of a mapped rootfs, it may.
    pub(crate) fn disinherit(&self, group: u32) -> io::Result<()> {
        let top = self.directory(Path::new("/"))?;
        own(&top, Attributes { uid: 0, gid: group, mode: 0o755 })?;
        for list in ["system.posix_acl_default", "system.posix_acl_access"] {
            match rustix::fs::fremovexattr(&top, list) {
                Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Returns a mark that changes when something is made or removed at the top of the rootfs.
    ///
    /// `lost+found`, which the filesystem makes, does not count.
    pub(crate) fn fingerprint(&self) -> io::Result<Fingerprint> {
        let directory = self.directory(Path::new("/"))?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if [".", "..", "lost+found"].iter().any(|known| name == *known) {
                continue;
            }
            let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            entries.push((name.to_owned(), stat.st_ino, stat.st_ctime, stat.st_ctime_nsec));
        }
        entries.sort();
        Ok(entries)
    }
}

/// A name in an opened directory of the rootfs.
#[derive(Debug)]
pub(crate) struct RootfsEntry {
    directory: OwnedFd,
    name: OsString,
}

impl RootfsEntry {
    fn new(directory: OwnedFd, path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self { directory, name: name.to_owned() })
    }

    /// Returns the place of `name`, one name, in an opened directory.
    pub(crate) fn within(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Self> {
        Ok(Self { directory: directory.try_clone_to_owned()?, name: name.to_owned() })
    }

    /// Returns the directory that the name is in.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Returns what is there, a link not followed; `None` if there is nothing.
    pub(crate) fn look(&self) -> io::Result<Option<Stat>> {
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory that is there, a link not followed.
    pub(crate) fn open_directory(&self) -> io::Result<OwnedFd> {
        open_directory(self.directory.as_fd(), &self.name)
    }

    /// Puts a file there, whole or not at all: `write` fills it under another name, and it then
    /// takes the place of what is there, in one step.
    pub(crate) fn put_file<T>(
        &self,
        attributes: Attributes,
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let (temporary, file) = Temporary::make(self.directory.as_fd(), |name| {
            openat(&self.directory, name, flags, mode)
        })?;
        let mut file = File::from(file);
        let written = owned(&mut file, attributes, write)?;
        temporary.become_final(&self.name)?;
        Ok(written)
    }

    /// Puts a symbolic link there, in one step.
    pub(crate) fn put_symlink(&self, target: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        let (temporary, ()) = Temporary::make(self.directory.as_fd(), |name| {
            symlinkat(target, &self.directory, name)
        })?;
        rustix::fs::chownat(
            &self.directory,
            temporary.name(),
            Some(rustix::fs::Uid::from_raw(uid)),
            Some(rustix::fs::Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        temporary.become_final(&self.name)
    }

    /// Puts a hard link to a file of the rootfs there, in one step.
    pub(crate) fn put_hard_link(&self, of: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let (temporary, ()) = Temporary::make(self.directory.as_fd(), |temporary| {
            rustix::fs::linkat(of, name, &self.directory, temporary, AtFlags::empty())
        })?;
        temporary.become_final(&self.name)
    }

    /// Puts a directory there, whole or not at all: `fill` fills it under another name. There must
    /// be nothing, or a link or file that it replaces.
    pub(crate) fn put_directory<T>(
        &self,
        attributes: Attributes,
        fill: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        let (temporary, ()) = Temporary::make(self.directory.as_fd(), |name| {
            mkdirat(&self.directory, name, Mode::RWXU)
        })?;
        let directory = open_directory(self.directory.as_fd(), temporary.name())?;
        let filled = fill(&directory)?;
        own(&directory, attributes)?;
        if self.look()?.is_some() {
            // rename(2) puts no directory in the place of anything else.
            unlinkat(&self.directory, &self.name, AtFlags::empty())?;
        }
        temporary.become_final(&self.name)?;
        Ok(filled)
    }
}

/// Opens a directory, a link not followed, and nothing that is mounted there.
pub(crate) fn open_directory(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(directory, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        // Linux before 5.6, or a sandbox of another's.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            Ok(openat(directory, name, flags, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

/// Fills a new file that is to have these attributes.
///
/// The owner comes first, since changing it takes capabilities away; the permission bits come last,
/// since writing takes set-id bits away.
pub(crate) fn owned<T>(
    file: &mut File,
    attributes: Attributes,
    write: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<T> {
    std::os::unix::fs::fchown(&*file, Some(attributes.uid), Some(attributes.gid))?;
    let written = write(file)?;
    fchmod(&*file, Mode::from_raw_mode(attributes.mode))?;
    Ok(written)
}

/// Gives an open file or directory its owner and its permission bits. The owner comes first:
/// changing it takes set-id bits away.
pub(crate) fn own(file: impl AsFd, attributes: Attributes) -> io::Result<()> {
    let Attributes { uid, gid, mode } = attributes;
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    Ok(fchmod(file, Mode::from_raw_mode(mode))?)
}

/// A name of something that is not finished. Dropped before it is, it takes that away.
struct Temporary<'a> {
    directory: BorrowedFd<'a>,
    name: OsString,
    finished: bool,
}

impl<'a> Temporary<'a> {
    /// Makes something under a name that nothing has. One that is taken is never opened: a rootfs may
    /// hold any name, and another is tried.
    fn make<T>(
        directory: BorrowedFd<'a>,
        make: impl Fn(&OsStr) -> rustix::io::Result<T>,
    ) -> io::Result<(Self, T)> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!(".layered-template.{}.{count}", std::process::id()));
            match make(&name) {
                Err(rustix::io::Errno::EXIST) => {}
                made => return Ok((Self { directory, name, finished: false }, made?)),
            }
        }
    }

    fn name(&self) -> &OsStr {
        &self.name
    }

    fn become_final(mut self, name: &OsStr) -> io::Result<()> {
        renameat(self.directory, &self.name, self.directory, name)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(rustix::io::Errno::ISDIR) =
            unlinkat(self.directory, &self.name, AtFlags::empty())
        {
            let directory = self.directory.try_clone_to_owned();
            let _ = directory.map(|fd| Root::from_fd(fd).remove_all(Path::new(&self.name)));
        }
    }
}

/// Copies a file, and hands every piece to `each` as it goes by.
pub(crate) fn copy(
    from: &mut File,
    to: &mut File,
    buffer: &mut [u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<u64> {
    use std::io::Write;
    let mut length = 0;
    loop {
        let read = match from.read(buffer) {
            Ok(0) => return Ok(length),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        each(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        length += read as u64;
    }
}

fn os_error(error: pathrs::error::Error) -> io::Error {
    match error.kind() {
        ErrorKind::OsError(Some(number)) => io::Error::from_raw_os_error(number),
        ErrorKind::SafetyViolation => {
            let error = io::Error::other(error.to_string());
            fault::of_kind(FaultKind::UnsafePath, "the rootfs was changed meanwhile", error)
        }
        _ => io::Error::other(error.to_string()),
    }
}
