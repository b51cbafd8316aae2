//! Containers that stand on stored trees: nothing that they do changes one, and none is removed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::listing::Listing;
use super::shelf::{self, gc, stored};
use super::{as_both, as_each, make, role, seen};
use crate::lab::Lab;

const BUSYBOX: &str = "template = \"builtin:busybox\"";

type Trees = BTreeMap<PathBuf, Listing>;

/// Sees that all trees are as they were, and that none may go.
#[track_caller]
fn assert_kept(lab: &Lab, before: &Trees) {
    let (count, outcome) = gc(lab, &[]);
    assert_eq!(count, 0, "{outcome}");
    let now = shelf::trees(lab);
    assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (path, tree) in before {
        now[path].assert_same(tree, &path.display().to_string());
    }
    shelf::assert_sound(lab);
}

/// Sees that everything may go.
#[track_caller]
fn assert_all_goes(lab: &Lab) {
    let there = stored(lab).len();
    assert!(there > 0);
    assert_eq!(gc(lab, &["--forget"]).0, there);
    let left: Vec<_> = fs::read_dir(lab.path("store/roots")).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
    shelf::assert_tidy(lab);
}

fn standing(lab: &Lab, stem: &str) -> String {
    let manifest = lab.path("work/role.toml");
    if !manifest.exists() {
        role::three_layers(lab, BUSYBOX);
    }
    let name = lab.name(stem);
    make(lab, &name, &manifest, &["--storage=overlay"]);
    name
}

#[test]
fn a_running_container_changes_no_tree() {
    as_both(|lab| {
        let name = standing(lab, "running");
        let trees = shelf::trees(lab);
        assert_kept(lab, &trees);
        if lab.start(&name) {
            const WORK: &str = "echo changed >/etc/role/base.conf; echo added >/added; \
                                chmod 600 /opt/tree/run; rm -rf /opt/tree; mkdir /opt/tree; \
                                echo new >/opt/tree/new; rm /etc/hostname; ls /opt/tree";
            assert_eq!(lab.inside(&name, &["/bin/sh", "-ec", WORK]), "new\n");
            assert_kept(lab, &trees);
            lab.stop(&name);
            let after = seen::listing(lab, &name);
            assert_eq!(after.text("etc/role/base.conf"), "changed\n");
            assert_eq!(after.text("opt/tree/new"), "new\n");
            assert!(!after.has("opt/tree/old") && !after.has("etc/hostname"));
            // It is all there at the next start.
            assert!(lab.start(&name));
            assert_eq!(lab.inside(&name, &["/bin/ls", "/opt/tree"]), "new\n");
            lab.stop(&name);
        }
        assert_kept(lab, &trees);
        lab.destroy(&name);
        assert_all_goes(lab);
    });
}

#[test]
fn what_a_container_is_made_of_outlives_another() {
    as_each(&[], |lab| {
        let (one, other) = (standing(lab, "one"), standing(lab, "other"));
        let trees = shelf::trees(lab);
        assert_kept(lab, &trees);
        lab.destroy(&one);
        assert_kept(lab, &trees);
        lab.destroy(&other);
        assert_all_goes(lab);
    });
}

#[test]
fn copies_stand_on_the_tree_too() {
    as_both(|lab| {
        let name = standing(lab, "first");
        let trees = shelf::trees(lab);
        let second = lab.directory("second");
        let (near, far) = (lab.name("near"), lab.name("far"));
        let copy = |to: &str| lab.lxc("lxc-copy", &name).args(["-s", "-N", to]);
        copy(&near).outcome().success();
        assert_kept(lab, &trees);
        copy(&far).arg("-p").arg(&second).outcome().success();
        assert_kept(lab, &trees);
        for path in [lab.container(&near, ""), second.join(&far)] {
            let config = lab.read(path.join("config"));
            let rootfs = seen::value(&config, "lxc.rootfs.path").expect("there is one");
            assert!(rootfs.starts_with("overlay:") && rootfs.contains("/trees/"), "{rootfs}");
        }
        if lab.start(&near) {
            let write = ["/bin/sh", "-ec", "rm -r /opt/tree; mkdir /opt/tree; echo 1 >/opt/tree/1"];
            lab.inside(&near, &write);
            assert_kept(lab, &trees);
            lab.stop(&near);
        }
        // LXC destroys no container that has clones, though these need nothing of it.
        lab.lxc("lxc-destroy", &name).outcome().code(1);
        fs::remove_dir_all(lab.container(&name, "")).expect("root removes");
        assert_kept(lab, &trees);
        lab.lxc("lxc-destroy", &near).outcome().success();
        assert_kept(lab, &trees);
        let config = second.join(&far).join("config");
        let users: Vec<_> = stored(lab).into_iter().flat_map(|entry| entry.users).collect();
        assert_eq!(users, [config.display().to_string()]);
        lab.call(["lxc-destroy", "-n", &far, "-P"]).arg(&second).outcome().success();
        assert_all_goes(lab);
    });
}

#[test]
fn snapshots_stand_on_the_tree_too() {
    as_both(|lab| {
        let name = standing(lab, "first");
        let trees = shelf::trees(lab);
        let snapshot = |words: &[&str]| lab.lxc("lxc-snapshot", &name).args(words).outcome();
        snapshot(&[]).success();
        assert_kept(lab, &trees);
        // Restored in its own place, it is removed and made anew.
        snapshot(&["-r", "snap0"]).success();
        assert_kept(lab, &trees);
        let back = lab.name("back");
        snapshot(&["-r", "snap0", "-N", &back]).success();
        assert_kept(lab, &trees);
        for name in [&name, &back] {
            if lab.start(name) {
                assert_eq!(lab.inside(name, &["/bin/cat", "/opt/tree/gone/new"]), "new\n");
                lab.stop(name);
            }
        }
        lab.destroy(&back);
        assert_kept(lab, &trees);
        snapshot(&["-d", "snap0"]).success();
        assert_kept(lab, &trees);
        lab.destroy(&name);
        assert_all_goes(lab);
    });
}

#[test]
fn a_snapshot_alone_keeps_its_tree() {
    as_both(|lab| {
        let name = standing(lab, "first");
        let trees = shelf::trees(lab);
        lab.lxc("lxc-snapshot", &name).outcome().success();
        // What is left of the container is the snapshot.
        fs::remove_file(lab.container(&name, "config")).expect("root removes");
        assert_kept(lab, &trees);
        fs::remove_dir_all(lab.container(&name, "")).expect("root removes");
        assert_all_goes(lab);
    });
}

#[test]
fn a_container_that_cannot_be_reached_keeps_its_tree_until_it_is_forgotten() {
    as_each(&[], |lab| {
        let manifest = role::three_layers(lab, BUSYBOX);
        let disk = lab.directory("disk");
        let name = lab.name("far");
        let created = lab
            .call(["lxc-create", "-n", &name, "-P"])
            .arg(&disk)
            .arg("-f")
            .arg(lab.path("default.conf"))
            .arg("-t")
            .arg(lab.template())
            .arg("--")
            .arg(&manifest)
            .arg("--storage=overlay")
            .env("TRACE", lab.path("work/trace"));
        created.outcome().success();
        let trees = shelf::trees(lab);
        assert_kept(lab, &trees);

        let away = lab.path("away");
        fs::rename(&disk, &away).expect("it is moved");
        let config = disk.join(&name).join("config").display().to_string();
        let (count, outcome) = gc(lab, &[]);
        assert_eq!(count, 0, "{outcome}");
        let told = format!("`{config}` cannot be reached: what it uses stays");
        assert!(outcome.stderr.contains(&told), "{:?}: {outcome}", lab.caller);
        let outermost = stored(lab).pop().expect("something is stored").id;
        shelf::store(lab, &["remove", &outermost]).outcome().code(8);

        // It comes back, and nothing was lost.
        fs::rename(&away, &disk).expect("it is moved");
        assert_kept(lab, &trees);
        fs::rename(&disk, &away).expect("it is moved");

        let there = stored(lab).len();
        let (count, outcome) = gc(lab, &["--forget"]);
        assert_eq!(count, there, "{outcome}");
        assert!(outcome.stderr.contains(&config), "{outcome}");
        shelf::assert_tidy(lab);
    });
}
