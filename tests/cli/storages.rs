//! A test by each way that a container can have what is stored.

use crate::requirement::root;
use crate::sandbox::Sandbox;

/// All of them.
pub(crate) const STORAGES: [&str; 3] = ["copy", "overlay", "none"];

/// Makes the container of a role by each storage, with more words, and judges it. Nobody but root mounts overlays.
pub(crate) fn each(
    storages: &[&str],
    role: impl Fn() -> Sandbox,
    words: &[&str],
    judge: impl Fn(&Sandbox, &str),
) {
    for storage in storages {
        if *storage == "overlay" && !root() {
            continue;
        }
        let sandbox = role();
        let how = format!("--storage={storage}");
        sandbox.create([&[how.as_str()], words].concat()).exits(0);
        judge(&sandbox, storage);
    }
}
