//! What `store gc` keeps for what is to come, and for containers that it does not see any more.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::requirement::{installed, root};
use crate::sandbox::Sandbox;

fn entries(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.path("store/host/trees")).unwrap().count()
}

/// A role of two layers, the outer of which has a file with `text`.
fn write(sandbox: &Sandbox, manifest: &str, text: &str) {
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"app\"\n\
         [[layer.file]]\npath = \"/etc/app\"\ncontent = \"{text}\"\n"
    );
    fs::write(sandbox.role().join(manifest), text).unwrap();
}

fn role() -> Sandbox {
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"");
    write(&sandbox, "web.toml", "first");
    sandbox
}

fn create(sandbox: &Sandbox, manifest: &str, name: &str, storage: &str) {
    let words = ["create", manifest, "--name", name, "--lxcpath", "../lxc", "--storage", storage];
    sandbox.run(words).exits(0);
}

fn link(sandbox: &Sandbox) -> PathBuf {
    let mut links = fs::read_dir(sandbox.path("store/roots")).unwrap();
    links.next().expect("a container is noted").unwrap().path()
}

/// Sets back the time at which a container was missed by so many hours.
fn wait(sandbox: &Sandbox, hours: u64) {
    let link = link(sandbox);
    let name = link.file_name().unwrap().to_str().unwrap().to_owned();
    let (start, since) = name.rsplit_once('@').unwrap();
    let since = u64::from_str_radix(since, 16).unwrap() - hours * 3_600_000;
    fs::rename(&link, link.with_file_name(format!("{start}@{since:x}"))).unwrap();
}

#[test]
fn the_newest_of_each_role_stays_as_long_as_its_manifest_is_there() {
    if !root() {
        return;
    }
    let sandbox = role();
    let gc = |words: &[&str]| sandbox.run(["store", "gc"].iter().chain(words));
    create(&sandbox, "web.toml", "a", "copy");
    for text in ["second", "third"] {
        write(&sandbox, "web.toml", text);
        create(&sandbox, "web.toml", text, "copy");
    }
    assert_eq!(entries(&sandbox), 4);
    let forecast = gc(&["--keep=2", "--dry-run"]);
    forecast.exits(0).shows("would remove 1 entry, ");
    assert_eq!(entries(&sandbox), 4);
    gc(&["--older-than=1h"]).exits(0).shows("removed 0 entries");
    gc(&["--keep=2"]).exits(0).shows("removed 1 entry");
    // A role that finds all that another one has built stands on it as well.
    write(&sandbox, "twin.toml", "second");
    create(&sandbox, "twin.toml", "twin", "copy");
    gc(&[]).exits(0).shows("removed 0 entries");
    fs::remove_file(sandbox.role().join("twin.toml")).unwrap();
    gc(&[]).exits(0).shows("removed 1 entry");
    // Nothing is rebuilt.
    let again = sandbox.run(["create", "web.toml", "--name", "b", "--lxcpath", "../lxc"]);
    assert!(!again.exits(0).stderr().contains("os: template"), "{}", again.stderr());
    fs::remove_file(sandbox.role().join("web.toml")).unwrap();
    gc(&[]).exits(0).shows("removed 2 entries");
    assert_eq!(fs::read_dir(sandbox.path("store/host.meta/roles")).unwrap().count(), 0);
}

#[test]
fn what_a_failed_run_has_built_stays_beside_what_the_last_good_one_had() {
    if !root() {
        return;
    }
    let sandbox = role();
    create(&sandbox, "web.toml", "a", "copy");
    fs::write(
        sandbox.role().join("web.toml"),
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\nargs = { x = \"y\" }\n\
         [[layer]]\nname = \"app\"\nstore = true\npost = \"exit 3\"\n",
    )
    .unwrap();
    sandbox.run(["create", "web.toml", "--name", "b", "--lxcpath", "../lxc"]).exits(6);
    assert_eq!(entries(&sandbox), 3);
    sandbox.run(["store", "gc"]).exits(0).shows("removed 0 entries");
}

#[test]
fn what_a_container_stood_on_that_has_vanished_stays_for_a_day() {
    if !root() {
        return;
    }
    for moves in [true, false] {
        let sandbox = role();
        let gc = |words: &[&str]| sandbox.run(["store", "gc", "--keep=0"].iter().chain(words));
        create(&sandbox, "web.toml", "a", "overlay");
        let (from, to) = (sandbox.path("lxc/a"), sandbox.path("elsewhere/a"));
        fs::create_dir(sandbox.path("elsewhere")).unwrap();
        fs::rename(&from, &to).unwrap();
        let told = "lxc/a/config` is gone; ";
        gc(&["--dry-run"]).exits(0).shows("would remove 0 entries").mentions(told);
        for hours in [0, 22, 1] {
            gc(&[]).exits(0).shows("removed 0 entries").mentions(told);
            wait(&sandbox, hours);
        }
        if moves {
            // It is found where it is, and known from then on.
            let elsewhere = sandbox.path("elsewhere");
            wait(&sandbox, 2);
            let words = ["--lxcpath", elsewhere.to_str().unwrap()];
            let moved = "config` names `[DIR]/role/../lxc/a/delta`, where the container is not";
            gc(&words).exits(0).shows("removed 0 entries").mentions(moved);
            let config = fs::read_to_string(to.join("config")).unwrap();
            let delta = config.replace("/lxc/a/delta", "/elsewhere/a/delta");
            fs::write(to.join("config"), delta).unwrap();
            gc(&[]).exits(0).shows("removed 0 entries").says("");
            assert_eq!(entries(&sandbox), 2);
            continue;
        }
        // It comes back, and is missed anew when it goes again.
        fs::rename(&to, &from).unwrap();
        gc(&[]).exits(0).shows("removed 0 entries").says("");
        fs::rename(&from, &to).unwrap();
        gc(&[]).exits(0).shows("removed 0 entries").mentions(told);
        wait(&sandbox, 24);
        gc(&[]).exits(0).shows("removed 2 entries");
        assert_eq!(fs::read_dir(sandbox.path("store/roots")).unwrap().count(), 0);
    }
}

#[test]
fn what_many_containers_stood_on_is_told_in_one_line() {
    if !root() {
        return;
    }
    let sandbox = role();
    for name in ["a", "b", "c"] {
        create(&sandbox, "web.toml", name, "overlay");
        fs::remove_dir_all(sandbox.path("lxc").join(name)).unwrap();
    }
    let ran = sandbox.run(["store", "gc", "--keep=0"]);
    let said = ran.exits(0).shows("removed 0 entries").stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
    ran.mentions(
        "3 containers are gone or use something else now; what they used stays for a day: ",
    );
    ran.mentions("/lxc/a/config`").mentions("/lxc/c/config`");
}

#[test]
fn a_list_fits_the_terminal_and_is_whole_elsewhere() {
    if !root() {
        return;
    }
    let long = "a-layer-whose-name-goes-on-and-on";
    let about = "What this role is for, in more words than a line has room for, to be sure";
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").manifest(&format!(
        "manifest = 1\ndescription = \"{about}\"\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n\
         [[layer]]\nname = \"{long}\"\nstore = true\npost = \"true\"\n"
    ));
    for words in [&["build", "m.toml"][..], &["build", "m.toml", "--rebuild"]] {
        sandbox.run(words).exits(0);
    }
    let whole = sandbox.run(["store", "list"]).exits(0).stdout();
    assert!(whole.contains(long) && whole.contains(about), "{whole}");
    let mut command = sandbox.command("script");
    let list = format!("stty cols 80; '{}' store list", sandbox.program_path().display());
    command.args(["-qec", &list, "/dev/null"]);
    let listed = sandbox.ran(command).exits(0).stdout();
    assert_eq!(listed.lines().count(), 5, "{listed}");
    for line in listed.lines() {
        assert!(line.trim_end().chars().count() <= 80, "{line}");
    }
    assert!(listed.contains("(superseded)") && listed.contains("a-lay"), "{listed}");
    let whole = sandbox.run(["store", "list", "--format=json"]).exits(0).stdout();
    assert!(whole.contains(long) && whole.contains(about), "{whole}");
}

#[test]
fn a_directory_of_containers_that_is_none_is_an_error() {
    let sandbox = role();
    sandbox.run(["store", "gc", "--lxcpath", "/nowhere"]).exits(2).mentions("/nowhere");
}

#[test]
fn nothing_is_removed_where_nobody_knows_what_is_used() {
    if !root() {
        return;
    }
    let sandbox = role();
    create(&sandbox, "web.toml", "a", "overlay");
    let id =
        link(&sandbox).file_name().unwrap().to_str().unwrap().split('@').nth(1).unwrap().to_owned();
    fs::remove_dir_all(sandbox.path("store/roots")).unwrap();
    sandbox.run(["store", "remove", &id]).exits(8).mentions("records what containers use");
    assert_eq!(entries(&sandbox), 2);
    sandbox.run(["store", "remove", "--forget", &id]).exits(0);
    assert_eq!(entries(&sandbox), 1);
}

#[test]
fn a_store_that_others_may_write_into_is_not_used() {
    if !root() {
        return;
    }
    for inside in ["host", "host.meta", "roots"] {
        let sandbox = role();
        create(&sandbox, "web.toml", "a", "overlay");
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(sandbox.path("store").join(inside), open).unwrap();
        let words = ["create", "web.toml", "--name", "b", "--lxcpath", "../lxc"];
        let ran = sandbox.run(words);
        ran.exits(0).mentions("the layer store is not used").mentions("chmod -R go-w ");
        ran.mentions(&format!("others may write into `{inside}`")).mentions("os: template fake");
    }
}

#[test]
fn a_container_that_is_being_made_is_not_forgotten() {
    if !root() {
        return;
    }
    let sandbox = role();
    create(&sandbox, "web.toml", "a", "overlay");
    let container = sandbox.path("lxc/a");
    let config = fs::read_to_string(container.join("config")).unwrap();
    // As a run leaves it between noting the container and naming the tree, and LXC while it rewrites.
    fs::write(container.join("partial"), "").unwrap();
    for text in ["", "lxc.rootfs.path = dir:/elsewhere\n"] {
        fs::write(container.join("config"), text).unwrap();
        sandbox.run(["store", "gc", "--keep=0", "--forget"]).exits(0).shows("removed 0 entries");
    }
    fs::write(container.join("config"), config).unwrap();
    fs::remove_file(container.join("partial")).unwrap();
    sandbox.run(["store", "gc", "--keep=0"]).exits(0).shows("removed 0 entries").says("");
}

#[test]
fn a_container_that_takes_the_place_of_a_forgotten_one_keeps_its_tree() {
    if !root() {
        return;
    }
    let sandbox = role();
    let gc = ["store", "gc", "--keep=0", "--forget"];
    for number in 0..15 {
        create(&sandbox, "web.toml", "a", "overlay");
        fs::remove_dir_all(sandbox.path("lxc/a")).unwrap();
        let mut command = sandbox.command(sandbox.program_path());
        let mut cleaning = command.args(gc).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(number));
        create(&sandbox, "web.toml", "a", "overlay");
        assert!(cleaning.wait().unwrap().success());
        sandbox.run(["store", "gc", "--keep=0"]).exits(0);
        let config = fs::read_to_string(sandbox.path("lxc/a/config")).unwrap();
        let tree = config.split("overlay:").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
        assert!(Path::new(tree).join("etc/app").exists(), "after {number} ms: {tree}");
        fs::remove_dir_all(sandbox.path("lxc/a")).unwrap();
    }
}

/// Waits until a trace says that one more process has stopped than were `seen`, and returns it; `None`, once `is_over`.
fn stopped(trace: &Path, seen: usize, mut is_over: impl FnMut() -> bool) -> Option<Pid> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let was_over = is_over();
        let text = fs::read_to_string(trace).unwrap_or_default();
        // All threads of a process stop; one of them had the signal.
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let had = |words: &[&str]| words.get(1..3) == Some(&["---", "SIGSTOP"]);
        let signal = lines.iter().enumerate().filter(|(_, words)| had(words)).nth(seen);
        if let Some((at, words)) = signal
            && lines[at..].contains(&vec![words[0], "---", "stopped", "by", "SIGSTOP", "---"])
        {
            return Pid::from_raw(words[0].parse().unwrap());
        }
        if was_over {
            return None;
        }
        assert!(Instant::now() < end, "{text}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whenever gc looks at what there is, what is made between that look and the next one stays.
#[test]
fn what_is_made_between_two_looks_of_gc_stays() {
    if !root() || !installed("strace") {
        return;
    }
    let sandbox = role();
    create(&sandbox, "web.toml", "first", "copy");
    let mut looks = 0;
    loop {
        let mut gc = sandbox.command("strace");
        let trace = sandbox.path("trace");
        gc.arg("-f").arg("-o").arg(&trace).arg("--trace=getdents64");
        for directory in ["entries", "last", "roles"] {
            gc.arg("-P").arg(sandbox.path("store/host.meta").join(directory));
        }
        // The second call of each look finds that there is nothing more.
        gc.arg(format!("--inject=getdents64:signal=STOP:when={}", 2 * looks + 2));
        gc.arg(sandbox.program_path()).args(["store", "gc"]).stdout(Stdio::null());
        let mut child = gc.stderr(Stdio::null()).spawn().unwrap();
        let found = stopped(&trace, 0, || child.try_wait().unwrap().is_some());
        let name = format!("made{looks}");
        if let Some(gc) = found {
            write(&sandbox, "web.toml", &name);
            create(&sandbox, "web.toml", &name, "overlay");
            kill_process(gc, Signal::CONT).unwrap();
        }
        assert!(child.wait().unwrap().success(), "{looks}");
        fs::remove_file(&trace).unwrap();
        if found.is_none() {
            break;
        }
        let config = fs::read_to_string(sandbox.path("lxc").join(&name).join("config")).unwrap();
        let entry = config.split("/trees/").nth(1).unwrap().split('/').next().unwrap();
        let document = sandbox.path("store/host.meta/entries").join(entry);
        assert!(document.exists(), "at look {looks} gc took what `{name}` stands on");
        let names = |directory: &str| {
            fs::read_dir(sandbox.path("store/host.meta").join(directory)).unwrap().count()
        };
        assert_eq!((names("roles"), names("last")), (1, 2), "at look {looks}");
        looks += 1;
    }
    assert!(looks > 4, "gc looked {looks} times");
    sandbox.run(["store", "verify"]).exits(0);
}

/// Runs a command that stops behind one of its calls, and gc as long as it does; false, where it makes fewer of them.
fn with_gc_within(sandbox: &Sandbox, verb: &str, call: &str, count: usize) -> bool {
    let trace = sandbox.path("trace");
    let mut command = sandbox.command("strace");
    command.arg("-f").arg("-o").arg(&trace).arg(format!("--trace={call}"));
    command.arg(format!("--inject={call}:signal=STOP:when={count}")).arg(sandbox.program_path());
    command.args([verb, "-P", "../lxc", "c"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stops = 0;
    // Each of its processes stops there.
    while let Some(id) = stopped(&trace, stops, || child.try_wait().unwrap().is_some()) {
        let mut gc = sandbox.command("timeout");
        gc.arg("30").arg(sandbox.program_path());
        let cleaned = sandbox.ran({
            gc.args(["store", "gc", "--forget", "--keep=0"]);
            gc
        });
        kill_process(id, Signal::CONT).unwrap();
        cleaned.exits(0);
        stops += 1;
    }
    assert!(child.wait().unwrap().success(), "{verb}, {call} {count}");
    fs::remove_file(&trace).unwrap();
    stops > 0
}

/// At whichever rename gc comes, what a container is, was and becomes stays.
#[test]
fn what_a_container_is_being_put_on_stays_at_each_rename_of_the_switch() {
    if !root() || !installed("strace") {
        return;
    }
    let sandbox = role();
    create(&sandbox, "web.toml", "c", "overlay");
    let mut stops = 0;
    for call in ["rename", "renameat", "renameat2"] {
        for count in 1.. {
            write(&sandbox, "web.toml", &format!("{call} {count}"));
            let stopped = ["upgrade", "rollback"].map(|verb| {
                let stopped = with_gc_within(&sandbox, verb, call, count);
                let config = fs::read_to_string(sandbox.path("lxc/c/config")).unwrap();
                let entry = config.split("/trees/").nth(1).unwrap().split('/').next().unwrap();
                for place in ["host/trees", "host.meta/entries", "host.meta/lists"] {
                    let path = sandbox.path("store").join(place).join(entry);
                    assert!(path.exists(), "{verb}, {call} {count}: {place}");
                }
                stopped
            });
            stops += stopped.iter().filter(|stopped| **stopped).count();
            if stopped == [false; 2] {
                break;
            }
        }
    }
    assert!(stops > 10, "{stops} renames");
    sandbox.run(["store", "verify"]).exits(0);
}
