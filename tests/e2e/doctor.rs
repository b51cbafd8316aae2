//! `layered-template doctor`: on a host where all other tests pass, it has no complaint about what
//! they need.

use crate::caller::Caller;
use crate::lab::Lab;

#[test]
fn nothing_is_bad_where_runs_work_as_root() {
    nothing_bad(Caller::Root);
}

#[test]
fn nothing_is_bad_where_runs_work_as_an_ordinary_user() {
    nothing_bad(Caller::User);
}

#[test]
fn a_user_without_ids_is_told_what_to_do() {
    let Some(lab) = Lab::open(Caller::Root, &["setpriv"]) else {
        return;
    };
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let outcome = lab.call(nobody).arg(lab.program()).arg("doctor").outcome().code(1);
    assert!(outcome.stdout.contains("bad  /etc/subuid"), "{outcome}");
    assert!(outcome.stdout.contains("usermod --add-subuids"), "{outcome}");
}

#[test]
fn what_an_installed_template_needs_is_noted() {
    let Some(lab) = Lab::open(Caller::Root, &["debootstrap", "unshare"]) else {
        return;
    };
    let hide = "mount --bind /dev/null \"$(readlink -f \"$(command -v debootstrap)\")\"";
    for (prelude, is_noted) in [(hide, true), (":", false)] {
        let shell = format!("{prelude} && exec \"$0\" doctor");
        let outcome = lab.call(["unshare", "-m", "sh", "-c", &shell]).arg(lab.program()).outcome();
        let begins = "note lxc-debian       needs `debootstrap`";
        let note = outcome.stdout.lines().find(|line| line.starts_with(begins));
        assert_eq!(note.is_some(), is_noted, "{outcome}");
    }
}

#[test]
fn a_store_that_is_not_used_is_told() {
    let Some(lab) = Lab::open(Caller::Root, &["chmod"]) else {
        return;
    };
    let shell =
        "mkdir store && chmod 0777 store && LAYERED_TEMPLATE_STORE=$PWD/store exec \"$0\" doctor";
    let outcome = lab.call(["sh", "-c", shell]).arg(lab.program()).outcome().code(1);
    let line = outcome.stdout.lines().find(|line| line.starts_with("warn layer store "));
    assert!(line.is_some_and(|line| line.contains("is writable by everybody")), "{outcome}");
}

/// No LXC starts anything without cgroups.
#[test]
fn cgroups_with_which_this_lxc_starts_nothing_are_told() {
    let Some(lab) = Lab::open(Caller::Root, &["unshare", "mount"]) else {
        return;
    };
    for (filesystem, told) in [("tmpfs", "warn cgroups "), ("cgroup2", "ok   cgroups ")] {
        let shell = format!("mount -t {filesystem} none /sys/fs/cgroup && exec \"$0\" doctor");
        let outcome = lab.call(["unshare", "-m", "sh", "-c", &shell]).arg(lab.program()).outcome();
        assert!(outcome.stdout.lines().any(|line| line.starts_with(told)), "{outcome}");
    }
}

fn nothing_bad(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let outcome = lab.call([lab.program()]).args(["doctor", "--format", "json"]).outcome();
    let findings: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let findings = findings.as_array().expect("a list");
    let is = |finding: &serde_json::Value, verdict| finding["verdict"] == verdict;
    assert!(findings.iter().all(|finding| !is(finding, "bad")), "{outcome}");
    let faultless = findings.iter().all(|finding| is(finding, "ok") || is(finding, "note"));
    assert_eq!(outcome.status.code(), Some(i32::from(!faultless)));
    for subject in ["user", "sandbox", "overlay", "templates", "resolver", "layer store"] {
        assert!(
            findings.iter().any(|finding| finding["subject"] == subject),
            "{subject}: {outcome}"
        );
    }
    lab.assert_quiet(std::time::Duration::from_secs(5));
}
