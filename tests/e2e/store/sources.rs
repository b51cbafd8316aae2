//! What of a source decides what is made of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};

use super::{as_each, create, shelf};
use crate::caller::Caller;
use crate::lab::Lab;

const ROLE: &str = r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "files"
[[layer.file]]
path = "/opt/tree"
source = "tree"
[[layer.file]]
path = "/opt/file"
source = "file"
"#;

/// An access list: the owner reads and writes, user 7 reads, the group and others nothing.
const LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255,
    255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

/// The capability to bind low ports.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn set(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).expect("root sets attributes");
}

fn value(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let length = getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_a_tree_keeps_of_its_source_is_in_the_key() {
    as_each(&[], |lab| {
        lab.write("work/file", "x\n");
        for directory in ["work/tree", "work/tree/below"] {
            lab.directory(directory);
        }
        lab.write("work/tree/below/file", "x\n");
        let manifest = lab.write("work/role.toml", ROLE);
        let made = || {
            let name = lab.name("sources");
            create(lab, &name, &manifest, &[]).outcome().success();
            name
        };
        let mut count = 2;
        let source = lab.path("work/tree");
        let attributes: &[(&str, &str, &[u8])] = &[
            ("below/file", "user.role", b"one"),
            ("below/file", "user.role", b"two"),
            ("below", "user.role", b"one"),
            ("", "user.role", b"one"),
            ("below/file", "system.posix_acl_access", &LIST),
            ("below", "system.posix_acl_default", &LIST),
            ("below/file", "security.capability", &CAPABILITY),
        ];
        lab.destroy(&made());
        for (path, attribute, bytes) in attributes {
            if lab.caller != Caller::Root && !attribute.starts_with("user.") {
                // The ids of the host that it names are nobody's in the container.
                continue;
            }
            set(&source.join(path), attribute, bytes);
            let name = made();
            let tree = lab.container(&name, "rootfs/opt/tree");
            assert_eq!(
                value(&tree.join(path), attribute).as_deref(),
                Some(*bytes),
                "{:?}: {attribute} of {path:?}",
                lab.caller
            );
            count += 1;
            assert_eq!(shelf::stored(lab).len(), count, "{attribute} of {path:?}");
            lab.destroy(&name);
        }
        fs::set_permissions(&source, Permissions::from_mode(0o750)).unwrap();
        if let Some(user) = &lab.user {
            std::os::unix::fs::chown(&source, Some(user.uid), Some(user.first_gid)).unwrap();
        }
        let name = made();
        assert_eq!(mode(&lab.container(&name, "rootfs/opt/tree")), 0o750);
        assert_eq!(shelf::stored(lab).len(), count + 1, "the mode of its top");
        lab.destroy(&name);
    });
}

#[test]
fn what_a_drop_does_not_keep_makes_nothing_anew() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    lab.directory("work/tree");
    let (below, file) = (lab.write("work/tree/below", "x\n"), lab.write("work/file", "x\n"));
    let manifest = lab.write("work/role.toml", ROLE);
    for _ in 0..2 {
        let name = lab.name("sources");
        create(&lab, &name, &manifest, &[]).outcome().success();
        assert_eq!(shelf::stored(&lab).len(), 2);
        lab.destroy(&name);
        set(&below, "trusted.role", b"one");
        set(&file, "user.role", b"one");
    }
}
