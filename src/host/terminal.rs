//! A program on a terminal of its own, joined to the caller's.
//!
//! The caller's own terminal would let what runs in a sandbox type into the caller's shell.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, QueueSelector, Termios, isatty, tcflush, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

use super::kernel;
use super::output::timespec;
use super::signals::Signals;

/// How much is carried at once.
const CHUNK: usize = 8 * 1024;

/// A terminal, and the caller's, which is left as it was when this is dropped.
#[derive(Debug)]
pub(crate) struct Terminal {
    ours: OwnedFd,
    theirs: Option<OwnedFd>,
    before: Option<Termios>,
}

impl Terminal {
    /// Opens one as large as the caller's; `None` if the caller has none.
    pub(crate) fn open() -> io::Result<Option<Self>> {
        if !(isatty(stdin()) && isatty(stdout())) {
            return Ok(None);
        }
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        let terminal = Self { ours, theirs: Some(theirs), before: None };
        terminal.resize();
        Ok(Some(terminal))
    }

    /// Returns the end for the program; `None` once it was dropped.
    pub(crate) fn theirs(&self) -> Option<&OwnedFd> {
        self.theirs.as_ref()
    }

    /// Lets the program's end go, and passes what is typed as it comes.
    fn begin(&mut self) -> io::Result<()> {
        self.theirs = None;
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        self.before = Some(before);
        Ok(())
    }

    fn resize(&self) {
        if let Ok(size) = tcgetwinsize(stdin()) {
            let _ = tcsetwinsize(&self.ours, size);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // What is on its way to the terminal may never come there, and is not waited for.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            let _ = tcflush(stdin(), QueueSelector::IFlush);
        }
    }
}

/// How long what the program has printed last may wait for a terminal that takes nothing, once the end
/// was asked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits for a child to end, and meanwhile carries between the two terminals, and passes on what
/// asks for the end. Neither terminal is waited for.
pub(crate) fn attend(
    child: Pid,
    mut terminal: Option<Terminal>,
    signals: &mut Signals,
) -> io::Result<ExitStatus> {
    if let Some(terminal) = &mut terminal {
        terminal.begin()?;
    }
    let pidfd = pidfd_open(child, PidfdFlags::empty())?;
    let resized = kernel::signal_descriptor(&[Signal::WINCH])?;
    let ways = match &terminal {
        Some(terminal) => Some((terminal.ours.as_fd(), unshared(stdout())?)),
        None => None,
    };
    let (mut typed, mut shown) = (Way::default(), Way::default());
    let mut asked = None;
    let mut ended = false;
    loop {
        let mut polled = vec![
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::new(&resized, PollFlags::IN),
        ];
        if let Some((ours, shown_on)) = &ways {
            polled.extend(typed.polled(stdin(), *ours));
            polled.extend(shown.polled(*ours, shown_on.as_fd()));
        }
        if !ended {
            polled.push(PollFd::new(&pidfd, PollFlags::IN));
        }
        // What the program has left in its terminal is there by now.
        let patience = (ended && !shown.is_waiting()).then_some(Duration::ZERO);
        let patience = patience.or(asked.map(|_| PATIENCE)).map(timespec);
        match poll(&mut polled, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ended = ended || is_ready(pidfd.as_fd(), PollFlags::IN)?;
        while let Some(received) = signals.receive()? {
            asked.get_or_insert_with(Instant::now);
            let _ = kill_process(child, received.signal);
        }
        while kernel::receive(&resized)?.is_some() {
            if let Some(terminal) = &terminal {
                terminal.resize();
            }
        }
        let mut moved = false;
        if let Some((ours, shown_on)) = &ways {
            typed.carry(stdin(), *ours)?;
            moved = shown.carry(*ours, shown_on.as_fd())?;
        }
        let given_up = asked.is_some_and(|since: Instant| since.elapsed() >= PATIENCE);
        if ended && (given_up || !(moved || shown.is_waiting())) {
            let status = waitpid(Some(child), WaitOptions::empty())?;
            return Ok(ExitStatus::from_raw(status.map_or(0, |(_, status)| status.as_raw())));
        }
    }
}

/// Opens what a descriptor leads to anew, so that a write to it need not wait: the caller's own open file
/// stays as it is. A terminal of somebody else's is not opened; then a write waits.
fn unshared(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => Ok(opened),
        Err(error) => {
            tracing::debug!(%error, "the terminal is written to as it is");
            descriptor.try_clone_to_owned()
        }
    }
}

/// One way between two terminals.
#[derive(Default)]
struct Way {
    /// What was read, and could not be written yet.
    waiting: Vec<u8>,
    /// Whether there is nothing more to read.
    ended: bool,
}

impl Way {
    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns what there is to wait for.
    fn polled<'a>(&self, from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Option<PollFd<'a>> {
        if self.is_waiting() {
            return Some(PollFd::from_borrowed_fd(to, PollFlags::OUT));
        }
        (!self.ended).then(|| PollFd::from_borrowed_fd(from, PollFlags::IN))
    }

    /// Carries what can be carried at once; true where something was.
    fn carry(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<bool> {
        if !self.is_waiting() && !self.ended && is_ready(from, PollFlags::IN)? {
            let mut buffer = [0; CHUNK];
            match rustix::io::read(from, &mut buffer) {
                // Nobody has the program's end open any more.
                Ok(0) | Err(rustix::io::Errno::IO) => self.ended = true,
                Ok(count) => self.waiting.extend(&buffer[..count]),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.is_waiting() || !is_ready(to, PollFlags::OUT)? {
            return Ok(false);
        }
        match rustix::io::write(to, &self.waiting) {
            Ok(count) => {
                self.waiting.drain(..count);
                Ok(count > 0)
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_ready(descriptor: BorrowedFd<'_>, flags: PollFlags) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, flags)];
    match poll(&mut polled, Some(&timespec(Duration::ZERO))) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
