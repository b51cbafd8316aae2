//! `diff`: what has changed in a container since it was made.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::requirement::root;
use crate::sandbox::{Ran, Sandbox};
use crate::storages::{self, STORAGES};

const UPSTREAM: &str = r#"
cd "$rootfs"; mkdir -p etc srv/old/deep var/log usr/bin
echo "$name" >etc/hostname; printf 'one\ntwo\nthree\n' >etc/text; echo x >srv/old/deep/f; echo gone >etc/gone
echo bin >usr/bin/tool; chmod 755 usr/bin/tool; ln -s tool usr/bin/link; echo same >etc/same
"#;

/// A role with a layer that is stored, and one that is made in each container.
const LAYERS: &str = r#"
[layer.config]
"lxc.tty.max" = 2
[[layer]]
name = "own"
post = "echo own >$LXC_ROOTFS/etc/own; rm $LXC_ROOTFS/usr/bin/link"
"#;

fn role() -> Sandbox {
    Sandbox::new().upstream(UPSTREAM).layers(LAYERS)
}

fn diff(sandbox: &Sandbox, words: &[&str]) -> Ran {
    let container = sandbox.container();
    sandbox.run([&["diff", container.to_str().unwrap()], words].concat())
}

/// Runs commands in the rootfs, as a running container would.
fn within(sandbox: &Sandbox, storage: &str, commands: &str) {
    // Times of files come from a clock that ticks a few hundred times a second.
    sleep(Duration::from_millis(30));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation=private", "sh", "-euc"]);
    let mount = match storage {
        "overlay" => {
            let config = sandbox.config();
            let value = |key: &str| {
                let line = config.lines().rev().find(|line| line.starts_with(key)).unwrap();
                line.split_once('=').unwrap().1.trim().to_owned()
            };
            let path = value("lxc.rootfs.path");
            let mut parts = path.strip_prefix("overlay:").unwrap().split(':');
            let (lower, upper) = (parts.next().unwrap(), parts.next().unwrap());
            let work = sandbox.path("work");
            fs::create_dir_all(&work).unwrap();
            format!(
                "mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={} {}; ",
                work.display(),
                sandbox.rootfs().display()
            )
        }
        _ => String::new(),
    };
    let commands = format!("{mount} cd {}; {commands}", sandbox.rootfs().display());
    let output = command.arg(commands).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is said where nobody knows what there was.
fn note_of(storage: &str) -> &'static str {
    match storage {
        "none" => {
            "all of it was made in the container: only what was written since is known, and not \
             what was there\n"
        }
        _ => "",
    }
}

fn each_storage(judge: impl Fn(&Sandbox, &str)) {
    if !root() {
        return;
    }
    storages::each(&STORAGES, role, &[], judge);
}

#[test]
fn a_container_that_was_just_made_has_not_changed() {
    each_storage(|sandbox, storage| {
        let note = note_of(storage);
        diff(sandbox, &[]).exits(0).prints(note);
        diff(sandbox, &["--all", "--patch"]).exits(0).prints(note);
    });
}

#[test]
fn every_kind_of_change_is_found() {
    each_storage(|sandbox, storage| {
        within(
            sandbox,
            storage,
            "printf 'one\nTWO\nthree\n' >etc/text; chmod 700 usr/bin/tool; rm etc/gone; mkdir srv/new; \
             echo n >srv/new/n; rm -r srv/old; mkdir srv/old; echo again >srv/old/f; echo l >var/log/l; \
             chown 5:6 etc/same; ln -s x etc/l; echo more >>etc/own; touch etc/hostname; setfattr -n user.x -v 1 usr",
        );
        let found = diff(sandbox, &[]).exits(1).stdout();
        let mut expected = vec![
            "A  /etc/l",
            "D  /etc/gone",
            "A  /etc/own",
            "M  /etc/same: owner 0:0 → 5:6",
            "M  /etc/text: content",
            "A  /srv/new/",
            "A  /srv/new/n",
            "D  /srv/old/deep/",
            "A  /srv/old/f",
            "M  /usr/: attributes",
            "M  /usr/bin/tool: mode 0755 → 0700",
            "1 file that every system writes left out; `--all` shows it",
        ];
        if storage == "none" {
            // Nobody knows what was there: what has changed since is shown, and what is gone is not.
            let patch = diff(sandbox, &["--patch"]).exits(1).stdout();
            assert!(patch.contains("M  /etc/text\n") && !patch.contains("etc/text\n@@"), "{patch}");
            assert!(patch.contains("\n--- /dev/null\n+++ b/srv/new/n\n"), "{patch}");
            for line in ["A  /etc/l\n", "M  /etc/own\n", "M  /etc/text\n", "A  /srv/new/n\n"] {
                assert!(found.contains(line), "{line} is not in\n{found}");
            }
            return;
        }
        let mut lines: Vec<&str> = found.lines().collect();
        expected.sort_unstable();
        lines.sort_unstable();
        assert_eq!(lines, expected, "{storage}\n{found}");
        let all = diff(sandbox, &["--all"]).exits(1).stdout();
        assert!(all.contains("A  /var/log/l\n") && !all.contains("left out"), "{all}");
        let patch = diff(sandbox, &["--patch"]).exits(1).stdout();
        let text = "M  /etc/text: content\n--- a/etc/text\n+++ b/etc/text\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n";
        assert!(patch.contains(text), "{patch}");
        assert!(
            patch.contains("\n--- a/etc/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"),
            "{patch}"
        );
        let json: Value =
            serde_json::from_str(&diff(sandbox, &["--format=json"]).stdout()).unwrap();
        let files = json["files"].as_array().unwrap();
        assert_eq!(files.len(), expected.len() - 1);
        let tool = files.iter().find(|file| file["path"] == "/usr/bin/tool").unwrap();
        assert_eq!(
            (&tool["before"]["mode"], &tool["now"]["mode"]),
            (&"0755".into(), &"0700".into())
        );
        assert_eq!(json["left_out"], 1);
    });
}

#[test]
fn what_is_put_back_as_it_was_has_not_changed() {
    each_storage(|sandbox, storage| {
        if storage == "none" {
            return;
        }
        within(
            sandbox,
            storage,
            "cp -a etc/text /tmp/lt-text-$$; echo x >etc/text; cat /tmp/lt-text-$$ >etc/text; \
             rm /tmp/lt-text-$$; chmod 700 etc/same; chmod 644 etc/same; touch etc/same",
        );
        diff(sandbox, &[]).exits(0).prints("");
    });
}

#[test]
fn lines_of_config_are_compared() {
    each_storage(|sandbox, storage| {
        let config = sandbox.container().join("config");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("lxc.tty.max = 2", "# a note\nlxc.tty.max = 3")).unwrap();
        diff(sandbox, &[]).exits(1).prints(&format!(
            "D  config: lxc.tty.max = 2\nA  config: lxc.tty.max = 3\n{}",
            note_of(storage)
        ));
    });
}

#[test]
fn a_manifest_is_compared_with_what_was_made() {
    each_storage(|sandbox, storage| {
        diff(sandbox, &["m.toml"]).exits(0).prints("");
        let path = sandbox.role().join("m.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(sandbox.role().join("n.toml"), text.replace("max\" = 2", "max\" = 4")).unwrap();
        diff(sandbox, &["n.toml"]).exits(1).prints(
            "layer os: config lxc.tty.max = 4 is new\nlayer os: config lxc.tty.max = 2 is gone\n",
        );
        diff(sandbox, &["nowhere.toml"]).exits(2).mentions("there is no such file `nowhere.toml`");
        diff(sandbox, &[]).exits(0).prints(note_of(storage));
    });
}

#[test]
fn what_was_moved_in_is_seen_though_it_is_old() {
    if !root() {
        return;
    }
    let elsewhere = role();
    let old = elsewhere.path("old");
    fs::create_dir_all(old.join("deep")).unwrap();
    for (name, text) in [("text", "one\nTWO\nthree\n"), ("new", "n\n"), ("deep/new", "n\n")] {
        fs::write(old.join(name), text).unwrap();
    }
    sleep(Duration::from_millis(30));
    let sandbox = role();
    sandbox.create(["--storage=copy"]).exits(0);
    fs::remove_dir_all(sandbox.rootfs().join("etc")).unwrap();
    fs::rename(&old, sandbox.rootfs().join("etc")).unwrap();
    let found = diff(&sandbox, &[]).exits(1).stdout();
    for line in ["M  /etc/text: content\n", "A  /etc/new\n", "A  /etc/deep/new\n", "D  /etc/gone\n"]
    {
        assert!(found.contains(line), "{line} is not in\n{found}");
    }
    fs::rename(sandbox.rootfs(), sandbox.container().join("away")).unwrap();
    std::os::unix::fs::symlink("/etc", sandbox.rootfs()).unwrap();
    diff(&sandbox, &[]).exits(2).mentions("cannot be compared");
}

#[test]
fn nobody_hides_a_change_by_touching_the_record() {
    each_storage(|sandbox, storage| {
        within(sandbox, storage, "echo evil >etc/text");
        let record = sandbox.container().join("layered-template.json");
        let bytes = fs::read(&record).unwrap();
        fs::write(&record, bytes).unwrap();
        diff(sandbox, &[]).exits(1).shows("M  /etc/text");
    });
}

#[test]
fn a_tree_of_any_depth_is_compared() {
    each_storage(|sandbox, storage| {
        let deep = "python3 -c 'import os\nfor _ in range(3000): os.mkdir(\"d\"); os.chdir(\"d\")'";
        within(sandbox, storage, &format!("cd srv; {deep}"));
        let found = diff(sandbox, &[]).exits(1).stdout();
        assert!(
            found.lines().filter(|line| line.starts_with("A  /srv/d")).count() >= 3000,
            "{storage}"
        );
    });
}

#[test]
fn what_is_like_a_log_and_is_none_is_not_left_out() {
    each_storage(|sandbox, storage| {
        if storage == "none" {
            return;
        }
        within(
            sandbox,
            storage,
            "mkdir -p var/spool/cron tmp; echo j >var/spool/cron/root; cp usr/bin/tool tmp/tool; \
             chmod 4755 tmp/tool; rm -r var/log; ln -s /etc var/log",
        );
        let found = diff(sandbox, &[]).exits(1).stdout();
        for line in
            ["A  /var/spool/cron/root\n", "A  /tmp/tool\n", "M  /var/log: directory → symlink"]
        {
            assert!(found.contains(line), "{storage}: {line} is not in\n{found}");
        }
    });
}

#[test]
fn the_order_of_config_counts() {
    each_storage(|sandbox, _| {
        let config = sandbox.container().join("config");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("lxc.tty.max = 9\n{text}")).unwrap();
        diff(sandbox, &[]).exits(1).shows("A  config: lxc.tty.max = 9\n");
        fs::write(&config, format!("{text}\nlxc.tty.max = 2\n")).unwrap();
        diff(sandbox, &[]).exits(1).shows("A  config: lxc.tty.max = 2\n");
    });
}

#[test]
fn what_is_the_container_s_own_is_left_out() {
    if !root() {
        return;
    }
    for storage in ["copy", "overlay"] {
        let sandbox = Sandbox::new().upstream(UPSTREAM).layers(
            "state = [\"/srv/data/\", \"/etc/queue\"]\n[[layer]]\nname = \"own\"\nstate = \"/srv/more\"\n",
        );
        sandbox.create([format!("--storage={storage}")]).exits(0);
        within(
            &sandbox,
            storage,
            "mkdir -p srv/data srv/database srv/more; echo d | tee srv/data/d srv/database/d srv/more/m >etc/queue",
        );
        diff(&sandbox, &[]).exits(1).prints(
            "A  /srv/database/\nA  /srv/database/d\n5 files that every system writes, or that are state, left out; \
             `--all` shows them\n",
        );
        diff(&sandbox, &["--all"]).exits(1).shows("A  /srv/data/d\n");
    }
}

/// Two layers that are made in each container, in which a step changes what is dropped.
const IN_CONTAINER: &str = r#"
[[layer]]
name = "own"
store = false
post = "echo more >>$LXC_ROOTFS/etc/stepped; rm $LXC_ROOTFS/etc/never"
[[layer.file]]
path = "/etc/own"
content = "own\n"
[[layer.file]]
path = "/etc/stepped"
content = "dropped\n"
[[layer.file]]
path = "/etc/never"
content = "x\n"
[[layer.file]]
path = "/etc/text"
content = "dropped\n"

[[layer]]
name = "late"
store = false
[[layer.file]]
path = "/etc/late"
content = "late\n"
"#;

#[test]
fn what_a_layer_dropped_in_the_container_is_known_from_the_record() {
    if !root() {
        return;
    }
    for storage in STORAGES {
        let sandbox = Sandbox::new().upstream(UPSTREAM).layers(IN_CONTAINER);
        sandbox.create([format!("--storage={storage}")]).exits(0);
        let note = note_of(storage);
        diff(&sandbox, &[]).exits(0).prints(note);
        // Written again as it was: it is another inode, and the same file.
        within(&sandbox, storage, "for f in own text; do cp etc/$f etc/.f; mv etc/.f etc/$f; done");
        // Where nothing is known of a directory, it is another one once a file in it is.
        let (status, above) = if storage == "none" { (1, "M  /etc/\n") } else { (0, "") };
        diff(&sandbox, &["--patch"]).exits(status).prints(&format!("{above}{note}"));
        within(
            &sandbox,
            storage,
            "echo more >>etc/own; chmod 600 etc/text; rm etc/stepped etc/late",
        );
        diff(&sandbox, &["--patch"]).exits(1).prints(&format!(
            "{above}D  /etc/late\nM  /etc/own: content\nM  /etc/text: mode 0644 → 0600\n{note}"
        ));
    }
}

/// Two directories with drops of one length, made in one go, and one with more below.
const PLACES: &str = r#"
[[layer.file]]
path = "/srv/blue/index.html"
content = "blue\n"
[[layer.file]]
path = "/srv/teal/index.html"
content = "teal\n"
[[layer.file]]
path = "/opt/a/deep/er/text"
content = "a\n"
[[layer.file]]
path = "/opt/b/deep/er/text"
content = "b\n"
"#;

#[test]
fn what_is_below_a_directory_that_was_moved_is_read() {
    if !root() {
        return;
    }
    let blue = "M  /srv/blue/index.html: content\n";
    let deep = "M  /opt/a/deep/er/text: content\n";
    let table = [
        ("cd srv; mv blue t; mv teal blue; mv t teal", &[blue][..]),
        ("cd srv; mv blue t; mv teal blue; mv t teal; touch blue/.x; rm blue/.x", &[blue]),
        ("cd opt; mv a t; mv b a; mv t b", &[deep]),
        ("mv opt o; cd o; mv a t; mv b a; mv t b; cd ..; mv o opt", &[deep]),
        ("cd srv; mv blue t; mv t blue; cd ..; mv opt t; mv t opt; touch srv opt", &[]),
        ("touch srv/blue srv opt/a opt .", &[]),
    ];
    for storage in STORAGES {
        for stored in ["", "store = false\n"] {
            let layers = format!("[[layer]]\nname = \"places\"\n{stored}{PLACES}");
            for (commands, lines) in table {
                let sandbox = Sandbox::new().upstream(UPSTREAM).layers(&layers);
                sandbox.create([format!("--storage={storage}")]).exits(0);
                // In an overlay, what is stored is moved by a copy, whose times tell enough.
                within(&sandbox, storage, commands);
                let found = diff(&sandbox, &[]).stdout();
                for line in lines {
                    assert!(found.contains(line), "{storage} {stored}{commands}: {line}\n{found}");
                }
                let changed = found.lines().filter(|line| line.ends_with(": content")).count();
                assert_eq!(changed, 2 * lines.len(), "{storage} {stored}{commands}\n{found}");
                if lines.is_empty() {
                    assert!(!found.contains("index.html") && !found.contains("text"), "{found}");
                }
                let role = diff(&sandbox, &["m.toml"]).stdout();
                assert_eq!(role.is_empty(), lines.is_empty(), "{storage} {commands}\n{role}");
                let lxcpath = sandbox.path("lxc");
                let lxcpath = lxcpath.to_str().unwrap();
                let words = ["plan", "m.toml", "--diff", "-n", crate::sandbox::NAME, "-P", lxcpath];
                let plan = sandbox.run(words).stdout();
                assert_eq!(plan.is_empty(), lines.is_empty(), "{storage} {commands}\n{plan}");
            }
        }
    }
}

#[test]
fn a_link_with_the_container_s_name_was_not_changed() {
    let role = || {
        Sandbox::new().upstream("mkdir -p $rootfs/x; ln -s /home/$name $rootfs/x/link").layers("")
    };
    storages::each(&["copy", "overlay"], role, &[], |sandbox, storage| {
        within(sandbox, storage, "chown -h 1:1 x/link; chown -h 0:0 x/link; touch x/a; touch a");
        let ran = diff(sandbox, &[]);
        assert!(!ran.stdout().contains("link"), "{storage}: {}", ran.stdout());
        within(sandbox, storage, "ln -sf /home/else x/link");
        diff(sandbox, &[]).exits(1).shows("M  /x/link: target");
    });
}
