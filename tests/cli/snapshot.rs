//! Expected texts that are kept as files, in `tests/cli/snapshots`.

use std::fs;
use std::path::Path;

/// Compares a text with the snapshot `name`; with `UPDATE_EXPECT=1` in the environment, writes it.
#[track_caller]
pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        fs::write(path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_EXPECT=1 rewrites it\n{text}", path.display());
}
