//! Filesystems that are mounted nowhere: only who has their descriptor sees them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// Returns a new filesystem, not yet anywhere. An option without a value is a flag.
pub(super) fn new(
    kind: &str,
    attributes: MountAttrFlags,
    options: &[(&str, &str)],
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", kind)?;
    for (name, value) in options {
        match *value {
            "" => fsconfig_set_flag(&context, *name)?,
            value => fsconfig_set_string(&context, *name, value)?,
        }
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Returns an overlay that is only looked at: `upper`, with its removals, over `lower`. Another overlay may
/// write to `upper` meanwhile.
///
/// `is_mapped` is whether the upper directory is one of a user namespace.
///
/// # Errors
///
/// Also where a path has a character that no option of an overlay can.
pub(crate) fn overlay(upper: &Path, lower: &Path, is_mapped: bool) -> io::Result<OwnedFd> {
    let path = |path: &Path| match path.to_str() {
        Some(text) if !text.contains([':', ',', '\\']) => Ok(text.to_owned()),
        _ => Err(io::Error::other("a path with `:`, `,` or `\\` cannot be an overlay's")),
    };
    let lowers = format!("{}:{}", path(upper)?, path(lower)?);
    // A user namespace has no redirections.
    let form = if is_mapped { ("userxattr", "") } else { ("redirect_dir", "follow") };
    let inert = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    // With an index the kernel would refuse what another overlay writes to.
    new("overlay", read_only | inert, &[("lowerdir", &lowers), ("index", "off"), form])
}
