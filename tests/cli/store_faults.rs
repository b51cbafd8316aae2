//! A layer store in which something is not as it should be: looked after all the same.

use std::fs;
use std::os::unix::fs::symlink;

use layered_template::digest::Digest;

use crate::requirement::root;
use crate::sandbox::Sandbox;

const APP: &str = "\n[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/app\"\ncontent = \"1\"\n";

fn role() -> Sandbox {
    Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(APP)
}

fn count(sandbox: &Sandbox, directory: &str) -> usize {
    fs::read_dir(sandbox.path("store").join(directory)).unwrap().count()
}

#[test]
fn gc_takes_what_is_of_the_wrong_type_too() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.template(["m.toml", "--storage=overlay"]).exits(0);
    let store = sandbox.path("store");
    for directory in ["last", "readings", "locks", "lists", "entries"] {
        fs::create_dir_all(store.join("host.meta").join(directory).join("x/y")).unwrap();
    }
    fs::write(store.join("host/trees/file"), "").unwrap();
    let root = fs::read_dir(store.join("roots")).unwrap().next().unwrap().unwrap().file_name();
    let root = root.into_string().unwrap();
    let stood_on = root.split('@').nth(1).unwrap().to_owned();
    let name = root.replace("@host", "@other");
    fs::write(store.join("roots").join(name.replacen("host@", "other@", 1)), "").unwrap();
    fs::create_dir_all(store.join("zzz.meta")).unwrap();
    sandbox.run(["store", "list"]).exits(0);
    sandbox.run(["store", "gc"]).exits(0);
    for (directory, expected) in [
        ("host.meta/last", 2),
        ("host.meta/readings", 0),
        ("host.meta/lists", 2),
        ("host.meta/entries", 2),
        ("host/trees", 2),
        ("host/work", 0),
    ] {
        assert_eq!(count(&sandbox, directory), expected, "{directory}");
    }
    sandbox.run(["store", "verify"]).exits(0);
    // A document that cannot be read is one that cannot be used, and goes as others do.
    let entries = store.join("host.meta/entries");
    fs::remove_file(entries.join(&stood_on)).unwrap();
    fs::create_dir(entries.join(&stood_on)).unwrap();
    fs::remove_dir_all(sandbox.container()).unwrap();
    let remove = ["store", "remove", &stood_on, "--forget"];
    sandbox.run(&remove[..3]).exits(8).mentions("is gone, or was moved");
    sandbox.run(remove).exits(0);
    assert_eq!(count(&sandbox, "host.meta/entries"), 1);
}

#[test]
fn gc_goes_on_where_directories_are_missing() {
    if !root() {
        return;
    }
    let sandbox = role();
    for missing in
        ["host/trees", "host/work", "host.meta/locks", "host.meta/lists", "host.meta/last"]
    {
        sandbox.chain().exits(0);
        fs::remove_dir_all(sandbox.path("store").join(missing)).unwrap();
        sandbox.run(["store", "gc", "--keep=0"]).exits(0);
        assert_eq!(count(&sandbox, "host.meta/entries"), 0, "{missing}");
        fs::remove_dir_all(sandbox.container()).unwrap();
    }
    // Who stands on what is no longer known.
    sandbox.template(["m.toml", "--storage=overlay"]).exits(0);
    fs::remove_dir_all(sandbox.path("store/roots")).unwrap();
    sandbox
        .run(["store", "gc"])
        .exits(8)
        .mentions("store/roots` is gone, which records what containers use");
    assert_eq!(count(&sandbox, "host.meta/entries"), 2);
    sandbox.run(["store", "gc", "--keep=0", "--forget"]).exits(0);
    assert_eq!(count(&sandbox, "host.meta/entries"), 0);
}

#[test]
fn what_cannot_be_published_leaves_nothing() {
    if !root() {
        return;
    }
    // Each step on the way from the tree's place to the document's fails once.
    for directory in ["lists", "entries"] {
        let sandbox = role();
        sandbox.chain().exits(0);
        let place = sandbox.path("store/host.meta").join(directory);
        fs::remove_dir_all(sandbox.container()).unwrap();
        fs::remove_dir_all(&place).unwrap();
        symlink("/proc/none", &place).unwrap();
        sandbox.template(["m.toml", "--rebuild"]);
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        assert_eq!(count(&sandbox, "host/trees"), 2, "{directory}");
        assert_eq!(count(&sandbox, "host/work"), 0, "{directory}");
    }
}

#[test]
fn a_store_that_cannot_be_written_to_is_read_all_the_same() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.chain().exits(0);
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.shell();
    let script = "mount --bind store store && mount -o remount,bind,ro store && cd role && \
                  \"$1\" store list && \"$1\" store verify && exec \"$@\"";
    let mut command = sandbox.command("unshare");
    command.current_dir(sandbox.path("")).args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(sandbox.program_path()).args(sandbox.three()).arg("m.toml");
    let ran = sandbox.ran(command);
    ran.exits(0).says("app: copying the stored tree\n");
    assert!(ran.stdout().contains("  sound\n"), "{}", ran.stdout());
}

#[test]
fn what_this_host_lacks_is_no_damage() {
    // Of each directory there is more to do when it comes to the one below.
    let deep = "cd \"$rootfs\"; for _ in $(seq 60); do mkdir a b c d e f g h z; cd z; done";
    let sandbox = Sandbox::new().upstream(deep).layers("");
    sandbox.chain().exits(0);
    let mut command = sandbox.command("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" store verify"]).arg(sandbox.program_path());
    let ran = sandbox.ran(command);
    // Nobody is told to remove what is sound.
    ran.exits(8).mentions("cannot be looked through: ").mentions("Too many open files");
    assert!(!ran.stderr().contains("hint: "), "{}", ran.stderr());
    sandbox.run(["store", "verify"]).exits(0);
}

#[test]
fn a_directory_that_cannot_be_read_is_no_empty_one() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.template(["m.toml", "--storage=overlay"]).exits(0);
    let (all, looking) = (&["verify", "list", "gc"][..], &["list", "gc"][..]);
    for (directory, verbs) in [
        ("store", all),
        ("store/host.meta/entries", all),
        ("store/roots", looking),
        ("lxc", looking),
        ("store/host.meta/blobs", &["gc"]),
    ] {
        for verb in verbs {
            let mut command = sandbox.command("strace");
            command.args(["-f", "-o", "/dev/null", "-e", "trace=getdents64"]);
            command.args(["-e", "inject=getdents64:error=EIO", "-P"]).arg(sandbox.path(directory));
            command.arg(sandbox.program_path()).args(["store", verb]);
            if *verb == "gc" {
                command.arg("--lxcpath").arg(sandbox.path("lxc"));
            } else if directory == "lxc" {
                // It is known by the link of its container.
                assert!(sandbox.path("store/roots").exists());
            }
            sandbox.ran(command).exits(8).mentions("Input/output error");
        }
    }
    sandbox.run(["store", "verify"]).exits(0);
    assert_eq!(count(&sandbox, "host.meta/entries"), 2);
}

#[test]
fn a_mark_of_an_overlay_in_a_tree_is_a_finding() {
    if !root() {
        return;
    }
    let sandbox =
        Sandbox::new().upstream("mkdir \"$rootfs/etc\"; echo f >\"$rootfs/etc/f\"").layers("");
    sandbox.chain().exits(0);
    let trees = sandbox.path("store/host/trees");
    let tree = fs::read_dir(&trees).unwrap().next().unwrap().unwrap().path().join("rootfs");
    let setfattr = |words: &[&str], path: &str| {
        let mut command = sandbox.command("setfattr");
        sandbox
            .ran({
                command.args(words).arg(tree.join(path));
                command
            })
            .exits(0);
    };
    for (path, mark) in [
        ("etc/f", "trusted.overlay.metacopy"),
        ("etc/f", "user.overlay.metacopy"),
        ("etc", "trusted.overlay.redirect"),
        ("etc", "trusted.overlay.opaque"),
        ("", "trusted.overlay.impure"),
    ] {
        setfattr(&["-n", mark, "-v", "y"], path);
        let ran = sandbox.run(["store", "verify"]);
        let said = format!("  /{path}: changed: xattrs\n");
        assert!(ran.stdout().contains(&said), "{mark}: {}", ran.stdout());
        ran.exits(1);
        setfattr(&["-x", mark], path);
        sandbox.run(["store", "verify"]).exits(0);
    }
}

#[test]
fn a_damaged_entry_that_came_meanwhile_is_made_anew() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    sandbox.chain().exits(0);
    let entries = sandbox.path("store/host.meta/entries");
    let name = fs::read_dir(&entries).unwrap().next().unwrap().unwrap().file_name();
    let key = name.to_str().unwrap().split('.').next().unwrap().to_owned();
    for generation in [u64::MAX - 1, u64::MAX] {
        fs::write(entries.join(format!("{key}.{generation}")), "").unwrap();
        for words in [&["m.toml", "--rebuild"][..], &["m.toml"]] {
            fs::remove_dir_all(sandbox.container()).unwrap();
            sandbox.template(words).exits(0);
        }
    }
}

#[test]
fn an_entry_of_another_version_is_made_anew() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    sandbox.chain().exits(0);
    let entries = sandbox.path("store/host.meta/entries");
    let document = fs::read_dir(&entries).unwrap().next().unwrap().unwrap().path();
    let text = "{\"format\":1,\"lxcpath\":\"/l\"}";
    fs::write(&document, format!("{}\n{text}", Digest::of(text.as_bytes()))).unwrap();
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.chain().exits(0).mentions("what another version of the program has stored is not used");
}
