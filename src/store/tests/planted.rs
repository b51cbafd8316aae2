//! Random trees to begin with.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, setxattr, utimensat,
};

use super::random::Random;
use super::{dump, set_mode};

const DIRECTORIES: [&str; 14] = [
    "etc",
    "etc/app",
    "home",
    "opt",
    "opt/app",
    "opt/app/mods",
    "opt/app/mods/x",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib/deep",
    "var",
    "var/lib",
    "var/log",
];

/// Fills an empty directory: about sixty files, some with several names, and all old.
pub(crate) fn plant(top: &Path, random: &mut Random) {
    for directory in DIRECTORIES {
        fs::create_dir(top.join(directory)).unwrap();
        set_mode(&top.join(directory), random.pick(&[0o755, 0o700, 0o1777, 0o2775]));
    }
    let mut files: Vec<String> = Vec::new();
    for number in 0..50 {
        let path = format!("{}/f{number}", random.pick(&DIRECTORIES));
        let at = top.join(&path);
        match random.below(12) {
            0 => symlink(random.pick(&["f1", "../nowhere", "/etc"]), &at),
            1 => {
                mknodat(CWD, &at, FileType::Fifo, Mode::from_raw_mode(0o644), 0).map_err(Into::into)
            }
            2..=4 if !files.is_empty() => {
                fs::hard_link(top.join(&files[random.below(files.len())]), &at)
            }
            5 => fs::File::create(&at).and_then(|file| file.set_len(1 << 20)),
            _ => {
                let letter = b'a' + u8::try_from(number % 26).unwrap();
                fs::write(&at, vec![letter; random.below(9000)])
            }
        }
        .unwrap();
        let kind = fs::symlink_metadata(&at).unwrap().file_type();
        if !kind.is_symlink() {
            let id = u32::try_from(random.below(3) * 1000).unwrap();
            lchown(&at, Some(id), Some(id)).unwrap();
            set_mode(&at, random.pick(&[0o644, 0o600, 0o755, 0o4755, 0o2711, 0]));
        }
        if kind.is_file() && random.once_in(4) {
            let value = [u8::try_from(number).unwrap(); 20];
            setxattr(&at, "user.planted", &value, XattrFlags::empty()).unwrap();
        }
        files.push(path);
    }
    // What is below has its time first.
    for path in dump::paths(top).iter().rev() {
        let seconds = 1_000_000_000 + i64::try_from(random.below(1000)).unwrap();
        set_time(&top.join(path), seconds, i64::try_from(random.below(1_000_000_000)).unwrap());
    }
}

/// Dates something, a link not followed.
pub(super) fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    let path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
