//! Who is told how much of a blob a registry has by now.

use std::fmt;

/// How far an upload has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Upload {
    /// Which blob it is, from 1 on.
    pub number: usize,
    /// How many there are.
    pub count: usize,
    /// How many bytes of it are sent.
    pub done: u64,
    /// How many it has.
    pub total: u64,
}

/// What is told of each piece that was sent.
pub(crate) struct Meter(Box<dyn Fn(Upload)>);

impl Meter {
    /// Tells a function.
    pub(crate) fn by(tell: impl Fn(Upload) + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// Tells how far an upload has come.
    pub(super) fn tell(&self, upload: Upload) {
        (self.0)(upload);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Meter")
    }
}
