//! Who is told how much of a blob a registry has by now, and how long it has been waited for.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How far an upload has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Upload {
    /// Which blob it is, from 1 on; nought before there is one.
    pub number: usize,
    /// How many there are.
    pub count: usize,
    /// How many bytes of it are sent.
    pub done: u64,
    /// How many it has.
    pub total: u64,
    /// How long nothing has come from the registry, and it has taken nothing; nought unless that is long.
    pub waited: Duration,
}

/// What is told of each piece that was sent, and while nothing goes on.
pub(crate) struct Meter {
    tell: Box<dyn Fn(Upload) + Send + Sync>,
    last: Mutex<Upload>,
}

impl Meter {
    /// Tells a function.
    pub(crate) fn by(tell: impl Fn(Upload) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell), last: Mutex::default() }
    }

    /// Tells how far an upload has come.
    pub(super) fn tell(&self, upload: Upload) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = upload;
        (self.tell)(upload);
    }

    /// Tells how long it has been waited.
    #[cfg(feature = "registry")]
    pub(super) fn tell_waited(&self, waited: Duration) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (self.tell)(Upload { waited, ..last });
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Meter")
    }
}
