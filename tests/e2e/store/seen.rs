//! The rootfs of a container as the container sees it.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::listing::Listing;
use crate::call::Running;
use crate::lab::Lab;

/// The last value of a key in a container's config.
pub(super) fn value(config: &str, key: &str) -> Option<String> {
    let lines = config.lines().filter_map(|line| line.split_once('='));
    lines.rev().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

/// What a container that does not run sees.
pub(super) fn listing(lab: &Lab, name: &str) -> Listing {
    let config = lab.read(lab.container(name, "config"));
    let rootfs = value(&config, "lxc.rootfs.path").expect("a container has a rootfs");
    let Some(overlay) = rootfs.strip_prefix("overlay:") else {
        let path = rootfs.strip_prefix("dir:").unwrap_or(&rootfs);
        return Listing::of(&PathBuf::from(path));
    };
    let (lower, upper) = overlay.split_once(":/").expect("an overlay has two directories");
    let mut options = format!("ro,lowerdir=/{upper}:{lower}");
    if let Some(more) = value(&config, "lxc.rootfs.options") {
        options = format!("{options},{more}");
    }
    let (_mount, root) = mounted(lab, &options);
    Listing::of(&root)
}

/// Mounts an overlay where the host does not see it, and returns a path that leads there as long as
/// the process runs.
fn mounted(lab: &Lab, options: &str) -> (Running, PathBuf) {
    const MOUNT: &str = "mount -t overlay -o \"$1\" overlay \"$2\" && exec sleep 86401";
    let at = lab.path("tmp/seen");
    let _ = fs::create_dir(&at);
    let mount = lab.call_as_root(["sh", "-c", MOUNT, "sh", options]).arg(&at).start();
    let process = PathBuf::from(format!("/proc/{}", mount.id()));
    let deadline = Instant::now() + Duration::from_secs(20);
    let shown = format!(" {} ", at.display());
    let is_mounted = || {
        let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        mounts.lines().any(|line| line.contains(&shown) && line.contains(" - overlay "))
    };
    while !is_mounted() {
        assert!(Instant::now() < deadline, "the overlay cannot be mounted with {options}");
        sleep(Duration::from_millis(5));
    }
    let root = process.join("root").join(at.strip_prefix("/").expect("it is absolute"));
    (mount, root)
}
