//! Signals that ask for the end of a run.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Signal;

use super::kernel::{self, Received};

/// The signals that end a run in an orderly way.
pub const ENDING: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// The ending signals of this process, kept until somebody asks for them.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
}

impl Signals {
    /// Starts to keep them.
    pub fn keep() -> io::Result<Self> {
        Ok(Self { descriptor: kernel::signal_descriptor(&ENDING)? })
    }

    /// Takes the next signal that has come in, if there is one.
    pub fn receive(&mut self) -> io::Result<Option<Received>> {
        kernel::receive(&self.descriptor)
    }

    /// Takes all signals that have come in, and returns the first.
    pub fn take(&mut self) -> Option<Signal> {
        let mut first = None;
        while let Ok(Some(received)) = self.receive() {
            first.get_or_insert(received.signal);
        }
        first
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
