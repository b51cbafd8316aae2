//! Processes that a layer has left at work in its rootfs.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Tells whether `/proc` has the numbers that this process's calls take.
pub(super) fn can_be_found() -> bool {
    let own = getpid().as_raw_nonzero().to_string();
    fs::read_link("/proc/self").is_ok_and(|shown| shown == Path::new(&own))
}

/// Kills whoever is at work below `path`, and tells whether there was somebody. `mark` stands in every
/// path of where the rootfs really is, and nowhere else.
pub(super) fn end(path: &Path, mark: &[u8]) -> bool {
    let mut found = false;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = process.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(id) = id.and_then(Pid::from_raw).filter(|id| *id != getpid()) else { continue };
        if is_within(&process.path(), path, mark) {
            found = true;
            let _ = kill_process(id, Signal::KILL);
        }
    }
    found
}

/// Tells whether a process has mapped a file below `path`, which it can write to without a descriptor.
fn maps_below(process: &Path, path: &Path) -> bool {
    let below = [path.as_os_str().as_bytes(), b"/"].concat();
    fs::read(process.join("maps")).is_ok_and(|maps| memchr::memmem::find(&maps, &below).is_some())
}

fn is_within(process: &Path, path: &Path, mark: &[u8]) -> bool {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    if namespace(process) == namespace(Path::new("/proc/self")) {
        let below = |link: &Path| fs::read_link(link).is_ok_and(|target| target.starts_with(path));
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        return ["cwd", "root", "exe"].iter().any(|name| below(&process.join(name)))
            || files.map(|file| file.path()).any(|file| below(&file))
            || maps_below(process, path);
    }
    // Of what has mounts of its own, paths say nothing: its root may be the rootfs itself. It has the
    // mounts that were there when it got its own. Where this is not the first of its namespace, it may
    // be anybody on the host who looks on.
    getpid() == Pid::INIT
        && fs::read(process.join("mountinfo"))
            .is_ok_and(|mounts| memchr::memmem::find(&mounts, mark).is_some())
}
