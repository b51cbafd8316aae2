//! `plan --diff`: what a new run would change in a container that there is.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::requirement::root;
use crate::sandbox::{NAME, Ran, Sandbox};
use crate::storages::{self, STORAGES};

const UPSTREAM: &str = r#"
cd "$rootfs"; mkdir -p etc usr/bin usr/share; ln -s usr/bin bin
printf 'root:x:0:0::/:\napp:x:7:8::/:\n' >etc/passwd; printf 'root:x:0:\napp:x:8:\n' >etc/group
echo template >etc/motd
"#;

/// A role with a layer that is stored, and one that is made in each container; steps have to do with what both
/// drop.
const ROLE: &str = r#"manifest = 1
[vars]
port = { default = 80 }
token = { secret = true, env = "TOKEN" }

[[layer]]
name = "os"
template = "fake"

[[layer]]
name = "app"
post = "echo more >>$LXC_ROOTFS/etc/stepped"
store = true
[layer.config]
"lxc.tty.max" = 2
[[layer.file]]
path = "/etc/app"
content = "one\nport {{ port }}\nthree of {{ lxc.name }}\n"
render = true
[[layer.file]]
path = "/etc/stepped"
content = "dropped\n"
[[layer.file]]
path = "/bin/tool"
source = "tool"
mode = "0755"
[[layer.file]]
path = "/usr/share/tree"
source = "tree"
[[layer.file]]
path = "/etc/link"
symlink = "app"
[[layer.file]]
path = "/etc/motd"
content = "role\n"
if_exists = "keep"

[[layer]]
name = "own"
secrets = ["token"]
post = "echo more >>$LXC_ROOTFS/etc/own"
[[layer.file]]
path = "/etc/own"
content = "own\n"
[[layer.file]]
path = "/etc/secret"
content = "{{ token }}\n"
render = true
"#;

fn role() -> Sandbox {
    Sandbox::new()
        .upstream(UPSTREAM)
        .env("TOKEN", "hunter2")
        .file("tool", "#!/bin/sh\n")
        .file("tree/a", "a\n")
        .file("tree/d/b", "b\n")
        .manifest(ROLE)
}

fn plan(sandbox: &Sandbox, words: &[&str]) -> Ran {
    let lxcpath = sandbox.path("lxc");
    let first = ["plan", "m.toml", "--diff", "-n", NAME, "-P", lxcpath.to_str().unwrap()];
    sandbox.run([&first[..], words].concat())
}

/// Makes the container by each storage.
fn each_storage(judge: impl Fn(&Sandbox, &str)) {
    storages::each(&STORAGES, role, &[], |sandbox, storage| {
        // Times of files come from a clock that ticks a few hundred times a second.
        sleep(Duration::from_millis(30));
        judge(sandbox, storage);
    });
}

fn edit(sandbox: &Sandbox, from: &str, to: &str) {
    assert!(ROLE.contains(from), "{from}");
    fs::write(sandbox.role().join("m.toml"), ROLE.replacen(from, to, 1)).unwrap();
}

/// Returns where the files of a container are that it has of its own.
fn own_files(sandbox: &Sandbox, storage: &str) -> std::path::PathBuf {
    match storage {
        "overlay" => sandbox.container().join("delta"),
        _ => sandbox.rootfs(),
    }
}

#[test]
fn a_container_that_was_just_made_would_not_change() {
    each_storage(|sandbox, _| {
        plan(sandbox, &["--exit-code"]).exits(0).says("").prints("");
        let json = plan(sandbox, &["--format=json"]).stdout();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json, serde_json::json!({ "role": [], "files": [] }));
    });
}

#[test]
fn what_a_role_drops_otherwise_is_shown_line_by_line() {
    each_storage(|sandbox, storage| {
        let name = NAME;
        edit(sandbox, "port {{ port }}", "Port {{ port }}");
        let ran = plan(sandbox, &[]);
        let text = ran.exits(0).stdout();
        let patch = format!(
            "M  /etc/app: content  (layer app)\n--- a/etc/app\n+++ b/etc/app\n@@ -1,3 +1,3 @@\n one\n\
             -port 80\n+Port 80\n three of {name}\n"
        );
        assert_eq!(text, patch, "{storage}");
        plan(sandbox, &["--exit-code"]).exits(1);
        // By its container's name the manifest shows the same.
        let container = sandbox.container();
        let diff = ["diff", container.to_str().unwrap(), "m.toml"];
        sandbox.run(diff).exits(1).prints("M  /etc/app: content  (layer app)\n");
        sandbox.run([&diff[..], &["--patch"]].concat()).exits(1).prints(&patch);

        // A value that is given here counts, and not the one that it was made with.
        edit(sandbox, "one", "one");
        let text = plan(sandbox, &["--set=port=81"]).exits(0).stdout();
        assert!(text.contains("-port 80\n+port 81\n"), "{storage}: {text}");
        plan(sandbox, &["--set=port=81"]).mentions("was made with no values of its own; ");
    });
}

#[test]
fn each_kind_of_change_of_a_drop_is_told() {
    type Case<'a> = (&'a str, &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        ("mode = \"0755\"", "mode = \"0700\"", &["M  /bin/tool: mode 0755 → 0700  (layer app)\n"]),
        (
            "source = \"tool\"\n",
            "source = \"tool\"\nowner = \"app:app\"\n",
            &["M  /bin/tool: owner 0:0 → 7:8  (layer app)\n"],
        ),
        ("symlink = \"app\"", "symlink = \"motd\"", &["M  /etc/link: target  (layer app)\n"]),
        (
            "symlink = \"app\"",
            "content = \"x\\n\"",
            &["M  /etc/link: symlink → file, mode 0777 → 0644  (layer app)\n"],
        ),
        (
            "path = \"/etc/link\"",
            "path = \"/etc/l\"",
            &["A  /etc/l  (layer app)\n", "D  /etc/link  (layer app no longer drops it)\n"],
        ),
        (
            "content = \"dropped\\n\"",
            "remove = true",
            &[
                "D  /etc/stepped  (layer app)\n--- a/etc/stepped\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-dropped\n-more\n",
            ],
        ),
        (
            "path = \"/etc/own\"\n",
            "path = \"/etc/own\"\nmode = \"0600\"\n",
            &["M  /etc/own: mode 0644 → 0600  (layer own)\n"],
        ),
        (
            "\"lxc.tty.max\" = 2",
            "\"lxc.tty.max\" = 3",
            &["layer app: config lxc.tty.max = 3 is new\n"],
        ),
    ];
    each_storage(|sandbox, storage| {
        for (from, to, parts) in cases {
            if !root() && from.starts_with("source") {
                continue;
            }
            edit(sandbox, from, to);
            let text = plan(sandbox, &["--exit-code"]).exits(1).stdout();
            for part in parts {
                assert!(text.contains(part), "{storage}: {part} is not in\n{text}");
            }
            // What a step has added since is no change of the role.
            assert!(!text.contains("+dropped") && !text.contains("-own"), "{storage}: {text}");
        }
        edit(sandbox, "port", "port");
        fs::write(sandbox.role().join("tree/d/b"), "B\n").unwrap();
        fs::write(sandbox.role().join("tree/new"), "n\n").unwrap();
        let text = plan(sandbox, &[]).exits(0).stdout();
        for part in [
            "M  /usr/share/tree/d/b: content  (layer app)\n--- a/usr/share/tree/d/b\n",
            "-b\n+B\n",
            "A  /usr/share/tree/new  (layer app)\n--- /dev/null\n",
        ] {
            assert!(text.contains(part), "{storage}: {part} is not in\n{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    });
}

#[test]
fn what_was_changed_in_the_container_would_be_put_back() {
    each_storage(|sandbox, storage| {
        let own = own_files(sandbox, storage);
        fs::create_dir_all(own.join("etc")).unwrap();
        let write = |name: &str, text: &str| {
            let path = own.join("etc").join(name);
            let _ = fs::remove_file(&path);
            fs::write(path, text).unwrap();
        };
        write("app", "one\nport 80\nfour of web1\n");
        write("own", "own\nchanged\n");
        write("motd", "changed\n");
        write("secret", "hunter3\n");
        let text = plan(sandbox, &["--exit-code"]).exits(1).stdout();
        let part = "M  /etc/app: content  (layer app, changed in the container)\n";
        assert!(text.contains(part), "{storage}: {text}");
        assert!(text.contains("-four of web1\n+three of web1\n"), "{storage}: {text}");
        assert!(text.contains("M  /etc/own: content  (layer own, changed in the container)\n"));
        // It is kept where it is there, and no secret is compared.
        assert!(!text.contains("/etc/motd") && !text.contains("hunter"), "{storage}: {text}");

        let config = sandbox.container().join("config");
        let lines = fs::read_to_string(&config).unwrap();
        fs::write(&config, lines.replace("lxc.tty.max = 2\n", "")).unwrap();
        plan(sandbox, &[]).shows("layer app: config lxc.tty.max = 2 is missing in the container\n");
    });
}

#[test]
fn what_was_removed_in_the_container_would_come_back() {
    if !root() {
        return;
    }
    each_storage(|sandbox, storage| {
        if storage == "overlay" {
            let etc = sandbox.container().join("delta/etc");
            fs::create_dir_all(&etc).unwrap();
            let _ = fs::remove_file(etc.join("app"));
            let ran = std::process::Command::new("mknod")
                .arg(etc.join("app"))
                .args(["c", "0", "0"])
                .status();
            assert!(ran.unwrap().success());
        } else {
            fs::remove_file(sandbox.rootfs().join("etc/app")).unwrap();
        }
        let text = plan(sandbox, &[]).exits(0).stdout();
        assert!(
            text.contains("A  /etc/app  (layer app, changed in the container)\n--- /dev/null\n"),
            "{storage}: {text}"
        );
        assert!(text.contains("+three of web1\n"), "{storage}: {text}");
    });
}

#[test]
fn a_key_that_has_changed_is_told_with_what_defines_it() {
    if !root() {
        return;
    }
    each_storage(|sandbox, storage| {
        if storage == "none" {
            return;
        }
        edit(sandbox, "store = true\n", "store = true\nidentity = [\"/etc/id\"]\n");
        plan(sandbox, &["--exit-code"]).exits(1).prints("layer `app`: identity is new\n");
        edit(sandbox, "port", "port");
        sandbox.run(["build", "m.toml", "--rebuild"]).exits(0);
        plan(sandbox, &["--exit-code"]).exits(1).shows("template of layer `os` was rebuilt ");
    });
}

#[test]
fn a_hostile_container_leads_nowhere() {
    if !root() {
        return;
    }
    let sandbox = role().file("outside", "outside\n");
    sandbox.create(["--storage=copy"]).exits(0);
    sleep(Duration::from_millis(30));
    let etc = sandbox.rootfs().join("etc");
    fs::remove_file(etc.join("app")).unwrap();
    std::os::unix::fs::symlink(sandbox.role().join("outside"), etc.join("app")).unwrap();
    fs::remove_file(etc.join("own")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(etc.join("own")).status().unwrap().success());
    let text = plan(&sandbox, &[]).exits(0).stdout();
    assert!(text.contains("M  /etc/app: symlink → file") && !text.contains("outside"), "{text}");
    assert!(text.contains("M  /etc/own: fifo → file"), "{text}");
    fs::rename(&etc, sandbox.rootfs().join("away")).unwrap();
    std::os::unix::fs::symlink("/etc", &etc).unwrap();
    plan(&sandbox, &[]).exits(2).mentions("it cannot be compared: ");
}

#[test]
fn a_container_has_to_be_there() {
    let sandbox = role();
    plan(&sandbox, &[]).exits(2).mentions("this program has made no `web1` in `");
    sandbox
        .run(["plan", "m.toml", "--diff", "--format=mermaid"])
        .exits(2)
        .says("error: `--format=mermaid` draws no `--diff`\n");
}

#[test]
fn an_ordinary_user_s_container_is_compared() {
    if !root() {
        return;
    }
    let sandbox = role();
    fs::set_permissions(sandbox.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    for name in ["lxc", "home", "tmp", "role"] {
        std::os::unix::fs::chown(sandbox.path(name), Some(65534), Some(65534)).unwrap();
    }
    let sandbox = sandbox.nobody();
    sandbox.create(["--storage=copy"]).exits(0);
    sleep(Duration::from_millis(30));
    plan(&sandbox, &["--exit-code"]).exits(0).prints("");
    edit(&sandbox, "three", "3");
    plan(&sandbox, &["--exit-code"]).exits(1).shows("-three of web1\n+3 of web1\n");
}
