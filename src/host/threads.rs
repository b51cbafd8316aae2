//! Threads that have ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an ended thread may take to leave the process.
const LEAVING: Duration = Duration::from_secs(1);

/// Returns what shows this thread, by the numbers that `/proc` has for it: that may be another
/// namespace's.
pub(crate) fn this() -> PathBuf {
    fs::read_link("/proc/thread-self").map(|own| Path::new("/proc").join(own)).unwrap_or_default()
}

/// Waits until a thread that was joined is not counted as one of the process any more: a process of
/// several threads can neither fork safely nor enter a user namespace. `thread` is what it called
/// [`this`].
pub(crate) fn gone(thread: &Path) {
    let end = Instant::now() + LEAVING;
    while rustix::fs::access(thread, rustix::fs::Access::EXISTS).is_ok() && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(20));
    }
}
