//! A program on a terminal of its own, joined to the caller's.
//!
//! The caller's own terminal would let what runs in a sandbox type into the caller's shell.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::kernel;
use super::signals::Signals;

/// How much is carried at once.
const CHUNK: usize = 8 * 1024;

/// A terminal, and the caller's, which is left as it was when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    ours: OwnedFd,
    theirs: Option<OwnedFd>,
    before: Option<Termios>,
}

impl Terminal {
    /// Opens one as large as the caller's; nothing, where the caller has none.
    pub fn open() -> io::Result<Option<Self>> {
        if !(isatty(stdin()) && isatty(stdout())) {
            return Ok(None);
        }
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        let terminal = Self { ours, theirs: Some(theirs), before: None };
        terminal.resize();
        Ok(Some(terminal))
    }

    /// Returns the end for the program; nothing, once it was dropped.
    pub fn theirs(&self) -> Option<&OwnedFd> {
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
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Waits for a child to end, and meanwhile carries between the two terminals, and passes on what
/// asks for the end.
pub fn attend(
    child: Pid,
    mut terminal: Option<Terminal>,
    signals: &mut Signals,
) -> io::Result<ExitStatus> {
    if let Some(terminal) = &mut terminal {
        terminal.begin()?;
    }
    let pidfd = pidfd_open(child, PidfdFlags::empty())?;
    let resized = kernel::signal_descriptor(&[Signal::WINCH])?;
    let mut typing = true;
    loop {
        let mut descriptors = vec![
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::new(&resized, PollFlags::IN),
        ];
        if let Some(terminal) = &terminal {
            descriptors.push(PollFd::new(&terminal.ours, PollFlags::IN));
            if typing {
                descriptors.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
            }
        }
        match poll(&mut descriptors, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<_> = descriptors.iter().map(|fd| !fd.revents().is_empty()).collect();
        while let Some(received) = signals.receive()? {
            let _ = kill_process(child, received.signal);
        }
        while kernel::receive(&resized)?.is_some() {
            if let Some(terminal) = &terminal {
                terminal.resize();
            }
        }
        let mut shown = false;
        if let Some(terminal) = &terminal {
            shown = ready[3] && carry(&terminal.ours, stdout())?;
            if ready.get(4) == Some(&true) {
                typing = carry(stdin(), &terminal.ours)?;
            }
        }
        if ready[0] && !shown {
            let status = waitpid(Some(child), WaitOptions::empty())?;
            return Ok(ExitStatus::from_raw(status.map_or(0, |(_, status)| status.as_raw())));
        }
    }
}

/// Carries one piece; false at the end.
fn carry(from: impl AsFd, to: impl AsFd) -> io::Result<bool> {
    let mut buffer = [0; CHUNK];
    let read = match rustix::io::read(from, &mut buffer) {
        Ok(read) => read,
        // Nobody has the program's end open any more.
        Err(rustix::io::Errno::IO) => 0,
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let mut rest = &buffer[..read];
    while !rest.is_empty() {
        match rustix::io::write(&to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read > 0)
}
