//! Brings a tree to the disk, so that a power cut leaves it as it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fsync, syncfs};
use rustix::io::Errno;

use super::directory::{self, Name};

/// The most files and directories that are brought to the disk one by one. For more, the kernel is
/// faster with all that the filesystem has.
const FEW: usize = 64;

/// Returns when a tree is on the disk, and its name in the directory above. A small one does not wait
/// for what others have written to the same filesystem. What is mounted within is not part of it.
///
/// # Errors
///
/// Also what the disk did not take earlier, and nobody was told of.
pub(crate) fn make_durable(top: BorrowedFd<'_>) -> io::Result<()> {
    // What cannot be opened is written out with the rest.
    let Ok(Some(few)) = few(top) else { return Ok(syncfs(top)?) };
    for file in few.iter().rev() {
        match fsync(file) {
            // Not every filesystem can do that for a directory.
            Err(Errno::INVAL) => return Ok(syncfs(top)?),
            synced => synced?,
        }
    }
    Ok(())
}

/// Opens all of a tree, each file behind what it is in; `None` where there are more than a few.
fn few(top: BorrowedFd<'_>) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut opened = vec![directory::open(top, c"..")?, directory::reopen(top)?];
    let mut directories = vec![1];
    while let Some(at) = directories.pop() {
        for Name { name, kind } in directory::names(opened[at].as_fd())? {
            let flags = match kind {
                FileType::Directory => {
                    directories.push(opened.len());
                    OFlags::DIRECTORY
                }
                FileType::RegularFile => OFlags::NONBLOCK,
                // They are part of their directory.
                _ => continue,
            };
            if opened.len() > FEW {
                return Ok(None);
            }
            opened.push(directory::open_to_read(opened[at].as_fd(), &name, flags)?);
        }
    }
    Ok(Some(opened))
}
