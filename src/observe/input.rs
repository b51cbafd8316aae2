//! Files and directories of the host that a template copies from.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::reading::Reader;
use crate::cache::Input;
use crate::digest::{Digest, Hasher};
use crate::host::template;
use crate::manifest::Mode;

/// Observes one, with all below it.
pub(super) fn observe(path: &Path, reader: &mut Reader<'_>) -> io::Result<Input> {
    let metadata = fs::metadata(path)?;
    let digest = if metadata.is_dir() {
        let mut hasher = Hasher::default();
        walk(path, reader, &mut hasher)?;
        hasher.finish()
    } else {
        bytes(path, &metadata, reader)?
    };
    Ok(Input { path: path.to_path_buf(), digest, mode: Mode::new(metadata.mode()) })
}

/// Finds a program in a search path, as a shell does.
pub(super) fn program(name: &str, search: &OsStr) -> Option<PathBuf> {
    let directories = search.as_bytes().split(|byte| *byte == b':');
    directories
        .map(|directory| Path::new(OsStr::from_bytes(directory)).join(name))
        .map(|path| if path.is_absolute() { path } else { Path::new(".").join(path) })
        .find(|path| template::executable(path).is_ok())
}

/// Takes in the names, modes and bytes below a directory.
fn walk(directory: &Path, reader: &mut Reader<'_>, hasher: &mut Hasher) -> io::Result<()> {
    let mut names: Vec<OsString> = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(|error| about(directory, &error))?;
    names.sort();
    // With its length in front, no text runs into the next.
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(&(names.len() as u64).to_le_bytes());
    let mut below = Vec::new();
    for name in names {
        let path = directory.join(&name);
        let metadata = path.symlink_metadata().map_err(|error| about(&path, &error))?;
        add(name.as_bytes());
        add(&metadata.mode().to_le_bytes());
        match metadata.file_type() {
            kind if kind.is_dir() => below.push(path),
            kind if kind.is_symlink() => {
                let target = fs::read_link(&path).map_err(|error| about(&path, &error))?;
                add(target.as_os_str().as_bytes());
            }
            kind if kind.is_file() => {
                let digest = bytes(&path, &metadata, reader).map_err(|e| about(&path, &e))?;
                add(digest.to_string().as_bytes());
            }
            _ => add(&metadata.rdev().to_le_bytes()),
        }
    }
    below.iter().try_for_each(|path| walk(path, reader, hasher))
}

fn bytes(path: &Path, metadata: &Metadata, reader: &mut Reader<'_>) -> io::Result<Digest> {
    // To open a pipe may wait for ever.
    if !metadata.is_file() {
        return Err(io::Error::other("it is neither a file nor a directory"));
    }
    File::open(path)?;
    reader.digest(path).ok_or_else(|| io::Error::other("its bytes cannot be relied on"))
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn digest(path: &Path) -> io::Result<(Digest, Mode)> {
        let input = observe(path, &mut Reader::new(&|_| None))?;
        Ok((input.digest, input.mode))
    }

    #[test]
    fn names_modes_and_bytes_count_and_times_do_not() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("seed");
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/file"), "x").unwrap();
        symlink("nowhere", path.join("link")).unwrap();
        let mut seen = vec![digest(&path).unwrap()];
        let file = File::options().write(true).open(path.join("a/file")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(digest(&path).unwrap(), seen[0]);
        let changes: [&dyn Fn(); 6] = [
            &|| fs::write(path.join("a/file"), "y").unwrap(),
            &|| fs::set_permissions(path.join("a/file"), PermissionsExt::from_mode(0o600)).unwrap(),
            &|| fs::rename(path.join("a/file"), path.join("a/b/file")).unwrap(),
            &|| fs::set_permissions(path.join("a/b"), PermissionsExt::from_mode(0o700)).unwrap(),
            &|| fs::remove_file(path.join("link")).unwrap(),
            &|| symlink("elsewhere", path.join("link")).unwrap(),
        ];
        for change in changes {
            change();
            let now = digest(&path).unwrap();
            assert!(!seen.contains(&now), "{seen:?}");
            seen.push(now);
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_fault() {
        let top = tempfile::tempdir().unwrap();
        for path in [top.path().join("missing"), "/dev/null".into(), "/proc/version".into()] {
            assert!(digest(&path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_program_is_the_first_in_the_search_path_that_can_be_run() {
        let top = tempfile::tempdir().unwrap();
        for (directory, mode) in [("a", 0o644), ("b", 0o755), ("c", 0o755)] {
            let directory = top.path().join(directory);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("tool"), "").unwrap();
            fs::set_permissions(directory.join("tool"), PermissionsExt::from_mode(mode)).unwrap();
        }
        let at = |name: &str| top.path().join(name).display().to_string();
        let search = format!("/nonexistent:{}:{}:{}", at("a"), at("b"), at("c"));
        assert_eq!(program("tool", OsStr::new(&search)), Some(top.path().join("b/tool")));
        assert_eq!(program("tool", OsStr::new("")), None);
    }
}
