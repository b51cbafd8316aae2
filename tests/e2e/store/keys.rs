//! One role has one key: by hand, from cron, by sudo, in CI, for root and for an ordinary user.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::{as_each, seen, shelf};
use crate::call::Call;
use crate::caller::Caller;
use crate::lab::Lab;

/// A template that tells what it has of its caller. Its own variables are all that may decide.
const TEMPLATE: &str = r#"#!/bin/sh
set -e
for a; do case $a in --rootfs=*) R=${a#*=};; --path=*) P=${a#*=};; --name=*) N=${a#*=};; esac; done
umask 022
mkdir -p "$R/bin" "$R/etc" "$R/proc" "$R/sys" "$R/dev" "$R/run" "$R/tmp"
cp "$(command -v busybox)" "$R/bin/busybox"; ln -s busybox "$R/bin/sh"
printf 'root:x:0:0::/root:/bin/sh\n' >"$R/etc/passwd"; printf 'root:x:0:\n' >"$R/etc/group"
echo "$N" >"$R/etc/hostname"
{ echo "$PATH|$HOME|$LANG|$LC_ALL|$TMPDIR"; umask; stat -c '%a %U' "$R"; cat; } >"$R/etc/seen"
printf 'lxc.uts.name = %s\nlxc.tty.max = 2\n' "$N" >>"$P/config"
"#;

const ROLE: &str = r#"
manifest = 1
[[layer]]
name = "os"
template = "./template"
[[layer]]
name = "files"
[layer.config]
lxc.environment = "ROLE=keys"
[[layer.file]]
path = "/etc/role"
content = "keys\n"
[[layer]]
name = "steps"
post = { in = "rootfs", run = "env | grep -vi proxy | sort >/etc/inside; umask >>/etc/inside" }
"#;

/// Who calls, with which variables, and what stands before the command.
type Environment = (&'static str, Vec<(&'static str, &'static str)>, &'static str);

fn environments() -> Vec<Environment> {
    let plain = "umask 022";
    vec![
        ("a shell", vec![], plain),
        ("tmux", vec![("TERM", "tmux-256color"), ("TMUX", "/tmp/x,1,0")], plain),
        ("another PATH", vec![("PATH", "/opt/x:/usr/bin:/bin:/usr/sbin:/sbin")], plain),
        ("cron", vec![("PATH", "/usr/bin:/bin:/usr/sbin"), ("LANG", ""), ("TERM", "")], plain),
        ("a PATH twice over", vec![("PATH", "/usr/bin:/bin:/usr/bin:/bin:/usr/sbin")], plain),
        ("German", vec![("LANG", "de_DE.UTF-8"), ("LC_ALL", "de_DE.UTF-8")], plain),
        ("the C locale", vec![("LANG", "C"), ("LC_COLLATE", "C")], plain),
        ("another home", vec![("HOME", "/nonexistent")], plain),
        ("a private TMPDIR", vec![("TMPDIR", "/nonexistent/tmp")], plain),
        ("a proxy", vec![("http_proxy", "http://127.0.0.1:9/"), ("NO_PROXY", "a")], plain),
        ("sudo", vec![("SUDO_USER", "somebody"), ("SUDO_UID", "1000"), ("LOGNAME", "root")], plain),
        ("CI", vec![("CI", "true"), ("GITHUB_ACTIONS", "true")], plain),
        ("a systemd unit", vec![("INVOCATION_ID", "1"), ("JOURNAL_STREAM", "8:1")], plain),
        ("a strict umask", vec![], "umask 077"),
        ("no umask", vec![], "umask 000"),
        ("a step of another container", vec![("LXC_NAME", "x"), ("LXC_ROOTFS", "/x")], plain),
        ("another cache", vec![("LXC_CACHE_PATH", "/nonexistent/cache")], plain),
        ("a wgetrc", vec![("WGETRC", "/dev/null")], plain),
        ("answers on standard input", vec![], "umask 022; exec 0<work/role.toml"),
        ("another working directory", vec![], "umask 022; cd /"),
    ]
}

#[test]
fn a_role_has_one_key_in_every_environment_and_for_every_caller() {
    let mut documents = BTreeSet::new();
    let mut callers = 0;
    as_each(&[], |lab| {
        lab.script("work/template", TEMPLATE);
        let manifest = lab.write("work/role.toml", ROLE);
        let mut first = None;
        for (who, variables, before) in environments() {
            let name = lab.name("keys");
            let script = format!("cd \"$LAB\"; {before}; exec \"$@\"");
            let program = lab.program().display().to_string();
            let call = lab.call(["/bin/sh", "-c", &script, "sh", &program, "create"]);
            let mut call: Call<'_> = call
                .arg(&manifest)
                .args(["--name", &name, "--lxcpath"])
                .arg(lab.lxcpath())
                .arg("--config")
                .arg(lab.path("default.conf"))
                .env("LAB", lab.path(""));
            for (variable, value) in variables {
                call = call.env(variable, value);
            }
            call.outcome().success();
            let stored = shelf::stored(lab);
            assert_eq!(stored.len(), 3, "{:?}, {who}: one entry of each layer", lab.caller);
            documents.extend(self::documents(lab));
            let listing = seen::listing(lab, &name);
            let seen = lab.read(lab.container(&name, "rootfs/etc/seen"));
            let fixed =
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|/root|C.UTF-8||";
            assert_eq!(seen, format!("{fixed}\n0022\n755 root\n"), "{who}");
            match &first {
                None => first = Some(listing),
                Some(first) => listing.assert_same(first, who),
            }
            lab.destroy(&name);
        }
        callers += 1;
    });
    assert_eq!(documents.len(), if callers == 0 { 0 } else { 3 }, "{documents:#?}");
}

#[test]
fn a_role_has_one_key_whatever_lxc_starts_its_config_with() {
    as_each(&[], |lab| {
        lab.script("work/template", TEMPLATE);
        let manifest = lab.write("work/role.toml", ROLE);
        for lines in [
            "lxc.net.0.type = empty\n",
            "# ours\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr7\n",
            "lxc.apparmor.profile = generated\nlxc.net.0.type = empty",
            "",
        ] {
            lab.default_config(lines);
            let given = lab.read("default.conf");
            let name = lab.name("keys");
            let config = |words: &[&str]| {
                lab.call([lab.program()])
                    .arg("create")
                    .arg(&manifest)
                    .args(["--name", &name, "--lxcpath"])
                    .arg(lab.lxcpath())
                    .arg("--config")
                    .arg(lab.path("default.conf"))
                    .args(words)
                    .outcome()
                    .success();
                let config = lab.read(lab.container(&name, "config"));
                lab.destroy(&name);
                config
            };
            let (stored, plain) = (config(&["--storage=copy"]), config(&["--storage=none"]));
            assert_eq!(stored, plain);
            assert!(stored.starts_with(&given), "{stored}");
            assert_eq!(shelf::stored(lab).len(), 3, "{lines:?}");
        }
    });
}

#[test]
fn a_directory_of_containers_decides_nothing() {
    let Some(lab) = Lab::open(Caller::Root, &["setfacl"]) else { return };
    lab.script("work/template", TEMPLATE);
    let manifest = lab.write("work/role.toml", ROLE);
    let mut first = None;
    for how in ["chmod 755", "chmod 2775", "setfacl -d -m u:1234:rwx,m:rwx", "chmod 700"] {
        let lxcpath = lab.path("lxc");
        let mut words: Vec<&str> = how.split(' ').collect();
        let path = lxcpath.display().to_string();
        words.push(&path);
        lab.call(words).outcome().success();
        let name = lab.name("keys");
        let call =
            lab.create_with(&lab.template(), &name).args(["--", "--manifest"]).arg(&manifest);
        call.outcome().success();
        assert_eq!(shelf::stored(&lab).len(), 3, "{how}");
        let listing = seen::listing(&lab, &name);
        match &first {
            None => first = Some(listing),
            Some(first) => listing.assert_same(first, how),
        }
        lab.destroy(&name);
    }
}

/// What defines the entries of a store, but for when the ones inside were made.
pub(super) fn documents(lab: &Lab) -> BTreeSet<String> {
    let found =
        Command::new("find").arg(lab.path("store")).args(["-path", "*.meta/entries/*"]).output();
    let found = found.expect("find is always there").stdout;
    let paths = String::from_utf8(found).unwrap();
    let document = |path: &str| {
        let text = fs::read_to_string(path).unwrap();
        let (_, text) = text.split_once('\n').expect("a digest stands first");
        let mut entry: serde_json::Value = serde_json::from_str(text).unwrap();
        let fields = entry["document"]["fields"].as_array_mut().unwrap();
        fields.retain(|field| field["what"] != "layer inside");
        for field in fields.iter_mut() {
            // What a person calls it.
            field.as_object_mut().unwrap().remove("label");
        }
        serde_json::to_string_pretty(fields).unwrap()
    };
    paths.lines().map(document).collect()
}
