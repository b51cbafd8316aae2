//! The first process of a sandbox: it builds the mounts, gives up what it may do, starts the
//! program, and reaps until that ends. With it the kernel ends whatever the program has left
//! running.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, set_dumpable_behavior, wait};
use rustix::thread::UnshareFlags;

use super::mounts::at as about;
use super::{
    ALWAYS, ENVIRONMENT, Network, Sandbox, SandboxCommand, Streams, boundary, filter, mounts,
    privileges, report,
};
use crate::host::child::{code, signal_group};
use crate::host::inheritance;
use crate::host::kernel::{self, ForkResult};
use crate::host::signals::ENDING;

/// The descriptor of the report, the only one besides the standard streams.
const REPORT: i32 = 3;

/// What the first process is called inside.
const NAME: &str = "layered-template";

/// The exit status of a sandbox that failed.
const FAILED: u8 = 125;

/// What the first process is given.
pub(super) struct InitContext<'a> {
    pub(super) tree: OwnedFd,
    pub(super) caches: Vec<OwnedFd>,
    pub(super) writer: OwnedFd,
    pub(super) program: &'a SandboxCommand,
    pub(super) streams: &'a Streams<'a>,
}

/// Runs as the first process, to its end.
pub(super) fn run(sandbox: &Sandbox<'_>, context: InitContext<'_>) -> ! {
    // A panic must not unwind into the parent's code either.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if let Err(error) = build(sandbox, &context) {
            report::not_built(&context.writer, &error.to_string());
            kernel::leave(FAILED);
        }
        let InitContext { writer, program, streams, .. } = context;
        // By its number it survives what closes all others.
        let Ok(report) = kernel::move_to(writer, REPORT) else { kernel::leave(FAILED) };
        let ended = kernel::close_from(REPORT + 1)
            .and_then(|()| supervise(program, streams.terminal, &report));
        match ended {
            Ok(raw) => {
                report::status(&report, raw);
                kernel::leave(code(ExitStatus::from_raw(raw)))
            }
            Err(error) => {
                report::not_run(&report, &error.to_string());
                kernel::leave(FAILED)
            }
        }
    }));
    kernel::leave(FAILED)
}

fn build(sandbox: &Sandbox<'_>, context: &InitContext<'_>) -> io::Result<()> {
    let settings = &sandbox.settings;
    let InitContext { tree, caches, .. } = context;
    // Where the run has a pid namespace of its own the kernel does as much; it may have none.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setsid()?;
    // Modes are meant as they are given.
    rustix::process::umask(Mode::empty());
    if sandbox.users.is_none() {
        // Where ids are mapped they may be out of reach.
        let _ = rustix::thread::set_thread_groups(&[]);
    }
    let (resolver, files) = (sandbox.resolver.as_ref(), &sandbox.mounted);
    mounts::build(settings, tree, caches, resolver, files)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if settings.network == Network::Own {
        about("the loopback interface", kernel::raise_loopback())?;
    }
    let name = crate::shell::cut(settings.name, kernel::LONGEST_HOST_NAME);
    let named = rustix::system::sethostname(name.as_bytes());
    about("the host name", named.map_err(io::Error::from))?;
    rustix::system::setdomainname(b"(none)")?;
    // What the kernel may lack.
    for (what, result) in [
        ("cgroup namespace", kernel::unshare(UnshareFlags::NEWCGROUP)),
        ("session keyring", kernel::join_new_session_keyring()),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, what, "the sandbox has none of its own");
        }
    }
    about("the standard streams", standard_streams(context.streams))?;
    let capabilities = ALWAYS | boundary::capabilities(settings);
    // Before there is anybody else: this process is a copy of one of the host's, with all that it
    // knows in its memory, its arguments and its environment.
    // One that has changed its ids cannot write its own memory until it is dumpable again.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    about("the arguments", forget_arguments())?;
    if sandbox.users.is_none() {
        // There, uid 0 is one of the host: what network filters show in `/proc/net` is its to write.
        about("/proc", mounts::freeze_proc())?;
    }
    // While this process may still do so without giving up set-id programs.
    about("Landlock", privileges::restrict_scope())?;
    about("the filter of system calls", kernel::filter_calls(&filter::program()))?;
    about("the capabilities", privileges::keep(capabilities))?;
    about("the limit of core dumps", privileges::limit_core())?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Overwrites the arguments and the environment that this process was started with. The first are
/// anybody's to read, in `/proc/1/cmdline`, and may hold a secret of the host's.
fn forget_arguments() -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name stands in brackets, and may itself hold spaces; behind it is field 3.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap_or_default().1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    for (start, end, text) in [(48, 49, NAME), (50, 51, "")] {
        let (Some(start), Some(end)) = (field(start), field(end)) else { continue };
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or_default()];
        let length = text.len().min(bytes.len().saturating_sub(1));
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        memory.write_all_at(&bytes, start)?;
    }
    Ok(())
}

/// Takes the standard streams. What the host opened would show the host: so does `/dev/null`.
fn standard_streams(streams: &Streams<'_>) -> io::Result<()> {
    if let Some(input) = streams.input {
        rustix::stdio::dup2_stdin(input)?;
    } else {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        rustix::stdio::dup2_stdin(openat(CWD, "/dev/null", flags, Mode::empty())?)?;
    }
    rustix::stdio::dup2_stdout(streams.output)?;
    Ok(rustix::stdio::dup2_stderr(streams.errors)?)
}

/// Starts the program, passes on what asks for its end, reaps, and returns its status when it has
/// ended.
fn supervise(program: &SandboxCommand, terminal: bool, report: &OwnedFd) -> io::Result<i32> {
    let [first, second, third] = ENDING;
    let signals = kernel::signal_descriptor(&[first, second, third, Signal::CHILD])?;
    let id = match kernel::fork()? {
        ForkResult::Child => become_program(program, terminal, report),
        ForkResult::Parent(id) => id,
    };
    loop {
        while let Some((child, status)) = reap()? {
            if child == id {
                return Ok(status);
            }
        }
        match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(received) = kernel::receive(&signals)? {
            if received.signal != Signal::CHILD {
                // One that has stopped hears nothing until it goes on.
                let _ =
                    signal_group(id, received.signal).and_then(|()| signal_group(id, Signal::CONT));
            }
        }
    }
}

/// Takes one child that has ended, whoever started it.
fn reap() -> io::Result<Option<(Pid, i32)>> {
    match wait(WaitOptions::NOHANG) {
        Ok(ended) => Ok(ended.map(|(id, status)| (id, status.as_raw()))),
        Err(rustix::io::Errno::CHILD | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn become_program(program: &SandboxCommand, terminal: bool, report: &OwnedFd) -> ! {
    let result = rustix::process::setsid().map_err(io::Error::from).and_then(|_| {
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        rustix::process::setrlimit(rustix::process::Resource::Nofile, inheritance::files())?;
        kernel::reset_signals(&[])
    });
    let error = result.err().unwrap_or_else(|| {
        let mut words = program.argv.iter();
        let first = words.next().map(OsStr::new).unwrap_or_default();
        let mut command = Command::new(first);
        command.args(words).env_clear().envs(ENVIRONMENT);
        command.envs(program.environment.iter().map(|(name, value)| (name, value)));
        // It returns only if it fails.
        command.exec()
    });
    let name = program.argv.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let reason = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("`{name}`, or something it needs, is not in the rootfs")
        }
        _ => format!("`{name}`: {error}"),
    };
    report::not_run(report, &reason);
    kernel::leave(127)
}
