//! A child process: how it is run, who watches it, and how it ends.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
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

/// Runs a command with a text as its standard input, and returns what it has printed by its end on standard output. It
/// ends with this process. Not for a run, as above.
///
/// # Errors
///
/// Where it prints more than `most` bytes, or takes longer than `limit`: then it is killed.
pub(crate) fn answer_of(
    mut command: Command,
    input: &[u8],
    most: usize,
    limit: Duration,
) -> io::Result<(Vec<u8>, ExitStatus)> {
    let mut text = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    text.write_all(input)?;
    text.rewind()?;
    // It may ask for something at the terminal.
    let files = inheritance::files();
    let start = StartOptions { own_session: false, dies_with_caller: true, files };
    kernel::start_as(&mut command, start);
    let mut child = command.stdin(text).stdout(Stdio::piped()).spawn()?;
    let answer = match child.stdout.take() {
        Some(printed) => answer_from(printed.into(), Pid::from_child(&child), most, limit),
        None => Ok(Vec::new()),
    };
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    Ok((answer?, status))
}

/// Reads what a child prints until it has ended, whoever else may still print there.
fn answer_from(printed: OwnedFd, child: Pid, most: usize, limit: Duration) -> io::Result<Vec<u8>> {
    fcntl_setfl(&printed, OFlags::NONBLOCK)?;
    let pidfd = pidfd_open(child, PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut is_open = true;
    loop {
        let left = timespec(deadline.saturating_duration_since(Instant::now()));
        let mut polled = vec![PollFd::new(&pidfd, PollFlags::IN)];
        if is_open {
            polled.push(PollFd::new(&printed, PollFlags::IN));
        }
        match poll(&mut polled, Some(&left)) {
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(0) => {
                let why = format!("it has not answered within {} seconds", limit.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Ok(_) => {}
        }
        let has_ended = !polled[0].revents().is_empty();
        loop {
            match rustix::io::read(&printed, &mut buffer[..]) {
                Ok(0) => is_open = false,
                Ok(read) => {
                    answer.extend_from_slice(&buffer[..read]);
                    if answer.len() > most {
                        let why = format!("it prints more than {most} bytes");
                        return Err(io::Error::other(why));
                    }
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
            break;
        }
        if has_ended {
            return Ok(answer);
        }
    }
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
    fn an_answer_has_its_length_and_its_time() {
        let ask = |script: &str, limit| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            answer_of(command, b"hello", 100, limit)
                .map(|(said, status)| (String::from_utf8(said).unwrap(), status.code()))
        };
        let long = Duration::from_secs(60);
        let began = Instant::now();
        assert_eq!(ask("cat; echo; exit 3", long).unwrap(), ("hello\n".to_owned(), Some(3)));
        assert_eq!(ask("exec <&-; echo a; exec >&-; sleep 0.1", long).unwrap().0, "a\n");
        // What it leaves holds up nobody.
        assert_eq!(ask("echo a; sleep 5 & exit 0", long).unwrap().0, "a\n");
        assert_eq!(ask("printf %0100d", long).unwrap().0.len(), 100);
        for script in ["printf %0101d; sleep 60", "yes"] {
            let why = ask(script, long).unwrap_err().to_string();
            assert_eq!(why, "it prints more than 100 bytes");
        }
        let hung = ask("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert_eq!(hung.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(5));
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
