//! `create`: a container without LXC.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use crate::listing;
use crate::requirement::{installed, root, skip};
use crate::running::Running;
use crate::sandbox::{Ran, Sandbox};

const EXISTS: &str = "error: container `web1` exists already in [DIR]/lxc

hint: choose another name, or `lxc-destroy -P [DIR]/lxc -n web1` removes it
";

#[test]
fn a_container_is_made_as_lxc_would_make_it() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().file("start.conf", "lxc.net.0.type = empty").layers(
        "[layer.config]\nlxc.start.auto = 1\n[[layer.file]]\npath = \"/f\"\ncontent = \"f\"\n",
    );
    let ran = sandbox.create(["--config", "start.conf", "--", "--user=x"]);
    ran.exits(0).prints("").says("os: template fake\nos: copying the stored tree\n");
    let expected = "lxc.net.0.type = empty
lxc.rootfs.path = dir:[DIR]/lxc/web1/rootfs
# layered-template: layer os
lxc.start.auto = 1
";
    assert_eq!(sandbox.redacted(&sandbox.config()), expected);
    assert_eq!(sandbox.read("/f"), "f");
    let modes = ["", "rootfs", "config"]
        .map(|name| fs::metadata(sandbox.container().join(name)).unwrap().mode() & 0o7777);
    assert_eq!(modes, [0o770, 0o755, 0o640]);
    assert_eq!(sandbox.record()["upstream"]["args"][3], "--user=x");
}

#[test]
fn what_exists_is_left_alone() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("pre = \"touch ran\"\n");
    fs::create_dir_all(sandbox.rootfs()).unwrap();
    fs::write(sandbox.container().join("config"), "mine\n").unwrap();
    let before = listing::of(&sandbox.path("lxc"));
    sandbox
        .create(["--config", "/dev/null"])
        .exits(2)
        .mentions("error: the config `/dev/null` cannot be read: it is not a regular file\n");
    sandbox.create([""; 0]).exits(2).says(EXISTS);
    assert_eq!(listing::of(&sandbox.path("lxc")), before);
    assert!(!sandbox.role().join("ran").exists());
}

#[test]
fn a_directory_of_containers_that_is_most_likely_misspelt_is_told_of() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("");
    let near =
        "warning: there is no directory `[DIR]/lcx`, and it is made; did you mean `[DIR]/lxc`?\n";
    let deep = "warning: there is no directory `[DIR]/a/b`, and it is made\n";
    for (name, lxcpath, said) in [
        ("web1", "lcx", Some(near)),
        ("web2", "lcx", None),
        ("web1", "a/b", Some(deep)),
        ("web1", "containers", None),
    ] {
        let lxcpath = sandbox.path(lxcpath).display().to_string();
        let made = sandbox.run(["create", "m.toml", "--name", name, "--lxcpath", &lxcpath]);
        let warned = made.exits(0).stderr();
        assert_eq!(warned.contains("there is no directory"), said.is_some(), "{warned}");
        assert!(said.is_none_or(|said| warned.contains(said)), "{warned}");
    }
}

#[test]
fn a_step_that_fails_names_the_way_to_look_into_its_rootfs() {
    if !root() {
        return;
    }
    let hint =
        "hint: with `--keep-failed` the rootfs stays, for `layered-template shell` to enter it\n";
    for (step, words, is_named) in [
        ("post = 'exit 3'", &[][..], true),
        ("check = 'exit 3'", &["--storage=none"], true),
        ("post = 'exit 3'", &["--keep-failed"], false),
        ("pre = 'exit 3'", &[], false),
    ] {
        let sandbox = Sandbox::new().layers(step);
        let failed = sandbox.create(words);
        assert_eq!(failed.stderr().contains(hint), is_named, "{step}: {}", failed.stderr());
    }
}

#[test]
fn a_failure_leaves_nothing() {
    if !root() {
        return;
    }
    for (rest, status) in [
        ("pre = \"exit 1\"\n", 3),
        ("args = [\"fail\"]\n", 4),
        ("check = \"exit 1\"\n", 7),
        ("nonsense = 1\n", 2),
    ] {
        let sandbox = Sandbox::new()
            .upstream("mkdir -p \"$rootfs/a/b\"; chmod 0 \"$rootfs/a\"; [ \"${4-}\" != fail ]")
            .layers(rest);
        sandbox.create([""; 0]).exits(status);
        assert_eq!(listing::of(&sandbox.path("lxc")), "", "{rest}");
    }
}

#[test]
fn a_signal_leaves_nothing() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("post = 'kill -TERM $PPID; sleep 20'\n");
    sandbox.create([""; 0]).exits(143);
    assert_eq!(listing::of(&sandbox.path("lxc")), "");
}

#[test]
fn an_ordinary_user_enters_a_namespace() {
    if !root() {
        return;
    }
    // Without subordinate ids there is one id, which owns everything.
    let sandbox =
        Sandbox::new().nobody().layers("[[layer.file]]\npath = \"/f\"\ncontent = \"f\"\n");
    for name in ["role", "lxc", "tmp", "home"] {
        std::os::unix::fs::chown(sandbox.path(name), Some(65534), Some(65534)).unwrap();
    }
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STATE", "");
    let ran = sandbox.create([""; 0]);
    if ran.stderr().contains("no user namespace can be entered") {
        skip("this host lets no ordinary user make a user namespace");
        return;
    }
    ran.exits(0).mentions("warning: you have no subordinate ids").mentions(
        "\nhint: as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 nobody\n",
    );
    let sandbox =
        sandbox.file("map.conf", "lxc.idmap = u 0 300000 65536\nlxc.idmap = g 0 300000 65536\n");
    let words = ["create", "m.toml", "--name=web3", "--lxcpath=../lxc", "--config=map.conf"];
    sandbox
        .run(words)
        .exits(2)
        .mentions("error: no user namespace can be entered: ")
        .mentions("do not give nobody these ids; as root: usermod --add-subuids 300000-365535")
        .mentions(" --add-subgids 300000-365535 nobody\n");
    let metadata = fs::metadata(sandbox.rootfs().join("f")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534));
    let failed = sandbox.layers("post = \"exit 1\"\n");
    let words = ["create", "m.toml", "--name", "web2", "--lxcpath", "../lxc"];
    failed.run(words).exits(6);
    assert!(!failed.path("lxc/web2").exists());
}

#[test]
fn quiet_says_nothing_and_verbose_more() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("post = \"echo hi\"\n");
    sandbox.create(["--quiet"]).exits(0).says("");
    sandbox.run(["build", "m.toml", "-q"]).exits(0).prints("").says("");
    sandbox.run(["build", "m.toml", "-q", "--rebuild"]).exits(0).prints("").says("");
    let whole = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    whole.run(["build", "m.toml", "-q", "-o", "tar:../web.tar"]).exits(0).prints("").says("");
    assert!(whole.path("web.tar").is_file());
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.create(["-v"]).exits(0).mentions(
        "os: copying the stored tree (m.toml:4)\nos: post: echo hi (m.toml:6)\n  os| hi\n",
    );
    // Without the store it is made anew.
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox
        .create(["-v", "--storage=none"])
        .exits(0)
        .mentions("os: template fake (m.toml:5)\nos: post: echo hi (m.toml:6)\n  os| hi\n");
}

#[test]
fn a_run_that_is_killed_leaves_what_nobody_takes_for_whole() {
    let sandbox = Sandbox::new().layers("post = 'touch begun; sleep 20'\n");
    let mut command = sandbox.command(sandbox.program_path());
    command.args(["create", "m.toml", "--name", "web1", "--lxcpath", "../lxc"]);
    let mut run = command.stderr(Stdio::null()).spawn().unwrap();
    while !sandbox.role().join("begun").exists() && run.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // As long as it is made, nobody is told to remove it.
    let ran = sandbox.create([""; 0]);
    ran.exits(2).mentions("error: another run is making container `web1` in ");
    run.kill().unwrap();
    run.wait().unwrap();
    let partial = sandbox.container().join("partial");
    assert!(partial.is_file());
    let ran = sandbox.create([""; 0]);
    ran.exits(2).mentions("cannot be made: it exists already, and was never finished: ");
    let said = "`web1` was begun and never finished; `rm -r [DIR]/lxc/web1` removes it";
    let (lxcpath, path) = (sandbox.path("lxc"), sandbox.container());
    let (lxcpath, path) = (lxcpath.to_str().unwrap(), path.to_str().unwrap());
    let table = sandbox.run(["status", "--lxcpath", lxcpath]).exits(0).stdout();
    assert!(table.contains("  unfinished\n"), "{table}");
    sandbox.run(["status", path]).exits(0).shows(said);
    for verb in ["show", "diff", "rollback"] {
        sandbox.run([verb, "web1", "--lxcpath", lxcpath]).exits(2).mentions(said);
        sandbox.run([verb, &format!("{path}/")]).exits(2).mentions(said);
    }

    let whole = Sandbox::new().layers("");
    whole.create([""; 0]).exits(0);
    assert!(whole.rootfs().is_dir() && !whole.container().join("partial").exists());
}

#[test]
fn an_empty_directory_is_what_a_run_that_was_killed_at_once_has_left() {
    let sandbox = Sandbox::new().layers("");
    fs::create_dir(sandbox.container()).unwrap();
    let ran = sandbox.create([""; 0]);
    ran.exits(2).mentions("cannot be made: it exists already, and was never finished: ");
    assert_eq!(listing::of(&sandbox.container()), "");
}

/// A container's directory shows at any time that it is unfinished: `partial` is the first thing in
/// it, and the last.
#[test]
fn a_run_is_killed_at_each_call_that_makes_or_removes() {
    at_each_call("signal=KILL", |sandbox, ran, call| {
        if sandbox.container().exists() {
            let left = listing::of(&sandbox.container());
            let is_unfinished = left.is_empty() || sandbox.container().join("partial").exists();
            assert!(is_unfinished, "{call}: {}\n{left}", ran.output.status);
        }
        ran.output.status.signal().is_none()
    });
}

/// What cannot be made is not left in pieces, whatever fails of it.
#[test]
fn each_call_that_makes_or_removes_fails() {
    at_each_call("error=ENOMEM", |sandbox, ran, call| {
        let is_told = ran.stderr().contains("could not be removed");
        assert!(!sandbox.container().exists() || is_told, "{call}: {}", ran.stderr());
        // By then nothing is injected any more: the step has failed.
        ran.output.status.code() == Some(6)
    });
}

/// Injects something at the first call of each kind, then at the second, until the run tells that none is left.
fn at_each_call(injected: &str, is_over: impl Fn(&Sandbox, &Ran, &str) -> bool) {
    if !installed("strace") {
        return;
    }
    // What fails is removed.
    let sandbox = Sandbox::new().layers("post = \"exit 1\"\n");
    for call in ["mkdir", "fcntl", "fchown", "openat", "rename", "renameat", "unlink", "unlinkat"] {
        for number in 1.. {
            let injected = format!("{injected}:when={number}");
            let ran = sandbox.ran(injected_create(&sandbox, call, &injected));
            if is_over(&sandbox, &ran, &format!("{call} {number}")) {
                break;
            }
            let _ = fs::remove_dir_all(sandbox.container());
        }
    }
}

/// Returns a `create` at whose calls of a kind that have to do with the container something is injected.
fn injected_create(sandbox: &Sandbox, call: &str, injected: &str) -> std::process::Command {
    let mut command = sandbox.command("strace");
    command.args(["-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e"]);
    command.args([&format!("trace={call}"), "-P"]).arg(sandbox.container());
    for name in ["partial", "rootfs", "config"] {
        command.arg("-P").arg(sandbox.container().join(name));
    }
    command.args(["-e", &format!("inject={call}:{injected}")]);
    command.arg(sandbox.program_path()).args(["create", "m.toml", "--storage=none"]);
    command.args(["--name", "web1", "--lxcpath"]).arg(sandbox.path("lxc"));
    command
}

/// Begins a run that fails once there is a file `go`, and waits until its step runs.
fn failing(sandbox: &Sandbox) -> std::process::Child {
    let mut command = sandbox.command(sandbox.program_path());
    command.args(["create", "slow.toml", "--quiet", "--name", "web", "--lxcpath", "../place"]);
    let run = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    while !sandbox.role().join("begun").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    run
}

#[test]
fn what_has_come_to_the_place_of_a_failed_container_stays() {
    let slow = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"app\"\n\
                post = ': >begun; while ! test -e go; do sleep 0.02; done; exit 1'\n";
    let role =
        || Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("").file("slow.toml", slow);
    // Another container, made after the first was destroyed.
    let sandbox = role();
    let mut run = failing(&sandbox);
    fs::remove_dir_all(sandbox.path("place/web")).unwrap();
    sandbox.run(["create", "m.toml", "--name", "web", "--lxcpath", "../place"]).exits(0);
    fs::write(sandbox.role().join("go"), "").unwrap();
    assert!(!run.wait().unwrap().success());
    assert!(
        sandbox.path("place/web/config").exists() && sandbox.path("place/web/rootfs/etc").is_dir()
    );

    // A link that somebody has put there leads to what is nobody's to remove.
    let sandbox = role();
    let mut run = failing(&sandbox);
    fs::create_dir_all(sandbox.path("precious/rootfs")).unwrap();
    fs::write(sandbox.path("precious/config"), "precious").unwrap();
    fs::rename(sandbox.path("place/web"), sandbox.path("place/old")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("precious"), sandbox.path("place/web")).unwrap();
    fs::write(sandbox.role().join("go"), "").unwrap();
    assert!(!run.wait().unwrap().success());
    assert!(sandbox.path("precious/config").exists() && sandbox.path("precious/rootfs").is_dir());
}

#[test]
fn a_directory_of_containers_cannot_write_lines_of_config() {
    let sandbox = Sandbox::new().layers("");
    let lxcpath = sandbox.path("lxc\nlxc.hook.start-host = evil");
    for verb in ["create", "plan"] {
        let mut command = sandbox.command(sandbox.program_path());
        command.args([verb, "m.toml", "--name", "web1", "--lxcpath"]).arg(&lxcpath);
        sandbox.ran(command).exits(2).mentions("contains a control character");
    }
    assert!(!lxcpath.exists());
}

#[test]
fn a_container_that_is_being_made_is_not_to_be_removed() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream("touch \"$path/begun\"; while [ ! -e go ]; do sleep 0.05; done")
        .layers("");
    let mut command = sandbox.command(sandbox.program_path());
    command.args(["create", "m.toml", "--name", "web1", "--storage=none", "--lxcpath"]);
    command.arg(sandbox.path("lxc"));
    let mut running = Running::start(&sandbox, command);
    running.waits_for(|| sandbox.container().join("begun").exists());
    let second = sandbox.create(["--storage=none"]);
    second.exits(2).mentions("error: another run is making container `web1` in [DIR]/lxc\n");
    assert!(!second.stderr().contains("destroy"), "{}", second.stderr());
    fs::write(sandbox.role().join("go"), "").unwrap();
    assert!(running.ended(Duration::from_secs(60)).status.success());
}

#[test]
fn a_directory_that_may_not_be_written_is_told_with_what_to_type() {
    if !root() {
        return;
    }
    let map = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
    let place = |of: (u32, u32), mode: u32| {
        let sandbox = Sandbox::new().layers("").file("map.conf", map);
        let place = sandbox.path("place");
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        chown(&place, Some(of.0), Some(of.1)).unwrap();
        (sandbox, place.to_str().unwrap().to_owned())
    };
    let create = |sandbox: &Sandbox, lxcpath: &str, more: &[&str]| {
        let words = ["create", "m.toml", "--name", "web1", "--lxcpath", lxcpath];
        sandbox.run([&words[..], more].concat())
    };
    let map = ["--config", "map.conf"];
    let within = "has no id in the container's id map, within which the container is made";
    for storage in ["--storage=copy", "--storage=overlay", "--storage=none"] {
        let (sandbox, at) = place((0, 4242), 0o755);
        let ran = create(&sandbox, &at, &[&map[..], &[storage]].concat());
        let hint =
            format!("hint: the group of [DIR]/place {within}: `chgrp \"$(id -g)\" [DIR]/place`");
        ran.exits(2).mentions("error: `[DIR]/place/web1` cannot be made: ").mentions(&hint);
        chown(&at, None, Some(0)).unwrap();
        create(&sandbox, &at, &[&map[..], &[storage]].concat()).exits(0);
    }
    let (sandbox, at) = place((4242, 0), 0o755);
    let give = "`sudo chown \"$(id -u):$(id -g)\" [DIR]/place`";
    let hint = format!("hint: the owner of [DIR]/place {within}: {give}");
    let words = [&map[..], &["--allow-untrusted"]].concat();
    create(&sandbox, &at, &words).exits(2).mentions(&hint);

    let (sandbox, at) = place((0, 0), 0o755);
    let sandbox = sandbox.nobody();
    let hint = format!("hint: the owner of [DIR]/place {within}: {give}");
    create(&sandbox, &at, &[]).exits(2).mentions(&hint);
    // What is made before the namespace is entered is made by the user.
    let hint = format!("hint: [DIR]/place belongs to root: {give}");
    let new = format!("{at}/new/one");
    let ran = create(&sandbox, &new, &[]);
    ran.exits(2).mentions("`[DIR]/place/new/one` cannot be made: ").mentions(&hint);
    let (sandbox, at) = place((0, 0), 0o700);
    let hint = "hint: you may not pass [DIR]/place: `sudo chmod o+x [DIR]/place`";
    create(&sandbox.nobody(), &format!("{at}/new"), &[]).exits(2).mentions(hint);
    // Of owner, group and others the first decides that one is.
    for (owner, mode, change) in
        [((0, 65534), 0o705, "sudo chmod g+x"), ((65534, 0), 0o677, "chmod u+x")]
    {
        let (sandbox, at) = place(owner, mode);
        let hint = format!("hint: you may not pass [DIR]/place: `{change} [DIR]/place`");
        let ran = create(&sandbox.nobody(), &format!("{at}/new"), &[]);
        ran.exits(2).mentions(&hint);
        assert!(!ran.stderr().contains("is made"), "{}", ran.stderr());
    }
    let (sandbox, at) = place((65534, 65534), 0o555);
    let sandbox = sandbox.nobody();
    let hint = "hint: [DIR]/place is read-only: `chmod u+w [DIR]/place`";
    create(&sandbox, &format!("{at}/new"), &[]).exits(2).mentions(hint);
}
