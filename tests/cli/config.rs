//! The container's config: what a run adds, and what it leaves as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::requirement::{root, skip};
use crate::sandbox::Sandbox;

const LAYERS: &str = "
[layer.config]
lxc.net.0.type = \"veth\"
lxc.net.0.link = \"br0\"
lxc.net.0.flags = \"up\"
lxc.start.auto = true
lxc.environment = [\"A=1\", \" B=2 \", \"'q=1'\", \"\"]

[[layer]]
name = \"empty\"

[[layer]]
name = \"app\"
[layer.config]
lxc.uts.name = \"{{ lxc.name }}\"
";

/// What stands behind the config that LXC and the upstream have made.
const ADDED: &str = "# layered-template: layer os
lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.flags = up
lxc.start.auto = 1
lxc.environment = A=1
lxc.environment = \" B=2 \"
lxc.environment = \"'q=1'\"
lxc.environment =
# layered-template: layer app
lxc.uts.name = web1
";

#[test]
fn lines_stand_in_the_order_of_the_file_under_their_layer_s_name() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; echo '# upstream' >>\"$path/config\"")
        .layers(LAYERS);
    sandbox.chain().exits(0);
    let first = "lxc.rootfs.path = dir:[DIR]/lxc/web1/rootfs\n# upstream\n";
    assert_eq!(sandbox.redacted(&sandbox.config()), format!("{first}{ADDED}"));
}

#[test]
fn an_open_last_line_is_ended_first() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; printf 'lxc.uts.name = foo' >\"$path/config\"")
        .layers(LAYERS);
    sandbox.chain().exits(0);
    assert_eq!(sandbox.config(), format!("lxc.uts.name = foo\n{ADDED}"));
}

#[test]
fn bytes_that_are_not_utf_8_survive_and_an_empty_config_too() {
    for before in [&b"# caf\xe9\nlxc.x = \xff\n"[..], b""] {
        let sandbox = Sandbox::new().layers(LAYERS);
        sandbox.shell();
        fs::write(sandbox.container().join("config"), before).unwrap();
        sandbox.chain().exits(0);
        let after = fs::read(sandbox.container().join("config")).unwrap();
        assert_eq!(after, [before, ADDED.as_bytes()].concat());
    }
}

#[test]
fn owner_and_mode_are_kept_and_the_record_has_them_too() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().umask(0o077).layers(LAYERS);
    sandbox.shell();
    let config = sandbox.container().join("config");
    std::os::unix::fs::chown(&config, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o604)).unwrap();
    sandbox.chain().exits(0);
    for name in ["config", "layered-template.json"] {
        let metadata = fs::metadata(sandbox.container().join(name)).unwrap();
        let found = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
        assert_eq!(found, (1234, 4321, 0o604), "{name}");
    }
}

#[test]
fn a_missing_config_is_made_for_the_caller_behind_the_namespace() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers(LAYERS);
    sandbox.shell();
    fs::remove_file(sandbox.container().join("config")).unwrap();
    sandbox.template("m.toml --mapped-uid 77 --mapped-gid 88".split(' ')).exits(0);
    let metadata = fs::metadata(sandbox.container().join("config")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (77, 88, 0o640));
    assert_eq!(sandbox.config(), ADDED);
}

#[test]
fn a_value_cannot_make_a_line_of_its_own() {
    for value in ["a\\nlxc.uts.name = evil", "a\\rlxc.uts.name = evil", "a\\u0000b"] {
        let sandbox =
            Sandbox::new().layers(&format!("[layer.config]\nlxc.environment = \"{value}\"\n"));
        sandbox.chain().exits(2).mentions("error: a control character in ");
    }
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[vars]\nv = \"a\\nlxc.uts.name = evil\"\n[[layer]]\nname = \"os\"\n\
         template = \"fake\"\n[layer.config]\nlxc.environment = \"{{ v }}\"\n",
    );
    sandbox.chain().exits(2).mentions("control character");
    // Nor can the name of a container, which comes from the command line.
    sandbox.run(["plan", "m.toml", "--name", "a\nb"]).exits(2);
}

#[test]
fn nothing_of_a_run_is_left_beside_the_config() {
    let sandbox = Sandbox::new().layers(LAYERS);
    sandbox.chain().exits(0);
    let mut names: Vec<_> = fs::read_dir(sandbox.container())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["config", "layered-template.json", "rootfs"]);
}

/// Tells whether LXC loads a config with a line.
fn loads(sandbox: &Sandbox, line: &str) -> bool {
    let at = sandbox.path("judged");
    fs::create_dir_all(at.join("c1/rootfs")).unwrap();
    let rootfs = at.join("c1/rootfs").display().to_string();
    let text = format!("lxc.uts.name = c1\nlxc.rootfs.path = dir:{rootfs}\n{line}\n");
    fs::write(at.join("c1/config"), text).unwrap();
    let mut command = sandbox.command("lxc-info");
    command.arg("-P").arg(at).args(["-n", "c1", "-c", "lxc.uts.name"]);
    sandbox.ran(command).output.status.success()
}

#[test]
fn an_include_that_is_missing_is_refused_as_lxc_refuses_it() {
    let sandbox = Sandbox::new().file("there.conf", "").file("there.d/a.conf", "");
    if !loads(&sandbox, "") {
        return skip("LXC loads no config here");
    }
    let dir = sandbox.role().display().to_string();
    for (path, is_there) in [
        ("missing.conf", false),
        ("missing.d/", true),
        ("there.conf", true),
        ("there.conf/", false),
        ("there.conf/missing", false),
        ("there.d", true),
        ("there.d/", true),
    ] {
        let line = format!("lxc.include = {dir}/{path}");
        assert_eq!(loads(&sandbox, &line), is_there, "{path}");
        let layers = format!("[layer.config]\nlxc.include = \"{dir}/{path}\"\n");
        let sandbox = Sandbox::new().layers(&layers);
        let ran = sandbox.run(["validate", "m.toml"]);
        ran.exits(i32::from(!is_there));
        if !is_there {
            ran.mentions("error: `lxc.include` names `").mentions("--> m.toml:7:15");
            sandbox.create([""; 0]).exits(2);
            assert!(!sandbox.container().exists());
        }
    }
    // What may be made by then.
    for layers in [
        "[layer.config]\nlxc.include = \"/nowhere/{{ lxc.name }}.conf\"\n",
        "pre = 'touch /nowhere/x.conf'\n[layer.config]\nlxc.include = \"/nowhere/x.conf\"\n",
        "pre = { script = \"make.sh\" }\n[layer.config]\nlxc.include = \"/nowhere/x.conf\"\n",
    ] {
        let script = "#!/bin/sh\n";
        Sandbox::new().file("make.sh", script).layers(layers).run(["validate", "m.toml"]).exits(0);
    }
    let inside = "post = { in = \"rootfs\", run = 'touch /nowhere/x.conf' }\n\
                  [layer.config]\nlxc.include = \"/nowhere/x.conf\"\n";
    Sandbox::new().layers(inside).run(["validate", "m.toml"]).exits(1);
}

#[test]
fn a_config_that_lxc_does_not_load_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new()
        .upstream("touch \"$OLDPWD/ran\"; mkdir \"$rootfs/etc\"")
        .layers("")
        .file(
            "bad.conf",
            "# lxc.bad\nlxc.uts.name = web1\n  lxc.start.outo = 1\nlxc.utsname = x\nlxc.tty.max = many\nlxc.open\n\
             of.others = 1\nlxc.idmap = u 0 100000 65536\n",
        )
        .file("good.conf", "lxc.tty.max = 3\nof.others = 1\n");
    for words in [
        &["create", "m.toml", "--name=web2", "--lxcpath=lxc", "--config=bad.conf"][..],
        &["build", "m.toml", "--config=bad.conf"],
        &["plan", "m.toml", "--config=bad.conf"],
        &["lock", "m.toml", "--config=bad.conf"],
    ] {
        let ran = sandbox.run(words);
        ran.exits(2)
            .mentions("error: `lxc.start.outo` is not a key of LXC's container config\n --> bad.conf:3:3\n")
            .mentions("= help: did you mean `lxc.start.auto`?")
            .mentions("error: `lxc.utsname` is a key of LXC before 2.1\n --> bad.conf:4:1\n")
            .mentions("error: LXC does not take `many` for `lxc.tty.max`\n --> bad.conf:5:1\n")
            .mentions("error: LXC does not load a config with a line without `=`\n --> bad.conf:6:1\n");
        assert_eq!(ran.stderr().matches("error: ").count(), 4, "{}", ran.stderr());
    }
    assert!(!sandbox.role().join("lxc/web2").exists());
    sandbox.run(["plan", "m.toml", "--config=good.conf"]).exits(0);
}
