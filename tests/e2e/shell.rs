//! `layered-template shell`: what a failed run left, and a container, entered as a step is.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::caller::Caller;
use crate::lab::Lab;

const FAILING: &str = r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "in"
post = { in = "rootfs", run = "echo evidence >/evidence; chown 7:9 /evidence; exit 3" }
"#;

const SOUND: &str = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";

/// What shows that one is inside, and as whom.
const LOOK: &str = "cat /evidence; stat -c %u:%g /evidence; id -u; hostname; grep -c . /proc/1/cmdline; \
                    test -c /dev/null && ! mount -t tmpfs none /mnt 2>/dev/null && exit 5";

#[test]
fn a_failed_run_is_entered_as_root() {
    failed_run(Caller::Root);
}

#[test]
fn a_failed_run_is_entered_as_an_ordinary_user() {
    failed_run(Caller::User);
}

#[test]
fn a_container_is_entered_as_root() {
    container(Caller::Root);
}

#[test]
fn a_container_is_entered_as_an_ordinary_user() {
    container(Caller::User);
}

#[test]
fn a_terminal_of_its_own_is_joined_to_the_caller_s() {
    let Some(lab) = Lab::open(Caller::User, &["script"]) else {
        return;
    };
    let name = made(&lab);
    let command = format!(
        "{} shell {name} -P {} -- /bin/sh -c 'test -t 0 && test -t 1 && echo typed: $(head -n 1)'",
        lab.program().display(),
        lab.lxcpath().display()
    );
    // Through `script` the caller has a terminal; what is typed there comes from a pipe.
    let feed =
        format!("echo hello | script -qec {} /dev/null", shlex::try_quote(&command).unwrap());
    let outcome = lab.call(["sh", "-c", &feed]).outcome().success();
    assert!(outcome.stdout.contains("typed: hello"), "{outcome}");
    lab.destroy(&name);
}

#[test]
fn a_directory_of_the_host_is_no_standard_input() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";
    let manifest = lab.write("work/plain.toml", text);
    let name = lab.name("shell");
    lab.create(&name, &manifest).outcome().success();
    let shell = "exec \"$@\" -- sh -c 'cat /proc/self/fd/0/../etc/hostname' </etc";
    let call = lab.call(["sh", "-c", shell, "sh"]).arg(lab.program()).args(["shell", &name, "-P"]);
    let outcome = call.arg(lab.lxcpath()).outcome().code(6);
    assert!(outcome.stderr.contains("standard input must not be a directory"), "{outcome}");
    assert_eq!(outcome.stdout, "");
    lab.destroy(&name);
}

#[test]
fn nothing_of_the_caller_s_environment_is_seen_inside() {
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else { continue };
        let name = made(&lab);
        let look = "env; cat /proc/[0-9]*/environ 2>&1 | tr '\\0' '\\n'";
        let shell = lab.call([lab.program()]).args(["shell", &name, "-P"]).arg(lab.lxcpath());
        let shell = shell.args(["--", "/bin/sh", "-c", look]).env("SITE_TOKEN", "hunter2");
        let outcome = shell.outcome().success();
        assert!(outcome.stdout.contains("PATH="), "{outcome}");
        assert!(!outcome.stdout.contains("hunter2"), "{outcome}");
        lab.destroy(&name);
    }
}

#[test]
fn what_is_not_there_is_said() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let outcome = lab.call([lab.program()]).args(["shell", "absent"]).outcome().code(2);
    assert!(outcome.stderr.contains("neither a container `absent`"), "{outcome}");
}

fn failed_run(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let manifest = lab.write("work/failing.toml", FAILING);
    let name = lab.name("failed");
    let outcome = lab.create(&name, &manifest).arg("--keep-failed").outcome().code(1);
    lab.assert_absent(&name);
    // The message says how to enter it.
    let said = outcome.stderr;
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: to look around: `"));
    let command = hint.expect(&said).trim_end_matches('`');
    let run = command.strip_prefix("layered-template shell ").expect(command);
    for place in [run, name.as_str()] {
        let outcome = lab
            .call([lab.program()])
            .args(["shell", place, "-P"])
            .arg(lab.lxcpath())
            .args(["--", "/bin/sh", "-c", LOOK])
            .outcome()
            .code(5);
        assert_eq!(outcome.stdout, format!("evidence\n7:9\n0\n{name}\n1\n"));
    }
    lab.assert_quiet(std::time::Duration::from_secs(5));
}

fn container(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let name = made(&lab);
    let inside = |words: &[&str]| {
        let call = lab.call([lab.program()]).args(["shell", &name, "-P"]).arg(lab.lxcpath());
        call.arg("--").args(words).outcome().success().stdout
    };
    assert_eq!(inside(&["/bin/sh", "-c", "hostname"]).trim(), name);
    // Where the applets are depends on the busybox.
    let readlink = "readlink /proc/self/fd/0";
    assert_eq!(inside(&["/bin/sh", "-c", readlink]), "/dev/null\n");
    lab.destroy(&name);
}

fn made(lab: &Lab) -> String {
    let manifest = lab.write("work/sound.toml", SOUND);
    let name = lab.name("sound");
    lab.create(&name, &manifest).outcome().success();
    name
}

#[test]
fn a_terminal_that_takes_nothing_keeps_no_shell_from_hearing() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let name = made(&lab);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let theirs = ioctl_tiocgptpeer(&terminal, flags).unwrap();
    let stream = || theirs.try_clone().unwrap();
    let mut child = Command::new(lab.program())
        .args(["shell", &name, "-P"])
        .arg(lab.lxcpath())
        .args(["--", "/bin/sh", "-c", "yes something to fill it with"])
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(1500));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let deadline = Instant::now() + Duration::from_secs(8);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            None => sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(status.code(), Some(143), "{status}");
    lab.destroy(&name);
}
