//! `status` and `diff` of containers that `lxc-create` made, before and after they have run.

use crate::caller::Caller;
use crate::lab::Lab;

const ROLE: &str = r#"manifest = 1
description = "a host"
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "app"
config = { "lxc.environment" = ["STAGE=test"] }
post = { in = "rootfs", run = "echo made >/etc/app; chown 7:8 /etc/app" }
[[layer.file]]
path = "/etc/name"
content = "{{ lxc.name }}"
render = true
[[layer]]
name = "own"
store = false
[[layer.file]]
path = "/etc/own"
content = "own"
"#;

/// Makes a container, runs it, and changes something in it.
fn drifts(caller: Caller, storage: &str) {
    let Some(lab) = Lab::open(caller, &[]) else { return };
    let manifest = lab.write("work/role.toml", ROLE);
    let name = lab.name("drift");
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    let tool = |words: &[&str]| {
        let call = lab.call([lab.program()]).args(words).arg("-P").arg(lab.lxcpath());
        call.outcome()
    };
    let about = format!("{caller:?}, {storage}");
    let made = tool(&["diff", &name, "--all"]).success();
    assert_eq!(made.stdout, "", "{about}: nothing has changed yet");
    tool(&["status", &name, "--drift", "--exit-code"]).success();
    let planned = tool(&["plan", manifest.to_str().unwrap(), "--diff", "--name", &name]).success();
    assert_eq!(planned.stdout, "", "{about}: nothing would change yet");
    let listed = tool(&["status", &name]).success().stdout;
    assert!(listed.contains("  no  ") && listed.contains("  current\n"), "{about}: {listed}");
    if lab.start(&name) {
        let listed = tool(&["status", &name]).success().stdout;
        assert!(listed.contains("  yes  "), "{about}: {listed}");
        lab.inside(
            &name,
            &["/bin/sh", "-c", "echo more >>/etc/app; rm /etc/name; echo n >/etc/new"],
        );
        // It is looked at while it runs as well.
        let listed = tool(&["status", &name, "--drift", "--exit-code"]).code(1).stdout;
        assert!(listed.contains("  drifted\n  3 paths changed in it: "), "{about}: {listed}");
        let words = ["plan", manifest.to_str().unwrap(), "--diff", "--exit-code", "--name", &name];
        let planned = tool(&words).code(1).stdout;
        let part = format!(
            "A  /etc/name  (layer app, changed in the container)\n--- /dev/null\n+++ b/etc/name\n@@ -0,0 +1 @@\n+{name}\n"
        );
        assert!(planned.contains(&part), "{about}: {planned}");
        lab.stop(&name);
        assert_eq!(tool(&words).code(1).stdout, planned, "{about}");
        let found = tool(&["diff", &name, "--patch"]).code(1).stdout;
        for line in
            ["M  /etc/app: content\n", "\n made\n+more\n", "D  /etc/name\n", "A  /etc/new\n"]
        {
            assert!(found.contains(line), "{about}: {line} is not in\n{found}");
        }
        let files = found
            .lines()
            .filter(|line| ["A  ", "M  ", "D  "].contains(&line.get(..3).unwrap_or_default()));
        assert_eq!(files.count(), 3, "{about}: {found}");
    }
    lab.destroy(&name);
}

#[test]
fn a_copy_drifts() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        drifts(caller, "copy");
    }
}

#[test]
fn an_overlay_drifts() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        drifts(caller, "overlay");
    }
}

/// A terminal that fills with complaints stops an init for good.
#[test]
fn the_busybox_that_is_built_in_offers_a_login_on_each_terminal() {
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else { return };
        let name = lab.name("login");
        lab.create(&name, &lab.write("work/role.toml", ROLE)).outcome().success();
        if lab.start(&name) {
            let logins = "ps | awk '/[g]etty -L/ { print $1, $NF, $(NF - 1), $(NF - 2) }'";
            let several = format!(
                "for i in $(seq 50); do [ $({logins} | wc -l) -lt 2 ] || break; sleep 0.1; done; {logins}"
            );
            let first = lab.inside(&name, &["/bin/sh", "-c", &several]);
            assert_eq!(first.lines().count(), 2, "{caller:?}: {first}");
            let later = lab.inside(&name, &["/bin/sh", "-c", &format!("sleep 2; {logins}")]);
            assert_eq!(first, later, "{caller:?}: they are started over and over");
            // Its init listens.
            lab.lxc("lxc-stop", &name).args(["-t", "20", "--nokill"]).outcome().success();
        }
        lab.destroy(&name);
    }
}
