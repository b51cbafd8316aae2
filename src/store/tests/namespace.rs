//! A test that runs once more in a process of its own, where it may mount.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountFlags, mount};

use crate::store::layout::unique;

/// What tells a test that it is in its namespace.
const WITHIN: &str = "LT_WITHIN";

/// Where to work, instead of on a tmpfs: to try another filesystem.
pub(super) const PLACE: &str = "LT_SEQUENCES_IN";

/// Where nothing is looked for in a namespace of its own.
const COVERED: &str = "/tmp";

/// As whom a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    /// Root of a user namespace, as in an unprivileged container.
    Mapped,
}

/// Ids that no user of this host has.
const MAP: &str = "0 1900000000 65536\n";

/// Runs `test` in a mount namespace of its own, with an empty directory. `name` is that of the test
/// which calls this.
pub(crate) fn run(name: &str, who: Who, test: fn(&Path)) {
    if std::env::var_os(WITHIN).is_some() {
        return test(&place());
    }
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    if !rustix::process::geteuid().is_root() || !map.split_whitespace().eq(["0", "0", "4294967295"])
    {
        return skipped("not root of the host");
    }
    // It may lie where mapped root cannot come to: it is named by a descriptor that is handed on.
    let program = openat(CWD, "/proc/self/exe", OFlags::PATH, Mode::empty()).unwrap();
    let program = format!("/proc/self/fd/{}", program.as_raw_fd());
    let namespace = (who == Who::Mapped).then(Namespace::new);
    let mut command = Command::new("nsenter");
    if let Some(namespace) = &namespace {
        command.args(["--user", "--setuid=0", "--setgid=0", "--target", &namespace.id()]);
    }
    // As a run has it: whoever works in a path of this name elsewhere is not there.
    command.args(["unshare", "--mount", "--propagation", "private", "--pid", "--fork"]);
    command.args(["--mount-proc", "--"]);
    command.arg(program).args(["--exact", name, "--nocapture"]).env(WITHIN, "1");
    let output = command.output().unwrap();
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    let [out, errors] = &said;
    assert!(output.status.success(), "{}: {out}{errors}", output.status);
    assert!(out.contains("1 passed"), "{out}{errors}");
}

fn place() -> PathBuf {
    match std::env::var_os(PLACE) {
        Some(place) => {
            let place = PathBuf::from(place).join(unique().unwrap());
            fs::create_dir(&place).unwrap();
            place
        }
        None => {
            mount("tmpfs", COVERED, "tmpfs", MountFlags::empty(), Some(c"mode=0755")).unwrap();
            PathBuf::from(COVERED)
        }
    }
}

/// A user namespace with a map of ids, which only the host's root can make. It ends with this.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--user", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let namespace = Self(command.spawn().unwrap());
        let id = namespace.id();
        // Nobody can map ids of a namespace that is not there yet.
        let own = fs::read_link("/proc/self/ns/user").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while fs::read_link(format!("/proc/{id}/ns/user")).unwrap() == own {
            assert!(Instant::now() < deadline, "there is no user namespace");
            std::thread::sleep(Duration::from_millis(1));
        }
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{id}/{file}"), MAP).unwrap();
        }
        namespace
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Says that a test was not run.
#[expect(clippy::print_stdout, reason = "a test has nobody else to tell")]
fn skipped(why: &str) {
    println!("skipped: {why}");
}
