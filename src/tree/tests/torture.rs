//! A tree that has everything.

use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, makedev, mkdirat,
    mknodat, openat, setxattr, utimensat,
};

use super::scratch::{is_root, open, skipped};

/// A label of a security module.
pub(super) const LABEL: &[u8] = b"system_u:object_r:bin_t:s0\0";

/// Plants the tree; what this process may not make is left out.
pub(crate) fn plant(top: &Path) {
    let at = |path: &str| top.join(path);
    fs::write(at("plain"), "some text\n").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("large"), (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>())
        .unwrap();
    for (number, mode) in [0o4755, 0o2755, 0o6711, 0o1644, 0o444, 0o600, 0o777].iter().enumerate() {
        let path = at(&format!("mode-{number}"));
        fs::write(&path, format!("{mode:o}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    for (number, mode) in [0o700, 0o500, 0o1777, 0o2775, 0o3700].iter().enumerate() {
        let path = at(&format!("directory-{number}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }

    let names: [&[u8]; 7] =
        [b"\xff\xfe", b"tab\tnew\nline", b"%41", b"=1", b" ", b"-n", "\u{e4}".as_bytes()];
    for name in names {
        fs::write(top.join(OsStr::from_bytes(name)), name).unwrap();
    }
    symlink(OsStr::from_bytes(b"no\n\xffwhere"), at("link")).unwrap();
    symlink("/etc/passwd", at("out")).unwrap();
    symlink("plain", at("=link")).unwrap();
    fs::create_dir(at("many")).unwrap();
    for number in 0..300 {
        fs::write(at(&format!("many/{number}")), number.to_string()).unwrap();
    }

    fs::create_dir_all(at("a/b")).unwrap();
    fs::create_dir_all(at("z")).unwrap();
    fs::write(at("linked"), "three names").unwrap();
    fs::hard_link(at("linked"), at("a/b/linked")).unwrap();
    fs::hard_link(at("linked"), at("z/linked")).unwrap();
    fs::hard_link(at("link"), at("z/link")).unwrap();

    let mut holes = fs::File::create(at("holes")).unwrap();
    holes.write_all(b"begin").unwrap();
    holes.seek(SeekFrom::Start(20 << 20)).unwrap();
    holes.write_all(b"middle").unwrap();
    holes.set_len(50 << 20).unwrap();
    fs::File::create(at("all-hole")).unwrap().set_len(1 << 20).unwrap();

    for (name, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
        mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o622), 0).unwrap();
    }
    fs::hard_link(at("fifo"), at("z/fifo")).unwrap();
    set_xattr(&at("mode-4"), "user.read-only", b"", 0o444);
    set_xattr(&at("plain"), "user.some", b"value\0with\nall", 0o644);
    set_xattr(&at("many"), "user.long", &[7; 2000], 0o755);
    set_acl(&at("mode-5"), "system.posix_acl_access");
    set_acl(&at("a"), "system.posix_acl_default");
    set_acl(&at("fifo"), "system.posix_acl_access");
    deep(top, b"deep", 1500);
    deep(top, b"long", 1);
    let long = [b'n'; 250];
    let mut directory = open(&at("long"));
    for _ in 0..20 {
        directory = enter(&directory, &long);
    }
    if is_root() {
        plant_as_root(top);
    }
    let old =
        [("plain", 1, 999_999_999), ("link", -5, 1), ("a/b", 3_000_000_000, 5), ("fifo", 9, 0)];
    for (path, seconds, nanoseconds) in old {
        let time = |tv_sec| Timespec { tv_sec, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time(77), last_modification: time(seconds) };
        utimensat(CWD, at(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn plant_as_root(top: &Path) {
    let at = |path: &str| top.join(path);
    for path in ["mode-0", "mode-2", "plain", "link", "directory-3", "fifo", "a/b", "many/7"] {
        lchown(at(path), Some(1234), Some(4321)).unwrap();
    }
    // A new owner took them away.
    for (path, mode) in [("mode-0", 0o4755), ("mode-2", 0o6711), ("directory-3", 0o2775)] {
        fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let permissions = fs::Permissions::from_mode(0o0);
    fs::write(at("unreadable"), "x").unwrap();
    fs::set_permissions(at("unreadable"), permissions.clone()).unwrap();
    fs::create_dir(at("closed")).unwrap();
    fs::write(at("closed/file"), "x").unwrap();
    fs::set_permissions(at("closed"), permissions).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for path in ["mode-1", "many/7"] {
        set_xattr(&at(path), "security.capability", &capability, 0o755);
    }
    set_xattr(&at("z"), "trusted.mine", b"value", 0o755);
    // Labels as an image of another distribution has them.
    for path in ["many/8", "z"].into_iter().filter(|_| !Path::new("/sys/fs/selinux").exists()) {
        set_xattr(&at(path), "security.selinux", LABEL, 0o755);
    }
    let devices =
        [("null", FileType::CharacterDevice, 1, 3), ("disk", FileType::BlockDevice, 7, 99)];
    for (name, kind, major, minor) in devices {
        let made = mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o660), makedev(major, minor));
        if made.is_err() {
            skipped("no devices may be made here");
        }
    }
}

/// Makes directories of one letter below `name`, `depth` of them, with a file in the last.
pub(crate) fn deep(top: &Path, name: &[u8], depth: usize) {
    let mut directory = enter(&open(top), name);
    for _ in 1..depth {
        directory = enter(&directory, b"d");
    }
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = openat(&directory, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
    rustix::io::write(file, b"deep").unwrap();
}

fn enter(directory: &OwnedFd, name: &[u8]) -> OwnedFd {
    mkdirat(directory.as_fd(), name, Mode::RWXU).unwrap();
    openat(directory, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn set_xattr(path: &Path, name: &str, value: &[u8], mode: u32) {
    // An owner without privileges must be able to write.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    if let Err(error) = setxattr(path, name, value, XattrFlags::empty()) {
        skipped(&format!("{name}: {error}"));
    }
    if name != "security.capability" {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Gives another user access; tells whether that can be done.
pub(crate) fn set_acl(path: &Path, name: &str) -> bool {
    let mut list = 2_u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    let entries =
        [(1_u16, 7_u16, none), (2, 6, 1234), (4, 5, none), (0x10, 7, none), (0x20, 4, none)];
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    setxattr(path, name, &list, XattrFlags::empty()).is_ok()
}
