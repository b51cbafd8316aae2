//! What a layer gives a tree besides bytes, and what it cannot give it.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, setxattr};
use rustix::mount::{MountFlags, mount};

use super::scratch::{Scratch, is_root, open, skipped};
use super::tarball::Tarball;
use super::torture;
use crate::store::namespace::{self, Who};
use crate::tree::{Devices, Interrupt, Limits, OmittedKind, UnpackError, Unpacked, unpack};

fn laid(root: &Path, archive: Tarball, devices: Devices) -> Result<Unpacked, UnpackError> {
    let limits = Limits::default();
    unpack(&archive.end().0[..], open(root).as_fd(), &limits, devices, Interrupt::NEVER)
}

fn has(path: &Path, name: &str) -> bool {
    lgetxattr(path, name, &mut [0; 256][..]).is_ok()
}

const LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

#[test]
fn nothing_is_inherited() {
    if !is_root() {
        return skipped("only root gives files to others");
    }
    let scratch = Scratch::new();
    let root = scratch.directory("root");
    fs::create_dir(root.join("d")).unwrap();
    std::os::unix::fs::chown(root.join("d"), None, Some(77)).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o2777)).unwrap();
    if !torture::set_acl(&root.join("d"), LISTS[1]) {
        return skipped("no access lists here");
    }
    let layer = Tarball::default()
        .file("d/file", "x")
        .directory("d/new")
        .edited(b'6', "d/fifo", b"", |_| {})
        .file("d/new/file", "x")
        .file("d/implied/file", "x")
        .symlink("d/link", "x");
    laid(&root, layer, Devices::Make).unwrap();
    for (name, mode) in [
        ("file", 0o644),
        ("new", 0o755),
        ("fifo", 0o644),
        ("new/file", 0o644),
        ("implied", 0o755),
        ("implied/file", 0o644),
    ] {
        let path = root.join("d").join(name);
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o7777, found.gid()), (mode, 0), "{name}");
        assert!(!LISTS.iter().any(|list| has(&path, list)), "{name}");
    }
    assert!(has(&root.join("d"), LISTS[1]), "what was there stays");
}

#[test]
fn a_directory_has_what_the_layer_says_and_no_more() {
    let scratch = Scratch::new();
    let root = scratch.directory("root");
    let before = root.join("before");
    fs::create_dir(&before).unwrap();
    for name in ["user.old", "user.both"] {
        if setxattr(&before, name, b"1", XattrFlags::empty()).is_err() {
            return skipped("no extended attributes here");
        }
    }
    torture::set_acl(&before, LISTS[0]);
    torture::set_acl(&before, LISTS[1]);
    let layer = Tarball::default()
        .pax(&[("SCHILY.xattr.user.both", b"2"), ("SCHILY.xattr.user.new", b"3")])
        .directory("before")
        .file("before/file", "x");
    laid(&root, layer, Devices::Make).unwrap();
    let mut value = [0; 1];
    lgetxattr(&before, "user.both", &mut value[..]).unwrap();
    assert_eq!(value, *b"2");
    assert!(has(&before, "user.new") && !has(&before, "user.old"));
    for path in [&before, &before.join("file")] {
        assert!(!LISTS.iter().any(|list| has(path, list)));
    }
    assert_eq!(fs::metadata(&before).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn what_is_left_out_is_told() {
    if !is_root() {
        return skipped("only root gives files to others");
    }
    let scratch = Scratch::new();
    let root = scratch.directory("root");
    let mut layer = Tarball::default()
        .edited(b'3', "dev/null", b"", |block| {
            block.octal(329, 7, 1).octal(337, 7, 3);
        })
        .link("dev/zero", "dev/null");
    for number in 0..7 {
        layer = layer.edited(b'4', &format!("dev/disk{number}"), b"", |_| {});
    }
    let layer = layer
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.metacopy", b""),
            ("SCHILY.xattr.security.selinux", b"x"),
            ("SCHILY.xattr.system.other", b"x"),
            ("SCHILY.xattr.trusted.SGI_ACL_FILE", b"x"),
            ("SCHILY.acl.access", b"user::rwx"),
            ("SCHILY.xattr.user.kept", b"x"),
        ])
        .file("file", "x");
    let unpacked = laid(&root, layer, Devices::LeaveOut).unwrap();
    assert_eq!(
        unpacked.left_out.to_string(),
        "device nodes are left out: `dev/null`, `dev/zero`, `dev/disk0`, `dev/disk1` and 5 more\n\
         attributes of overlayfs and of security modules are left out of `file`, `file`, `file`, `file` \
         and 1 more\n\
         access lists that are written as text are left out of `file`\n"
    );
    assert_eq!((unpacked.put, unpacked.removed), (1, 0));
    assert_eq!(fs::read_dir(root.join("dev")).unwrap().count(), 0);
    let mut names = [0; 512];
    let length = rustix::fs::listxattr(root.join("file"), &mut names[..]).unwrap();
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    assert!(names.contains("user.kept") && !names.contains("overlay"), "{names}");
}

#[test]
fn devices_are_made_where_they_can_be() {
    let name = "tree::tests::unpacked::devices_are_made_where_they_can_be";
    namespace::run(name, Who::Root, |place| {
        assert_eq!(devices(place), 0);
        let found = fs::metadata(place.join("null")).unwrap();
        assert_eq!((found.rdev(), found.mode()), (rustix::fs::makedev(1, 3), 0o020_666));
    });
}

#[test]
fn mapped_root_makes_no_devices() {
    let name = "tree::tests::unpacked::mapped_root_makes_no_devices";
    namespace::run(name, Who::Mapped, |place| {
        fs::write(place.join("null"), "in its place").unwrap();
        assert_eq!(devices(place), 1);
        assert!(!place.join("null").exists(), "nor does it keep what was there");
        let layer = Tarball::default().edited(b'0', "file", b"", |block| {
            block.octal(108, 7, 65_536);
        });
        let error = laid(place, layer, Devices::Make).unwrap_err().to_string();
        let expected = "member 1 (`file`) at byte 0: its owner 65536:0: the user 65536 is not in the id map, \
                        which has 0 to 65535: a map that is large enough (`lxc.idmap = u ...`, with ids of \
                        `/etc/subuid`) can take the layer";
        assert_eq!(error, expected);
        // An access list of the owner, a group, and what may be used of it.
        let entry = |tag: u16, id: u32| {
            [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let list = |id| {
            let none = u32::MAX;
            let entries = [(1, none), (4, none), (8, id), (16, none), (32, none)];
            let entries = entries.map(|(tag, id)| entry(tag, id)).concat();
            [&2_u32.to_le_bytes()[..], &entries].concat()
        };
        let with = |list: &[u8]| {
            Tarball::default()
                .pax(&[("SCHILY.xattr.system.posix_acl_access", list)])
                .file("list", "")
        };
        laid(place, with(&list(65_535)), Devices::Make).unwrap();
        let error = laid(place, with(&list(70_000)), Devices::Make).unwrap_err();
        let expected =
            "the attribute `system.posix_acl_access`: the group 70000 is not in the id map, which";
        assert!(error.to_string().contains(expected), "{error}");
        // It is no fault of the layer, but nobody's group is.
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
        let error = laid(place, with(&list(u32::MAX)), Devices::Make).unwrap_err();
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidData);
        let layer = Tarball::default().pax(&[("SCHILY.xattr.trusted.x", b"x")]).file("file", "x");
        let unpacked = laid(place, layer, Devices::Make).unwrap();
        assert_eq!(unpacked.left_out.count(OmittedKind::Forbidden), 1);
    });
}

fn devices(place: &Path) -> u64 {
    let layer = Tarball::default().edited(b'3', "null", b"", |block| {
        block.octal(100, 7, 0o666).octal(329, 7, 1).octal(337, 7, 3);
    });
    laid(place, layer, Devices::Make).unwrap().left_out.count(OmittedKind::Device)
}

#[test]
fn what_is_mounted_is_no_part_of_the_tree() {
    let name = "tree::tests::unpacked::what_is_mounted_is_no_part_of_the_tree";
    namespace::run(name, Who::Root, |place| {
        let point = place.join("mnt/at");
        fs::create_dir_all(&point).unwrap();
        mount("tmpfs", &point, "tmpfs", MountFlags::empty(), None).unwrap();
        let mounted = "something is mounted at `mnt/at` on its way";
        let tar = Tarball::default;
        for (layer, expected) in [
            (tar().file("mnt/at/file", "x"), mounted),
            (tar().file("mnt/at/.wh.file", ""), mounted),
            (tar().link("file", "mnt/at/x"), "Invalid cross-device link"),
            (tar().file("mnt/at", "x"), "Invalid cross-device link"),
            (tar().file("mnt/.wh.at", ""), "Invalid cross-device link"),
        ] {
            let error = laid(place, layer, Devices::Make).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(point.exists());
    });
}
