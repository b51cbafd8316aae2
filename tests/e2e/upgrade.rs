//! `upgrade` and `rollback` of containers that run, as root and as an ordinary user.

use crate::caller::Caller;
use crate::lab::Lab;

/// The role: `page` is what its site shows, `packages` what a layer inside that has.
fn role(page: &str, packages: &str) -> String {
    format!(
        r#"manifest = 1
description = "a site"
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "packages"
post = {{ in = "rootfs", run = "{packages}" }}
check = {{ in = "rootfs", run = "test -e /opt/package" }}
[[layer]]
name = "site"
state = "/srv/data"
post = {{ in = "rootfs", run = "mkdir -p /srv/data; echo app:x:998:998::/:/bin/false >>/etc/passwd" }}
[layer.config]
"lxc.environment" = ["PAGE={page}"]
[[layer.file]]
path = "/srv/index.html"
content = "{page} of {{{{ lxc.name }}}}"
render = true
"#
    )
}

const ONE: &str = "mkdir /opt; echo 1 >/opt/package; echo gone >/opt/gone";
const TWO: &str = "mkdir /opt; echo 2 >/opt/package; mkdir /opt/more; echo 2 >/opt/more/file";

fn upgraded(caller: Caller, storage: &str) {
    let Some(lab) = Lab::open(caller, &[]) else { return };
    let about = format!("{caller:?}, {storage}");
    let manifest = lab.write("work/role.toml", &role("one", ONE));
    let name = lab.name("up");
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    let tool = |words: &[&str]| {
        lab.call([lab.program()]).args(words).arg("-P").arg(lab.lxcpath()).outcome()
    };
    if !lab.start(&name) {
        lab.destroy(&name);
        return;
    }
    let change = "echo mine >/srv/data/mine; echo me:x:1000:1000::/:/bin/sh >>/etc/passwd; mkdir /srv/own; \
                  echo o >/srv/own/o; ln /srv/own/o /srv/own/l";
    lab.inside(&name, &["/bin/sh", "-c", change]);
    let show = |name: &str| {
        let show = "cat /srv/index.html /opt/package /srv/data/mine; ls /opt; tail -n 2 /etc/passwd; \
                    stat -c %h /srv/own/o; cat /proc/1/environ | tr '\\000' '\\n' | grep PAGE";
        lab.inside(name, &["/bin/sh", "-c", show])
    };
    let was = show(&name);
    lab.write("work/role.toml", &role("two", TWO));
    let looked = tool(&["upgrade", "--dry-run", &name]).success().stdout;
    assert_eq!(
        looked,
        "D  /opt/gone\nA  /opt/more\nA  /opt/more/file\nM  /opt/package\nM  /srv/index.html\n",
        "{about}"
    );
    assert_eq!(show(&name), was, "{about}: nothing has changed");
    tool(&["upgrade", &name]).success();
    let expected = was
        .replace("one of ", "two of ")
        .replace("PAGE=one", "PAGE=two")
        .replacen(&format!("{name}1\n"), &format!("{name}2\n"), 1)
        .replace("gone\n", "more\n");
    assert_eq!(show(&name), expected, "{about}: it runs as its role makes it now");
    let listed = tool(&["status", &name]).success().stdout;
    assert!(listed.contains("  yes  ") && listed.contains("  current\n"), "{about}: {listed}");

    tool(&["rollback", &name]).success();
    assert_eq!(show(&name), was, "{about}: it runs as it was");

    // One that does not start any more is given back, and runs.
    let broken = role("two", TWO)
        .replace("PAGE=two\"]", "PAGE=two\"]\n\"lxc.init.cmd\" = \"/no/such/init\"");
    lab.write("work/role.toml", &broken);
    let failed = tool(&["upgrade", &name]).code(5);
    assert!(failed.stderr.contains("does not start"), "{about}: {}", failed.stderr);
    assert_eq!(show(&name), was, "{about}: it runs as it was before");
    tool(&["rollback", &name]).success();
    assert_eq!(show(&name), expected, "{about}: what it was before that is kept");

    // What both have changed is not touched, and the container runs on.
    lab.inside(&name, &["/bin/sh", "-c", "echo own >/opt/package"]);
    lab.write("work/role.toml", &role("three", ONE));
    let conflict = tool(&["upgrade", &name]).code(1).stdout;
    assert!(conflict.starts_with("C  /opt/package\n"), "{about}: {conflict}");
    assert!(show(&name).starts_with("two of "), "{about}");
    tool(&["upgrade", &name, "--keep", "/opt/package"]).success();
    assert!(show(&name).contains("own\n"), "{about}");
    lab.stop(&name);
    lab.destroy(&name);
}

#[test]
fn a_running_copy_is_upgraded_and_rolled_back() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        upgraded(caller, "copy");
    }
}

#[test]
fn a_running_overlay_is_upgraded_and_rolled_back() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        upgraded(caller, "overlay");
    }
}
