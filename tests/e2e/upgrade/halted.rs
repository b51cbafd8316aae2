//! An upgrade that is killed while its container is stopped: whoever ends that starts it again.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::{ONE, TWO, role, tool};
use crate::caller::Caller;
use crate::lab::Lab;

/// Kills the program in the check of the container that was put together, which does not run then.
const KILL: &str = r#"
"$1" upgrade -P "$2" "$3" & upgrade=$!
until [ -e "$4/again" ] || ! kill -0 $upgrade; do sleep 0.02; done
kill -9 $upgrade
"#;

/// The role with a check that lasts, where it is the second one of an upgrade.
fn lasting(lab: &Lab, page: &str, packages: &str) -> String {
    let marks = lab.path("marks");
    let marks = marks.display();
    let check = format!(
        "check = \"if [ -e {marks}/once ]; then touch {marks}/again; sleep 60; fi; touch {marks}/once\"\n"
    );
    role(page, packages).replacen(
        "state = \"/srv/data\"\n",
        &format!("state = \"/srv/data\"\n{check}"),
        1,
    )
}

fn killed_where_it_is_stopped(caller: Caller, storage: &str) {
    let Some(lab) = Lab::open(caller, &[]) else { return };
    let about = format!("{caller:?}, {storage}");
    lab.call_as_root(["mkdir", "-m", "777"]).arg(lab.path("marks")).outcome().success();
    let manifest = lab.write("work/role.toml", &role("one", ONE));
    let name = lab.name("halt");
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    if !lab.start(&name) {
        return lab.destroy(&name);
    }
    lab.inside(&name, &["/bin/sh", "-c", "echo mine >/srv/data/mine"]);
    let cut_off = |page: &str| {
        for mark in ["once", "again"] {
            let _ = fs::remove_file(lab.path("marks").join(mark));
        }
        lab.write("work/role.toml", &lasting(&lab, page, TWO));
        let call = lab.call(["sh", "-c", KILL, "sh"]).arg(lab.program()).arg(lab.lxcpath());
        call.arg(&name).arg(lab.path("marks")).outcome();
        let told = tool(&lab, &["status", &name]).success().stdout;
        assert!(told.contains("  no  ") && told.contains("  interrupted\n"), "{about}: {told}");
        tool(&lab, &["upgrade", "--dry-run", &name]).code(2);
        lab.write("work/role.toml", &role(page, TWO));
    };
    let shown = || lab.inside(&name, &["cat", "/srv/index.html", "/srv/data/mine"]);

    cut_off("two");
    let said = tool(&lab, &["rollback", &name]).success().stderr;
    assert!(said.contains("before its upgrade, which was interrupted"), "{about}: {said}");
    assert_eq!(shown(), format!("one of {name}mine\n"), "{about}: it runs as it was");

    cut_off("two");
    tool(&lab, &["upgrade", &name]).success();
    assert_eq!(
        shown(),
        format!("two of {name}mine\n"),
        "{about}: it runs as its role makes it now"
    );

    // After another start of the machine, it is the machine's to start it.
    cut_off("three");
    let note = lab.container(&name, "upgrade/halted");
    lab.call_as_root(["sh", "-c", "echo other >\"$1\"", "sh"]).arg(&note).outcome().success();
    let told = tool(&lab, &["status", &name]).success().stdout;
    assert!(told.contains("  outdated\n"), "{about}: {told}");
    tool(&lab, &["upgrade", &name]).success();
    let told = tool(&lab, &["status", &name]).success().stdout;
    assert!(told.contains("  no  ") && told.contains("  current\n"), "{about}: {told}");
    assert!(!note.exists(), "{about}");
    assert!(lab.start(&name));
    assert_eq!(shown(), format!("three of {name}mine\n"), "{about}");
    lab.stop(&name);
    lab.destroy(&name);
}

#[test]
fn an_overlay_that_was_stopped_for_an_upgrade_is_started_again() {
    for caller in [Caller::Root, Caller::User] {
        killed_where_it_is_stopped(caller, "overlay");
    }
}

#[test]
fn a_copy_that_was_stopped_for_an_upgrade_is_started_again() {
    for caller in [Caller::Root, Caller::User] {
        killed_where_it_is_stopped(caller, "copy");
    }
}

/// A role whose container takes its time to stop.
fn slow(page: &str) -> String {
    format!(
        r#"manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "slow"
[layer.config]
"lxc.init.cmd" = "/sbin/slow"
[[layer.file]]
path = "/sbin/slow"
mode = "0755"
content = """
#!/bin/sh
trap 'sleep 3; exit' USR1
while :; do sleep 0.1; done
"""
[[layer.file]]
path = "/srv/page"
content = "{page}"
"#
    )
}

/// It cannot be helped that the container stops then, and runs again.
#[test]
fn whoever_is_interrupted_while_the_container_stops_leaves_it_running_as_it_was() {
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else { return };
        let manifest = lab.write("work/role.toml", &slow("one"));
        let name = lab.name("slow");
        lab.create(&name, &manifest).arg("--storage=overlay").outcome().success();
        if !lab.start(&name) {
            return lab.destroy(&name);
        }
        lab.write("work/role.toml", &slow("two"));
        let interrupted = |words: &[&str], code: i32, signal: Signal| {
            let call = lab.call([lab.program()]).args(words).arg(&name);
            let note = lab.container(&name, "upgrade/halted");
            let running = call.arg("-P").arg(lab.lxcpath()).start().until(&note);
            sleep(Duration::from_millis(300));
            running.signal_group(signal);
            let outcome = running.outcome().code(code);
            for part in
                ["it is started again when it has stopped", "is left as it was, and runs again"]
            {
                assert!(outcome.stderr.contains(part), "{caller:?}: {outcome}");
            }
            assert!(!note.exists(), "{caller:?}: {outcome}");
            let told = tool(&lab, &["status", &name]).success().stdout;
            assert!(told.contains("  yes  "), "{caller:?}: {told}");
        };
        interrupted(&["upgrade"], 130, Signal::INT);
        assert_eq!(lab.inside(&name, &["cat", "/srv/page"]), "one", "{caller:?}");
        let runs = lab.call([lab.program()]).args(["runs", "show"]).outcome().success().stdout;
        assert!(runs.contains("upgrade, interrupted"), "{runs}");
        tool(&lab, &["upgrade", &name]).success();
        interrupted(&["rollback"], 143, Signal::TERM);
        assert_eq!(lab.inside(&name, &["cat", "/srv/page"]), "two", "{caller:?}");
        lab.stop(&name);
        lab.destroy(&name);
    }
}
