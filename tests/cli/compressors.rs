//! `zstd` and `xz` of the host, where they do not do what they should.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::requirement::root;
use crate::running::Running;
use crate::sandbox::Sandbox;

/// What is written, by which program, and by which words.
const OUTPUTS: [(&str, &[&str]); 3] = [
    ("zstd", &["tar:../out/w.tar.zst"]),
    ("zstd", &["oci:../out/image:web", "--compression=zstd"]),
    ("xz", &["tar:../out/w.tar.xz"]),
];

/// Calls the program's namesake of the host.
const REAL: &str = "PATH=/usr/bin:/bin; ${0##*/} \"$@\"";

/// A role that is stored already, of more bytes than a pipe holds.
fn stored() -> Sandbox {
    let upstream = "head -c 3M /dev/urandom >\"$rootfs/noise\"";
    let sandbox = Sandbox::new().upstream(upstream).layers("");
    fs::create_dir(sandbox.path("out")).unwrap();
    sandbox.run(["build", "m.toml"]).exits(0);
    sandbox
}

/// Puts a script before the programs of the host.
fn with(sandbox: Sandbox, program: &str, script: &str) -> Sandbox {
    let programs = sandbox.path("programs");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
    fs::create_dir(&programs).unwrap();
    let name = format!("programs/{program}");
    sandbox.program(&name, &format!("#!/bin/sh\n{script}\n")).env("PATH", path)
}

/// Sees that nothing was written, and nothing is kept.
#[track_caller]
fn assert_nothing_left(sandbox: &Sandbox, what: &str) {
    for place in ["out", "store/host.meta/blobs"] {
        let files = files(&sandbox.path(place));
        assert!(files.is_empty(), "{what}: {files:?}");
    }
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}

#[test]
fn what_was_not_compressed_is_not_written() {
    if !root() {
        return;
    }
    for (program, words) in OUTPUTS {
        let unlike = format!("`{program}` has not written what it was given, compressed");
        let failed = |why: &str| format!("`{program}` failed: {why}");
        for (script, why) in [
            ("cat >/dev/null", &unlike),
            ("cat >/dev/null; echo garbage", &unlike),
            ("exec cat", &unlike),
            (&format!("cat >/dev/null; {REAL} </dev/null"), &unlike),
            (&format!("{REAL} >\"$0.all\"; head -c 100000 \"$0.all\""), &unlike),
            (&format!("cat >\"$0.all\"; head -c 100000 \"$0.all\" | {{ {REAL}; }}"), &unlike),
            (&format!("cat >\"$0.all\"; echo more >>\"$0.all\"; {REAL} <\"$0.all\""), &unlike),
            ("cat >/dev/null; echo first >&2; echo broken >&2; exit 3", &failed("broken")),
            ("cat >/dev/null; exit 4", &failed("it ended with status 4")),
            ("exec <&-; exit 0", &failed("it ended with status 0")),
            ("kill -9 $$", &failed("it was ended by SIGKILL")),
            ("yes 'much is wrong' | head -n 200000 >&2; exit 1", &failed("much is wrong")),
        ] {
            let sandbox = with(stored(), program, script);
            let ran = sandbox.run(["build", "m.toml", "-o"].iter().chain(words));
            ran.exits(8).mentions(why);
            assert_nothing_left(&sandbox, script);
        }
        let sandbox = with(stored(), program, &format!("echo 'all is well' >&2; {REAL}"));
        sandbox.run(["build", "m.toml", "-o"].iter().chain(words)).exits(0);
    }
}

#[test]
fn what_is_not_installed_is_named() {
    if !root() {
        return;
    }
    for (program, words) in OUTPUTS {
        let sandbox = stored();
        let programs = sandbox.path("programs");
        fs::create_dir(&programs).unwrap();
        symlink("/usr/bin/env", programs.join("env")).unwrap();
        let sandbox = sandbox.env("PATH", programs.to_str().unwrap());
        let ran = sandbox.run(["build", "m.toml", "-o"].iter().chain(words));
        ran.exits(8).mentions(&format!("`{program}` is not installed"));
        assert_nothing_left(&sandbox, program);
    }
}

/// Sees that a process ends: what was killed does so when the kernel comes to it.
#[track_caller]
fn assert_ends(id: &str) {
    let is_gone = || {
        let state = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    };
    let begun = Instant::now();
    while !is_gone() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{id}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_compresses_can_be_ended_and_ends_with_the_program() {
    if !root() {
        return;
    }
    for (program, words) in OUTPUTS {
        let sandbox = with(stored(), program, "echo $$ >\"$0.id\"; exec sleep 1000");
        let path = sandbox.path(format!("programs/{program}.id"));
        let mut command = sandbox.command(sandbox.program_path());
        command.args(["build", "m.toml", "-o"]).args(words);
        let mut running = Running::start(&sandbox, command);
        running.waits_for(|| fs::read_to_string(&path).is_ok_and(|id| id.ends_with('\n')));
        let id = fs::read_to_string(&path).unwrap().trim().to_owned();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        assert!(status.contains("SigBlk:\t0000000000000000\n"), "{program}: {status}");
        running.signal(Signal::KILL);
        running.ended(Duration::from_secs(10));
        assert_ends(&id);
    }
}

#[test]
fn a_signal_ends_what_compresses() {
    if !root() {
        return;
    }
    for (program, words) in OUTPUTS {
        for (script, signal, status) in [
            // It takes nothing; it takes all; it has started something that holds what it has.
            ("echo $$ >\"$0.ids\"; exec sleep 1000", Signal::TERM, 143),
            ("cat >/dev/null; echo $$ >\"$0.ids\"; exec sleep 1000", Signal::INT, 130),
            ("trap '' TERM; sleep 1000 & echo $$ $! >\"$0.ids\"; wait", Signal::HUP, 129),
        ] {
            let sandbox = with(stored(), program, script);
            let ids = sandbox.path(format!("programs/{program}.ids"));
            let mut command = sandbox.command(sandbox.program_path());
            command.args(["build", "m.toml", "-o"]).args(words);
            let mut running = Running::start(&sandbox, command);
            running.waits_for(|| fs::read_to_string(&ids).is_ok_and(|ids| ids.ends_with('\n')));
            running.signal(signal);
            let ended = running.ended(Duration::from_secs(10));
            assert_eq!(ended.status.code(), Some(status), "{script}: {}", ended.said);
            assert!(ended.said.contains("is not written: interrupted by"), "{}", ended.said);
            for id in fs::read_to_string(&ids).unwrap().split_whitespace() {
                assert_ends(id);
            }
            assert_nothing_left(&sandbox, script);
        }
    }
}

#[test]
fn what_decompresses_a_layer_neither_holds_up_a_pull_nor_outlives_it() {
    let Some(registry) = crate::registry::start() else { return };
    let role = || {
        let upstream = "seq 100000 >\"$rootfs/numbers\"";
        Sandbox::new().upstream(upstream).layers("")
    };
    let repository = registry.repository("web");
    role().run(["push", "m.toml", &repository, "--compression=zstd"]).exits(0);
    let words = ["pull", "m.toml", "--from", &repository, "--allow-untrusted"];
    // It says much that nobody asked for, and leaves something that holds what it has.
    for script in [
        &format!("yes 'much is well' | head -n 200000 >&2; {REAL}"),
        &format!("sleep 1000 & {REAL}"),
    ] {
        let host = with(role(), "zstd", script);
        let mut command = host.command("timeout");
        command.arg("60").arg(host.program_path()).args(words);
        host.ran(command).exits(0);
    }
    let host = with(role(), "zstd", "echo it is broken >&2; echo twice >&2; exit 1");
    host.run(words).exits(10).mentions("`zstd` failed: it is broken");
    for (script, signal, status) in [
        ("echo $$ >\"$0.ids\"; exec sleep 1000", Signal::TERM, 143),
        ("trap '' TERM; sleep 1000 & echo $! >\"$0.ids\"; exec >&-; wait", Signal::INT, 130),
    ] {
        let host = with(role(), "zstd", script);
        let ids = host.path("programs/zstd.ids");
        let mut command = host.command(host.program_path());
        command.args(words);
        let mut running = Running::start(&host, command);
        running.waits_for(|| fs::read_to_string(&ids).is_ok_and(|ids| ids.ends_with('\n')));
        running.signal(signal);
        let ended = running.ended(Duration::from_secs(10));
        assert_eq!(ended.status.code(), Some(status), "{script}: {}", ended.said);
    }
}
