//! Interrupts work on a tree, when a signal asks for the end.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A descriptor that becomes readable when work should stop, such as one that keeps signals. It is not
/// read here: callers get an error of the kind [`io::ErrorKind::Interrupted`], and read it themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interrupt<'a>(Option<BorrowedFd<'a>>);

impl<'a> Interrupt<'a> {
    /// Never interrupts.
    pub(crate) const NEVER: Self = Self(None);

    /// Interrupts once `descriptor` can be read.
    pub(crate) fn of(descriptor: BorrowedFd<'a>) -> Self {
        Self(Some(descriptor))
    }

    /// Returns the descriptor, for whoever waits for something else as well.
    pub(crate) fn descriptor(self) -> Option<BorrowedFd<'a>> {
        self.0
    }

    /// Fails with [`io::ErrorKind::Interrupted`] once the work should stop.
    pub(crate) fn check(self) -> io::Result<()> {
        self.sleep(Duration::ZERO)
    }

    /// Sleeps for `time`, or less if a signal comes; fails as [`Self::check`] does.
    pub(crate) fn sleep(self, time: Duration) -> io::Result<()> {
        let Some(descriptor) = self.0 else {
            std::thread::sleep(time);
            return Ok(());
        };
        let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
        let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        match poll(&mut polled, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => Err(io::Error::new(io::ErrorKind::Interrupted, "it was interrupted")),
            Err(error) => Err(error.into()),
        }
    }
}
