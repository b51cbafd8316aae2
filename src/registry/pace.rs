//! How fast something comes: who sends a byte now and then holds a run for ever.

use std::io;
use std::time::{Duration, Instant};

/// How long it is watched before it is judged.
const WINDOW: Duration = Duration::from_secs(60);

/// The fewest bytes that come in that time: 1 KiB in a second.
const LEAST: u64 = 60 * 1024;

/// After a pause as long as this between two bytes the run itself was stopped: no connection is waited for so long.
const STOPPED: Duration = Duration::from_secs(150);

/// How fast something comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    since: Instant,
    last: Instant,
    bytes: u64,
}

impl Pace {
    /// Begins to watch.
    pub(super) fn begin(now: Instant) -> Self {
        Self { since: now, last: now, bytes: 0 }
    }

    /// Counts bytes that have come.
    ///
    /// # Errors
    ///
    /// Where too few have in the last minute.
    pub(super) fn count(&mut self, now: Instant, bytes: u64) -> io::Result<()> {
        let was_stopped = now.duration_since(self.last) > STOPPED;
        self.last = now;
        self.bytes += bytes;
        if !was_stopped && now.duration_since(self.since) < WINDOW {
            return Ok(());
        }
        let is_slow = !was_stopped && self.bytes < LEAST;
        *self = Self::begin(now);
        if is_slow { Err(io::Error::other("it sends less than 1 KiB a second")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells after how many seconds somebody is too slow who sends so many bytes in each.
    fn ends(bytes: u64) -> Option<u64> {
        let begun = Instant::now();
        let mut pace = Pace::begin(begun);
        (1..600).find(|second| pace.count(begun + Duration::from_secs(*second), bytes).is_err())
    }

    #[test]
    fn who_sends_next_to_nothing_is_not_waited_for() {
        assert_eq!(ends(1), Some(60));
        assert_eq!(ends(1000), Some(60));
        assert_eq!(ends(1100), None);
    }

    #[test]
    fn a_run_that_was_stopped_goes_on() {
        let begun = Instant::now();
        let mut pace = Pace::begin(begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(pace.count(at(1), 1).is_ok());
        assert!(pace.count(at(3600), 1).is_ok());
        assert!(pace.count(at(3601), 1).is_ok());
        assert!(pace.count(at(3661), 1).is_err());
    }
}
