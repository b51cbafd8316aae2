//! The mounts of a sandbox.
//!
//! They are made by descriptor with the mount calls of Linux 5.2 and 5.12, never by a path of the
//! rootfs: at the top of it a last name that is a link is not followed, and deeper paths are
//! resolved within it. [`build`] runs in the sandbox's own mount namespace, before it has any
//! process but its first.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, symlinkat,
};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{WaitOptions, waitpid};
use rustix::thread::UnshareFlags;

use super::{MountedFile, Network, Settings};
use crate::host::detached::new;
use crate::host::kernel::{self, ForkResult};

const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;

/// Neither programs, nor devices, nor set-id files.
const INERT: MountAttrFlags = NOSUID.union(NODEV).union(NOEXEC);

/// Parts of `/proc` that are the host's whoever asks. Root may write most of them without any
/// capability: the kernel checks none.
const READ_ONLY: [&str; 5] = ["sys", "sysrq-trigger", "irq", "bus", "fs"];

/// Parts of `/proc` that say what is nobody's business inside.
const MASKED: [&str; 9] = [
    "kcore",
    "keys",
    "timer_list",
    "acpi",
    "scsi",
    "kpagecount",
    "kpageflags",
    "slabinfo",
    "vmallocinfo",
];

/// What is to be done in a chroot. To mount something there would mount it for all of the host.
const NO_MOUNT: &str = "the root directory of this process is no mount point, as in a chroot: mount \
                        the chroot's directory on itself (`mount --bind DIR DIR`) and enter it again";

/// The devices that a rootfs needs, all of them harmless.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The links of `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The group of terminals, the same in all distributions; in a small id map it may be missing.
const TTY: (&str, &str) = ("gid", "5");

/// Builds all mounts, and makes the rootfs the root of this process.
pub(super) fn build(
    settings: &Settings<'_>,
    tree: &OwnedFd,
    caches: &[OwnedFd],
    resolver: Option<&(PathBuf, Vec<u8>)>,
    files: &[MountedFile],
) -> io::Result<()> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private).map_err(|error| match error {
        rustix::io::Errno::INVAL => io::Error::other(NO_MOUNT),
        error => error.into(),
    })?;
    // Anywhere would do: it is about to be the root. Here nobody has to search a path for it, and what
    // paths lead to is still what is below.
    at("the rootfs", attach(tree, CWD, "/"))?;
    for (mount, cache) in caches.iter().zip(settings.caches.iter()) {
        at(&cache.path.to_string_lossy(), cache_at(tree, mount, &cache.path))?;
    }
    for file in files {
        at(&file.path.to_string_lossy(), mount_file(tree, file))?;
    }
    at("/proc", proc(tree))?;
    at("/sys", sys(tree, settings.network == Network::Own))?;
    at("/dev", dev(tree))?;
    at("/run", run(tree, settings, resolver))?;
    at("/tmp", temporary(tree, "tmp", "1777").map(drop))?;
    at("the root", pivot(tree))
}

/// Returns a copy of the mount at a descriptor, not yet anywhere.
pub(super) fn copy_of(place: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(place, "", flags)?)
}

/// Puts a mount on the directory or file `name` of an opened directory, a link not followed.
fn attach(mount: &OwnedFd, directory: impl AsFd, name: &str) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount, "", directory, name, flags)?)
}

/// Puts a mount on what is opened.
fn attach_to(mount: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", flags)?)
}

fn cache_at(tree: &OwnedFd, mount: &OwnedFd, path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let place = openat2(tree, path, flags, Mode::empty(), resolve)?;
    attach_to(mount, &place)
}

/// Covers a file of the rootfs, a link not followed.
fn mount_file(tree: &OwnedFd, MountedFile { path, bytes, mode }: &MountedFile) -> io::Result<()> {
    let memory = new("tmpfs", NOSUID | NODEV, &[("mode", "0700")])?;
    file(&memory, OsStr::new("file"), bytes, *mode)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = copy_of(openat(&memory, "file", flags, Mode::empty())?)?;
    kernel::restrict_mount(&copy, RO)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let directory = path.parent().unwrap_or(path);
    let directory =
        openat2(tree, directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let place = openat(&directory, path.file_name().unwrap_or_default(), flags, Mode::empty())?;
    attach_to(&copy, &place)
}

fn proc(tree: &OwnedFd) -> io::Result<()> {
    let proc = new("proc", INERT, &[])?;
    attach(&proc, tree, "proc")?;
    for name in READ_ONLY {
        let Some(part) = part(&proc, name)? else { continue };
        let copy = copy_of(&part)?;
        kernel::restrict_mount(&copy, RO | INERT)?;
        at(name, attach_to(&copy, &part))?;
    }
    for name in MASKED {
        let Some(part) = part(&proc, name)? else { continue };
        let mask = match FileType::from_raw_mode(fstat(&part)?.st_mode) {
            FileType::Directory => new("tmpfs", RO | INERT, &[("mode", "0555")])?,
            _ => device("null")?,
        };
        at(name, attach_to(&mask, &part))?;
    }
    Ok(())
}

/// Makes `/proc` of the new root read-only.
pub(super) fn freeze_proc() -> io::Result<()> {
    let proc = openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    kernel::restrict_mount(proc, RO)
}

fn part(directory: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Ok(part) => Ok(Some(part)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts a sysfs in place; an empty directory where the kernel grants none, as in a container that
/// masks parts of its own.
fn sys(tree: &OwnedFd, own_network: bool) -> io::Result<()> {
    let fresh = if own_network {
        // A sysfs shows the devices of a network namespace, and belongs to whom that belongs to.
        new("sysfs", RO | INERT, &[]).and_then(|sys| attach(&sys, tree, "sys"))
    } else {
        sys_of_no_network(tree)
    };
    fresh.or_else(|error| {
        tracing::debug!(%error, "no sysfs");
        attach(&new("tmpfs", RO | INERT, &[("mode", "0555")])?, tree, "sys")
    })
}

/// Mounts a sysfs from a process in a network namespace of its own: that of the host's is refused
/// in a user namespace, and has the host's interfaces in it.
fn sys_of_no_network(tree: &OwnedFd) -> io::Result<()> {
    match kernel::fork()? {
        ForkResult::Child => {
            let mounted = kernel::unshare(UnshareFlags::NEWNET)
                .and_then(|()| new("sysfs", RO | INERT, &[]))
                .and_then(|sys| attach(&sys, tree, "sys"));
            kernel::leave(u8::from(mounted.is_err()))
        }
        ForkResult::Parent(child) => {
            let status = waitpid(Some(child), WaitOptions::empty())?;
            match status.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(()),
                _ => Err(io::Error::other("it was refused")),
            }
        }
    }
}

fn dev(tree: &OwnedFd) -> io::Result<()> {
    let dev = new("tmpfs", NOSUID | NODEV | NOEXEC, &[("mode", "0755"), ("size", "4m")])?;
    attach(&dev, tree, "dev")?;
    for name in DEVICES {
        let node = match device(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => at(name, other)?,
        };
        file(&dev, OsStr::new(name), &[], 0o666)?;
        at(name, attach(&node, &dev, name))?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name)?;
    }
    mkdirat(&dev, "pts", Mode::from_raw_mode(0o755))?;
    mkdirat(&dev, "shm", Mode::from_raw_mode(0o1777))?;
    attach(&at("pts", terminals())?, &dev, "pts")?;
    attach(&new("tmpfs", NOSUID | NODEV, &[("mode", "1777")])?, &dev, "shm")
}

fn terminals() -> io::Result<OwnedFd> {
    let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), TTY];
    new("devpts", NOSUID | NOEXEC, &options)
        .or_else(|_| new("devpts", NOSUID | NOEXEC, &options[..3]))
}

/// Returns a read-only mount of one of the host's device nodes. The device can be written all the
/// same; what cannot is the node's mode and owner, which are the host's.
fn device(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = openat(CWD, Path::new("/dev").join(name), flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&node)?.st_mode) != FileType::CharacterDevice {
        return Err(io::Error::other("the host's is no device"));
    }
    let copy = copy_of(&node)?;
    kernel::restrict_mount(&copy, RO | NOSUID | NOEXEC)?;
    Ok(copy)
}

fn run(
    tree: &OwnedFd,
    settings: &Settings<'_>,
    resolver: Option<&(PathBuf, Vec<u8>)>,
) -> io::Result<()> {
    let run = temporary(tree, "run", "0755")?;
    directory(run.as_fd(), OsStr::new("lock"), 0o1777)?;
    if let Some((path, text)) = resolver {
        file_below(&run, path, text, 0o644)?;
    }
    if let Some((path, bytes)) = &settings.script {
        file_below(&run, path.strip_prefix("/run").map_err(io::Error::other)?, bytes, 0o755)?;
    }
    Ok(())
}

fn temporary(tree: &OwnedFd, name: &str, mode: &str) -> io::Result<OwnedFd> {
    let mount = new("tmpfs", NOSUID | NODEV, &[("mode", mode)])?;
    attach(&mount, tree, name)?;
    Ok(mount)
}

/// Makes a file in a filesystem of the sandbox's own, and the directories above it.
fn file_below(mount: &OwnedFd, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut at = mount.try_clone()?;
    for above in path.parent().into_iter().flat_map(Path::iter) {
        at = directory(at.as_fd(), above, 0o755)?;
    }
    file(&at, name, bytes, mode)
}

fn directory(at: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<OwnedFd> {
    match mkdirat(at, name, Mode::from_raw_mode(mode)) {
        Err(rustix::io::Errno::EXIST) => {}
        other => other?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn file(directory: &OwnedFd, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::from_raw_mode(mode))?);
    file.write_all(bytes)
}

fn pivot(tree: &OwnedFd) -> io::Result<()> {
    rustix::process::fchdir(tree)?;
    // The old root ends up below the new one, at the same place, and is taken away from there.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Adds to an error what it is about.
pub(super) fn at<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
}
