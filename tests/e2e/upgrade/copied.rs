//! LXC's own commands for a container whose upgrade was cut off, or that was upgraded.

use super::{ONE, TWO, role, tool};
use crate::caller::Caller;
use crate::lab::Lab;
use crate::requirement;

/// Stops the switch of an upgrade at a file that nobody may replace. Tells whether this filesystem can do that.
fn cut_off(lab: &Lab, name: &str, file: &str) -> bool {
    let path = lab.container(name, file);
    let chattr = |change: &str| lab.call_as_root(["chattr", change]).arg(&path).outcome();
    if !chattr("+i").status.success() {
        requirement::skip("no file can be made immutable here");
        return false;
    }
    tool(lab, &["upgrade", name]).code(5);
    chattr("-i").success();
    assert!(lab.container(name, "upgrade/switch/old").exists());
    true
}

fn made(lab: &Lab, stem: &str, storage: &str) -> String {
    let manifest = lab.write("work/role.toml", &role("one", ONE));
    let name = lab.name(stem);
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    lab.write("work/role.toml", &role("two", TWO));
    name
}

#[test]
fn one_that_was_cut_off_is_destroyed() {
    for storage in ["copy", "overlay"] {
        for file in ["config", "layered-template.json"] {
            let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
            let name = made(&lab, "gone", storage);
            if !cut_off(&lab, &name, file) {
                return lab.destroy(&name);
            }
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
    for storage in ["copy", "overlay"] {
        for (file, page) in [("config", "one"), ("layered-template.json", "two")] {
            let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
            let name = made(&lab, "from", storage);
            if !cut_off(&lab, &name, file) {
                return lab.destroy(&name);
            }
            let copy = lab.name("copy");
            let copied = lab.lxc("lxc-copy", &name).args(["-N", &copy]).outcome();
            copied.success();
            if lab.start(&copy) {
                let shown = lab.inside(&copy, &["cat", "/srv/index.html"]);
                assert!(shown.starts_with(page), "{storage}, {file}: {shown}");
                lab.stop(&copy);
            }
            // The one that it was copied from is whole all the same, and so is the copy without it.
            tool(&lab, &["upgrade", &name]).success();
            tool(&lab, &["rollback", &name]).success();
            lab.destroy(&name);
            tool(&lab, &["store", "gc", "--keep=0"]).success();
            if lab.start(&copy) {
                let shown = lab.inside(&copy, &["cat", "/srv/index.html"]);
                assert!(shown.starts_with(page), "{storage}, {file}: {shown}");
                lab.stop(&copy);
            }
            lab.destroy(&copy);
        }
    }
}
