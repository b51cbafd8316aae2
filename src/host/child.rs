//! A child process, its output, and its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, kill_process_group, pidfd_open, waitpid,
};

use super::kernel;
use super::signals::Signals;

/// How long a child may take to end when it was asked to, before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// How a child came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Own(ExitStatus),
    /// It took too long.
    TimedOut,
    /// The run was asked to end.
    Interrupted(Signal),
}

/// Returns the exit status that a shell would give a process that ended like this: 128 and the
/// signal's number where one ended it.
pub fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Signals the process group of a child that leads one, or is about to.
///
/// The child must not have been waited for: only then its id is still its own.
pub fn signal_group(leader: Pid, signal: Signal) -> rustix::io::Result<()> {
    // One that was just started may not lead its group yet.
    kill_process_group(leader, signal).or_else(|_| kill_process(leader, signal))
}

/// What is done while a child runs.
pub trait Watcher {
    /// Takes a piece of the child's output, standard output and standard error as they come.
    fn output(&mut self, bytes: &[u8]);

    /// Is called now and then.
    fn tick(&mut self) {}
}

/// How a child is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Whether it shares the process group of this process, and so the terminal. Otherwise it has
    /// a group of its own, which signals reach as a whole, and just once.
    pub shares_terminal: bool,
    /// How long [`Watcher::tick`] is not called at the most; never, where it is nothing.
    pub tick: Option<Duration>,
}

/// Runs a command to its end, its output by a pipe.
///
/// What it leaves running in the background is not waited for.
pub fn run(
    mut command: Command,
    terms: Terms,
    signals: &mut Signals,
    watcher: &mut dyn Watcher,
) -> io::Result<End> {
    supervise(terms, signals, watcher, move |writer| {
        command.stdout(writer.try_clone()?).stderr(writer);
        if !terms.shares_terminal {
            command.process_group(0);
        }
        kernel::unblocked(&mut command);
        command.spawn().map(|child| Pid::from_child(&child))
    })
}

/// Runs a child to its end that `start` starts with the given end of a pipe for its output.
///
/// The child leads a process group of its own, unless it shares that of this process.
pub fn supervise(
    terms: Terms,
    signals: &mut Signals,
    watcher: &mut dyn Watcher,
    start: impl FnOnce(OwnedFd) -> io::Result<Pid>,
) -> io::Result<End> {
    let (output, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&output, rustix::fs::OFlags::NONBLOCK)?;
    let pid = start(writer)?;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
            return Err(error.into());
        }
    };
    let buffer = vec![0; CHUNK];
    let output = Some(output);
    let mut running = Running { pid, pidfd, output, buffer, terms, asked: None, ended: false };
    running.supervise(signals, watcher)
}

struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    /// Nothing, once everybody has closed the other end.
    output: Option<OwnedFd>,
    buffer: Vec<u8>,
    terms: Terms,
    /// Why it was asked to end, and when it is killed.
    asked: Option<(End, Instant)>,
    /// Whether it has ended and was waited for, so that its id is no longer its own.
    ended: bool,
}

impl Running {
    fn supervise(&mut self, signals: &mut Signals, watcher: &mut dyn Watcher) -> io::Result<End> {
        let started = Instant::now();
        let limit = self.terms.timeout.and_then(|timeout| started.checked_add(timeout));
        loop {
            let deadline = match self.asked {
                Some((_, kill)) => Some(kill),
                None => limit,
            };
            let patience = deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
                .into_iter()
                .chain(self.terms.tick)
                .min();
            let ended = self.wait(patience, signals, watcher)?;
            if ended {
                let status = self.status()?;
                self.drain(watcher);
                return Ok(self.asked.map_or(End::Own(status), |(why, _)| why));
            }
            while let Some(received) = signals.receive()? {
                if !(self.terms.shares_terminal && received.by_kernel) {
                    self.send(received.signal);
                }
                let why = End::Interrupted(received.signal);
                self.asked.get_or_insert((why, Instant::now() + GRACE));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                match self.asked {
                    None => self.ask(End::TimedOut, Signal::TERM),
                    Some((why, _)) => {
                        self.send(Signal::KILL);
                        self.asked = Some((why, Instant::now() + GRACE));
                    }
                }
            }
            watcher.tick();
        }
    }

    /// Waits for something to happen; true when the child has ended.
    fn wait(
        &mut self,
        patience: Option<Duration>,
        signals: &Signals,
        watcher: &mut dyn Watcher,
    ) -> io::Result<bool> {
        let timeout = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        });
        let mut descriptors = vec![
            PollFd::new(&self.pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        descriptors.extend(self.output.as_ref().map(|output| PollFd::new(output, PollFlags::IN)));
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = descriptors.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.get(2) == Some(&true) {
            self.read_once(watcher);
        }
        Ok(ready[0])
    }

    /// Reads one piece of output; false when there is none for now.
    fn read_once(&mut self, watcher: &mut dyn Watcher) -> bool {
        let Some(output) = &self.output else { return false };
        let buffer = &mut self.buffer;
        match rustix::io::read(output, &mut buffer[..]) {
            Ok(0) => {
                self.output = None;
                false
            }
            Ok(read) => {
                watcher.output(&buffer[..read]);
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => {
                self.output = None;
                false
            }
        }
    }

    /// Reads what the child has left in the pipe. A process that it left behind may go on writing:
    /// what a pipe holds at the most is enough.
    fn drain(&mut self, watcher: &mut dyn Watcher) {
        for _ in 0..16 {
            if !self.read_once(watcher) {
                break;
            }
        }
    }

    fn status(&mut self) -> io::Result<ExitStatus> {
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => {
                    self.ended = true;
                    return Ok(ExitStatus::from_raw(status.as_raw()));
                }
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn ask(&mut self, why: End, signal: Signal) {
        self.send(signal);
        self.asked.get_or_insert((why, Instant::now() + GRACE));
    }

    fn send(&self, signal: Signal) {
        // The child is not waited for yet, so that its id is still its own.
        let sent = if self.terms.shares_terminal {
            kill_process(self.pid, signal)
        } else {
            signal_group(self.pid, signal)
        };
        if let Err(error) = sent {
            tracing::debug!(%error, ?signal, "a signal could not be sent");
        }
    }
}

impl Drop for Running {
    /// Whatever went wrong, the child does not go on unwatched.
    fn drop(&mut self) {
        if !self.ended {
            self.send(Signal::KILL);
            let _ = self.status();
        }
    }
}

/// Runs a command to its end with what this process has as standard streams.
pub fn run_plainly(mut command: Command) -> io::Result<ExitStatus> {
    command.status()
}

/// Tells whether a descriptor is a terminal.
pub fn is_terminal(descriptor: impl AsFd) -> bool {
    rustix::termios::isatty(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

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
