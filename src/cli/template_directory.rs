//! A directory that templates are put into.

use std::io;
use std::path::{Path, PathBuf};

use super::output;
use crate::host::passage;
use crate::shell;

/// Makes a directory where there is none, and returns its path as `lxc-create` needs it: absolute,
/// and without links, so that it can be told who may pass.
pub(super) fn make(directory: &Path) -> io::Result<PathBuf> {
    let made = std::fs::create_dir_all(directory).and_then(|()| directory.canonicalize());
    made.map_err(|error| about(directory, &error))
}

/// Returns an error that says what it is about.
pub(super) fn about(directory: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", directory.display()))
}

/// Warns of a directory that keeps the ids of an ordinary user's container from a template below it.
pub(super) fn warn_of_closed(directory: &Path) {
    if let Some(closed) = passage::closed_to(None, directory) {
        let closed = shell::word(closed);
        output::say(&format!(
            "warning: a container of an ordinary user cannot be made with it: its ids may not pass \
             {closed}\nhint: `chmod o+x {closed}` lets them pass"
        ));
    }
}
