//! Who may pass the directories above a path.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::caller::Caller;
use super::userns::Ids;

/// The attribute that holds an access list.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// A user and a group, as this process counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passer {
    uid: u32,
    gid: u32,
}

impl Passer {
    /// Returns user 0 of a container that has these ids.
    pub(crate) fn root_of(ids: Ids, caller: &Caller) -> Self {
        // Behind the map it is called so.
        let is_within = caller.is_mapped_root() && Ids::of_this_process() == Some(ids);
        let number = |first| if is_within { 0 } else { first };
        Self { uid: number(ids.users.first), gid: number(ids.groups.first) }
    }
}

/// Returns the first directory on the way to `path`, and itself, that somebody cannot pass; without a `passer`,
/// that those cannot pass who are neither its owner nor of its group. What is not there is no obstacle,
/// nor is what an access list decides.
pub(crate) fn closed_to(passer: Option<Passer>, path: &Path) -> Option<PathBuf> {
    let mut way: Vec<_> = path.ancestors().collect();
    way.reverse();
    let is_closed = |directory: &&Path| {
        let Ok(found) = fs::metadata(directory) else { return false };
        let bit = match passer {
            Some(passer) if passer.uid == found.uid() => 0o100,
            Some(passer) if passer.gid == found.gid() => 0o010,
            _ => 0o001,
        };
        let has_list = || {
            let mut list = [0_u8; 64];
            !matches!(
                rustix::fs::getxattr(*directory, ACCESS_LIST, &mut list),
                Err(Errno::NODATA | Errno::OPNOTSUPP)
            )
        };
        found.is_dir() && found.mode() & bit == 0 && !(passer.is_some() && has_list())
    };
    way.into_iter().find(is_closed).map(Path::to_path_buf)
}
