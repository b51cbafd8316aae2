//! The processes that a sandbox has left behind.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::sandbox::Sandbox;

/// Returns the command lines of all processes whose environment or command line names the sandbox.
pub(crate) fn within(sandbox: &Sandbox) -> Vec<String> {
    let mark = sandbox.path("");
    let mark = mark.as_os_str().as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let command = read("cmdline");
        if holds(&command) || holds(&read("environ")) {
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}
