//! What Proxmox VE asks of an archive that it makes a container of.
//!
//! Source: `PVE::LXC::Setup` of pve-container 6.1.

use std::path::Path;

use super::os_release::OsRelease;
use super::warnings::Warnings;
use crate::host::rootfs::Rootfs;
use crate::tree::Listing;

/// The systems that it knows by their `ID`.
const KNOWN: [&str; 21] = [
    "almalinux",
    "alpine",
    "arch",
    "archlinux",
    "centos",
    "debian",
    "devuan",
    "fedora",
    "gentoo",
    "nixos",
    "openeuler",
    "opensuse",
    "opensuse-leap",
    "opensuse-slowroll",
    "opensuse-tumbleweed",
    "rhel",
    "rocky",
    "sles",
    "ubuntu",
    "unmanaged",
    "virtuozzo",
];

/// Where the version of Debian is.
const DEBIAN_VERSION: &str = "etc/debian_version";

/// How many owners an unprivileged container has.
const OWNERS: u32 = 65_536;

/// Warns of owners that it has not, and of a system that it does not take for what it is.
pub(super) fn warn(listing: &Listing, rootfs: &Rootfs, warnings: &mut Warnings) {
    for (path, _) in listing.iter().filter(|(_, file)| file.uid.max(file.gid) >= OWNERS) {
        warnings.add("an unprivileged container of 65536 ids has no owner such as that of", &path);
    }
    // Of one that says nothing it does not manage anything.
    let Some(release) = OsRelease::read(rootfs) else { return };
    if !KNOWN.contains(&release.id.as_str()) {
        warnings.add(
            "Proxmox does not know the system, and needs `--ostype unmanaged`; it looks at",
            b"etc/os-release",
        );
    } else if release.id == "debian" && rootfs.read(Path::new(DEBIAN_VERSION), 4096).is_err() {
        warnings.add("Proxmox needs, for its version of Debian,", DEBIAN_VERSION.as_bytes());
    }
}
