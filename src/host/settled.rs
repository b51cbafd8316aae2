//! Files that are long and seldom change, and so may be known again by what the filesystem says of them.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{fstat, fstatfs};

use super::filesystem::{is_reliable, stamp};
use crate::digest::Stamp;

/// The shortest file that is worth remembering, in bytes: others are read as fast.
const LEAST: u64 = 1024 * 1024;

/// How long a file must have been left alone to be remembered. What a program has mapped it may
/// write again and again until the kernel has brought that to the disk, and only the first time
/// shows: half a minute, unless somebody has set that up otherwise. Times are no finer than ticks.
const SETTLED: Duration = Duration::from_secs(60);

/// Returns the stamp of a file that was read from `begun` on, if it is worth remembering and was left alone until then.
/// The caller compares it with that of before it was read.
pub(crate) fn settled(file: &File, begun: SystemTime) -> Option<Stamp> {
    let stamp = stamp(&fstat(file).ok()?);
    let is_known_again = stamp.size >= LEAST
        && is_settled(&stamp, begun)
        && fstatfs(file).is_ok_and(|kind| is_reliable(&kind));
    is_known_again.then_some(stamp)
}

/// Tells whether a file had been left alone for long enough at a time.
fn is_settled(stamp: &Stamp, at: SystemTime) -> bool {
    let Ok(seconds) = u64::try_from(stamp.changed.0) else { return false };
    let changed = UNIX_EPOCH + Duration::from_secs(seconds + 1);
    at.duration_since(changed).is_ok_and(|since| since >= SETTLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_have_been_left_alone_for_a_minute() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let stamp = |changed| Stamp {
            device: 1,
            inode: 2,
            size: LEAST,
            modified: (0, 0),
            changed: (changed, 999_999_999),
        };
        let table = [(100, 161, true), (100, 160, false), (100, 99, false), (-5, 160, false)];
        for (changed, now, expected) in table {
            assert_eq!(is_settled(&stamp(changed), at(now)), expected, "{changed} {now}");
        }
    }
}
