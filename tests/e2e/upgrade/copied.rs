//! LXC's own commands for a container whose upgrade was cut off, or that was upgraded.

use super::{ONE, TWO, cut_off, role, tool};
use crate::caller::Caller;
use crate::lab::Lab;

fn made(lab: &Lab, stem: &str, storage: &str) -> String {
    let manifest = lab.write("work/role.toml", &role("one", ONE));
    let name = lab.name(stem);
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    lab.write("work/role.toml", &role("two", TWO));
    name
}

#[test]
fn one_that_was_cut_off_is_destroyed() {
    for (storage, tree) in [("copy", "rootfs"), ("overlay", "delta")] {
        for file in [tree, "layered-template.json"] {
            let Some(lab) = Lab::open(Caller::Root, &["strace"]) else { return };
            let name = made(&lab, "gone", storage);
            cut_off(&lab, &name, file);
            lab.destroy(&name);
            let gc = ["store", "gc", "--keep=0", "--forget"];
            tool(&lab, &gc).success();
            let listed = lab.call([lab.program()]).args(["store", "list"]).outcome().success();
            assert_eq!(listed.stdout.lines().count(), 1, "{listed}");
        }
    }
}

#[test]
fn one_that_was_cut_off_is_copied_as_it_is() {
    for (storage, tree) in [("copy", "rootfs"), ("overlay", "delta")] {
        for file in [tree, "layered-template.json"] {
            let Some(lab) = Lab::open(Caller::Root, &["strace"]) else { return };
            let name = made(&lab, "from", storage);
            cut_off(&lab, &name, file);
            let copy = lab.name("copy");
            let call = lab.lxc("lxc-copy", &name).args(["-N", &copy]);
            // Of an overlay, LXC makes snapshots alone.
            let call = if storage == "overlay" { call.arg("-s") } else { call };
            call.outcome().success();
            let sees_page = || {
                if lab.start(&copy) {
                    let shown = lab.inside(&copy, &["cat", "/srv/index.html"]);
                    assert!(shown.starts_with("two"), "{storage}, {file}: {shown}");
                    lab.stop(&copy);
                }
            };
            sees_page();
            // The one that it was copied from is whole all the same, and what the copy stands on stays.
            tool(&lab, &["upgrade", &name]).success();
            tool(&lab, &["rollback", &name]).success();
            tool(&lab, &["store", "gc", "--keep=0"]).success();
            sees_page();
            lab.destroy(&copy);
            lab.destroy(&name);
        }
    }
}
