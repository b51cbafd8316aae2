//! An upgrade that gives a container nothing but another record.

use std::fs;

use serde_json::Value;

use super::{change, each_storage, rollback, upgrade, within};
use crate::sandbox::Sandbox;

fn diff(sandbox: &Sandbox) -> String {
    let container = sandbox.container();
    sandbox.run(["diff", container.to_str().unwrap()]).stdout()
}

/// Upgrades by the same manifest at another place: nothing but the record changes.
fn move_manifest(sandbox: &Sandbox, name: &str) {
    let moved = sandbox.role().join(name);
    fs::copy(sandbox.role().join("m.toml"), &moved).unwrap();
    upgrade(sandbox, &["--manifest", moved.to_str().unwrap()])
        .exits(0)
        .mentions("web1: its record is up to date; nothing else has changed");
}

#[test]
fn what_the_container_changed_before_is_still_found() {
    each_storage(|sandbox, storage| {
        within(sandbox, "echo toor::0:0::/:/bin/sh >>etc/passwd; echo mine >srv/new");
        let was = diff(sandbox);
        assert!(was.contains("M  /etc/passwd") && was.contains("/srv/new"), "{was}");
        for name in ["one.toml", "two.toml"] {
            move_manifest(sandbox, name);
            assert_eq!(diff(sandbox), was, "{storage}");
        }
        let container = sandbox.container();
        let words = ["status", "-P", container.parent().unwrap().to_str().unwrap(), "--drift"];
        sandbox.run(words).shows("drifted");
    });
}

#[test]
fn what_a_record_without_times_was_made_of_is_still_compared() {
    each_storage(|sandbox, _| {
        let path = sandbox.container().join("layered-template.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let known = record.as_object_mut().unwrap();
        known.retain(|key, _| !["ended", "took_ms"].contains(&key.as_str()));
        fs::write(&path, record.to_string()).unwrap();
        within(sandbox, "echo mine >>etc/conf");
        let was = diff(sandbox);
        assert!(was.contains("M  /etc/conf"), "{was}");
        move_manifest(sandbox, "one.toml");
        assert_eq!(diff(sandbox), was);
    });
}

#[test]
fn what_a_kept_file_is_otherwise_than_its_role_is_still_found() {
    if !crate::requirement::root() {
        return;
    }
    let role = |text: &str| {
        format!(
            "[[layer]]\nname = \"site\"\nstore = true\npost = \"echo {text} >$LXC_ROOTFS/srv/page\"\n"
        )
    };
    let sandbox = Sandbox::new().upstream("mkdir $rootfs/srv $rootfs/etc").layers(&role("one"));
    sandbox.create(["--storage=copy"]).exits(0);
    within(&sandbox, "echo mine >srv/page; echo toor >etc/passwd");
    let text = fs::read_to_string(sandbox.role().join("m.toml")).unwrap();
    fs::write(sandbox.role().join("m.toml"), text.replace("echo one", "echo two")).unwrap();
    upgrade(&sandbox, &["--keep", "/srv/page"]).exits(0).mentions("its record is up to date");
    let now = diff(&sandbox);
    assert!(now.contains("A  /etc/passwd") && now.contains("M  /srv/page"), "{now}");
}

#[test]
fn a_rollback_says_which_way_it_went_after_an_upgrade_of_the_record() {
    each_storage(|sandbox, _| {
        let first = sandbox.role().join("first.toml");
        fs::copy(sandbox.role().join("m.toml"), &first).unwrap();
        change(sandbox, "two", 4, "true");
        upgrade(sandbox, &[]).exits(0).mentions("web1: upgraded");
        rollback(sandbox).exits(0).mentions("web1: back to what it was before its upgrade of ");
        upgrade(sandbox, &["--manifest", first.to_str().unwrap()])
            .exits(0)
            .mentions("its record is up to date");
        rollback(sandbox).exits(0).mentions("web1: the last rollback is undone: ");
        assert_eq!(within(sandbox, "cat srv/www/index.html"), "two of web1\n");
        rollback(sandbox).exits(0).mentions("web1: back to what it was before its upgrade of ");
    });
}
