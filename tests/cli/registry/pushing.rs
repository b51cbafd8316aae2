//! What `push` brings to a registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::counter::Counter;
use crate::sandbox::Sandbox;

/// A role of three layers, each with what the others have not.
pub(super) const UPSTREAM: &str = r#"
cd "$rootfs"; umask 022; mkdir -p etc usr/bin dev srv/old
echo "$name lives in $path" >etc/hostname
head -c 300000 /dev/urandom >usr/bin/tool; chmod 4755 usr/bin/tool; ln usr/bin/tool usr/bin/alias
echo old >srv/old/file; chown 7:8 srv/old/file; mknod dev/null c 1 3
setfattr -n user.mark -v yes usr/bin/tool
echo "lxc.tty.max = 4" >>"$path/config"
"#;

pub(super) const LAYERS: &str = r#"
[[layer]]
name = "libs"
[[layer.file]]
path = "/usr/lib/libs.so"
content = "libs"
[[layer]]
name = "app"
store = true
config = { "lxc.environment" = ["STAGE=test"] }
post = "cd \"$LXC_ROOTFS\"; rm -r srv/old; mkdir srv/old; echo new >srv/old/new; echo app >etc/app"
"#;

pub(super) fn role() -> Sandbox {
    Sandbox::new().upstream(UPSTREAM).layers(LAYERS)
}

/// Calls a judge, and returns what it prints.
#[track_caller]
pub(super) fn judge(words: &[&str], at: &Path) -> String {
    let output = Command::new(words[0]).args(&words[1..]).current_dir(at).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_pushed_is_an_image_that_others_can_take() {
    let Some(registry) = super::start() else { return };
    let sandbox = role();
    let repository = registry.repository("team/web");
    let ran = sandbox.run(["push", "m.toml", &format!("{repository}:v1")]);
    ran.exits(0);
    let printed = String::from_utf8_lossy(&ran.output.stdout).into_owned();
    let digest = printed.trim_end().rsplit("@sha256:").next().unwrap().to_owned();
    assert!(printed.contains("os  built in"), "{printed}");

    let at = sandbox.path("");
    let image = format!("docker://{repository}:v1");
    let inspected = judge(&["skopeo", "inspect", "--tls-verify=false", &image], &at);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], format!("sha256:{digest}"));
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 4, "{inspected}");
    let copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", &image, "oci:copy:web"];
    judge(&copy, &at);
    judge(&["umoci", "unpack", "--image", "copy:web", "bundle"], &at);
    let read = |path: &str| fs::read_to_string(sandbox.path("bundle/rootfs").join(path)).unwrap();
    assert_eq!(read("etc/hostname"), "localhost lives in /var/lib/lxc/localhost\n");
    assert_eq!((read("etc/app").as_str(), read("srv/old/new").as_str()), ("app\n", "new\n"));
    assert!(!sandbox.path("bundle/rootfs/srv/old/file").exists());
    assert!(!sandbox.path("bundle/rootfs/dev/null").exists());

    // The same image is what `build` writes.
    sandbox.run(["build", "m.toml", "-q", "-o", "oci:../image:web"]).exits(0);
    let index = fs::read_to_string(sandbox.path("image/index.json")).unwrap();
    assert!(index.contains(&digest), "{index}");
}

#[test]
fn an_unchanged_role_is_not_sent_again_and_a_changed_layer_alone_is() {
    let Some(registry) = super::start() else { return };
    let counter = Counter::to(registry.port);
    let sandbox = role();
    let repository = counter.repository("web");
    sandbox.run(["push", "m.toml", &repository]).exits(0);
    let (requests, sent, _) = counter.take();
    assert!(sent > 300_000, "{sent}: {requests:#?}");

    let ran = sandbox.run(["push", "m.toml", &repository]);
    ran.exits(0).shows("0 bytes sent\n");
    let (requests, sent, _) = counter.take();
    assert!(requests.len() <= 3 * 3, "{requests:#?}");
    let bodies = requests.iter().filter(|line| !line.starts_with("HEAD "));
    assert_eq!(bodies.count(), 0, "{requests:#?}");
    assert!(sent < 4096, "{sent}");

    let changed = sandbox.role().join("m.toml");
    let text = fs::read_to_string(&changed).unwrap().replace("echo app", "echo more");
    fs::write(&changed, text).unwrap();
    sandbox.run(["push", "m.toml", &repository]).exits(0);
    let (requests, sent, _) = counter.take();
    // The layer, the name over it, the config, and what is told of the layer.
    let uploads = requests.iter().filter(|line| line.starts_with("POST ")).count();
    assert_eq!(uploads, 4, "{requests:#?}");
    assert!(sent < 40_000, "{sent}");
}

#[test]
fn blobs_of_another_repository_are_not_sent() {
    let Some(registry) = super::start() else { return };
    let counter = Counter::to(registry.port);
    let sandbox = role();
    sandbox.run(["push", "m.toml", &counter.repository("one")]).exits(0);
    counter.take();
    let ran = sandbox.run(["push", "m.toml", &counter.repository("two"), "--mount-from", "one"]);
    ran.exits(0).shows(", 4 blobs mounted\n");
    let (requests, sent, _) = counter.take();
    assert!(sent < 40_000, "{sent}: {requests:#?}");
    // Where the other has nothing, all is sent.
    let ran = sandbox.run(["push", "m.toml", &counter.repository("three"), "--mount-from", "none"]);
    ran.exits(0).shows("bytes sent\n");
    assert!(counter.take().1 > 300_000);
}

#[test]
fn what_cannot_be_pushed_is_told() {
    let sandbox = role();
    let digits = "0123456789abcdef".repeat(4);
    let own = "is one of the program's own";
    for (to, why) in [
        (&*format!("r.example/web:key-{digits}"), own),
        (&*format!("r.example/web:sha256-{digits}.lt-sig"), own),
        ("r.example/web:latest.lt-role", own),
        ("web", "it names no registry"),
        ("r.example/Web", "lower-case letters"),
        ("r.example/web@sha256:0", "no `sha256:` digest"),
        ("http://r.example/web", "write it without `http://`: r.example/web"),
        ("r.example:99999/web", "99999 is no port"),
        ("r.example", "it names no repository: write HOST/NAME"),
    ] {
        sandbox.run(["push", "m.toml", to]).exits(2).mentions(why);
    }
    let ran = sandbox.run(["pull", "m.toml", "--from", "r.example/web:tag"]);
    ran.exits(2).mentions("`--from` takes no tag: layers are found by their keys");
    let ran = sandbox.run(["push", "m.toml", "r.example/web", "--mount-from", "A"]);
    ran.exits(2).mentions("--mount-from=A");
    let ran = sandbox.run(["push", "m.toml", "r.example/web", "--sign", "/nowhere/key"]);
    ran.exits(2).mentions("error: there is no key `/nowhere/key`\n");
    let help = sandbox.run(["push", "--help"]);
    assert!(!help.exits(0).stdout().contains("vouches"));
}

#[test]
fn files_beside_the_rootfs_are_named_where_they_keep_a_role_from_being_pushed() {
    if !crate::requirement::root() {
        return;
    }
    let upstream = "mkdir \"$rootfs/etc\"; echo x >\"$path/hook\"; echo x >\"$path/a file\"";
    let sandbox = Sandbox::new().upstream(upstream).layers("");
    let ran = sandbox.run(["push", "m.toml", "127.0.0.1:1/web"]);
    ran.exits(8).mentions("template of layer `os` leaves `a file`, `hook` beside the rootfs");
    ran.mentions("hint: each host builds such a role itself");
}
