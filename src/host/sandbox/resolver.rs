//! How names are resolved inside: as on the host.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::readlinkat;

use crate::host::rootfs::Rootfs;

/// Where the C library looks, on the host and inside.
pub(super) const PATH: &str = "/etc/resolv.conf";

/// The longest that is taken along, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Returns what the host resolves names by; `None` if it has no such file.
pub(super) fn text() -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    match File::open(PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?.take(LONGEST).read_to_end(&mut text)?,
    };
    Ok(Some(text))
}

/// Returns where below `/run` the rootfs's own file is, where it is a link there: that is a
/// filesystem of the sandbox's own, and the link can stay as it is.
pub(super) fn below_run(rootfs: &Rootfs) -> io::Result<Option<PathBuf>> {
    let Some(link) = link(rootfs, Path::new(PATH))? else { return Ok(None) };
    let path = normal(Path::new("/etc"), &link);
    if let Ok(below) = path.strip_prefix("/run") {
        return Ok(Some(below.to_path_buf()));
    }
    let run = link_of_var_run(rootfs)?;
    Ok(path.strip_prefix("/var/run").ok().filter(|_| run).map(Path::to_path_buf))
}

/// Tells whether `/var/run` is what it mostly is.
fn link_of_var_run(rootfs: &Rootfs) -> io::Result<bool> {
    let link = link(rootfs, Path::new("/var/run"))?;
    Ok(link.is_some_and(|link| normal(Path::new("/var"), &link) == Path::new("/run")))
}

/// Returns where a link of the rootfs leads; `None` if there is none.
fn link(rootfs: &Rootfs, path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(place) = rootfs.existing_entry(path)? else { return Ok(None) };
    match readlinkat(place.directory(), place.name(), Vec::new()) {
        Ok(target) => Ok(Some(std::ffi::OsStr::from_bytes(target.to_bytes()).into())),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns where a link in `directory` leads by its names alone.
fn normal(directory: &Path, link: &Path) -> PathBuf {
    let mut path = PathBuf::from("/");
    for component in directory.join(link).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_by_their_names() {
        let table = [
            ("/run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/stub-resolv.conf"),
            ("../run/resolvconf/resolv.conf", "/run/resolvconf/resolv.conf"),
            ("../../../../run/x", "/run/x"),
            ("resolv.conf.d/./base", "/etc/resolv.conf.d/base"),
            ("/run/../etc/shadow", "/etc/shadow"),
        ];
        for (link, path) in table {
            assert_eq!(normal(Path::new("/etc"), Path::new(link)), Path::new(path), "{link}");
        }
    }
}
