//! `upgrade` and `rollback` of containers that run, as root and as an ordinary user.

mod copied;
mod halted;

use crate::call::Outcome;
use crate::caller::Caller;
use crate::lab::Lab;

/// How often the program is killed for each storage.
const KILLS: u32 = 3;

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

/// Calls the program for containers of the lab.
pub(crate) fn tool(lab: &Lab, words: &[&str]) -> Outcome {
    lab.call([lab.program()]).args(words).arg("-P").arg(lab.lxcpath()).outcome()
}

const ONE: &str = "mkdir /opt; echo 1 >/opt/package; echo gone >/opt/gone";
const TWO: &str = "mkdir /opt; echo 2 >/opt/package; mkdir /opt/more; echo 2 >/opt/more/file";

fn upgraded(caller: Caller, storage: &str) {
    let Some(lab) = Lab::open(caller, &[]) else { return };
    let about = format!("{caller:?}, {storage}");
    let manifest = lab.write("work/role.toml", &role("one", ONE));
    let name = lab.name("up");
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    let tool = |words: &[&str]| tool(&lab, words);
    if !lab.start(&name) {
        lab.destroy(&name);
        return;
    }
    let change = "echo mine >/srv/data/mine; echo me:x:1000:1000::/:/bin/sh >>/etc/passwd; mkdir /srv/own; \
                  echo o >/srv/own/o; ln /srv/own/o /srv/own/l; mkdir -m 700 /srv/shut; echo s >/srv/shut/s; \
                  chmod 600 /srv/shut/s; chown -R 1000:1000 /srv/shut";
    lab.inside(&name, &["/bin/sh", "-c", change]);
    let show = |name: &str| {
        let show = "cat /srv/index.html /opt/package /srv/data/mine; ls /opt; tail -n 2 /etc/passwd; \
                    stat -c %h /srv/own/o; cat /srv/shut/s; stat -c '%u:%g %a' /srv/shut /srv/shut/s; cat /proc/1/environ | tr '\\000' '\\n' | grep PAGE";
        lab.inside(name, &["/bin/sh", "-c", show])
    };
    let was = show(&name);
    lab.write("work/role.toml", &role("two", TWO));
    let looked = tool(&["upgrade", "--dry-run", &name]).success().stdout;
    assert_eq!(
        looked,
        "D  /opt/gone\nA  /opt/more\nA  /opt/more/file\nM  /opt/package\nM  /srv/index.html\n\
         D  config: lxc.environment = PAGE=one\nA  config: lxc.environment = PAGE=two\n",
        "{about}"
    );
    assert_eq!(show(&name), was, "{about}: nothing has changed");
    // It is the same container by another path, and LXC knows that it runs by the first alone.
    std::os::unix::fs::symlink(lab.lxcpath(), lab.path("link")).expect("the name is free");
    tool(&["upgrade", lab.path("link").join(&name).to_str().unwrap()]).success();
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

/// A container that does not run: what is in it is changed as whoever is root of it would.
fn stopped(caller: Caller, storage: &str) {
    let Some(lab) = Lab::open(caller, &[]) else { return };
    let about = format!("{caller:?}, {storage}");
    let manifest = lab.write("work/role.toml", &role("one", ONE));
    let name = lab.name("still");
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    let tool = |words: &[&str]| tool(&lab, words);
    let tree = lab.container(&name, if storage == "overlay" { "delta" } else { "rootfs" });
    let own = "mkdir -p \"$1/srv/data\" && echo mine >\"$1/srv/data/mine\" && chown -R \"$2:$2\" \"$1/srv/data\"";
    let root = lab.id(0).to_string();
    lab.call_as_root(["sh", "-c", own, "sh", tree.to_str().unwrap(), &root]).outcome().success();
    let read =
        |path: &str| lab.call_as_root(["cat", tree.join(path).to_str().unwrap()]).outcome().stdout;
    lab.write("work/role.toml", &role("two", TWO));
    tool(&["upgrade", &name]).success();
    assert_eq!(read("srv/index.html"), format!("two of {name}"), "{about}");
    assert_eq!(read("srv/data/mine"), "mine\n", "{about}");
    let owners = "stat -c %u:%g \"$1/srv/data/mine\" \"$1/srv/index.html\"";
    let owners =
        lab.call_as_root(["sh", "-c", owners, "sh", tree.to_str().unwrap()]).outcome().stdout;
    assert_eq!(owners, format!("{root}:{root}\n").repeat(2), "{about}");
    let shown = tool(&["diff", &name]).success().stdout;
    assert!(!shown.contains("index.html"), "{about}: {shown}");
    assert!(tool(&["show", &name]).success().stdout.contains("role.toml"), "{about}");
    tool(&["rollback", &name]).success();
    assert_eq!(read("srv/index.html"), format!("one of {name}"), "{about}");
    assert!(tool(&["status", &name]).success().stdout.contains("outdated\n"), "{about}");
    if caller == Caller::User {
        // Root does not build in a user's name.
        let root = lab.call_as_root([lab.program()]).arg("upgrade").arg(lab.container(&name, ""));
        let refused = root.outcome().code(2).stderr;
        assert!(refused.contains("is another user's"), "{refused}");
    }
    lab.destroy(&name);
}

#[test]
fn a_container_that_does_not_run_is_upgraded_and_rolled_back() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        for storage in ["copy", "overlay"] {
            stopped(caller, storage);
        }
    }
}

#[test]
fn a_running_copy_is_upgraded_and_rolled_back() {
    for caller in [Caller::Root, Caller::User] {
        upgraded(caller, "copy");
    }
}

#[test]
fn a_running_overlay_is_upgraded_and_rolled_back() {
    for caller in [Caller::Root, Caller::User] {
        upgraded(caller, "overlay");
    }
}

/// Stops the switch of an upgrade behind its moment, at something that the kernel renames for nobody.
fn cut_off(lab: &Lab, name: &str, file: &str) {
    // The record is put in place by the fourth rename out of there.
    let (path, fault) = match file {
        "layered-template.json" => ("upgrade/switch", "inject=renameat:error=EBUSY:when=4+"),
        tree => (tree, "inject=rename,renameat2:error=EBUSY"),
    };
    // The container that is started again is not followed.
    let call =
        lab.call(["strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e", fault, "-P"]);
    let call = call.arg(lab.container(name, path)).arg(lab.program());
    call.args(["upgrade", "-P"]).arg(lab.lxcpath()).arg(name).outcome().code(5);
    assert!(lab.container(name, "upgrade/switch/old").exists());
}

/// Killed while it switches, a container that was started since is stopped once more to end that.
fn started_between(storage: &str) {
    let Some(lab) = Lab::open(Caller::Root, &["strace"]) else { return };
    let manifest = lab.write("work/role.toml", &role("one", ONE));
    let name = lab.name("cut");
    lab.create(&name, &manifest).arg(format!("--storage={storage}")).outcome().success();
    if !lab.start(&name) {
        return lab.destroy(&name);
    }
    lab.inside(&name, &["/bin/sh", "-c", "echo mine >/srv/data/mine"]);
    let tool = |words: &[&str]| tool(&lab, words);
    let shown = || lab.inside(&name, &["cat", "/srv/index.html", "/srv/data/mine"]);
    let text = |page: &str| format!("{page} of {name}mine\n");
    let mut page = "one";
    for round in 0..KILLS {
        let other = if page == "one" { "two" } else { "one" };
        lab.write("work/role.toml", &role(other, if other == "one" { ONE } else { TWO }));
        let switch = lab.container(&name, "upgrade/switch");
        let after = format!("0.00{}", 2 * round);
        if round == 0 {
            cut_off(&lab, &name, if storage == "overlay" { "delta" } else { "rootfs" });
        } else {
            let killed = "\"$1\" upgrade -P \"$2\" \"$3\" & until [ -e \"$4\" ] || ! [ -e \"/proc/$!/exe\" ]; do :; done; sleep \"$5\"; kill -9 $!";
            let killed = lab.call(["sh", "-c", killed, "sh"]).arg(lab.program());
            let killed = killed.arg(lab.lxcpath()).arg(&name).arg(&switch);
            killed.arg(&after).outcome();
        }
        let is_between = switch.exists();
        if !tool(&["status", &name]).success().stdout.contains("  yes  ") {
            assert!(lab.start(&name));
        }
        let found = shown();
        assert!(found == text(page) || found == text(other), "{storage}, {after}: {found}");
        if is_between {
            let refused = tool(&["upgrade", "--dry-run", &name]).code(2).stderr;
            assert!(refused.contains("was interrupted"), "{refused}");
        }
        tool(&["upgrade", &name]).success();
        assert_eq!(shown(), text(other), "{storage}, {after}");
        page = other;
    }
    tool(&["rollback", &name]).success();
    shown();
    lab.stop(&name);
    lab.destroy(&name);
}

#[test]
fn a_container_that_was_started_while_an_upgrade_of_it_was_interrupted_is_upgraded() {
    ["copy", "overlay"].into_iter().for_each(started_between);
}
