//! Many runs at once on one layer store.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::processes;
use crate::requirement::root;
use crate::sandbox::Sandbox;

/// How many containers are made at once.
const RUNS: usize = 100;

/// A role of three layers, whose upstream counts its calls and takes a while.
fn role() -> Sandbox {
    let layer = |name: &str| {
        format!(
            "\n[[layer]]\nname = \"{name}\"\nstore = true\n\
             post = 'echo {name} >>made; mkdir \"$LXC_ROOTFS/{name}\"'\n\
             [[layer.file]]\npath = \"/etc/{name}\"\nsource = \"data\"\n"
        )
    };
    Sandbox::new()
        .file("data", vec![b'x'; 300_000])
        .upstream(
            "echo os >>made; mkdir \"$rootfs/etc\"; for i in 1 2 3 4 5 6 7 8 9; do \
             cp data \"$rootfs/etc/$i\"; done; echo \"$name\" >\"$rootfs/etc/hostname\"",
        )
        .layers(&format!("{}{}", layer("libs"), layer("app")))
}

fn start(sandbox: &Sandbox, number: usize) -> Child {
    let mut command = sandbox.command(sandbox.program_path());
    let name = format!("c{number}");
    command.args(["create", "m.toml", "--quiet", "--name", &name, "--lxcpath"]);
    command.arg(sandbox.path("lxc")).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Sees that a container has all that its role says.
fn assert_whole(sandbox: &Sandbox, number: usize) {
    let rootfs = sandbox.path(format!("lxc/c{number}/rootfs"));
    let read = |path: &str| fs::read(rootfs.join(path)).unwrap();
    assert_eq!(read("etc/hostname"), format!("c{number}\n").into_bytes());
    for name in ["etc/1", "etc/9", "etc/libs", "etc/app"] {
        assert_eq!(read(name), vec![b'x'; 300_000], "{name} of c{number}");
    }
    assert!(rootfs.join("libs").is_dir() && rootfs.join("app").is_dir());
}

/// Returns the directories of killed runs in which layers were made.
fn rubbish(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.path("store/host/work")).unwrap().count()
}

fn made(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.role().join("made")).unwrap_or_default()
}

#[test]
fn a_hundred_runs_make_each_layer_once() {
    if !root() {
        return;
    }
    let sandbox = role();
    let runs: Vec<_> = (0..RUNS).map(|number| start(&sandbox, number)).collect();
    for (number, mut run) in runs.into_iter().enumerate() {
        assert!(run.wait().unwrap().success(), "c{number}");
        assert_whole(&sandbox, number);
    }
    assert_eq!(made(&sandbox), "os\nlibs\napp\n");
    sandbox.run(["store", "verify"]).exits(0);
    assert_eq!(rubbish(&sandbox), 0);
}

#[test]
fn runs_that_are_killed_leave_the_store_whole() {
    if !root() {
        return;
    }
    let sandbox = role();
    let mut runs: Vec<_> = (0..RUNS).map(|number| start(&sandbox, number)).collect();
    // Every fifth is killed, at points that go through all that a run does.
    for number in (0..RUNS).step_by(5) {
        std::thread::sleep(Duration::from_millis((number as u64 * 7) % 90));
        runs[number].kill().unwrap();
    }
    for (number, mut run) in runs.into_iter().enumerate() {
        let ended = run.wait().unwrap();
        assert!(ended.success() || number % 5 == 0, "c{number}: {ended}");
        if ended.success() {
            assert_whole(&sandbox, number);
        }
    }
    sandbox.run(["store", "verify"]).exits(0);
    assert_eq!(processes::within(&sandbox), Vec::<String>::new());
    // The next run needs no repair, and one that makes something takes the rubbish away.
    fs::write(sandbox.role().join("data"), vec![b'x'; 300_000]).unwrap();
    let before = made(&sandbox);
    assert!(start(&sandbox, RUNS).wait().unwrap().success());
    assert_whole(&sandbox, RUNS);
    assert_eq!(made(&sandbox), before);
    sandbox
        .run(["create", "m.toml", "--rebuild", "--name", "anew", "--lxcpath", "../lxc"])
        .exits(0);
    assert_eq!(rubbish(&sandbox), 0);
    sandbox.run(["store", "verify"]).exits(0);
    fs::create_dir_all(sandbox.path("store/host/work/left/rootfs")).unwrap();
    // One may have been killed between a tree and its document.
    let count = |path: &str| fs::read_dir(sandbox.path("store").join(path)).unwrap().count();
    let left = match count("host/trees") - count("host.meta/entries") {
        0 => ", and what a run that was killed has left\n".to_owned(),
        unfinished => format!(", and what {} runs that were killed have left\n", 1 + unfinished),
    };
    let cleaned = sandbox.run(["store", "gc"]);
    cleaned.exits(0);
    let said = cleaned.stdout();
    assert!(said.ends_with(&left), "{said}");
    assert_eq!(rubbish(&sandbox), 0);
    assert!(!sandbox.run(["store", "list"]).stdout().contains("layer"));
}

/// Makes a role whose template runs `script`, in which `$again` is this program.
fn nested(script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let again = sandbox.program_path().display().to_string();
    sandbox
        .upstream(&format!("again={again}; mkdir \"$rootfs/etc\"; {script}"))
        .layers("")
        .file("inner.toml", "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"plain\"\n")
        .program(
            "templates/lxc-plain",
            "#!/bin/sh\nfor word; do case $word in --rootfs=*) mkdir \"${word#*=}/inner\";; esac; done\n",
        )
}

#[test]
fn a_run_within_a_run_does_not_wait_for_whoever_waits_for_that() {
    if !root() {
        return;
    }
    let script = "unheld() { env -u LXC_LAYERED_TEMPLATE_HELD \"$@\"; }; \
                  unheld \"$again\" store gc >/dev/null 2>&1 & sleep 0.5; \
                  \"$again\" create inner.toml --name inner --lxcpath ../other; \
                  \"$again\" store list >&2; \"$again\" store gc || echo refused: $?";
    let sandbox = nested(script);
    let ran = sandbox.chain();
    ran.exits(0).mentions("a run that this is part of uses the store").mentions("refused: 8");
    assert!(sandbox.path("other/inner/rootfs/inner").is_dir());
}

#[test]
fn a_run_within_a_run_does_not_wait_for_what_that_makes() {
    if !root() {
        return;
    }
    let sandbox = nested("\"$again\" create m.toml --name inner --lxcpath ../other");
    let ran = sandbox.chain();
    ran.exits(4).mentions("is built by a run that this is part of");
}
