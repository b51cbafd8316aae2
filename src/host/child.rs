//! A child process: how it is run, who watches it, and how it ends.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use super::inheritance;
use super::interrupts::Work;
use super::kernel::{self, StartOptions};
use super::output::timespec;

/// How long a child may take to end when it was asked to, before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// How long one may that nobody needs any more.
const SHORT_GRACE: Duration = Duration::from_secs(1);

/// How a child came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this status.
    Own(ExitStatus),
    /// It took too long.
    TimedOut,
    /// The run was asked to end.
    Interrupted(Signal),
}

/// Returns the exit status that a shell would give a process that ended like this: 128 and the
/// signal's number where one ended it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Signals the process group of a child that leads one, or is about to.
///
/// The child must not have been waited for: only then its id is still its own.
pub(crate) fn signal_group(leader: Pid, signal: Signal) -> rustix::io::Result<()> {
    // One that was just started may not lead its group yet.
    kill_process_group(leader, signal).or_else(|_| kill_process(leader, signal))
}

/// What is done while a child runs.
pub(crate) trait Watcher {
    /// Takes a piece of the child's output, standard output and standard error as they come.
    fn output(&mut self, bytes: &[u8]);

    /// Is called now and then.
    fn tick(&mut self) {}

    /// Takes something that a person should know.
    fn note(&mut self, text: &str) {
        tracing::debug!(text);
    }
}

/// How a child is run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpawnOptions {
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Whether it shares the process group of this process, and so the terminal. Otherwise it has
    /// a session of its own, whose group signals reach as a whole, and just once.
    pub shares_terminal: bool,
    /// How long [`Watcher::tick`] is not called at the most; never if `None`.
    pub tick: Option<Duration>,
    /// What it is to a run that is asked to end.
    pub work: Work,
}

/// Makes a command start with no signal blocked, in a session of its own, and so as the leader of a process group.
/// One that `dies_with_caller` is killed when the thread that starts it ends, however that comes.
pub(crate) fn start_alone(command: &mut Command, dies_with_caller: bool) {
    let files = inheritance::files();
    kernel::start_as(command, StartOptions { own_session: true, dies_with_caller, files });
}

/// Runs a command to its end, and returns what it has printed on standard output. Not for a run, in
/// which [`EventLoop`](super::event_loop::EventLoop) alone waits for children.
pub(crate) fn output_of(mut command: Command) -> io::Result<(Vec<u8>, ExitStatus)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut printed = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |mut from| from.read_to_end(&mut printed));
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    read.map(|_| (printed, status))
}

/// Runs a command with a text as its standard input, and ends it when it takes longer than `limit`. What it prints
/// goes to standard error. Not for a run, as above.
pub(crate) fn run_with_input(
    mut command: Command,
    input: &[u8],
    limit: Duration,
) -> io::Result<End> {
    // A file is read by whoever wants to, and holds up nobody where that is not done.
    let mut text = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    text.write_all(input)?;
    text.rewind()?;
    start_alone(&mut command, false);
    let printed = io::stderr().as_fd().try_clone_to_owned()?;
    let mut child = command.stdin(text).stdout(printed).spawn()?;
    let leader = Pid::from_child(&child);
    let pidfd = pidfd_open(leader, PidfdFlags::empty())?;
    let ends_within = |limit: Duration| -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let left = timespec(deadline.saturating_duration_since(Instant::now()));
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    };
    if ends_within(limit)? {
        return child.wait().map(End::Own);
    }
    let _ = signal_group(leader, Signal::TERM);
    if !ends_within(SHORT_GRACE)? {
        let _ = signal_group(leader, Signal::KILL);
    }
    child.wait().map(|_| End::TimedOut)
}

/// Tells whether a descriptor is a terminal.
pub(crate) fn is_terminal(descriptor: impl AsFd) -> bool {
    rustix::termios::isatty(descriptor)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn a_command_has_its_input_and_its_time() {
        let run = |script: &str, limit| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run_with_input(command, b"hello", limit).unwrap()
        };
        let long = Duration::from_secs(60);
        let own = |end| matches!(end, End::Own(status) if status.success());
        assert!(own(run("test \"$(cat)\" = hello", long)));
        assert!(own(run("exec <&-", long)));
        assert!(matches!(run("exit 3", long), End::Own(status) if status.code() == Some(3)));
        let began = Instant::now();
        assert_eq!(run("sleep 60", Duration::from_millis(50)), End::TimedOut);
        assert_eq!(run("trap '' TERM; sleep 60", Duration::from_millis(50)), End::TimedOut);
        assert!(began.elapsed() < GRACE / 2);
    }

    #[test]
    fn a_child_hears_a_signal_before_it_leads_a_group() {
        for leads in [false, true] {
            let mut command = Command::new("sleep");
            command.arg("60");
            if leads {
                command.process_group(0);
            }
            let mut child = command.spawn().unwrap();
            signal_group(Pid::from_child(&child), Signal::TERM).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()), "{leads}");
        }
    }
}
