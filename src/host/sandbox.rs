//! The sandbox: a process inside a rootfs that finds there what a package manager needs, and
//! nothing of the host.
//!
//! [`Sandbox::set_up`] prepares the rootfs, from outside; [`Sandbox::start`] forks into new
//! namespaces, builds the mounts there, and runs the program under a first process that reaps. What
//! was prepared is given back when the sandbox is dropped. The process that calls stays outside the
//! sandbox's mount namespace: `pivot_root` would move its root along, and its later paths would
//! miss.

mod cache;
mod inside;
mod loan;
mod mounts;
mod privileges;
mod report;
mod resolver;

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::mount::MountAttrFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::thread::{CapabilitySet, UnshareFlags};

pub use cache::{Cache, Caches};
pub use privileges::{ALWAYS, IN_OWN_NETWORK};
pub use report::{Outcome, Report};

use super::kernel::{self, Side};
use super::rootfs::Rootfs;
use loan::Loan;

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

/// What a sandbox is like.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The rootfs, by its path on the host.
    pub rootfs: &'a Path,
    /// The host name inside.
    pub name: &'a str,
    /// Whether it has the host's network; else it has a loopback interface of its own.
    pub network: bool,
    /// Whether names are resolved as on the host.
    pub resolver: bool,
    /// Whether packages' daemons are kept from being started.
    pub policy: bool,
    /// The capabilities besides those that every sandbox has.
    pub capabilities: CapabilitySet,
    /// Directories of the host that stand in for some of the rootfs.
    pub caches: Caches,
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
}

impl<'a> Sandbox<'a> {
    /// Prepares a rootfs.
    ///
    /// # Errors
    ///
    /// Where something cannot be put in place; what was is given back.
    pub fn set_up(settings: Settings<'a>) -> io::Result<Self> {
        let rootfs = Rootfs::open(settings.rootfs)?;
        let mut sandbox = Self { settings, rootfs, resolver: None, loans: Vec::new() };
        sandbox.prepare()?;
        Ok(sandbox)
    }

    fn prepare(&mut self) -> io::Result<()> {
        for name in COVERED {
            let path = Path::new("/").join(name);
            let loan = self.rootfs.place(&path).and_then(|place| Loan::mount_point(&place));
            self.loans.extend(about(&path, loan)?);
        }
        for index in 0..self.settings.caches.len() {
            let path = self.settings.caches.get(index).path.clone();
            about(&path, cache::mount_points(&self.rootfs, &path, &mut self.loans))?;
        }
        if self.settings.resolver {
            let path = Path::new(resolver::PATH);
            about(path, self.lend_resolver())?;
        }
        if self.settings.policy {
            let path = Path::new(POLICY);
            about(path, self.lend(path, POLICY_TEXT, 0o755))?;
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
            None => self.lend(Path::new(resolver::PATH), &text, 0o644),
        }
    }

    /// Lends the rootfs a file, where it has the directory for it.
    fn lend(&mut self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        if let Some(place) = self.rootfs.existing_place(path)? {
            self.loans.push(Loan::file(&place, bytes, mode)?);
        }
        Ok(())
    }

    /// Starts a program, and returns the first process of the sandbox, which ends with it and
    /// leads a process group.
    ///
    /// # Errors
    ///
    /// What keeps the process from being forked. What comes later is in the [`Report`].
    pub fn start(&self, program: &Program, streams: &Streams<'_>) -> io::Result<(Pid, Report)> {
        let tree =
            about(self.settings.rootfs, mounts::copy_of(self.rootfs.directory(Path::new("/"))?))?;
        // A device node in a rootfs is a door to the host's device.
        kernel::restrict_mount(&tree, MountAttrFlags::MOUNT_ATTR_NODEV)?;
        let caches = self.settings.caches.mounts()?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut namespaces = UnshareFlags::NEWPID
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS;
        if !self.settings.network {
            namespaces |= UnshareFlags::NEWNET;
        }
        match kernel::fork_into(namespaces)? {
            Side::Parent(id) => Ok((id, Report::new(reader))),
            Side::Child => {
                inside::run(self, inside::Given { tree, caches, writer, program, streams })
            }
        }
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

/// Adds what an error is about.
fn about<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| {
        io::Error::new(error.kind(), format!("`{}` for the sandbox: {error}", path.display()))
    })
}
