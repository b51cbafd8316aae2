//! `layered-template create`: the same run without LXC, and a container that LXC then starts.

use std::os::unix::fs::PermissionsExt;

use crate::call::Call;
use crate::caller::Caller;
use crate::lab::Lab;
use crate::manifest::{assert_three_layers, three_layers};
use crate::tree::Entry;

const FAILING: &str = r#"
manifest = 1

[[layer]]
name = "os"
template = "builtin:busybox"
post = "false"
"#;

#[test]
fn a_container_made_without_lxc_is_started_by_lxc_as_root() {
    made_and_started(Caller::Root);
}

#[test]
fn a_container_made_without_lxc_is_started_by_lxc_as_an_ordinary_user() {
    made_and_started(Caller::User);
}

#[test]
fn a_failure_leaves_no_container_as_root() {
    failed(Caller::Root);
}

#[test]
fn a_failure_leaves_no_container_as_an_ordinary_user() {
    failed(Caller::User);
}

/// A run with secrets is not to be looked into, by `/proc` neither, and still does what it should in
/// namespaces.
#[test]
fn a_secret_reaches_the_container_as_root() {
    with_a_secret(Caller::Root);
}

#[test]
fn a_secret_reaches_the_container_as_an_ordinary_user() {
    with_a_secret(Caller::User);
}

fn with_a_secret(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let manifest = lab.write(
        "work/secret.toml",
        "manifest = 1

[vars]
token = { secret = true, env = \"SITE_TOKEN\" }

[[layer]]
name = \"os\"
template = \"builtin:busybox\"
post = { run = \"mkdir /srv; chown 7:7 /srv\", in = \"rootfs\" }

[[layer]]
name = \"app\"
secrets = [\"token\"]
post = { run = 'test \"$(cat /etc/token)\" = \"$token\"; echo it is $token', in = \"rootfs\" }
check = 'test \"$token\" = S3cr3tT0kenValue'

[[layer.file]]
path = \"/etc/token\"
content = \"{{ token }}\"
owner = \"7:7\"
render = true
",
    );
    let [made, by_lxc] = ["made", "by-lxc"].map(|stem| lab.name(stem));
    let called = [
        create(&lab, &manifest.display().to_string(), &made),
        lab.create(&by_lxc, &manifest).env("TRACE", ""),
    ];
    for call in called {
        let outcome = call.env("SITE_TOKEN", "S3cr3tT0kenValue").outcome().success();
        assert!(outcome.to_string().contains("it is [secret token]"), "{outcome}");
    }
    for name in [made, by_lxc] {
        let entry = Entry::of(&lab.container(&name, "rootfs/etc/token"));
        assert_eq!((entry.uid, entry.mode & 0o7777), (lab.id(7), 0o600));
        lab.destroy(&name);
    }
}

#[test]
fn a_strict_umask_changes_no_mode() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let manifest = three_layers(&lab, "template = \"builtin:busybox\"");
    let name = lab.name("strict");
    lab.call(["sh", "-c", "umask 077; exec \"$@\"", "sh"])
        .arg(lab.program())
        .arg("create")
        .arg(manifest)
        .args(["--name", &name, "--lxcpath"])
        .arg(lab.lxcpath())
        .arg("--config")
        .arg(lab.path("default.conf"))
        .env("TRACE", lab.path("work/trace"))
        .outcome()
        .success();
    assert_three_layers(&lab, &name);
    let etc = std::fs::metadata(lab.container(&name, "rootfs/etc")).expect("there is one");
    assert_eq!(etc.permissions().mode() & 0o7777, 0o755);
    lab.destroy(&name);
}

#[test]
fn a_container_that_is_there_stays_as_it_is() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let manifest = three_layers(&lab, "template = \"builtin:busybox\"");
    let name = lab.name("first");
    create(&lab, &manifest.display().to_string(), &name).outcome().success();
    lab.write(lab.container(&name, "rootfs/etc/mine"), "mine\n");
    let config = lab.read(lab.container(&name, "config"));
    let outcome = create(&lab, &manifest.display().to_string(), &name).outcome();
    assert!(!outcome.status.success(), "{outcome}");
    assert_eq!(lab.read(lab.container(&name, "rootfs/etc/mine")), "mine\n");
    assert_eq!(lab.read(lab.container(&name, "config")), config);
    // Nor does the run begin.
    assert_eq!(lab.read("work/trace").matches("pre base").count(), 1);
}

#[test]
fn root_maps_the_ids_that_a_config_asks_for() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    // Nobody has given root these in /etc/subuid.
    let first = 1_700_000_000_u32;
    let idmap = format!("lxc.idmap = u 0 {first} 65536\nlxc.idmap = g 0 {first} 65536\n");
    lab.write("default.conf", &format!("{idmap}lxc.net.0.type = empty\n"));
    let manifest = three_layers(&lab, "template = \"builtin:busybox\"");
    let name = lab.name("shifted");
    create(&lab, &manifest.display().to_string(), &name).outcome().success();
    let owner = |path: &str| {
        let entry = Entry::of(&lab.container(&name, path));
        (entry.uid, entry.gid)
    };
    assert_eq!(owner(""), (first, first));
    assert_eq!(owner("rootfs"), (first, first));
    assert_eq!(owner("rootfs/etc"), (first, first));
    assert_eq!(owner("rootfs/etc/role/libs.conf"), (first + 7, first + 9));
    assert_eq!(owner("config"), (0, 0));
}

fn made_and_started(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let manifest = three_layers(&lab, "template = \"builtin:busybox\"");
    let name = lab.name("made");
    create(&lab, &manifest.display().to_string(), &name).outcome().success();
    assert_three_layers(&lab, &name);
    if lab.start(&name) {
        assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/role/base.conf"]), "written by base\n");
        assert_eq!(lab.inside(&name, &["/bin/hostname"]).trim(), name);
        lab.stop(&name);
    }
    lab.destroy(&name);
}

fn failed(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let manifest = lab.write("work/failing.toml", FAILING);
    let name = lab.name("failed");
    create(&lab, &manifest.display().to_string(), &name).outcome().code(6);
    lab.assert_absent(&name);
    lab.assert_quiet(std::time::Duration::from_secs(5));
}

fn create<'lab>(lab: &'lab Lab, manifest: &str, name: &str) -> Call<'lab> {
    lab.call([lab.program()])
        .args(["create", manifest, "--name", name, "--lxcpath"])
        .arg(lab.lxcpath())
        .arg("--config")
        .arg(lab.path("default.conf"))
        .env("TRACE", lab.path("work/trace"))
}

#[test]
fn a_place_for_temporary_files_that_is_the_callers_alone_is_no_steps() {
    let Some(lab) = Lab::open(Caller::User, &[]) else {
        return;
    };
    // As libpam-tmpdir makes it: root with mapped ids may not even look into it.
    let own = lab.directory("tmp/user");
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700)).expect("chmod");
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
                [[layer]]\nname = \"a\"\npost = 't=$(mktemp); echo $t; rm $t'\n";
    let manifest = lab.write("work/tmpdir.toml", text);
    let name = lab.name("tmpdir");
    let call = lab.create(&name, &manifest);
    ["TMPDIR", "TMP", "TEMP", "TEMPDIR"]
        .iter()
        .fold(call, |call, variable| call.env(variable, &own))
        .outcome()
        .success();
    lab.destroy(&name);
}
