//! Threads that have ended.

use std::time::{Duration, Instant};

use rustix::thread::Pid;

/// How long an ended thread may take to leave the process.
const LEAVING: Duration = Duration::from_secs(1);

/// Waits until a thread that was joined is not counted as one of the process any more: a process of
/// several threads can neither fork safely nor enter a user namespace.
pub fn gone(thread: Pid) {
    let task = format!("/proc/self/task/{}", thread.as_raw_nonzero());
    let end = Instant::now() + LEAVING;
    while rustix::fs::access(&task, rustix::fs::Access::EXISTS).is_ok() && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(20));
    }
}
