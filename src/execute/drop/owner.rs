//! Looks owners up in the rootfs's own files of accounts.

use std::io;
use std::path::Path;

use crate::host::account;
use crate::host::rootfs::Rootfs;
use crate::manifest::{Id, Owner};

/// The largest file of accounts that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Returns the numbers of a user and a group, as the container counts.
pub(crate) fn look_up(rootfs: &Rootfs, owner: &Owner) -> io::Result<(u32, u32)> {
    let user = number(rootfs, &owner.user, "/etc/passwd", "user")?;
    let group = number(rootfs, &owner.group, "/etc/group", "group")?;
    Ok((user, group))
}

fn number(rootfs: &Rootfs, id: &Id, file: &str, kind: &str) -> io::Result<u32> {
    let name = match id {
        Id::Number(number) => return Ok(*number),
        Id::Name(name) if name == "root" => return Ok(0),
        Id::Name(name) => name,
    };
    let text = rootfs
        .read(Path::new(file), LARGEST)
        .map_err(|error| io::Error::other(format!("{file} of the rootfs: {error}")))?;
    let reason = match account::id_of(&text, name) {
        Some(u32::MAX) => format!(
            "{file} of the rootfs gives the {kind} `{name}` the id {}, which is nobody's: to the \
             kernel it means that the owner stays",
            u32::MAX
        ),
        Some(id) => return Ok(id),
        None => format!(
            "{file} of the rootfs has no {kind} `{name}`; if a `post` step makes it, give the file \
             `when = \"after-post\"`"
        ),
    };
    Err(io::Error::other(reason))
}
