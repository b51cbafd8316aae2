//! Who could have written the files that root is about to take.
//!
//! As `sudo` and `sshd` do, root refuses what somebody else could have written: a file, a directory on the way
//! to it, or a link. Where nobody else can write to any of them, nobody else can change them later either, so
//! that it is enough to look once, before the first byte is read.

mod judge;
mod untrusted;
mod walk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat, fstat, getxattr, openat};
use rustix::io::Errno;

pub(crate) use self::untrusted::Untrusted;

use self::judge::{Kind, Seen, Writer, judge};
use super::account;
use super::caller::{self, Caller, Extent};
use crate::diagnostic::Severity;
use crate::lxc::upstream::SUDO;

/// The attribute that is an access list.
const LIST: &str = "system.posix_acl_access";

/// What a user namespace shows of ids that are none of its own. Source: `DEFAULT_OVERFLOWUID` in
/// `linux/highuid.h`.
pub(crate) const UNKNOWN: u32 = 65534;

/// How files are opened: a fifo is not waited for.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// What is done about files that others could have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// They are refused.
    Refuse,
    /// They are taken, and a run would refuse them.
    Warn,
    /// They are taken.
    Allow,
}

impl Policy {
    /// Returns it, or what takes everything if the caller has `allowed` that.
    pub(crate) fn unless(self, allowed: bool) -> Self {
        if allowed { Self::Allow } else { self }
    }
}

/// Whose files are taken. By default those of everybody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust(Option<Scrutiny>);

/// How files are looked at.
#[derive(Debug, Clone)]
struct Scrutiny {
    /// The users who may have written them, as the host counts.
    trusted: Vec<u32>,
    /// The id maps of this process, for users and groups; `None` in the host's own user namespace.
    maps: Option<[Vec<Extent>; 2]>,
    severity: Severity,
    /// Who has a group, of those that were asked for: a tree may have one group throughout.
    members: RefCell<BTreeMap<u32, Vec<Option<u32>>>>,
}

impl Trust {
    /// Returns whose files this process takes. Who cannot do what root of the host can takes those of everybody,
    /// as a shell does.
    pub(crate) fn observe(policy: Policy) -> Self {
        let severity = match policy {
            Policy::Refuse => Severity::Error,
            Policy::Warn => Severity::Warning,
            Policy::Allow => return Self(None),
        };
        let caller = Caller::observe();
        if !caller.rules_host_root() {
            return Self(None);
        }
        let sudo = env::var(SUDO).ok().and_then(|uid| uid.parse().ok());
        let trusted = std::iter::once(0).chain(sudo).collect();
        let maps = caller.map.map(|users| [users, caller::id_map("/proc/self/gid_map")]);
        Self(Some(Scrutiny { trusted, maps, severity, members: RefCell::default() }))
    }

    /// Opens what is at a path, and finds who else could have written it.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Opened> {
        let Some(scrutiny) = &self.0 else {
            return Ok(Opened { file: openat(CWD, path, READ, Mode::empty())?, untrusted: None });
        };
        let mut untrusted = Untrusted::nothing(scrutiny.severity, None);
        let file = walk::open(path, READ, |at, file, stat| {
            untrusted.add(at, scrutiny.writer(Some(file.as_fd()), stat), stat);
        })?;
        Ok(Opened { file, untrusted: untrusted.found() })
    }

    /// Finds who else could have written what is at a path, or could put something there that is not.
    pub(crate) fn look(&self, path: &Path) -> io::Result<Option<Untrusted>> {
        let Some(scrutiny) = &self.0 else { return Ok(None) };
        let mut untrusted = Untrusted::nothing(scrutiny.severity, None);
        let way = walk::open(path, OFlags::PATH, |at, file, stat| {
            untrusted.add(at, scrutiny.writer(Some(file.as_fd()), stat), stat);
        });
        match way {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(untrusted.found()),
        }
    }

    /// Finds who else could have written what is at a path, all below it, and what links there name.
    pub(crate) fn look_through(&self, path: &Path) -> io::Result<Option<Untrusted>> {
        if self.0.is_none() {
            return Ok(None);
        }
        if let Some(untrusted) = self.look(path)? {
            return Ok(Some(untrusted));
        }
        let mut tree = TreeTrust { follows: true, ..self.tree(path) };
        match openat(CWD, path, READ.union(OFlags::DIRECTORY), Mode::empty()) {
            Err(Errno::NOTDIR) => {}
            opened => tree.walk(&opened?, Path::new(""))?,
        }
        Ok(tree.found())
    }

    /// Returns what finds who else could have written something in the tree at a path.
    pub(crate) fn tree(&self, top: &Path) -> TreeTrust<'_> {
        let scrutiny = self.0.as_ref();
        TreeTrust { scrutiny, top: top.to_path_buf(), follows: false, found: None }
    }
}

/// Checks that root alone decides what is where the program keeps something of its own, whether it is there yet
/// or not. Of what cannot be looked at nobody has anything.
pub(crate) fn check(path: &Path) -> Result<(), Open> {
    match Trust::observe(Policy::Refuse).look(path) {
        Ok(Some(untrusted)) => Err(Open { untrusted, path: path.to_path_buf() }),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// A place of the program's own that others may write to.
#[derive(Debug, thiserror::Error)]
#[error("{} ({})", .untrusted.of_place(.path), .untrusted.advice())]
pub(crate) struct Open {
    untrusted: Untrusted,
    path: PathBuf,
}

impl From<Open> for io::Error {
    fn from(open: Open) -> Self {
        Self::other(open)
    }
}

impl Scrutiny {
    /// Returns who else could have written what was opened.
    fn writer(&self, file: Option<BorrowedFd<'_>>, stat: &Stat) -> Option<Writer> {
        let outside = |which: usize, id: u32| match &self.maps {
            None => Some(id),
            Some(_) if id == UNKNOWN => None,
            Some(maps) => caller::outside(&maps[which], id),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::File,
        };
        let mode = stat.st_mode & 0o7777;
        let has_list = mode & 0o020 != 0 && file.is_some_and(has_list);
        let (uid, gid) = (outside(0, stat.st_uid), outside(1, stat.st_gid));
        judge(&Seen { kind, uid, gid, mode, has_list }, &self.trusted, |gid| {
            let mut known = self.members.borrow_mut();
            known.entry(gid).or_insert_with(|| account::members(gid)).clone()
        })
    }
}

/// Tells whether an access list may name others. One that cannot be read may.
fn has_list(file: BorrowedFd<'_>) -> bool {
    // A descriptor that only names its file gives no attribute.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let read = getxattr(path, LIST, &mut [0_u8; 0][..]);
    !matches!(read, Err(Errno::NODATA | Errno::OPNOTSUPP))
}

/// Something that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// It itself.
    pub file: OwnedFd,
    /// Who else could have written it.
    pub untrusted: Option<Untrusted>,
}

/// Looks at what is in a tree. The first that others could have written is enough.
#[derive(Debug)]
pub(crate) struct TreeTrust<'a> {
    scrutiny: Option<&'a Scrutiny>,
    top: PathBuf,
    /// Whether what links name counts too.
    follows: bool,
    found: Option<Untrusted>,
}

impl TreeTrust<'_> {
    /// Looks at an entry, by its path in the tree. A link has no descriptor.
    pub(crate) fn look(&mut self, path: &Path, file: Option<BorrowedFd<'_>>, stat: &Stat) {
        let Some(scrutiny) = self.scrutiny.filter(|_| self.found.is_none()) else { return };
        let mut untrusted = Untrusted::nothing(scrutiny.severity, Some(self.top.clone()));
        untrusted.add(&self.top.join(path), scrutiny.writer(file, stat), stat);
        self.found = untrusted.found();
    }

    /// Looks at all below a directory.
    fn walk(&mut self, directory: &OwnedFd, path: &Path) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if [".", ".."].map(OsStr::new).contains(&name) || self.found.is_some() {
                continue;
            }
            let below = path.join(name);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(directory, name, flags, Mode::empty())?;
            let stat = fstat(&file)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            self.look(&below, Some(file.as_fd()).filter(|_| kind != FileType::Symlink), &stat);
            if kind == FileType::Symlink && self.follows {
                self.look_behind(&below);
            }
            if kind == FileType::Directory {
                self.walk(&openat(&file, ".", READ, Mode::empty())?, &below)?;
            }
        }
        Ok(())
    }

    /// Looks at where a link leads: whoever copies what it names has that.
    fn look_behind(&mut self, link: &Path) {
        let Some(scrutiny) = self.scrutiny.filter(|_| self.found.is_none()) else { return };
        let trust = Trust(Some(scrutiny.clone()));
        // What leads nowhere gives nothing.
        self.found = trust.look(&self.top.join(link)).unwrap_or_default();
    }

    /// Returns what was found.
    pub(crate) fn found(self) -> Option<Untrusted> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{RenameFlags, renameat_with};

    use super::*;

    /// How often two files change places while they are opened.
    const ROUNDS: usize = 5000;

    fn of(user: u32) -> Trust {
        let (severity, members) = (Severity::Error, RefCell::default());
        Trust(Some(Scrutiny { trusted: vec![0, user], maps: None, severity, members }))
    }

    #[test]
    fn what_is_judged_is_what_is_read_whatever_is_renamed_meanwhile() {
        let place = tempfile::tempdir().unwrap();
        let [sound, open] = ["sound", "open"].map(|name| place.path().join(name));
        for (path, mode) in [(&sound, 0o644), (&open, 0o666)] {
            fs::write(path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let links = [&sound, &open].map(|path| {
            let link = path.with_extension("link");
            symlink(path.file_name().unwrap(), &link).unwrap();
            link
        });
        let trust = of(rustix::process::geteuid().as_raw());
        let read = |path: &Path| {
            let Opened { file, untrusted } = trust.open(path)?;
            io::read_to_string(File::from(file)).map(|text| (text, untrusted.is_some()))
        };
        let mut seen = BTreeMap::new();
        for [one, other] in [[sound, open], links] {
            let done = AtomicBool::new(false);
            let all: Vec<_> = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                    }
                });
                let all = (0..ROUNDS).map(|_| read(&one)).collect();
                done.store(true, Ordering::Relaxed);
                all
            });
            for (text, is_open) in all.into_iter().map(Result::unwrap) {
                assert_eq!(is_open, text == "open", "{}", one.display());
                *seen.entry(text).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
    }

    #[test]
    fn a_way_leads_where_the_kernel_s_does() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/f"), "f").unwrap();
        for (link, target) in [
            ("up", "a/b/.."),
            ("chain", "up/f"),
            ("a/b/back", "../../a/./b//..//f"),
            ("absolute", at("a").to_str().unwrap()),
            ("self", "."),
            ("loop", "loop"),
            ("nowhere", "a/g"),
            ("process", "/proc/self/fd/../cwd"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        let ways = [
            "a/f",
            "up/f",
            "chain",
            "a/b/back",
            "absolute/f",
            "absolute/b/../f",
            "self/self/a/f",
            "a/b/../../a/f",
            "loop",
            "nowhere",
            "a/f/x",
            "a/f/..",
            "a",
            "a/",
            "self",
            "up",
            "..",
            "process",
            "process/.",
            "/",
            "/..",
        ];
        for way in ways {
            let path = at(way);
            let number = |file: io::Result<OwnedFd>| {
                let stat = rustix::fs::fstat(file?)?;
                Ok::<_, io::Error>((stat.st_dev, stat.st_ino))
            };
            let [own, kernel] = [
                number(of(0).open(&path).map(|opened| opened.file)),
                number(openat(CWD, &path, READ, Mode::empty()).map_err(io::Error::from)),
            ]
            .map(|result| result.map_err(|error| error.raw_os_error()));
            assert_eq!(own, kernel, "{way}");
        }
    }
}
