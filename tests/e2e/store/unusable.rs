//! A store that cannot be used.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{as_each, create, create_directly, role, seen};
use crate::caller::Caller;
use crate::lab::Lab;

/// Mounts what cannot be written, then becomes the command.
const MOUNT: &str = "mount -t tmpfs -o ro none \"$1\"; shift; exec \"$@\"";

const BUSYBOX: &str = "template = \"builtin:busybox\"";

#[test]
fn a_store_below_a_file_is_not_used() {
    as_each(&[], |lab| {
        let file = lab.write("work/file", "");
        unusable(lab, &file.join("store"), "ot a directory");
        assert_eq!(lab.read(file), "");
    });
}

#[test]
fn a_store_whose_path_no_overlay_can_have_is_not_used() {
    as_each(&[], |lab| {
        for name in ["with:colon", "with,comma", "with\\backslash"] {
            let place = lab.path("work").join(name);
            unusable(
                lab,
                &place,
                "its path contains a character that overlay options cannot represent",
            );
            assert!(!place.exists());
        }
    });
}

#[test]
fn a_store_that_others_may_write_is_not_used() {
    as_each(&[], |lab| {
        let place = lab.directory("work/shared");
        for mode in [0o777, 0o775] {
            std::fs::set_permissions(&place, PermissionsExt::from_mode(mode)).expect("chmod");
            unusable(lab, &place, "(`chmod go-w");
        }
        let left = std::fs::read_dir(&place).expect("it is there").count();
        assert_eq!(left, 0);
    });
}

#[test]
fn a_store_on_a_read_only_filesystem_is_not_used() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let place = lab.directory("work/frozen");
    let manifest = role::three_layers(&lab, BUSYBOX);
    let name = lab.name("frozen");
    for (storage, status) in [("copy", 0), ("overlay", 8)] {
        let outcome = lab
            .call(["sh", "-ec", MOUNT, "sh"])
            .arg(&place)
            .arg(lab.program())
            .args(["create", "--name", &name, "--storage", storage, "--lxcpath"])
            .arg(lab.lxcpath())
            .arg(&manifest)
            .env("TRACE", lab.path("work/trace"))
            .env("LAYERED_TEMPLATE_STORE", place.join("store"))
            .outcome()
            .code(status);
        assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
        assert_eq!(lab.container(&name, "rootfs/opt/tree/gone/new").exists(), status == 0);
        if status == 0 {
            lab.destroy(&name);
        }
    }
    lab.assert_absent(&name);
}

/// Sees that a copy is made without the store, and an overlay not at all; both say why.
fn unusable(lab: &Lab, place: &Path, why: &str) {
    let manifest = lab.path("work/role.toml");
    if !manifest.exists() {
        role::three_layers(lab, BUSYBOX);
    }
    let name = lab.name("bare");
    let with = |call: crate::call::Call<'_>| call.env("LAYERED_TEMPLATE_STORE", place).outcome();
    let outcome = with(create(lab, &name, &manifest, &["--storage=copy"])).success();
    let told = "the layer store is not used: ";
    let line = outcome.stderr.lines().find(|line| line.contains(told));
    assert!(line.is_some_and(|line| line.contains(why)), "{:?}: {outcome}", lab.caller);
    assert_eq!(seen::listing(lab, &name).text("opt/tree/gone/new"), "new\n");
    lab.destroy(&name);

    let outcome = with(create(lab, &name, &manifest, &["--storage=overlay"])).code(1);
    assert!(outcome.stderr.contains(why), "{:?}: {outcome}", lab.caller);
    lab.assert_absent(&name);
    let outcome = with(create_directly(lab, &name, &manifest, &["--storage=overlay"])).code(8);
    assert!(outcome.stderr.contains(why), "{:?}: {outcome}", lab.caller);
    assert!(outcome.stderr.contains("`--storage=copy` gives the container a rootfs"), "{outcome}");
    lab.assert_absent(&name);
}
