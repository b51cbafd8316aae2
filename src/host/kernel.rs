//! System calls that no safe library offers. All the unsafe code of the program is here.

#![expect(
    unsafe_code,
    reason = "fork, clone, the signal mask, signalfd and some calls of a sandbox have no safe form"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use rustix::mount::MountAttrFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::UnshareFlags;

use super::caller;
use super::privacy::restore_core_limit;

// What unwinds a panic is a part of the program: a library of its own for it took 6 % of a short run to load.
#[cfg(target_env = "gnu")]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// The longest host name, in bytes: shorter than what LXC takes for a name. Source: sethostname(2).
pub(crate) const LONGEST_HOST_NAME: usize = 64;

/// Which of the two a process is after a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForkResult {
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
pub(crate) fn fork() -> io::Result<ForkResult> {
    refuse_threads()?;
    // SAFETY: there is one thread, so that the child is a whole process: no lock is held by a
    // thread that does not exist in it.
    side(i64::from(unsafe { libc::fork() }))
}

/// Forks into new namespaces: the child is their first process.
///
/// To unshare `NEWPID` would change where *all* later children of this process live.
///
/// # Errors
///
/// What clone(2) says, and `EBUSY` as [`fork`].
pub(crate) fn fork_into(namespaces: UnshareFlags) -> io::Result<ForkResult> {
    refuse_threads()?;
    watch_user_namespace(namespaces);
    let flags = i64::from(namespaces.bits()) | i64::from(libc::SIGCHLD);
    let none = 0_i64;
    // SAFETY: as for `fork`: one thread, and no flag that shares memory or descriptors with the
    // child, which goes on at this place with a copy of the stack. The C library does not see the
    // child begin; of what it keeps for itself only the thread's id is wrong, which nothing here
    // asks for.
    side(unsafe {
        if cfg!(target_arch = "s390x") {
            libc::syscall(libc::SYS_clone, none, flags, none, none, none)
        } else {
            libc::syscall(libc::SYS_clone, flags, none, none, none, none)
        }
    })
}

/// Becomes a program without arguments and environment, and returns why that cannot be. Other than a
/// shell, and the C library, it takes no file for a script that the kernel refuses.
pub(crate) fn execute(path: &std::ffi::CStr) -> io::Error {
    let arguments = [path.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    // SAFETY: the path and the two lists are ended by zeros, and live through the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

fn refuse_threads() -> io::Result<()> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    Ok(())
}

fn side(id: i64) -> io::Result<ForkResult> {
    match i32::try_from(id).ok().filter(|id| *id >= 0).map(Pid::from_raw) {
        None => Err(io::Error::last_os_error()),
        Some(Some(child)) => Ok(ForkResult::Parent(child)),
        Some(None) => Ok(ForkResult::Child),
    }
}

/// Ends this process, the child of a fork, with the status that `work` returns. A panic ends it as well:
/// it must not unwind into what its parent still has to do.
pub(crate) fn leave_after(work: impl FnOnce() -> u8) -> ! {
    leave(catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED))
}

/// The exit status of a process that ended by a fault of the program.
pub(crate) const PANICKED: u8 = 101;

/// Ends this process at once. Of a fork, nothing is run that its parent still has to do; nor is anything run or
/// written that waits for the end of a program, which maps in more than the kernel needs to clear up.
pub(crate) fn leave(status: u8) -> ! {
    // SAFETY: _exit(2) takes a number, and does not return.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Adds attributes to a mount.
///
/// # Errors
///
/// What `mount_setattr(2)` says; `ENOSYS` before Linux 5.12.
pub(crate) fn restrict_mount(mount: impl AsFd, attributes: MountAttrFlags) -> io::Result<()> {
    set_mount(mount.as_fd(), attributes, None)
}

/// `MOUNT_ATTR_IDMAP`. Source: `linux/mount.h`.
const ID_MAPPED: u32 = 0x0010_0000;

/// Maps the ids of a mount that is not yet anywhere as `users` does: what belongs to the first id
/// outside belongs to the first one inside.
///
/// # Errors
///
/// What `mount_setattr(2)` says: `EINVAL` where its filesystem cannot, as an overlay and NFS.
pub(crate) fn map_mount(mount: impl AsFd, users: impl AsFd) -> io::Result<()> {
    set_mount(mount.as_fd(), MountAttrFlags::from_bits_retain(ID_MAPPED), Some(users.as_fd()))
}

fn set_mount(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    users: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    /// `struct mount_attr`, as of its first version.
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let user_namespace = users.map_or(0, |users| u64::from(users.as_raw_fd().unsigned_abs()));
    let wanted =
        Attributes { set: attributes.bits().into(), clear: 0, propagation: 0, user_namespace };
    // SAFETY: the path is an empty string with its end, and the structure is as long as is said;
    // the kernel only reads the two.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const wanted,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings the loopback interface of the process's network namespace up.
pub(crate) fn raise_loopback() -> io::Result<()> {
    /// `IFF_UP`, as the request has it.
    const UP: libc::c_short = 1;
    // SAFETY: the socket is new and nobody else's, once it is one.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    // SAFETY: all of the structure may be zeros; its name is ended by them. The kernel only reads
    // it, by a pointer that lives through the call.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed() as libc::c_char;
        request.ifr_name[1] = b'o'.cast_signed() as libc::c_char;
        request.ifr_ifru.ifru_flags = UP;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the process a new, empty session keyring, so that none of its keys are the caller's.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let name = std::ptr::null::<libc::c_char>();
    // SAFETY: without a name the kernel reads no memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What Landlock can scope: connections to abstract sockets, and signals. Source: `linux/landlock.h`.
const SCOPES: u64 = 0b11;

/// The first version of Landlock that has scopes: Linux 6.12.
const LANDLOCK_WITH_SCOPES: libc::c_long = 6;

/// Tells whether [`restrict_scope`] works here.
pub(crate) fn has_scopes() -> bool {
    const VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<u8>();
    // SAFETY: asked for its version, the kernel reads no memory of this process.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) };
    version >= LANDLOCK_WITH_SCOPES
}

/// Keeps this process, and those that it starts from now on, from connecting to abstract sockets of
/// others and from signalling others. Without `no_new_privs` it takes `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// What landlock(7) says.
pub(crate) fn restrict_scope() -> io::Result<()> {
    /// `struct landlock_ruleset_attr`, as of its third version.
    #[repr(C)]
    struct Ruleset {
        files: u64,
        network: u64,
        scoped: u64,
    }
    let ruleset = Ruleset { files: 0, network: 0, scoped: SCOPES };
    // SAFETY: the structure is as long as is said, and the kernel only reads it.
    let created = unsafe {
        let length = size_of::<Ruleset>();
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, length, 0)
    };
    let created = RawFd::try_from(created).unwrap_or(-1);
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let created = unsafe { OwnedFd::from_raw_fd(created) };
    // SAFETY: the call takes numbers alone.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, created.as_raw_fd(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a filter judge every system call of this process, and of those that it starts from now on.
/// Without `no_new_privs` it takes `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// What seccomp(2) says.
pub(crate) fn filter_calls(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program points to as many instructions as it says, which the kernel copies.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor of the process from `first` on, whoever thinks to own it.
///
/// Only for a forked child that ends by `exit` or `exec`: no owner is ever dropped in it.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    let first = libc::c_uint::try_from(first).map_err(io::Error::other)?;
    // SAFETY: the descriptors' owners live in the memory of a child that never comes to drop them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes `descriptor` the one of this number, and returns its owner.
///
/// Only for a forked child, as [`close_from`]: what had the number is closed.
pub(crate) fn move_to(descriptor: OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() == number {
        return Ok(descriptor);
    }
    // SAFETY: whatever owned the number lives in the memory of a child that never drops it.
    let result = unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the new descriptor is this process's own, and owned only here from now on.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Blocks these signals for the whole process, and returns a descriptor from which they are read.
///
/// Blocked, they are also delivered to the first process of a pid namespace. A child inherits the
/// block, unless it is started by [`start_as`].
pub(crate) fn signal_descriptor(signals: &[Signal]) -> io::Result<OwnedFd> {
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

/// How a command that is started stands to its caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartOptions {
    /// Whether it leads a session of its own, and so a process group, and has no terminal.
    pub own_session: bool,
    /// Whether it is killed when the thread that starts it ends.
    pub dies_with_caller: bool,
    /// How many files it may have open.
    pub files: Rlimit,
}

/// Makes a command start as is said, with no signal blocked and none ignored.
///
/// One that stays in the caller's session shares its terminal: the keys that the caller was told to
/// ignore mean nothing to it either.
pub(crate) fn start_as(command: &mut Command, start: StartOptions) {
    // SAFETY: the closure allocates nothing, takes no lock, and makes calls alone that are safe in
    // the child of a fork.
    unsafe {
        command.pre_exec(move || {
            let keys: &[Signal] = if start.own_session {
                rustix::process::setsid()?;
                &[]
            } else {
                &[Signal::INT, Signal::QUIT]
            };
            if start.dies_with_caller {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            }
            rustix::process::setrlimit(Resource::Nofile, start.files)?;
            restore_core_limit()?;
            reset_signals(keys)
        });
    }
}

/// The number of the last signal, the real-time ones among them, and the length of a set of them. The C
/// library keeps two for itself, and gives no access to these. Source: `asm-generic/signal.h`.
const LAST_SIGNAL: libc::c_int = 64;
const SET_LENGTH: usize = 8;

/// Ignores and blocks no signal any more, but for those that `kept` names: whether they are ignored
/// stays as it is.
pub(crate) fn reset_signals(kept: &[Signal]) -> io::Result<()> {
    let default = [0_usize; 16];
    let none = std::ptr::null::<usize>();
    for number in 1..=LAST_SIGNAL {
        if !kept.iter().any(|signal| signal.as_raw() == number) {
            // SAFETY: the kernel's structure is shorter than what is given, and all of it may be zeros,
            // which mean the default; no handler is set.
            unsafe {
                libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), none, SET_LENGTH);
            }
        }
    }
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set, and the pointers live through the calls.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a signal do to this process what it does by default, if it was ignored.
pub(crate) fn heed(signal: Signal) {
    if ignores(signal) {
        // SAFETY: no handler is set, and none was: the signal was ignored.
        unsafe { libc::signal(signal.as_raw(), libc::SIG_DFL) };
    }
}

/// Ignores a signal from now on. What is started has its default again.
pub(crate) fn disregard(signal: Signal) {
    // SAFETY: no handler is set.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
}

/// Tells whether this process ignores a signal.
pub(crate) fn ignores(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed, and the kernel fills the structure, all of which may be zeros; where
    // it knows no such signal it leaves it as it is.
    let action = unsafe {
        libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Makes every descriptor from `first` on one that no program gets which this process starts.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let low = libc::c_uint::try_from(first).map_err(io::Error::other)?;
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: the call takes numbers alone, and closes nothing.
    if unsafe { libc::syscall(libc::SYS_close_range, low, libc::c_uint::MAX, flags) } == 0 {
        return Ok(());
    }
    // Before Linux 5.11.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|number| *number >= first) {
            // SAFETY: as above. That one is not open any more does no harm.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// A signal as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel sent it, as a terminal's driver does, and not a process.
    pub by_kernel: bool,
}

/// Reads one signal that has come in, if there is one.
pub(crate) fn receive(descriptor: &OwnedFd) -> io::Result<Option<Received>> {
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
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    watch_user_namespace(flags);
    // SAFETY: the table of descriptors stays shared, as was just made sure.
    let unshared = unsafe { rustix::thread::unshare_unsafe(flags) };
    Ok(unshared?)
}

/// Has it asked anew who runs the program, where that becomes another.
fn watch_user_namespace(flags: UnshareFlags) {
    if flags.contains(UnshareFlags::NEWUSER) {
        caller::moves();
    }
}

/// Kills every process of the namespace of which this process is the first. Elsewhere it does nothing:
/// the others would be the host's.
pub(crate) fn kill_all_others() {
    if rustix::process::getpid() == rustix::process::Pid::INIT {
        // SAFETY: kill(2) takes two numbers. The process that calls it is not one of "all".
        let _ = unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}
