//! The host's programs, as a shell finds them.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

use super::template::executable;

/// Where a program is looked for, should the environment not say.
const STANDARD: &str = "/usr/local/bin:/usr/bin:/bin";

/// Finds a program that the caller may run in the directories of `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH").unwrap_or_else(|| STANDARD.into()), name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(|path| executable(path).is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_that_can_be_run_is_found() {
        let place = tempfile::tempdir().unwrap();
        let directories = ["a", "b", "c", "d"].map(|name| place.path().join(name));
        let [directory, plain, first, second] = &directories;
        fs::create_dir_all(directory.join("x")).unwrap();
        for (at, mode) in [(plain, 0o644), (first, 0o755), (second, 0o755)] {
            fs::create_dir(at).unwrap();
            fs::write(at.join("x"), "").unwrap();
            fs::set_permissions(at.join("x"), Permissions::from_mode(mode)).unwrap();
        }
        let path = env::join_paths(&directories).unwrap();
        assert_eq!(find_in(&path, "x"), Some(first.join("x")));
        assert_eq!(find_in(&path, "y"), None);
    }
}
