//! What a test needs of the host and may not find there.

use std::io::Write;

/// Says why a test is skipped, and notes it for the sum at the end.
#[expect(clippy::print_stderr, reason = "the test's own output says why it proves nothing")]
pub(crate) fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(path) = std::env::var_os("LT_SKIPPED")
        && let Ok(mut file) = std::fs::File::options().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{reason}");
    }
}

/// Tells whether a program is there.
pub(crate) fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&paths).any(|path| path.join(program).is_file());
    if !is_there {
        skip(&format!("this test needs {program}"));
    }
    is_there
}

/// Tells whether this user can give files to others, and act as one of them.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("this test needs root");
    }
    root
}

/// Tells whether that user is root of the host, and not of a user namespace alone.
pub(crate) fn host_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut outside = map.lines().map(|line| line.split_whitespace().nth(1));
    let host = map.is_empty() || outside.any(|first| first == Some("0"));
    if !host {
        skip("this test needs root of the host");
    }
    host && root()
}
