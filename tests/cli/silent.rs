//! `plan` looks, runs nothing and touches nothing: strace is the witness. `validate` asks LXC for
//! its version, and no more.

use crate::listing;
use crate::requirement::{installed, skip};
use crate::sandbox::Sandbox;

/// System calls that change something, or start something.
const CHANGES: [&str; 31] = [
    "creat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "mknod",
    "mknodat",
    "truncate",
    "ftruncate",
    "mount",
    "umount2",
    "setxattr",
    "fork",
    "vfork",
    "clone",
    "unshare",
];

/// Returns the lines of a trace that tell of a change.
fn changes(trace: &str) -> Vec<&str> {
    let mut execs = 0;
    trace
        .lines()
        .filter(|line| {
            // With `-f` each line starts with the number of the process.
            let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            let name = call.split('(').next().unwrap_or_default();
            if name == "execve" {
                execs += 1;
                return execs > 1;
            }
            let opens = ["open", "openat", "openat2"].contains(&name);
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
            CHANGES.contains(&name)
                || name == "clone3"
                || (opens && writes.iter().any(|flag| call.contains(flag)))
        })
        .collect()
}

fn asks_for_the_version(line: &str) -> bool {
    let asks = "[\"lxc-create\", \"--version\"]";
    line.contains(asks) || line.contains("CLONE_VFORK") || line.contains("\"/dev/null\", O_WRONLY")
}

#[test]
fn a_trace_that_changes_something_is_recognised() {
    let trace = "12 execve(\"/x\", [\"x\"], 0x7f) = 0\n12 openat(AT_FDCWD, \"a\", O_RDONLY) = 3\n\
                 12 openat(AT_FDCWD, \"a\", O_WRONLY|O_CREAT, 0600) = 3\n12 mkdir(\"a\", 0700) = 0\n\
                 12 execve(\"/y\", [\"y\"], 0x7f) = 0\n";
    assert_eq!(changes(trace).len(), 3);
}

#[test]
fn plan_and_validate_write_nothing_and_run_nothing() {
    if !installed("strace") {
        return;
    }
    let sandbox = Sandbox::new()
        .file("tree/d/f", "x")
        .file("r", "{{ lxc.name }}")
        .file("s.sh", "#!/bin/sh\n")
        .layers(
            "pre = \"touch ran\"\npost = { script = \"s.sh\" }\n[layer.config]\nlxc.start.auto = 1\n\
             [[layer.file]]\npath = \"/t\"\nsource = \"tree\"\n\
             [[layer.file]]\npath = \"/r\"\nsource = \"r\"\nrender = true\n",
        );
    let before = listing::of(&sandbox.path(""));
    for words in ["plan m.toml", "plan m.toml -v", "plan m.toml --format json", "validate m.toml"] {
        let mut command = sandbox.command("strace");
        command.args(["-f", "-qq", "-e", "trace=all"]).args(["-o", "/dev/stderr"]);
        command.arg(sandbox.program_path()).args(words.split(' '));
        let ran = sandbox.ran(command);
        if ran.stderr().contains("ptrace") && !ran.output.status.success() {
            skip("this host lets nothing be traced");
            return;
        }
        ran.exits(0);
        let trace = ran.stderr();
        assert!(trace.contains("m.toml\""), "{trace}");
        let mut changes = changes(&trace);
        if words.starts_with("validate") {
            changes.retain(|line| !asks_for_the_version(line));
        }
        assert_eq!(changes, Vec::<&str>::new(), "{words}");
    }
    assert_eq!(listing::of(&sandbox.path("")), before);
}
