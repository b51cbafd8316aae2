//! Walks to a file by descriptors, and shows all that the way leads through.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, openat, readlinkat,
};
use rustix::io::Errno;

/// How many links are followed; the kernel's own limit.
const MOST_LINKS: usize = 40;

/// A way to go.
const WAY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens what is at a path, with `flags`, and shows each directory and link that leads there, and at last
/// what was opened.
///
/// Each is looked at by the descriptor that the next is opened from. So what was shown is what was gone
/// through, whatever is renamed meanwhile.
pub(super) fn open(
    path: &Path,
    flags: OFlags,
    mut show: impl FnMut(&Path, &OwnedFd, &Stat),
) -> io::Result<OwnedFd> {
    let mut way = Way { at: PathBuf::new(), rest: Vec::new(), links: 0 };
    way.add(&std::path::absolute(path)?);
    let mut directory = way.root(&mut show)?;
    loop {
        let Some(name) = way.rest.pop() else {
            // It ends with the root, or with `..`.
            let opened = openat(&directory, ".", flags | OFlags::CLOEXEC, Mode::empty())?;
            show(&way.at, &opened, &fstat(&opened)?);
            return Ok(opened);
        };
        if name == ".." {
            way.at.pop();
            directory = openat(&directory, "..", WAY | OFlags::DIRECTORY, Mode::empty())?;
            show(&way.at, &directory, &fstat(&directory)?);
            continue;
        }
        let is_last = way.rest.is_empty();
        let flags = if is_last { flags } else { WAY | OFlags::DIRECTORY };
        let shown = way.at.join(&name);
        let opened = match openat_plainly(&directory, &name, flags) {
            Ok(opened) => opened,
            Err(Errno::LOOP | Errno::NOTDIR) => openat_plainly(&directory, &name, WAY)?,
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&opened)?;
        show(&shown, &opened, &stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => match way.follow(&opened)? {
                Followed::Words { from_root: true } => directory = way.root(&mut show)?,
                Followed::Words { from_root: false } => {}
                Followed::ByKernel => {
                    let flags = flags | OFlags::CLOEXEC;
                    let opened = openat(&directory, &name, flags, Mode::empty())?;
                    show(&shown, &opened, &fstat(&opened)?);
                    if is_last {
                        return Ok(opened);
                    }
                    (directory, way.at) = (opened, shown);
                }
            },
            _ if is_last => return Ok(opened),
            FileType::Directory => (directory, way.at) = (opened, shown),
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
}

/// Opens a name of a directory, a link not followed.
fn openat_plainly(directory: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// How a link is followed.
enum Followed {
    /// By the words in it, from its own directory or from the root.
    Words { from_root: bool },
    /// By the kernel: a link of procfs leads to what a process has, not to what its words say.
    ByKernel,
}

/// Where a walk is.
struct Way {
    /// The directory that it has come to.
    at: PathBuf,
    /// The names that are left, the next one last.
    rest: Vec<OsString>,
    /// How many links were followed.
    links: usize,
}

impl Way {
    /// Puts a path before what is left.
    fn add(&mut self, path: &Path) {
        let names = path.components().rev().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        self.rest.extend(names);
    }

    /// Begins at the root.
    fn root(&mut self, show: &mut impl FnMut(&Path, &OwnedFd, &Stat)) -> io::Result<OwnedFd> {
        self.at = PathBuf::from("/");
        let root = openat(CWD, "/", WAY | OFlags::DIRECTORY, Mode::empty())?;
        show(&self.at, &root, &fstat(&root)?);
        Ok(root)
    }

    /// Puts where a link leads to before what is left.
    fn follow(&mut self, link: &OwnedFd) -> io::Result<Followed> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        if fstatfs(link)?.f_type == PROC_SUPER_MAGIC {
            return Ok(Followed::ByKernel);
        }
        let target = OsString::from_vec(readlinkat(link, "", Vec::new())?.into_bytes());
        let target = Path::new(&target);
        self.add(target);
        Ok(Followed::Words { from_root: target.is_absolute() })
    }
}
