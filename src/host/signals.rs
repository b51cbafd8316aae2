//! Signals that ask for the end of a run.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::process::Signal;

use super::kernel::{self, Received};

/// The signals that end a run in an orderly way.
pub(crate) const ENDING: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// The ending signals of this process, kept until somebody asks for them, and those that its parent
/// passes on.
///
/// What was ignored when the program began is left alone, as `nohup` means it.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: OwnedFd,
    /// The end of a pipe by which the parent passes signals on, each a byte.
    passed_on: Option<OwnedFd>,
    /// Ready to be read when either of the two is.
    either: OwnedFd,
}

impl Signals {
    /// Starts to keep them.
    pub(crate) fn keep() -> io::Result<Self> {
        let heeded: Vec<_> =
            ENDING.into_iter().filter(|signal| !kernel::ignores(*signal)).collect();
        let descriptor = kernel::signal_descriptor(&heeded)?;
        let either = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&either, &descriptor, EventData::new_u64(0), EventFlags::IN)?;
        Ok(Self { descriptor, passed_on: None, either })
    }

    /// Takes in as well what the parent writes into a pipe, by [`pass_on`].
    pub(super) fn listen_to(&mut self, parent: OwnedFd) -> io::Result<()> {
        rustix::fs::fcntl_setfl(&parent, rustix::fs::OFlags::NONBLOCK)?;
        epoll::add(&self.either, &parent, EventData::new_u64(1), EventFlags::IN)?;
        self.passed_on = Some(parent);
        Ok(())
    }

    /// Takes the next signal that has come in, if there is one.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Received>> {
        if let Some(received) = kernel::receive(&self.descriptor)? {
            return Ok(Some(received));
        }
        let Some(parent) = &self.passed_on else { return Ok(None) };
        let mut byte = [0];
        match rustix::io::read(parent, &mut byte) {
            Ok(1) => {
                let signal = Signal::from_named_raw(i32::from(byte[0]));
                Ok(signal.map(|signal| Received { signal, by_kernel: false }))
            }
            Ok(_) => {
                // The parent has ended, and with it this process does.
                epoll::delete(&self.either, parent)?;
                self.passed_on = None;
                Ok(None)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The names of the signals from 1 on. Source: `signal(7)` of Linux.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first signal that the C library leaves to programs, and the last.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Returns the name of a signal as people write it.
pub(crate) fn name(signal: Signal) -> String {
    name_of(signal.as_raw())
}

/// Returns the name of a signal by its number.
pub(crate) fn name_of(number: i32) -> String {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| NAMES.get(index)) {
        Some(name) => format!("SIG{name}"),
        None if number == *REAL_TIME.start() => "SIGRTMIN".to_owned(),
        None if REAL_TIME.contains(&number) => format!("SIGRTMIN+{}", number - REAL_TIME.start()),
        None => format!("signal {number}"),
    }
}

/// Passes a signal on to a child that listens. A signal proper would be ignored where the child has
/// inherited that, and could not be told from anybody else's.
pub(super) fn pass_on(to: &OwnedFd, signal: Signal) {
    let byte = u8::try_from(signal.as_raw()).unwrap_or_default();
    // A child that has ended needs none.
    let _ = rustix::io::write(to, &[byte]);
}

/// Ready to be read when a signal has come in.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_the_name_that_people_know() {
        assert_eq!(name(Signal::TERM), "SIGTERM");
        for (number, expected) in [
            (1, "SIGHUP"),
            (10, "SIGUSR1"),
            (31, "SIGSYS"),
            (34, "SIGRTMIN"),
            (40, "SIGRTMIN+6"),
            (33, "signal 33"),
        ] {
            assert_eq!(name_of(number), expected);
        }
    }
}
