//! Steps that take too long, and signals.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::processes;
use crate::requirement::root;
use crate::sandbox::Sandbox;

#[test]
fn a_step_that_takes_too_long_is_asked_to_end() {
    let sandbox = Sandbox::new().layers(
        "post = { run = 'trap \"echo asked; exit 0\" TERM; sleep 60 & wait || :', timeout = \"1s\" }\n\
         finally = \"echo $LAYER_STATUS >>trace\"\n",
    );
    let started = Instant::now();
    sandbox
        .chain()
        .exits(6)
        .mentions("  os| asked\n")
        .mentions("error: `post` of layer `os` timed out after 1 s\n");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(sandbox.trace(), "6\n");
    assert_eq!(processes::within(&sandbox), Vec::<String>::new());
}

#[test]
fn one_that_does_not_hear_is_killed() {
    let sandbox = Sandbox::new().layers(
        "check = { run = 'trap \"\" TERM; while :; do sleep 1; done', timeout = \"1s\" }\n",
    );
    let started = Instant::now();
    sandbox
        .chain()
        .exits(7)
        .mentions("timed out after 1 s")
        .mentions("hint: `timeout = \"1s\"` at m.toml:6 is its limit\n");
    let elapsed = started.elapsed();
    assert!((10..20).contains(&elapsed.as_secs()), "{elapsed:?}");
    assert_eq!(processes::within(&sandbox), Vec::<String>::new());
}

#[test]
fn each_kind_of_step_has_its_status_at_a_timeout() {
    for (kind, status) in [("pre", 3), ("post", 6), ("check", 7), ("finally", 6)] {
        let sandbox = Sandbox::new()
            .layers(&format!("{kind} = {{ run = \"sleep 60\", timeout = \"1s\" }}\n"));
        sandbox.chain().exits(status);
    }
}

#[test]
fn a_signal_ends_the_run_and_finally_has_its_say() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        let sandbox = Sandbox::new().layers(
            "post = \"touch begun; sleep 60\"\nfinally = \"echo $LAYER_STATUS >>trace\"\n\
             [[layer]]\nname = \"out\"\npost = \"echo never >>trace\"\nfinally = \"echo out >>trace\"\n",
        );
        sandbox.shell();
        let mut command = sandbox.within();
        command.args(sandbox.three()).arg("m.toml");
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        let started = Instant::now();
        while !sandbox.role().join("begun").exists() {
            assert!(started.elapsed() < Duration::from_secs(20), "the step never began");
            std::thread::sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = sandbox.redacted(&String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(128 + number), "{said}");
        assert!(said.contains(&format!("was interrupted by {}", name_of(number))), "{said}");
        assert!(said.ends_with("`lxc-destroy -n web1 -P [DIR]/lxc` removes it\n"), "{said}");
        assert_eq!(sandbox.trace(), format!("{}\nout\n", 128 + number));
        assert_eq!(processes::within(&sandbox), Vec::<String>::new());
    }
}

fn name_of(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        _ => "SIGTERM",
    }
}

/// Ends a run by a signal when it has begun to copy what is stored; false, where it was done by then.
fn ended_in_a_copy(sandbox: &Sandbox) -> bool {
    sandbox.shell();
    let mut command = sandbox.within();
    command.args(sandbox.three()).arg("m.toml");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "os: copying the stored tree\n");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap().code();
    if status == Some(0) {
        return false;
    }
    assert_eq!(status, Some(143), "{rest}");
    assert!(rest.contains("the run was interrupted by SIGTERM"), "{rest}");
    assert_eq!(sandbox.trace(), "143\n");
    true
}

#[test]
fn a_signal_ends_a_copy_in_the_middle() {
    const FILES: usize = 2_000;
    let sandbox = Sandbox::new()
        .upstream(&format!(
            "mkdir \"$rootfs/many\" && cd \"$rootfs/many\" && seq {FILES} | xargs touch"
        ))
        .layers("finally = \"echo $LAYER_STATUS >>trace\"\n");
    if !root() {
        return;
    }
    sandbox.chain().exits(0);
    // The copy may be over before a busy machine comes to send the signal.
    let in_the_middle = (0..10).any(|_| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        fs::remove_file(sandbox.role().join("trace")).unwrap();
        let ended = ended_in_a_copy(&sandbox);
        let copied = fs::read_dir(sandbox.rootfs().join("many"));
        ended && copied.map_or(0, Iterator::count) < FILES
    });
    assert!(in_the_middle, "all was copied each time");

    // What is stored is as it was.
    sandbox.run(["store", "verify"]).exits(0);
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.chain().exits(0).mentions("os: copying the stored tree\n");
    assert_eq!(fs::read_dir(sandbox.rootfs().join("many")).unwrap().count(), FILES);
}
