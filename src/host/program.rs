//! The host's programs, as a shell finds them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::template::executable;

/// Where a program is looked for, should the environment not say.
const STANDARD: &str = "/usr/local/bin:/usr/bin:/bin";

/// The longest first line of a script, in bytes. Source: `BINPRM_BUF_SIZE` in `linux/binfmts.h`.
const LONGEST_LINE: u64 = 256;

/// Finds a program that the caller may run in the directories of `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    find_in(&search_path(), name)
}

/// Returns the value of `PATH`, or what stands for one.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| STANDARD.into())
}

/// Finds one in the directories of a value that `PATH` could have.
pub(crate) fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(|path| executable(path).is_ok())
}

/// Says what is missing where a program could not be started: for the kernel a script without its
/// interpreter is not there either.
pub(crate) fn not_started(name: &OsStr, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return error;
    }
    let path = Path::new(name);
    let interpreter = File::open(path).ok().and_then(interpreter);
    let message = match interpreter {
        Some(interpreter) => format!(
            "`{}`, the interpreter of `{}`, is not on this host",
            crate::shell::one_line(&interpreter),
            path.display()
        ),
        None => format!("`{}` is not on this host", path.display()),
    };
    io::Error::new(io::ErrorKind::NotFound, message)
}

/// Returns the first word behind `#!`.
fn interpreter(script: File) -> Option<String> {
    let mut head = Vec::new();
    script.take(LONGEST_LINE).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words = String::from_utf8_lossy(line).into_owned();
    words.split_whitespace().next().map(str::to_owned)
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
