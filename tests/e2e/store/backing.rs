//! The places that LXC gives a container's rootfs besides a plain directory of the container's.

use std::fs;
use std::path::PathBuf;

use super::{role, seen, shelf};
use crate::caller::Caller;
use crate::lab::Lab;

const BUSYBOX: &str = "template = \"builtin:busybox\"";

/// `lxc-create` with options for the backing store.
fn create(lab: &Lab, name: &str, backing: &[&str], words: &[&str]) -> crate::call::Outcome {
    let manifest = lab.path("work/role.toml");
    if !manifest.exists() {
        role::three_layers(lab, BUSYBOX);
    }
    lab.create_with(&lab.template(), name)
        .args(backing)
        .args(["--", "--manifest"])
        .arg(manifest)
        .args(words)
        .env("TRACE", lab.path("work/trace"))
        .outcome()
}

#[test]
fn a_copy_fills_a_loop_device() {
    let Some(lab) = Lab::open(Caller::Root, &["mkfs.ext4", "losetup"]) else {
        return;
    };
    lab.directory("kept");
    // One that is not there yet, then one that the store has all for.
    for stem in ["cold", "warm"] {
        let name = lab.name(stem);
        let backing = ["-B", "loop", "--fssize", "32M"];
        create(&lab, &name, &backing, &["--storage=copy"]).success();
        let config = lab.read(lab.container(&name, "config"));
        let path = seen::value(&config, "lxc.rootfs.path").expect("there is a rootfs");
        let image = path.strip_prefix("loop:").unwrap_or_else(|| panic!("{path}"));
        let kept = lab.path("kept").join(stem);
        fs::create_dir(&kept).expect("it is new");
        let copied = lab.call_as_root([
            "sh",
            "-ec",
            "mount -o loop,ro \"$1\" /mnt; cp -a /mnt/. \"$2\"",
            "sh",
        ]);
        copied.arg(image).arg(&kept).outcome().success();
        let rootfs = super::listing::Listing::of(&kept);
        assert_eq!(rootfs.text("etc/hostname"), format!("{name}\n"));
        assert_eq!(rootfs.text("opt/tree/gone/new"), "new\n");
        assert!(rootfs.has("lost+found"));
        lab.destroy(&name);
    }
    assert_eq!(shelf::kinds(&lab).len(), 4);
}

#[test]
fn an_overlay_stands_on_no_loop_device() {
    let Some(lab) = Lab::open(Caller::Root, &["mkfs.ext4", "losetup"]) else {
        return;
    };
    let name = lab.name("loop");
    let backing = ["-B", "loop", "--fssize", "32M"];
    let outcome = create(&lab, &name, &backing, &["--storage=overlay"]).code(1);
    assert!(outcome.stderr.contains("cannot have an overlay"), "{outcome}");
    assert!(outcome.stderr.contains("`loop:"), "{outcome}");
    lab.assert_absent(&name);
    let users = shelf::stored(&lab).into_iter().flat_map(|entry| entry.users);
    assert_eq!(users.count(), 0);
    shelf::assert_tidy(&lab);
}

#[test]
fn a_copy_goes_where_the_rootfs_is_wanted() {
    super::as_each(&[], |lab| {
        // Where it is not there, LXC leaves it to the template.
        let rootfs: PathBuf = lab.directory("elsewhere").join("rootfs");
        let shown = rootfs.display().to_string();
        for stem in ["cold", "warm"] {
            let name = lab.name(stem);
            create(lab, &name, &["-B", "dir", "--dir", &shown], &["--storage=copy"]).success();
            let tree = seen::listing(lab, &name);
            assert_eq!(tree.text("etc/hostname"), format!("{name}\n"));
            assert_eq!(lab.read(rootfs.join("opt/tree/gone/new")), "new\n");
            let beside = fs::read_dir(lab.container(&name, "rootfs"));
            assert_eq!(beside.map_or(0, Iterator::count), 0, "{:?}", lab.caller);
            lab.destroy(&name);
            assert!(!rootfs.exists());
        }
        assert_eq!(shelf::kinds(lab).len(), 4, "{:?}", lab.caller);
    });
}

#[test]
fn an_overlay_is_not_where_another_directory_is_wanted() {
    super::as_each(&[], |lab| {
        let rootfs: PathBuf = lab.directory("elsewhere").join("rootfs");
        let shown = rootfs.display().to_string();
        let name = lab.name("else");
        for _ in ["cold", "warm"] {
            let backing = ["-B", "dir", "--dir", &shown];
            let outcome = create(lab, &name, &backing, &["--storage=overlay"]).code(1);
            let refused = format!(
                "cannot have an overlay: its rootfs is wanted at `{shown}`, and an overlay is in the \
                 directory of its container"
            );
            assert!(outcome.stderr.contains(&refused), "{outcome}");
            lab.assert_absent(&name);
        }
        assert!(!rootfs.exists());
        let users = shelf::stored(lab).into_iter().flat_map(|entry| entry.users);
        assert_eq!(users.count(), 0);
        shelf::assert_tidy(lab);
    });
}
