//! Who could have written the files that root is about to take.
//!
//! As `sudo` and `sshd` do, root refuses what somebody else could have written: a file, a directory on the way
//! to it, or a link. Where nobody else can write to any of them, nobody else can change them later either, so
//! that it is enough to look once, before the first byte is read.

mod judge;
mod walk;

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, getxattr, openat};
use rustix::io::Errno;

use self::judge::{Kind, Seen, Writer, judge};
use super::account;
use super::caller::{self, Caller, Extent};
use crate::diagnostic::{Diagnostic, Severity};
use crate::lxc::upstream::SUDO;
use crate::shell;
use crate::source::At;

/// The attribute that is an access list.
const LIST: &str = "system.posix_acl_access";

/// What a user namespace shows of ids that are none of its own. Source: `DEFAULT_OVERFLOWUID` in
/// `linux/highuid.h`.
const UNKNOWN: u32 = 65534;

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
        Self(Some(Scrutiny { trusted, maps, severity }))
    }

    /// Opens what is at a path, and finds who else could have written it.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Opened> {
        let Some(scrutiny) = &self.0 else {
            return Ok(Opened { file: openat(CWD, path, READ, Mode::empty())?, untrusted: None });
        };
        let mut untrusted = scrutiny.nothing();
        let file = walk::open(path, READ, |at, file, stat| {
            untrusted.add(at, scrutiny.writer(Some(file.as_fd()), stat), stat);
        })?;
        Ok(Opened { file, untrusted: untrusted.found() })
    }

    /// Finds who else could have written what is at a path, or could put something there that is not.
    pub(crate) fn look(&self, path: &Path) -> io::Result<Option<Untrusted>> {
        let Some(scrutiny) = &self.0 else { return Ok(None) };
        let mut untrusted = scrutiny.nothing();
        let way = walk::open(path, OFlags::PATH, |at, file, stat| {
            untrusted.add(at, scrutiny.writer(Some(file.as_fd()), stat), stat);
        });
        match way {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(untrusted.found()),
        }
    }

    /// Returns what finds who else could have written something in the tree at a path.
    pub(crate) fn tree(&self, top: &Path) -> TreeTrust<'_> {
        let scrutiny = self.0.as_ref();
        TreeTrust { scrutiny, top: top.to_path_buf(), found: None }
    }
}

impl Scrutiny {
    fn nothing(&self) -> Untrusted {
        Untrusted { faults: Vec::new(), tree: None, severity: self.severity }
    }

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
        judge(&Seen { kind, uid, gid, mode, has_list }, &self.trusted, account::members)
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
    found: Option<Untrusted>,
}

impl TreeTrust<'_> {
    /// Looks at an entry, by its path in the tree. A link has no descriptor.
    pub(crate) fn look(&mut self, path: &Path, file: Option<BorrowedFd<'_>>, stat: &Stat) {
        let Some(scrutiny) = self.scrutiny.filter(|_| self.found.is_none()) else { return };
        let mut untrusted = Untrusted { tree: Some(self.top.clone()), ..scrutiny.nothing() };
        untrusted.add(&self.top.join(path), scrutiny.writer(file, stat), stat);
        self.found = untrusted.found();
    }

    /// Returns what was found.
    pub(crate) fn found(self) -> Option<Untrusted> {
        self.found
    }
}

/// What others could have written: a file, or directories and links on the way to it, the outermost first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Untrusted {
    faults: Vec<Fault>,
    /// The tree that it is in.
    tree: Option<PathBuf>,
    severity: Severity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    path: PathBuf,
    writer: Writer,
    is_link: bool,
}

impl Untrusted {
    fn add(&mut self, path: &Path, writer: Option<Writer>, stat: &Stat) {
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let Some(writer) = writer else { return };
        if self.faults.iter().all(|fault| fault.path != path) {
            self.faults.push(Fault { path: path.to_path_buf(), writer, is_link });
        }
    }

    fn found(self) -> Option<Self> {
        (!self.faults.is_empty()).then_some(self)
    }

    /// Tells whether it must not be taken.
    pub(crate) fn is_refused(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Returns the diagnostic of a whole file.
    pub(crate) fn of_file(&self, file: &Path) -> Diagnostic {
        self.told(Diagnostic::of_file(file, format!("others could have written it: {self}")))
    }

    /// Returns the diagnostic of something that is named at `at`.
    pub(crate) fn of(&self, what: &str, at: &At) -> Diagnostic {
        self.told(Diagnostic::error(at, format!("others could have written {what}: {self}")))
    }

    fn told(&self, diagnostic: Diagnostic) -> Diagnostic {
        let help = format!("{}; `--allow-untrusted` takes it all the same", self.advice());
        let diagnostic = diagnostic.help(help);
        let notes = match self.is_refused() {
            true => Vec::new(),
            false => vec!["a run as root refuses it, and ends with status 10".to_owned()],
        };
        let untrusted = self.faults.first().map(|fault| fault.path.clone());
        Diagnostic { severity: self.severity, untrusted, notes, ..diagnostic }
    }

    /// Says what takes that away.
    pub(crate) fn advice(&self) -> String {
        if let Some((home, user)) = self.faults.iter().find_map(Fault::home) {
            return format!(
                "`{}` is the home of {user}: copy it to where only root can write, or let {user} call \
                 the program by `sudo`",
                home.display()
            );
        }
        let of_owner = |fault: &&Fault| matches!(fault.writer, Writer::Owner(_));
        let (owned, open): (Vec<_>, Vec<_>) = self.faults.iter().partition(of_owner);
        // Of a link, the owner of what it leads to would change.
        let is_link = owned.iter().any(|fault| fault.is_link);
        let chown: &[&str] = if is_link { &["chown", "-h"] } else { &["chown"] };
        let commands =
            [self.command(chown, "root", &owned), self.command(&["chmod"], "go-w", &open)];
        let commands: Vec<_> = commands.into_iter().flatten().collect();
        format!("`{}` takes that away", commands.join(" && "))
    }

    /// Returns the command that mends some faults: in a tree, all that is in it.
    fn command(&self, program: &[&str], what: &str, faults: &[&Fault]) -> Option<String> {
        let paths: Vec<&Path> = match &self.tree {
            _ if faults.is_empty() => return None,
            Some(top) => vec![top],
            None => faults.iter().map(|fault| fault.path.as_path()).collect(),
        };
        let recursive = self.tree.as_ref().map(|_| "-R");
        let words = program.iter().copied().chain(recursive).chain([what]).map(OsStr::new);
        Some(shell::command(words.chain(paths.into_iter().map(Path::as_os_str))))
    }
}

impl Fault {
    /// Returns the home that it is, and the name of its user.
    fn home(&self) -> Option<(&Path, String)> {
        let Writer::Owner(Some(uid)) = self.writer else { return None };
        (account::home(uid)? == self.path).then_some((&self.path, account::user_name(uid)?))
    }
}

/// Says who could have written the outermost.
impl fmt::Display for Untrusted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Fault { path, writer, .. }) = self.faults.first() else { return Ok(()) };
        write!(formatter, "`{}` ", shell::one_line(&path.to_string_lossy()))?;
        let named = |id: u32, name: Option<String>| match name {
            Some(name) => format!("`{name}`"),
            None => id.to_string(),
        };
        match *writer {
            Writer::Owner(Some(uid)) => {
                write!(formatter, "belongs to user {}", named(uid, account::user_name(uid)))
            }
            Writer::Owner(None) => {
                formatter.write_str("belongs to a user whom this user namespace does not know")
            }
            Writer::Everybody => formatter.write_str("is writable by everybody"),
            Writer::Group(Some(gid)) => {
                write!(formatter, "is writable by group {}", named(gid, account::group_name(gid)))
            }
            Writer::Group(None) => {
                formatter.write_str("is writable by a group that this user namespace does not know")
            }
            Writer::Listed => formatter.write_str("is writable by somebody in its access list"),
        }
    }
}
