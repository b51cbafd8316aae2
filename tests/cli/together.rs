//! Many runs at once on one layer store.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::processes;
use crate::requirement::root;
use crate::running::Running;
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
    let mut command = create(sandbox, "m.toml", &format!("c{number}"));
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// Returns the command that makes a container of a role.
fn create(sandbox: &Sandbox, manifest: &str, name: &str) -> Command {
    let mut command = sandbox.command(sandbox.program_path());
    command.args(["create", manifest, "--quiet", "--name", name, "--lxcpath"]);
    command.arg(sandbox.path("lxc")).stdout(Stdio::null());
    command
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
    let cleaned = sandbox.run(["store", "gc", "--keep", "0"]);
    cleaned.exits(0);
    let said = cleaned.stdout();
    assert!(said.ends_with(&left), "{said}");
    assert_eq!(rubbish(&sandbox), 0);
    assert!(!sandbox.run(["store", "list"]).stdout().contains("os (template)"));
}

#[test]
fn runs_are_killed_while_gc_goes_on() {
    if !root() {
        return;
    }
    let sandbox = role();
    let mut runs: Vec<_> = (0..RUNS).map(|number| start(&sandbox, number)).collect();
    for number in (0..RUNS).step_by(5) {
        std::thread::sleep(Duration::from_millis((number as u64 * 7) % 90));
        runs[number].kill().unwrap();
        // It takes whatever no run is using at that moment.
        sandbox.run(["store", "gc", "--keep", "0"]).exits(0);
    }
    for (number, mut run) in runs.into_iter().enumerate() {
        let ended = run.wait().unwrap();
        assert!(ended.success() || number % 5 == 0, "c{number}: {ended}");
        if ended.success() {
            assert_whole(&sandbox, number);
        }
    }
    assert_eq!(processes::within(&sandbox), Vec::<String>::new());
    assert!(start(&sandbox, RUNS).wait().unwrap().success());
    assert_whole(&sandbox, RUNS);
    sandbox.run(["store", "verify"]).exits(0);
    sandbox.run(["store", "gc", "--keep", "0"]).exits(0);
    assert_eq!(rubbish(&sandbox), 0);
    assert_eq!(fs::read_dir(sandbox.path("store/host/trees")).unwrap().count(), 0);
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
fn the_store_is_looked_after_from_within_a_run() {
    if !root() {
        return;
    }
    let script = "\"$again\" create inner.toml --name inner --lxcpath ../other; \
                  \"$again\" store list >&2; \"$again\" store gc --keep 0 >&2";
    let sandbox = nested(script);
    let ran = sandbox.chain();
    ran.exits(0).mentions("removed ");
    assert!(sandbox.path("other/inner/rootfs/inner").is_dir());
}

/// Waits until something is there.
fn until(what: &str, is_there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Makes a role that waits, once its template has begun, for a file `go`; returns when it does.
fn slow(sandbox: &Sandbox) -> Child {
    let run = create(sandbox, "slow.toml", "slow").spawn().unwrap();
    until("the template begins", || sandbox.role().join("begun").exists());
    run
}

/// Two roles: one of two layers, and one whose second layer waits.
fn quick_and_slow() -> Sandbox {
    Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; echo \"$name\" >\"$rootfs/etc/hostname\"")
        .layers(
            "\n[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/etc/app\"\ncontent = \"x\"\n",
        )
        .file(
            "slow.toml",
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n\
             [[layer]]\nname = \"late\"\nstore = true\npost = ': >begun; \
             while ! test -e go; do sleep 0.02; done; mkdir \"$LXC_ROOTFS/late\"'\n",
        )
}

#[test]
fn gc_waits_for_no_run_and_no_run_waits_for_gc() {
    if !root() {
        return;
    }
    let sandbox = quick_and_slow();
    let create =
        |name: &str| sandbox.run(["create", "m.toml", "--name", name, "--lxcpath", "../lxc"]);
    create("first").exits(0);
    let mut run = slow(&sandbox);
    // Nothing of this is done while the slow run waits, if anybody waits for that.
    let cleaned = sandbox.run(["store", "gc", "--keep", "0"]);
    // The upstream is what the slow run builds on.
    cleaned.exits(0).mentions("stays: a run uses it").shows("removed 1 entry");
    create("second").exits(0);
    assert!(sandbox.path("lxc/second/rootfs/etc/app").exists());
    sandbox.run(["store", "verify"]).exits(0);
    let held = sandbox.run(["store", "list"]).stdout();
    let line = held.lines().find(|line| line.contains("os (template)")).expect("it stays");
    let upstream = line.split(' ').next().unwrap_or_default();
    sandbox.run(["store", "remove", upstream]).exits(8).mentions("a run uses it");
    fs::write(sandbox.role().join("go"), "").unwrap();
    assert!(run.wait().unwrap().success());
    assert!(sandbox.path("lxc/slow/rootfs/late").is_dir());
    // What nobody uses any more goes.
    sandbox.run(["store", "gc", "--keep", "0"]).exits(0).shows("removed 3 entries");
    assert_eq!(rubbish(&sandbox), 0);
}

#[test]
fn what_is_removed_while_a_run_begins_is_built_again() {
    if !root() {
        return;
    }
    // The index is read once the pre steps have run; what stands in it is gone when it is used, time
    // and again.
    let sandbox = quick_and_slow();
    let begun = Instant::now();
    let gc = || sandbox.run(["store", "gc", "--keep", "0"]);
    let mut number = 0;
    while begun.elapsed() < Duration::from_secs(4) || number < 20 {
        let mut runs: Vec<_> = (0..4)
            .map(|of| {
                let mut command = create(&sandbox, "m.toml", &format!("c{number}-{of}"));
                let storage = if of % 2 == 0 { "copy" } else { "overlay" };
                command.args(["--storage", storage]).spawn().unwrap()
            })
            .collect();
        while runs.iter_mut().any(|run| run.try_wait().unwrap().is_none()) {
            gc().exits(0);
        }
        for (of, mut run) in runs.into_iter().enumerate() {
            assert!(run.wait().unwrap().success(), "c{number}-{of}");
            let container = sandbox.path(format!("lxc/c{number}-{of}"));
            if of % 2 == 0 {
                let name = fs::read_to_string(container.join("rootfs/etc/hostname")).unwrap();
                assert_eq!(name, format!("c{number}-{of}\n"));
                assert!(container.join("rootfs/etc/app").exists());
            } else {
                let config = fs::read_to_string(container.join("config")).unwrap();
                let lower = config.split("overlay:").nth(1).and_then(|path| path.split(':').next());
                assert!(Path::new(lower.unwrap()).join("etc/app").exists(), "{config}");
            }
        }
        number += 1;
    }
    sandbox.run(["store", "verify"]).exits(0);
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

#[test]
fn neighbours_that_come_and_go_are_in_no_build_s_way() {
    if !root() {
        return;
    }
    let sandbox = quick_and_slow();
    fs::create_dir(sandbox.path("lxc")).unwrap_or_default();
    let script = "while ! test -e ../stop; do mkdir sib; : >sib/config; rm -rf sib; done";
    let mut neighbours = sandbox.command("sh");
    let mut neighbours =
        neighbours.args(["-c", script]).current_dir(sandbox.path("lxc")).spawn().unwrap();
    for number in 0..30 {
        let name = format!("c{number}");
        let words = ["create", "m.toml", "--rebuild", "--storage=overlay", "--name", &name];
        let ran = sandbox.run(words.into_iter().chain(["--lxcpath", "../lxc"]));
        ran.exits(0);
        assert!(!ran.stderr().contains("not used"), "{}", ran.stderr());
    }
    fs::write(sandbox.path("stop"), "").unwrap();
    neighbours.wait().unwrap();
}

/// Whoever holds a lock for as long as this is there.
struct Holder(Child);

impl Holder {
    /// Locks a file or a directory alone.
    fn of(sandbox: &Sandbox, path: &Path) -> Self {
        let mut command = sandbox.command("flock");
        command.arg(path).args(["/bin/sh", "-c", "echo held; exec cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn what_is_waited_for_is_told_and_a_signal_ends_the_waiting() {
    if !root() {
        return;
    }
    let sandbox = role();
    let begin = |words: &[&str]| {
        let mut command = sandbox.command(sandbox.program_path());
        command.args(words);
        let mut run = Running::start(&sandbox, command);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(run.is_running(), "{words:?}");
        run
    };
    let create = ["create", "m.toml", "--name", "web1", "--lxcpath", "../lxc"];
    sandbox.run(create).exits(0);
    fs::remove_dir_all(sandbox.container()).unwrap();
    // What decides where layers are made, and an entry that is being removed.
    let work = judge(&sandbox, "printf work | sha256sum | cut -d ' ' -f 1");
    let work = sandbox.path("store/host.meta/locks").join(work.trim());
    let tree =
        fs::read_dir(sandbox.path("store/host/trees")).unwrap().next().unwrap().unwrap().path();
    let making = "another run is making a place to work in the store; waiting for it\n";
    let removing = "warning: `gc` is removing ";
    let rebuild = [&create[..], &["--rebuild"]].concat();
    let gc = ["store", "gc"];
    for (lock, words, told) in
        [(&tree, &create[..], removing), (&work, &rebuild[..], making), (&work, &gc[..], making)]
    {
        let is_gc = words == gc;
        for signal in [Signal::TERM, Signal::INT] {
            let holder = Holder::of(&sandbox, lock);
            let run = begin(words);
            run.signal(signal);
            let ended = run.ended(Duration::from_secs(5));
            let number = signal.as_raw();
            let expected = if is_gc { (None, Some(number)) } else { (Some(128 + number), None) };
            assert_eq!((ended.status.code(), ended.status.signal()), expected, "{}", ended.said);
            assert_eq!(ended.said.matches(told).count(), 1, "{}", ended.said);
            assert!(!sandbox.container().exists());
            drop(holder);
        }
        let holder = Holder::of(&sandbox, lock);
        let run = begin(words);
        drop(holder);
        let ended = run.ended(Duration::from_secs(20));
        assert!(ended.status.success(), "{}", ended.said);
        assert_eq!(ended.said.matches(told).count(), 1, "{}", ended.said);
        if !is_gc {
            fs::remove_dir_all(sandbox.container()).unwrap();
        }
    }
}

/// Returns what a shell prints.
fn judge(sandbox: &Sandbox, script: &str) -> String {
    let mut command = sandbox.command("/bin/sh");
    command.args(["-ec", script]);
    sandbox.ran(command).exits(0).stdout()
}
