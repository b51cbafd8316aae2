//! System calls that no safe library offers. All the unsafe code of the program is here.

#![expect(unsafe_code, reason = "fork, the signal mask and signalfd have no safe form")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal};

/// Which of the two a process is after a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that forked; the child's id as this process's pid namespace counts.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Forks.
///
/// # Errors
///
/// What fork(2) says, and `EBUSY` where the process has more than one thread: the child would own
/// locks that nobody opens.
pub fn fork() -> io::Result<Side> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: there is one thread, so that the child is a whole process: no lock is held by a
    // thread that does not exist in it.
    let id = unsafe { libc::fork() };
    match Pid::from_raw(id) {
        _ if id < 0 => Err(io::Error::last_os_error()),
        Some(child) => Ok(Side::Parent(child)),
        None => Ok(Side::Child),
    }
}

/// Blocks these signals for the whole process, and returns a descriptor from which they are read.
///
/// Blocked, they are also delivered to the first process of a pid namespace. A child inherits the
/// block, unless it is [`unblocked`].
pub fn signal_descriptor(signals: &[Signal]) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set, `sigaddset` gets valid signal numbers, and the
    // pointers live through the calls.
    let descriptor: RawFd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
        }
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes a command start with no signal blocked, whatever this process keeps for itself: the
/// standard library leaves the mask as it is.
pub fn unblocked(command: &mut Command) {
    let unblock = || {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set, and the pointers live through the calls.
        let done = unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure allocates nothing, takes no lock, and makes calls alone that are safe in
    // the child of a fork.
    unsafe { command.pre_exec(unblock) };
}

/// A signal as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel sent it, as a terminal's driver does, and not a process.
    pub by_kernel: bool,
}

/// Reads one signal that has come in, if there is one.
pub fn receive(descriptor: &OwnedFd) -> io::Result<Option<Received>> {
    let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut buffer) {
        Ok(read) if read == buffer.len() => {}
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // SAFETY: the kernel has filled the whole buffer with one structure of plain integers, and an
    // unaligned read needs no alignment.
    let info: libc::signalfd_siginfo = unsafe { std::ptr::read_unaligned(buffer.as_ptr().cast()) };
    let number = i32::try_from(info.ssi_signo).unwrap_or_default();
    Ok(Signal::from_named_raw(number)
        .map(|signal| Received { signal, by_kernel: info.ssi_code == libc::SI_KERNEL }))
}

/// Gives the calling process new namespaces.
///
/// # Errors
///
/// What unshare(2) says; `EINVAL` for a split of the table of descriptors, which would break the
/// rules of ownership.
pub fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    if flags.contains(rustix::thread::UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the table of descriptors stays shared, as was just made sure.
    let unshared = unsafe { rustix::thread::unshare_unsafe(flags) };
    Ok(unshared?)
}
