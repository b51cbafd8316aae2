//! A layer that fails on its way into the store.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use layered_template::cache::PLACEHOLDER;
use rustix::process::Signal;

use super::shelf::{self, kinds};
use super::{as_both, as_each, create, create_directly, trace};
use crate::call::{Outcome, Running};
use crate::caller::Caller;
use crate::lab::Lab;

const SOON: Duration = Duration::from_secs(5);

/// A role whose middle layer has these keys.
fn manifest(lab: &Lab, upstream: &str, middle: &str) -> PathBuf {
    let text = format!(
        r#"manifest = 1
[[layer]]
name = "os"
{upstream}
finally = "echo finally os $LAYER_STATUS >>\"$TRACE\""

[[layer]]
name = "inner"
post = {{ in = "rootfs", run = "echo inner >/inner" }}

[[layer]]
name = "middle"
finally = "echo finally middle $LAYER_STATUS >>\"$TRACE\""
{middle}

[[layer]]
name = "outer"
post = {{ in = "rootfs", run = "echo outer >/outer" }}
finally = "echo finally outer $LAYER_STATUS >>\"$TRACE\""
"#
    );
    lab.write("work/failing.toml", &text)
}

/// Keys of a layer with a step that waits.
const WAITING: &str = "post = { in = \"rootfs\", run = \"echo begun >/begun; sleep 86401.25\" }\n";

const BUSYBOX: &str = "template = \"builtin:busybox\"";
const TEMPLATE: &str = "template of layer os";

/// Sees that a run ends with this status and leaves only what is inside of what failed.
#[track_caller]
fn fails(lab: &Lab, upstream: &str, middle: &str, status: i32, left: &[&str]) {
    let manifest = manifest(lab, upstream, middle);
    let name = lab.name("failing");
    for words in [["--storage=copy"], ["--storage=overlay"]] {
        let outcome = create_directly(lab, &name, &manifest, &words).outcome().code(status);
        assert_named(&outcome);
        let told = trace(lab);
        let begun = status != 3;
        let finally = |layer: &str, status: i32| format!("finally {layer} {status}");
        let os = if status == 4 { 4 } else { 0 };
        let mut expected = vec![finally("middle", status), finally("outer", status)];
        if begun {
            expected.insert(0, finally("os", os));
        }
        assert_eq!(told, expected, "{outcome}");
        lab.assert_absent(&name);
        lab.assert_quiet(SOON);
        shelf::assert_tidy(lab);
        assert_eq!(kinds(lab), left, "{outcome}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("it is there");
        assert!(!mounts.contains(&lab.mark), "{mounts}");
    }
}

/// Sees that nothing is told of the container that stands for all others, but how it was called.
#[track_caller]
fn assert_named(outcome: &Outcome) {
    let mut lines = outcome.stderr.lines().filter(|line| !line.starts_with("  command: "));
    assert!(!lines.any(|line| line.contains(PLACEHOLDER)), "{outcome}");
}

#[test]
fn what_fails_is_not_stored() {
    as_both(|lab| {
        let upstream =
            lab.script("work/no.sh", "#!/bin/sh\ntouch \"${3#--rootfs=}/begun\"\nexit 7\n");
        fails(lab, &format!("template = {upstream:?}"), "", 4, &[]);
        let inner = [TEMPLATE, "layer inner"];
        let file = "[[layer.file]]\npath = \"/etc/x\"\ncontent = \"\"\nowner = \"nobody-here\"\n";
        fails(lab, BUSYBOX, file, 5, &inner);
        let post = "post = { in = \"rootfs\", run = \"echo half >/half; exit 9\" }\n";
        fails(lab, BUSYBOX, post, 6, &inner);
        let check = "post = { in = \"rootfs\", run = \"echo half >/half\" }\n\
                     check = { in = \"rootfs\", run = \"test -e /whole\" }\n";
        fails(lab, BUSYBOX, check, 7, &inner);
        fails(lab, BUSYBOX, "pre = \"exit 9\"\n", 3, &inner);
        // LXC knows no status but 1.
        let (name, manifest) = (lab.name("failing"), manifest(lab, BUSYBOX, check));
        assert_named(&create(lab, &name, &manifest, &[]).outcome().code(1));
        lab.assert_absent(&name);
        shelf::assert_tidy(lab);
        shelf::assert_sound(lab);
    });
}

/// A check on the host sees what is stored, and is made anew each time.
#[test]
fn a_failed_check_on_the_host_fails_the_run_though_all_is_stored() {
    as_both(|lab| {
        let middle = "check = \"test -n \\\"$GOOD\\\" && test \\\"$(cat \\\"$LXC_ROOTFS/inner\\\")\\\" = inner\"\n\
                      [[layer.file]]\npath = \"/middle\"\ncontent = \"\"\n";
        let manifest = manifest(lab, BUSYBOX, middle);
        let name = lab.name("checked");
        for words in [["--storage=copy"], ["--storage=overlay"]] {
            create_directly(lab, &name, &manifest, &words).outcome().code(7);
            lab.assert_absent(&name);
            create_directly(lab, &name, &manifest, &words).env("GOOD", "1").outcome().code(0);
            lab.destroy(&name);
        }
        shelf::assert_tidy(lab);
        shelf::assert_sound(lab);
    });
}

#[test]
fn the_failed_layer_is_kept_on_demand() {
    as_each(&[], |lab| {
        let middle = "post = { in = \"rootfs\", run = \"echo half >/half; exit 9\" }\n";
        let manifest = manifest(lab, BUSYBOX, middle);
        let name = lab.name("kept");
        create(lab, &name, &manifest, &["--keep-failed"]).outcome().code(1);
        lab.assert_absent(&name);
        let runs = lab.left();
        let [run] = &runs[..] else { panic!("one run has failed: {runs:?}") };
        let rootfs = run.join("rootfs");
        assert_eq!(lab.read(rootfs.join("half")), "half\n");
        assert_eq!(lab.read(rootfs.join("inner")), "inner\n");
        assert!(rootfs.join("bin/sh").exists());
        assert!(!rootfs.join("outer").exists());
        shelf::assert_tidy(lab);
        assert_eq!(kinds(lab), [TEMPLATE, "layer inner"]);
        // It is entered by the name that its container was to have.
        let entered = lab.call([lab.program()]).args(["shell", &name, "--lxcpath"]);
        let entered = entered.arg(lab.lxcpath()).args(["--", "cat", "/half"]);
        if lab.caller != Caller::Mapped {
            assert_eq!(entered.outcome().success().stdout, "half\n");
        }
    });
}

#[test]
fn a_signal_to_the_template_ends_a_layer_that_is_made_for_the_store() {
    as_each(&[], |lab| {
        let manifest = manifest(lab, BUSYBOX, WAITING);
        let name = lab.name("signalled");
        let running = begun(lab, create(lab, &name, &manifest, &[]).start());
        let all = lab.processes();
        let templates: Vec<_> = all
            .iter()
            .filter(|process| process.arguments.iter().any(|word| word.starts_with("--rootfs=")))
            .filter(|process| !process.arguments[0].ends_with("lxc-usernsexec"))
            .collect();
        let first = templates
            .iter()
            .find(|process| !templates.iter().any(|other| other.id == process.parent))
            .expect("the template runs");
        first.signal(Signal::TERM);
        running.outcome().code(1);
        let finally = |layer: &str, status: i32| format!("finally {layer} {status}");
        assert_eq!(trace(lab), [finally("os", 0), finally("middle", 143), finally("outer", 143)]);
        lab.assert_absent(&name);
        lab.assert_quiet(SOON);
        shelf::assert_tidy(lab);
        assert_eq!(kinds(lab), [TEMPLATE, "layer inner"]);
        shelf::assert_sound(lab);
    });
}

/// Nobody is there who could clean up: the next run does.
#[test]
fn what_a_killed_run_leaves_is_removed_by_the_next() {
    as_both(|lab| {
        let manifest = manifest(lab, BUSYBOX, WAITING);
        let name = lab.name("killed");
        let running = begun(lab, create_directly(lab, &name, &manifest, &[]).start());
        running.signal(Signal::KILL);
        running.outcome().signalled(Signal::KILL);
        lab.assert_quiet(SOON);
        lab.lxc("lxc-destroy", &name).outcome();
        assert_eq!(kinds(lab), [TEMPLATE, "layer inner"]);
        let manifest = self::manifest(lab, BUSYBOX, "");
        create_directly(lab, &lab.name("next"), &manifest, &[]).outcome().success();
        shelf::assert_tidy(lab);
        shelf::assert_sound(lab);
    });
}

/// Waits until the step that waits is there.
fn begun(lab: &Lab, mut running: Running) -> Running {
    let deadline = Instant::now() + Duration::from_secs(30);
    let waits = |words: &[String]| words.first().is_some_and(|word| word.ends_with("sleep"));
    while !lab.processes().iter().any(|process| waits(&process.arguments)) {
        if Instant::now() > deadline || running.ended() {
            running.signal_group(Signal::KILL);
            panic!("the step never began: {}", running.outcome());
        }
        sleep(Duration::from_millis(10));
    }
    running
}
