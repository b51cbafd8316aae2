//! The sandbox: a process inside a rootfs that finds there what a package manager needs, and
//! nothing of the host.
//!
//! [`Sandbox::set_up`] prepares the rootfs, from outside; [`Sandbox::start`] forks into new
//! namespaces, builds the mounts there, and runs the program under a first process that reaps. What
//! was prepared is given back when the sandbox is dropped. The process that calls stays outside the
//! sandbox's mount namespace: `pivot_root` would move its root along, and its later paths would
//! miss.

mod cache;
mod edit;
mod filter;
mod inside;
mod loan;
mod mounts;
mod privileges;
mod report;
mod resolver;
mod users;

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::mount::MountAttrFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::thread::{CapabilitySet, UnshareFlags};

pub use cache::{Cache, Caches};
pub use privileges::{ALWAYS, IN_OWN_NETWORK};
pub use report::{Outcome, Report};

use super::kernel::{self, Side};
use super::rootfs::Rootfs;
use crate::lxc::call::Mapped;
use loan::Loan;
use users::Users;

/// The directories at the top of the rootfs that are covered by filesystems of the sandbox's own.
const COVERED: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];

/// What keeps packages' daemons from being started: Debian's `invoke-rc.d` asks it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Its text: 101 is "forbidden by policy".
const POLICY_TEXT: &[u8] = b"#!/bin/sh\nexit 101\n";

/// The environment of every program inside; what the caller gives stands behind it.
pub const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    // What the host speaks says nothing of the locales that the rootfs has.
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
];

/// Which network a sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// A loopback interface of its own.
    Own,
    /// The host's, unless nothing would keep it from the host's containers.
    Host,
    /// The host's, whatever that means.
    HostUnguarded,
}

impl Network {
    /// Returns the one for a program that wants the host's or not, whose caller allows it or not to go
    /// unguarded.
    pub fn wanted(host: bool, unguarded: bool) -> Self {
        match (host, unguarded) {
            (false, _) => Self::Own,
            (true, false) => Self::Host,
            (true, true) => Self::HostUnguarded,
        }
    }
}

/// How a rootfs comes to the files that a sandbox lends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lending {
    /// As files, which a package may replace. A kill leaves them there: only for a rootfs that is not
    /// yet a container's.
    Files,
    /// As mounts, of which a kill leaves nothing. A package that wants to replace one fails.
    Mounts,
}

/// A file that is mounted into a rootfs.
#[derive(Debug)]
struct MountedFile {
    path: &'static Path,
    bytes: Vec<u8>,
    mode: u32,
}

/// What a sandbox is like.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The rootfs, by its path on the host.
    pub rootfs: &'a Path,
    /// The host name inside.
    pub name: &'a str,
    /// Which network it has.
    pub network: Network,
    /// Whether names are resolved as on the host.
    pub resolver: bool,
    /// Whether packages' daemons are kept from being started.
    pub policy: bool,
    /// How it gets the files for these two.
    pub lending: Lending,
    /// The capabilities besides those that every sandbox has.
    pub capabilities: CapabilitySet,
    /// Directories of the host that stand in for some of the rootfs.
    pub caches: Caches,
    /// The ids that stand for the caller, where ids are mapped.
    pub mapped: Option<Mapped>,
    /// A script of the host: where it stands inside, below `/run`, and its bytes.
    pub script: Option<(PathBuf, Vec<u8>)>,
}

/// What runs in a sandbox.
#[derive(Debug)]
pub struct Program {
    /// The command, as words.
    pub argv: Vec<OsString>,
    /// Its environment, behind [`ENVIRONMENT`].
    pub environment: Vec<(OsString, OsString)>,
}

/// The standard streams of the program.
#[derive(Debug)]
pub struct Streams<'a> {
    /// Standard input; `/dev/null`, where nothing is given.
    pub input: Option<BorrowedFd<'a>>,
    /// Standard output.
    pub output: BorrowedFd<'a>,
    /// Standard error.
    pub errors: BorrowedFd<'a>,
    /// Whether the three are a terminal, which the program's session is to have.
    pub terminal: bool,
}

/// A rootfs that is ready for a program.
#[derive(Debug)]
pub struct Sandbox<'a> {
    settings: Settings<'a>,
    rootfs: Rootfs,
    /// What `/etc/resolv.conf` is to be in the sandbox's `/run`, below that: its path and its text.
    resolver: Option<(PathBuf, Vec<u8>)>,
    loans: Vec<Loan>,
    mounted: Vec<MountedFile>,
}

impl<'a> Sandbox<'a> {
    /// Prepares a rootfs.
    ///
    /// # Errors
    ///
    /// Where something cannot be put in place; what was is given back.
    pub fn set_up(settings: Settings<'a>) -> io::Result<Self> {
        let rootfs = Rootfs::open(settings.rootfs)?;
        let mut sandbox =
            Self { settings, rootfs, resolver: None, loans: Vec::new(), mounted: Vec::new() };
        sandbox.prepare()?;
        Ok(sandbox)
    }

    fn prepare(&mut self) -> io::Result<()> {
        for name in COVERED {
            let path = Path::new("/").join(name);
            let loan = self.rootfs.place(&path).and_then(|place| {
                loan::give_back_of_killed(&place)?;
                Loan::mount_point(&place)
            });
            self.loans.extend(about(&path, loan)?);
        }
        for index in 0..self.settings.caches.len() {
            let path = self.settings.caches.get(index).path.clone();
            about(&path, cache::mount_points(&self.rootfs, &path, &mut self.loans))?;
        }
        if self.settings.resolver {
            about(Path::new(resolver::PATH), self.lend_resolver())?;
        }
        if self.settings.policy {
            let path = Path::new(POLICY);
            about(path, self.lend(path, POLICY_TEXT.to_vec(), 0o755))?;
        }
        Ok(())
    }

    fn lend_resolver(&mut self) -> io::Result<()> {
        let Some(text) = resolver::text()? else { return Ok(()) };
        match resolver::below_run(&self.rootfs)? {
            Some(path) => {
                self.resolver = Some((path, text));
                Ok(())
            }
            None => self.lend(Path::new(resolver::PATH), text, 0o644),
        }
    }

    /// Lends the rootfs a file, where it has the directory for it.
    fn lend(&mut self, path: &'static Path, bytes: Vec<u8>, mode: u32) -> io::Result<()> {
        let Some(place) = self.rootfs.existing_place(path)? else { return Ok(()) };
        loan::give_back_of_killed(&place)?;
        match self.settings.lending {
            Lending::Files => self.loans.push(Loan::file(&place, &bytes, mode)?),
            Lending::Mounts => {
                match place.look()?.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                    // Empty, and no program: what a kill leaves of it means nothing.
                    None => self.loans.push(Loan::file(&place, b"", 0o644)?),
                    Some(FileType::Directory) => return Ok(()),
                    Some(_) => {}
                }
                self.mounted.push(MountedFile { path, bytes, mode });
            }
        }
        Ok(())
    }

    /// Starts a program, and returns the first process of the sandbox, which ends with it and
    /// leads a process group.
    ///
    /// # Errors
    ///
    /// What keeps the process from being forked, and where the host's network would make it root of the
    /// host. What comes later is in the [`Report`].
    pub fn start(&self, program: &Program, streams: &Streams<'_>) -> io::Result<(Pid, Report)> {
        let users = Users::of_this_process(self.settings.mapped);
        let (tree, caches, users) = match users.map(|users| (users, self.mounts(Some(users)))) {
            Ok((users, Ok((tree, caches)))) => (tree, caches, Some(users)),
            Ok((_, Err(error))) if cannot_map(&error) => self.shared(CANNOT_MAP)?,
            Ok((_, Err(error))) => return Err(error),
            Err(why) => self.shared(why)?,
        };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut namespaces = UnshareFlags::NEWPID
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS;
        if self.settings.network == Network::Own {
            namespaces |= UnshareFlags::NEWNET;
        }
        let side = match users {
            Some(users) => users.fork_into(namespaces)?,
            None => kernel::fork_into(namespaces)?,
        };
        match side {
            Side::Parent(id) => Ok((id, Report::new(reader))),
            Side::Child => {
                inside::run(self, inside::Given { tree, caches, writer, program, streams })
            }
        }
    }

    /// Returns the mount of the rootfs and those of the caches, not yet anywhere.
    fn mounts(&self, users: Option<&Users>) -> io::Result<(OwnedFd, Vec<OwnedFd>)> {
        let rootfs = self.rootfs.directory(Path::new("/"))?;
        let tree = about(self.settings.rootfs, mounts::copy_of(rootfs))?;
        // A device node in a rootfs is a door to the host's device.
        kernel::restrict_mount(&tree, MountAttrFlags::MOUNT_ATTR_NODEV)?;
        let caches = self.settings.caches.mounts()?;
        if let Some(users) = users {
            [&tree].into_iter().chain(&caches).try_for_each(|mount| users.map(mount))?;
        }
        Ok((tree, caches))
    }

    /// Returns the mounts of a sandbox without a user namespace of its own, which is not to be had for
    /// the reason `why`.
    fn shared(&self, why: &str) -> io::Result<(OwnedFd, Vec<OwnedFd>, Option<&'static Users>)> {
        tracing::debug!(why, "the sandbox has no user namespace of its own");
        if self.settings.network == Network::Host && !kernel::has_scopes() {
            let message = format!(
                "with the host's network nothing would keep it from the host's containers: it can \
                 have no user namespace of its own ({why}), and this kernel has no Landlock with \
                 scopes (Linux 6.12); `--allow-untrusted` runs it all the same"
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let (tree, caches) = self.mounts(None)?;
        Ok((tree, caches, None))
    }

    /// Gives back what was put in place.
    ///
    /// # Errors
    ///
    /// The first thing that could not be given back; the rest is.
    pub fn give_back(mut self) -> io::Result<()> {
        self.return_loans()
    }

    fn return_loans(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        // The last one first: a mount point may be in a directory that was made for it.
        while let Some(loan) = self.loans.pop() {
            let returned = loan.give_back();
            result = result.and(returned);
        }
        result
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.return_loans() {
            tracing::warn!(%error, "something of the sandbox is left in the rootfs");
        }
    }
}

/// Tries whether sandboxes in a rootfs like `directory` can have a user namespace of their own.
///
/// # Errors
///
/// Why they cannot.
pub fn try_users(mapped: Option<Mapped>, directory: &Path) -> io::Result<()> {
    let users = Users::of_this_process(mapped).map_err(io::Error::other)?;
    let mount = mounts::copy_of(super::files::open_directory(directory)?)?;
    users.map(&mount).map_err(
        |error| {
            if cannot_map(&error) { io::Error::other(CANNOT_MAP) } else { error }
        },
    )
}

/// What keeps a rootfs from a user namespace of root's.
const CANNOT_MAP: &str = "its filesystem cannot map ids, as an overlay";

/// Tells whether a filesystem is one whose mounts cannot map ids.
fn cannot_map(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM | libc::EOPNOTSUPP))
}

/// Adds what an error is about.
fn about<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| {
        io::Error::new(error.kind(), format!("`{}` for the sandbox: {error}", path.display()))
    })
}
