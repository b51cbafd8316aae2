//! What a filesystem says of a file, and whether it can be relied on.

use rustix::fs::{Stat, StatFs};

use crate::digest::Stamp;

/// ext4, XFS, btrfs and F2FS, by their magic numbers.
const RELIABLE: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];

/// proc, sysfs, tracefs and debugfs, by their magic numbers.
const MADE_UP: [u64; 4] = [0x9FA0, 0x6265_6572, 0x7472_6163, 0x6462_6720];

/// Returns the stamp of a file that was looked at.
pub(crate) fn stamp(stat: &Stat) -> Stamp {
    let time = |seconds, nanoseconds| (seconds, i64::try_from(nanoseconds).unwrap_or_default());
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// Tells whether it is one of those that tell when a file was changed by this kernel's clock, and
/// after they have brought it to the disk also what is written to a mapping of it. A tmpfs shows
/// nothing of that.
pub(crate) fn is_reliable(filesystem: &StatFs) -> bool {
    is_one_of(filesystem, &RELIABLE)
}

/// Tells whether the kernel makes up its files as they are read, some of them without an end.
pub(crate) fn is_made_up(filesystem: &StatFs) -> bool {
    is_one_of(filesystem, &MADE_UP)
}

fn is_one_of(filesystem: &StatFs, kinds: &[u64]) -> bool {
    // Its type is signed, and of another width, elsewhere.
    u64::try_from(filesystem.f_type).is_ok_and(|kind| kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use rustix::fs::statfs;

    use super::*;

    #[test]
    fn a_tmpfs_is_not_relied_on() {
        for (path, made_up) in [("/proc", true), ("/dev/shm", false)] {
            let filesystem = statfs(path).unwrap();
            assert!(!is_reliable(&filesystem), "{path}: {:x}", filesystem.f_type);
            assert_eq!(is_made_up(&filesystem), made_up, "{path}");
        }
    }
}
