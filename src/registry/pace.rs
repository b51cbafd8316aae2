//! How fast something comes: who sends a byte now and then holds a run for ever.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// How long it is watched before it is judged.
const WINDOW: Duration = Duration::from_secs(60);

/// The fewest bytes that come in that time: 1 KiB in a second.
const LEAST: u64 = 60 * 1024;

/// After a pause as long as this between two bytes the run itself was stopped: no connection is waited for so long.
const STOPPED: Duration = Duration::from_secs(150);

/// How many bytes of a small answer are read at once.
const PIECE: usize = 16 * 1024;

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
        let slow = || io::Error::new(io::ErrorKind::TimedOut, "it sends less than 1 KiB a second");
        if is_slow { Err(slow()) } else { Ok(()) }
    }
}

/// Reads a small answer to its end.
///
/// # Errors
///
/// Of the kind [`io::ErrorKind::FileTooLarge`] where it is longer than `most` bytes, and where it comes too slowly. `now`
/// is the time.
pub(super) fn read_small(
    mut from: impl Read,
    most: usize,
    now: impl Fn() -> Instant,
) -> io::Result<Vec<u8>> {
    let mut pace = Pace::begin(now());
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&piece[..read]);
        if bytes.len() > most {
            let why = format!("it has more than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        pace.count(now(), read as u64)?;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

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

    /// Sends a byte at a time, and a second passes with each.
    struct Drip<'a> {
        left: usize,
        now: &'a Cell<Instant>,
    }

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.left.min(1);
            self.left -= read;
            buffer[..read].fill(b'a');
            self.now.set(self.now.get() + Duration::from_secs(1));
            Ok(read)
        }
    }

    #[test]
    fn a_small_answer_is_not_waited_for_for_ever_either() {
        let begun = Instant::now();
        let now = Cell::new(begun);
        let read = |left, most| {
            now.set(begun);
            let read = read_small(Drip { left, now: &now }, most, || now.get());
            (read.map(|bytes| bytes.len()).map_err(|error| error.kind()), now.get() - begun)
        };
        let seconds = Duration::from_secs;
        assert_eq!(read(50, 50), (Ok(50), seconds(51)));
        assert_eq!(read(50, 49), (Err(io::ErrorKind::FileTooLarge), seconds(50)));
        assert_eq!(read(10_000, 1 << 20), (Err(io::ErrorKind::TimedOut), seconds(60)));
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
