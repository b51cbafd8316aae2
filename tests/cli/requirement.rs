//! What a test needs of the host and may not find there.

/// Says why a test is skipped.
#[expect(clippy::print_stderr, reason = "the test's own output says why it proves nothing")]
pub(crate) fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Tells whether this user can give files to others, and act as one of them.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("this test needs root");
    }
    root
}
