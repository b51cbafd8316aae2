//! Who reads what a run says, and who does not.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::processes;
use crate::running::Running;
use crate::sandbox::Sandbox;

/// A step that prints more than all pipes on the way hold, and then waits.
const LOUD: &str = "post = '''seq -f 'line %.0f of a step that has much to say' 1 20000; \
    touch begun; sleep 60'''\nfinally = \"echo start >>trace; sleep 1; echo end >>trace\"\n";

fn call(sandbox: &Sandbox) -> Command {
    sandbox.shell();
    let mut command = sandbox.within();
    command.args(sandbox.three()).arg("m.toml").stdout(Stdio::null());
    command
}

/// A named pipe with a reader that does not read.
fn stalled(sandbox: &Sandbox) -> (File, File) {
    let path: PathBuf = sandbox.path("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = OpenOptions::new().read(true).custom_flags(libc_nonblock()).open(&path).unwrap();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    (reader, writer)
}

fn libc_nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap()
}

/// Whatever standard error may be, with somebody at the other end who does not read.
fn stalled_kinds(sandbox: &Sandbox) -> Vec<(&'static str, OwnedFd, OwnedFd)> {
    let (reader, writer) = stalled(sandbox);
    let (near, far) = UnixStream::pair().unwrap();
    let (pipe, end) = std::io::pipe().unwrap();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let theirs = ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    vec![
        ("fifo", reader.into(), writer.into()),
        ("socket", near.into(), far.into()),
        ("pipe", pipe.into(), end.into()),
        ("terminal", terminal, theirs),
    ]
}

#[test]
fn a_reader_that_stalls_makes_no_run_deaf() {
    let kinds = stalled_kinds(&Sandbox::new());
    let formats = ["text", "json", "text", "text"];
    for ((kind, reader, writer), format) in kinds.into_iter().zip(formats) {
        let sandbox = Sandbox::new().layers(LOUD);
        let mut command = call(&sandbox);
        command.args(["--log-format", format]).stderr(writer);
        let mut running = Running::start_unread(&sandbox, command);
        sleep(Duration::from_millis(1500));
        let sent = Instant::now();
        running.signal(Signal::TERM);
        running.waits_for(|| sandbox.trace().contains("start"));
        assert!(sent.elapsed() < Duration::from_secs(1), "{kind}: {:?}", sent.elapsed());
        let ended = running.ended(Duration::from_secs(6));
        assert_eq!(ended.status.code(), Some(143), "{kind}");
        assert_eq!(sandbox.trace(), "start\nend\n");
        assert_eq!(processes::within(&sandbox), Vec::<String>::new());
        drop(reader);
    }
}

#[test]
fn a_step_that_takes_too_long_ends_though_nobody_reads() {
    let sandbox = Sandbox::new().layers(
        "post = { run = \"yes\", timeout = \"2s\" }\nfinally = \"echo $LAYER_STATUS >>trace\"\n",
    );
    let (reader, writer) = stalled(&sandbox);
    let mut command = call(&sandbox);
    command.stderr(writer);
    let mut running = Running::start_unread(&sandbox, command);
    running.waits_for(|| sandbox.trace() == "6\n");
    // It waits for the reader now, and hears.
    running.signal(Signal::TERM);
    assert_eq!(running.ended(Duration::from_secs(5)).status.code(), Some(6));
    drop(reader);
}

#[test]
fn a_slow_reader_gets_everything_in_order() {
    let sandbox = Sandbox::new()
        .layers("post = \"seq -f 'line %.0f of a step that has much to say' 1 60000\"\n");
    let mut command = call(&sandbox);
    command.stderr(Stdio::piped());
    let mut running = Running::start_unread(&sandbox, command);
    let mut from = running.take_stderr();
    sleep(Duration::from_millis(1500));
    let mut said = String::new();
    from.read_to_string(&mut said).unwrap();
    assert_eq!(running.ended(Duration::from_secs(10)).status.code(), Some(0));
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("  os| line ")).collect();
    assert_eq!(lines.len(), 60000);
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        assert_eq!(*line, format!("  os| line {number} of a step that has much to say"));
    }
    assert!(!said.contains("left out"));
}

#[test]
fn what_a_stalled_reader_does_not_take_is_in_the_log() {
    for format in ["text", "json"] {
        let sandbox = Sandbox::new().layers(
            "post = \"seq -f 'line %.0f of a step that has much to say' 1 60000; echo last; false\"\n\
             finally = \"echo done >>trace\"\n",
        );
        let mut command = call(&sandbox);
        command.args(["--log-format", format]).stderr(Stdio::piped());
        let mut running = Running::start_unread(&sandbox, command);
        let mut from = running.take_stderr();
        // Nobody reads, and the run goes on all the same.
        running.waits_for(|| sandbox.trace() == "done\n");
        let mut said = String::new();
        from.read_to_string(&mut said).unwrap();
        assert_eq!(running.ended(Duration::from_secs(10)).status.code(), Some(6));
        assert_eq!(said.matches("of output are left out here").count(), 1, "{}", said.len());
        assert!(said.contains("line 10000 of"), "{}", said.len());
        assert!(!said.contains("line 50000 of"), "{}", said.len());
        let run = sandbox.left().remove(0);
        let log = run.join("log");
        let at = said.find("of output are left out here").unwrap();
        assert!(said[at..].contains(log.to_str().unwrap()), "{}", &said[at..]);
        assert!(said[at..].contains("`post` of layer `os` ended with status 1"), "{}", &said[at..]);
        if format == "json" {
            for line in said.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
        let log = fs::read_to_string(log).unwrap();
        let lines = log.lines().filter(|line| line.starts_with("line ")).enumerate();
        assert_eq!(lines.clone().count(), 60000);
        for (index, line) in lines {
            assert_eq!(line, format!("line {} of a step that has much to say", index + 1));
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let sandbox = Sandbox::new().layers(
        "post = \"seq -f 'line %.0f of a step that has much to say' 1 60000\"\n\
         finally = \"echo $LAYER_STATUS >>trace\"\n",
    );
    let mut command = call(&sandbox);
    command.stderr(Stdio::piped());
    let mut running = Running::start_unread(&sandbox, command);
    let mut from = running.take_stderr();
    from.read_exact(&mut [0; 100]).unwrap();
    drop(from);
    assert_eq!(running.ended(Duration::from_secs(20)).status.code(), Some(0));
    assert_eq!(sandbox.trace(), "0\n");
}

#[test]
fn the_callers_own_end_stays_as_it_is() {
    let sandbox = Sandbox::new().layers("post = \"touch begun; sleep 1\"\n");
    let (reader, writer) = stalled(&sandbox);
    let mut command = call(&sandbox);
    command.stderr(writer.try_clone().unwrap());
    let mut running = Running::start_unread(&sandbox, command);
    running.waits_for(|| sandbox.role().join("begun").exists());
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "{flags:?}");
    assert_eq!(running.ended(Duration::from_secs(9)).status.code(), Some(0));
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "{flags:?}");
    drop(reader);
}
