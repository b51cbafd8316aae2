//! `plan` as people and programs read it.

use crate::requirement::root;
use crate::sandbox::Sandbox;
use crate::snapshot;

const ROLE: &str = "manifest = 1
description = \"Front end\"

[vars]
port = 8080
site = \"a b\"
build = { from = \"app\" }

[[layer]]
name = \"os\"
template = \"fake\"
args = { release = \"12\", a = \"amd64\" }
env = { MIRROR = \"http://m/\", PASSED = { pass = true } }

[[layer]]
name = \"libs\"
post = \"\"\"
echo one
echo two
\"\"\"
check = { script = \"s.sh\", timeout = \"2m\" }

[[layer]]
name = \"app\"
pre = \"echo build=1 >>$LAYER_ENV\"
finally = { run = \"rm -f lock\", shell = \"/bin/bash -eu\" }

[layer.config]
lxc.start.auto = 1
lxc.environment = [\"SITE={{ site }}\", \" x=1\"]

[[layer.file]]
path = \"/etc/app.conf\"
source = \"app.conf\"
render = true
mode = \"0640\"
owner = \"root:app\"

[[layer.file]]
path = \"/usr/bin/app\"
source = \"app\"
if_exists = \"keep\"

[[layer.file]]
path = \"/srv\"
source = \"tree\"
when = \"after-post\"

[[layer.file]]
path = \"/etc/l\"
symlink = \"app.conf\"
if_exists = \"error\"

[[layer.file]]
path = \"/var/d\"
directory = true

[[layer.file]]
path = \"/gone\"
remove = true
";

fn role() -> Sandbox {
    let sandbox = Sandbox::new()
        .env("PASSED", "on")
        .env("SECRET", "never shown")
        .env("http_proxy", "http://p/")
        .file("s.sh", "#!/bin/sh -x\necho check\n")
        .file("app.conf", "port {{ port }}\n")
        .file("app", "binary")
        .file("tree/a", "a")
        .file("tree/d/b", "bb")
        .manifest(ROLE);
    let app = sandbox.role().join("app");
    std::fs::set_permissions(app, std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("a", sandbox.role().join("tree/l")).unwrap();
    sandbox
}

#[test]
fn text_is_the_nest_as_it_wraps() {
    // An ordinary user's call has the mapped pair, of ids that depend on the host.
    if !root() {
        return;
    }
    let sandbox = role();
    let ran = sandbox.run(["plan", "m.toml", "-n", "web1", "-P", "/l", "--", "-x", "y z"]);
    ran.exits(0).says("");
    snapshot::check("plan.txt", &ran.stdout());
}

#[test]
fn verbose_shows_whole_steps_and_trees() {
    // An ordinary user's call has the mapped pair, of ids that depend on the host.
    if !root() {
        return;
    }
    let sandbox = role();
    let ran = sandbox.run(["plan", "--manifest=m.toml", "-v", "-P", "/l"]);
    ran.exits(0).says("");
    assert!(!ran.stdout().contains("never shown"));
    snapshot::check("plan-v.txt", &ran.stdout());
}

#[test]
fn json_is_the_plan_itself() {
    // An ordinary user's call has the mapped pair, of ids that depend on the host.
    if !root() {
        return;
    }
    let sandbox = role();
    let ran = sandbox.run(["plan", "m.toml", "--format", "json", "-n", "web1", "-P", "/l"]);
    ran.exits(0).says("");
    snapshot::check("plan.json", &ran.stdout());
    serde_json::from_slice::<serde_json::Value>(&ran.output.stdout).unwrap();
}

#[test]
fn a_plan_and_a_run_agree() {
    let sandbox = Sandbox::new()
        .upstream("printf '%s\\n' \"$@\" >words; mkdir \"$rootfs/etc\"")
        .layers("args = [\"--release\", \"a b\"]\n");
    let lxcpath = sandbox.path("lxc").display().to_string();
    let plan = sandbox.run(["plan", "m.toml", "-n", "web1", "-P", &lxcpath, "--", "-x"]);
    let words = std::fs::read_to_string({
        sandbox.template(["m.toml", "-x"]).exits(0);
        sandbox.role().join("words")
    })
    .unwrap();
    let quote = |word: &str| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.to_owned(),
    };
    let line = words.lines().map(quote).collect::<Vec<_>>().join(" ");
    if rustix::process::geteuid().is_root() {
        assert!(plan.stdout().contains(&sandbox.redacted(&line)), "{line}\n{}", plan.stdout());
    }
}

#[test]
fn a_manifest_s_warnings_come_with_its_plan() {
    let sandbox = Sandbox::new().layers("[layer.config]\nlxc.start.auto = 1\n[[layer]]\nname = \"app\"\n[layer.config]\nlxc.start.auto = 0\n");
    let ran = sandbox.run(["plan", "m.toml"]);
    ran.exits(0).mentions("warning: layer `os` sets `lxc.start.auto` too\n");
    assert!(ran.stdout().contains("lxc.start.auto = 0"));
}
