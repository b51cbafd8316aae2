//! The sandbox: a process inside a rootfs that finds there what a package manager needs, and
//! nothing of the host.
//!
//! [`Sandbox::set_up`] prepares the rootfs, from outside; [`Sandbox::start`] forks into new
//! namespaces, builds the mounts there, and runs the program under a first process that reaps. What
//! was prepared is given back when the sandbox is dropped. The process that calls stays outside the
//! sandbox's mount namespace: `pivot_root` would move its root along, and its later paths would
//! miss.

mod boundary;
mod cache;
mod edit;
mod filter;
mod inside;
mod loan;
mod mounts;
mod privileges;
mod report;
mod resolver;
mod user_namespace;

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, flock};
use rustix::mount::MountAttrFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::thread::{CapabilitySet, UnshareFlags};

pub(crate) use boundary::try_users;
pub(crate) use cache::{CacheMount, CacheMounts};
pub(crate) use privileges::{ALWAYS, IN_OWN_NETWORK};
pub(crate) use report::{Outcome, SandboxReport};

use super::fault::{self, FaultKind};
use super::files;
use super::kernel::{self, ForkResult};
use super::rootfs::Rootfs;
use crate::lxc::call::Mapped;
use loan::LentFiles;
use privileges::RaisedCoreLimit;
use user_namespace::UserNamespace;

/// The directories at the top of the rootfs that are covered by filesystems of the sandbox's own.
const COVERED: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];

/// What keeps packages' daemons from being started: Debian's `invoke-rc.d` asks it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Its text: 101 is "forbidden by policy".
const POLICY_TEXT: &[u8] = b"#!/bin/sh\nexit 101\n";

/// The environment of every program inside; what the caller gives stands behind it.
pub(crate) const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    // What the host speaks says nothing of the locales that the rootfs has.
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
];

/// Which network a sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// A loopback interface of its own.
    Own,
    /// The host's.
    Host,
}

/// How a rootfs gets the files that a sandbox lends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lending {
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
pub(crate) struct Settings<'a> {
    /// The rootfs, by its path on the host.
    pub rootfs: &'a Path,
    /// The host name inside.
    pub name: &'a str,
    /// Which network it has.
    pub network: Network,
    /// Whether it may run where nothing keeps it from the host.
    pub unguarded: bool,
    /// Whether names are resolved as on the host.
    pub resolver: bool,
    /// Whether packages' daemons are kept from being started.
    pub policy: bool,
    /// How it gets the files for these two.
    pub lending: Lending,
    /// The capabilities besides those that every sandbox has.
    pub capabilities: CapabilitySet,
    /// Directories of the host that stand in for some of the rootfs.
    pub caches: CacheMounts,
    /// The ids that stand for the caller, where ids are mapped.
    pub mapped: Option<Mapped>,
    /// A script of the host: where it stands inside, below `/run`, and its bytes.
    pub script: Option<(PathBuf, Vec<u8>)>,
}

/// What runs in a sandbox.
#[derive(Debug)]
pub(crate) struct SandboxCommand {
    /// The command, as words.
    pub argv: Vec<OsString>,
    /// Its environment, behind [`ENVIRONMENT`].
    pub environment: Vec<(OsString, OsString)>,
}

/// The standard streams of the program.
#[derive(Debug)]
pub(crate) struct Streams<'a> {
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
pub(crate) struct Sandbox<'a> {
    settings: Settings<'a>,
    rootfs: Rootfs,
    /// Its user namespace, where it has one of its own.
    users: Option<&'static UserNamespace>,
    /// What `/etc/resolv.conf` is to be in the sandbox's `/run`, below that: its path and its text.
    resolver: Option<(PathBuf, Vec<u8>)>,
    loans: Vec<LentFiles>,
    /// What other sandboxes in this rootfs may have in common with this one.
    placeholders: Vec<LentFiles>,
    /// Locked as long as one is in the rootfs that has placeholders there.
    lock: Option<OwnedFd>,
    mounted: Vec<MountedFile>,
}

impl<'a> Sandbox<'a> {
    /// Prepares a rootfs.
    ///
    /// # Errors
    ///
    /// Where something cannot be put in place; what was is given back. Where a program would be able to
    /// take over the host, before anything is.
    pub(crate) fn set_up(settings: Settings<'a>) -> io::Result<Self> {
        let rootfs = Rootfs::open(settings.rootfs)?;
        let users = boundary::decide(&settings, &rootfs)?;
        let mut sandbox = Self {
            settings,
            rootfs,
            users,
            resolver: None,
            loans: Vec::new(),
            placeholders: Vec::new(),
            lock: None,
            mounted: Vec::new(),
        };
        sandbox.prepare()?;
        Ok(sandbox)
    }

    fn prepare(&mut self) -> io::Result<()> {
        if self.settings.lending == Lending::Mounts {
            let lock = files::open_directory(self.settings.rootfs)?;
            flock(&lock, FlockOperation::LockShared)?;
            self.lock = Some(lock);
        }
        for name in COVERED {
            let path = Path::new("/").join(name);
            let loan = self.rootfs.entry(&path).and_then(|place| {
                loan::give_back_of_killed(&place)?;
                LentFiles::mount_point(&place)
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
        let Some(place) = self.rootfs.existing_entry(path)? else { return Ok(()) };
        loan::give_back_of_killed(&place)?;
        match self.settings.lending {
            Lending::Files => self.loans.push(LentFiles::file(&place, &bytes, mode)?),
            Lending::Mounts => {
                match place.look()? {
                    Some(stat) if !loan::is_placeholder(&stat) => {
                        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                            return Ok(());
                        }
                    }
                    _ => self.placeholders.push(LentFiles::placeholder(&place)?),
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
    /// What keeps the process from being forked. What comes later is in the [`SandboxReport`].
    pub(crate) fn start(
        &self,
        program: &SandboxCommand,
        streams: &Streams<'_>,
    ) -> io::Result<(Pid, SandboxReport)> {
        let tree = about(self.settings.rootfs, self.tree())?;
        let caches = self.settings.caches.mounts(self.users)?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut namespaces = UnshareFlags::NEWPID
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS;
        if self.settings.network == Network::Own {
            namespaces |= UnshareFlags::NEWNET;
        }
        let _raised = RaisedCoreLimit::raise();
        let side = match self.users {
            Some(users) => users.fork_into(namespaces)?,
            None => kernel::fork_into(namespaces)?,
        };
        match side {
            ForkResult::Parent(id) => Ok((id, SandboxReport::new(reader))),
            ForkResult::Child => {
                inside::run(self, inside::InitContext { tree, caches, writer, program, streams })
            }
        }
    }

    /// Returns the mount of the rootfs, not yet anywhere.
    fn tree(&self) -> io::Result<OwnedFd> {
        let tree = mounts::copy_of(self.rootfs.directory(Path::new("/"))?)?;
        // A device node in a rootfs is a door to the host's device.
        kernel::restrict_mount(&tree, MountAttrFlags::MOUNT_ATTR_NODEV)?;
        if let Some(users) = self.users {
            users.map(&tree)?;
        }
        Ok(tree)
    }

    /// Gives back what was put in place.
    ///
    /// # Errors
    ///
    /// The first thing that could not be given back; the rest is.
    pub(crate) fn give_back(mut self) -> io::Result<()> {
        self.return_loans()
    }

    fn return_loans(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        let is_last = self
            .lock
            .take()
            .is_some_and(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        for loan in self.placeholders.drain(..).filter(|_| is_last) {
            result = result.and(loan.give_back());
        }
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

/// Says that an error kept a sandbox from being built.
pub(crate) fn not_built(error: io::Error) -> io::Error {
    fault::of_kind(FaultKind::Sandbox, "the sandbox could not be built", error)
}

/// Adds what an error is about.
fn about<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
}
