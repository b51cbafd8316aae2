//! Waits for what another has, without holding it up and without a word as long as that is short.

use std::io;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;

/// How long somebody waits before it is told of.
const SILENCE: Duration = Duration::from_secs(1);

/// How long the first pause is, and the longest.
const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// How long somebody waits by now.
#[derive(Debug)]
pub(crate) struct Patience {
    /// When it is to be told of; `None`, where it was.
    told_at: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Begins to wait for what is usually free at once.
    pub(crate) fn silent() -> Self {
        Self { told_at: Some(Instant::now() + SILENCE), pause: FIRST }
    }

    /// Begins to wait for what takes its time, which is told at once.
    pub(crate) fn told() -> Self {
        Self { told_at: Some(Instant::now()), pause: FIRST }
    }

    /// Tells whether it is to be told of now: once, after a moment.
    pub(crate) fn is_news(&mut self) -> bool {
        self.told_at.take_if(|at| Instant::now() >= *at).is_some()
    }

    /// Waits a little, and each time a little longer.
    ///
    /// # Errors
    ///
    /// Those of [`Interrupt::sleep`].
    pub(crate) fn pause(&mut self, interrupt: Interrupt<'_>) -> io::Result<()> {
        let pause = self.pause;
        self.pause = LONGEST.min(pause * 2);
        interrupt.sleep(pause)
    }
}
