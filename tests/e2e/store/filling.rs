//! `build` fills the store, without a container.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::{as_each, create, role, shelf, trace};
use crate::call::Call;
use crate::caller::Caller;
use crate::lab::Lab;

/// Three roles on one base. Each step tells that it runs.
fn roles(lab: &Lab) -> Vec<PathBuf> {
    let upstream = role::counting(lab);
    lab.write(
        "work/base.toml",
        &format!(
            "manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n[[layer]]\nname = \"base\"\n\
             pre = \"echo pre base >>\\\"$TRACE\\\"\"\nstore = true\n\
             post = [\"echo post base >>\\\"$TRACE\\\"\", {{ in = \"rootfs\", run = \"echo base >/base\" }}]\n\
             check = \"test -s \\\"$LXC_ROOTFS/base\\\"; echo check base >>\\\"$TRACE\\\"\"\n"
        ),
    );
    let role = |name: &str| {
        let text = format!(
            "manifest = 1\nextends = \"base.toml\"\n[vars]\nbuild = {{ from = \"{name}\" }}\n\
             [[layer]]\nname = \"{name}\"\n\
             pre = \"echo build=7 >>\\\"$LAYER_ENV\\\"\"\nfinally = \"echo finally {name} >>\\\"$TRACE\\\"\"\n\
             post = {{ in = \"rootfs\", run = \"echo {name} $build >/role\" }}\n\
             [[layer]]\nname = \"register\"\npost = \"echo register >>\\\"$TRACE\\\"\"\n\
             check = \"echo check register >>\\\"$TRACE\\\"\"\n"
        );
        lab.write(format!("work/{name}.toml"), &text)
    };
    ["web", "db", "mail"].map(role).into()
}

fn build<'lab>(lab: &'lab Lab, manifests: &[PathBuf], words: &[&str]) -> Call<'lab> {
    let call = lab.call([lab.program()]).arg("build").args(manifests).args(words);
    call.arg("-f").arg(lab.path("default.conf")).env("TRACE", lab.path("work/trace"))
}

/// The lines on standard output, without times.
#[track_caller]
fn lines(lab: &Lab, manifests: &[PathBuf], words: &[&str]) -> Vec<String> {
    let outcome = build(lab, manifests, words).outcome().success();
    outcome.stdout.lines().map(timeless).collect()
}

fn timeless(line: &str) -> String {
    match line.split_once(" in ") {
        Some((before, after)) => {
            let (seconds, rest) = after.split_once(" s").expect("a time is in seconds");
            assert!(seconds.parse::<f64>().is_ok(), "{line}");
            format!("{before} in N s{rest}")
        }
        None => line.to_owned(),
    }
}

/// Sees that nothing stands anywhere but what is stored.
#[track_caller]
fn assert_no_container(lab: &Lab) {
    for directory in ["lxc", "tmp"] {
        let left: Vec<_> = fs::read_dir(lab.path(directory)).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    shelf::assert_tidy(lab);
    lab.assert_quiet(Duration::from_secs(5));
}

#[test]
fn each_layer_of_all_roles_is_made_once() {
    as_each(&[], |lab| {
        let roles = roles(lab);
        let made = [
            "os  built in N s",
            "base  built in N s",
            "web  built in N s",
            "register  not stored: a post step of layer `register` runs on the host",
            "db  built in N s",
            "mail  built in N s",
            "5 layers built in N s",
        ];
        assert_eq!(lines(lab, &roles, &[]), made, "{:?}", lab.caller);
        assert_eq!(role::calls(lab), 1);
        let told = trace(lab);
        let count = |what: &str| told.iter().filter(|line| *line == what).count();
        assert_eq!(["pre base", "post base", "check base"].map(count), [3, 1, 3], "{told:?}");
        assert_eq!(["finally web", "finally db", "finally mail"].map(count), [1, 1, 1]);
        assert_eq!(["register", "check register"].map(count), [0, 0], "it is in no store");
        assert_eq!(shelf::stored(lab).len(), 5);
        assert_no_container(lab);

        let as_it_was: Vec<_> = ["os", "base", "web", "db", "mail"]
            .map(|layer| format!("{layer}  already stored"))
            .into();
        let again = lines(lab, &roles, &[]);
        let (left, stored): (Vec<_>, Vec<_>) =
            again[..6].iter().cloned().partition(|line| line.contains("  not stored: "));
        assert_eq!((left.len(), stored), (1, as_it_was));
        assert_eq!(again[6], "nothing to build, 5 layers already stored");

        // A run goes the same way, so that it finds all of it.
        let name = lab.name("box");
        create(lab, &name, &roles[1], &[]).outcome().success();
        assert_eq!(lab.read(lab.container(&name, "rootfs/role")), "db 7\n");
        lab.destroy(&name);
        assert_eq!((role::calls(lab), shelf::stored(lab).len()), (1, 5));

        assert_eq!(lines(lab, &roles, &["--rebuild"]), made);
        assert_eq!((role::calls(lab), shelf::stored(lab).len()), (2, 10));
        assert_no_container(lab);
        shelf::assert_sound(lab);
    });
}

#[test]
fn what_is_older_than_it_may_be_is_made_anew() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let roles = roles(&lab);
    lines(&lab, &roles, &[]);
    let last = |lines: Vec<String>| lines.last().cloned().unwrap_or_default();
    let all = "nothing to build, 5 layers already stored";
    assert_eq!(last(lines(&lab, &roles, &["--older-than", "1h"])), all);
    sleep(Duration::from_millis(2100));
    assert_eq!(last(lines(&lab, &roles, &["--older-than", "2s"])), "5 layers built in N s");
    let outcome = build(&lab, &roles, &["--older-than", "soon"]).outcome().code(2);
    assert!(outcome.stderr.contains("--older-than"), "{outcome}");
}

#[test]
fn a_role_that_fails_keeps_the_others_from_nothing() {
    as_each(&[], |lab| {
        let mut roles = roles(lab);
        let text = lab.read("work/web.toml").replace("echo web $build", "false; echo web $build");
        lab.write("work/web.toml", &text);
        let outcome = build(lab, &roles, &[]).outcome().code(6);
        let told: Vec<_> = outcome.stdout.lines().map(timeless).collect();
        let failed = lab.path("work/web.toml");
        let last = format!("4 layers built in N s; 1 of 3 roles failed: {}", failed.display());
        let expected = [
            "os  built in N s",
            "base  built in N s",
            "db  built in N s",
            "register  not stored: a post step of layer `register` runs on the host",
            "mail  built in N s",
            &last,
        ];
        assert_eq!(told, expected, "{outcome}");
        assert!(outcome.stderr.contains("error: `post` of layer `web`"), "{outcome}");
        assert_no_container(lab);

        // One that cannot be used keeps all of it from beginning.
        lab.write("work/db.toml", "manifest = 1\n");
        lab.write("work/trace", "");
        roles.reverse();
        let outcome = build(lab, &roles, &["--rebuild"]).outcome().code(2);
        assert!(outcome.stdout.is_empty() && trace(lab).is_empty(), "{outcome}");
    });
}

#[test]
fn a_role_of_which_nothing_is_stored_is_told_of() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\nstore = false\n\
                pre = \"echo pre >>\\\"$TRACE\\\"\"\n";
    let manifest = lab.write("work/role.toml", text);
    let outcome = build(&lab, &[manifest], &[]).outcome().success();
    assert!(
        outcome.stderr.contains("role.toml: none of it is stored: layer `os` says `store = false`"),
        "{outcome}"
    );
    assert!(trace(&lab).is_empty());
    let lab = Lab::open(Caller::Root, &[]).unwrap();
    let roles = roles(&lab);
    let outcome =
        build(&lab, &roles, &[]).env("LAYERED_TEMPLATE_STORE", "/dev/null/store").outcome();
    assert_eq!(outcome.status.code(), Some(8), "{outcome}");
    assert!(outcome.stderr.contains("layer `os` cannot be stored"), "{outcome}");
    assert!(!outcome.stderr.contains("--storage"), "{outcome}");
    assert_no_container(&lab);
}

#[test]
fn a_signal_ends_all_of_it() {
    as_each(&[], |lab| {
        let roles = roles(lab);
        let text =
            lab.read("work/web.toml").replace("echo web $build", "touch /begun; sleep 60; true");
        lab.write("work/web.toml", &text);
        let running = build(lab, &roles, &[]).start();
        for _ in 0..400 {
            if lab.read("work/trace").contains("check base") {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        sleep(Duration::from_millis(300));
        running.signal(Signal::TERM);
        let outcome = running.outcome();
        assert_eq!(outcome.status.code(), Some(143), "{outcome}");
        assert!(!outcome.stdout.contains("db  "), "{outcome}");
        assert_no_container(lab);
    });
}
