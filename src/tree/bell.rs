//! What ends work on a tree before its time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Rings when something can be read from a descriptor, such as one that keeps signals. It is not
/// read: whoever is told by an error of the kind [`io::ErrorKind::Interrupted`] can do so.
#[derive(Debug, Clone, Copy)]
pub struct Bell<'a>(Option<BorrowedFd<'a>>);

impl<'a> Bell<'a> {
    /// One that never rings.
    pub const SILENT: Self = Self(None);

    /// Returns that of a descriptor.
    pub fn of(descriptor: BorrowedFd<'a>) -> Self {
        Self(Some(descriptor))
    }

    /// Fails once it rings.
    pub(super) fn listen(self) -> io::Result<()> {
        self.sleep(Duration::ZERO)
    }

    /// Lets time go by, or less of it if a signal comes. Fails once it rings.
    pub fn sleep(self, time: Duration) -> io::Result<()> {
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
