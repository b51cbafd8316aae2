//! What a tree takes of a disk.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, fstat, statat};

use super::directory::{self, Name};
use super::interrupt::Interrupt;
use super::links::{Identity, identity};
use super::workers::{self, lock};

/// What a tree takes of a disk, in bytes. Bytes that files share by reflink count for each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What becomes free with the tree: directories, and files that have all their names in it.
    pub alone: u64,
    /// Files that have names elsewhere, each once.
    pub shared: u64,
}

/// A file that has several names: how many, how many of them were seen, and its bytes.
struct Several {
    names: usize,
    seen: usize,
    bytes: u64,
}

/// Measures a tree, its top directory included.
pub(crate) fn usage(tree: BorrowedFd<'_>) -> io::Result<Usage> {
    let several: Mutex<HashMap<Identity, Several>> = Mutex::default();
    let usage = Mutex::new(Usage::default());
    let bytes = |blocks: i64| u64::try_from(blocks).unwrap_or_default() * 512;
    let top = (Arc::new(directory::reopen(tree)?), c".".to_owned());
    workers::run(Interrupt::NEVER, top, |(above, name), queue, _| {
        let directory = Arc::new(directory::open(above.as_fd(), &name)?);
        let mut alone = bytes(fstat(&directory)?.st_blocks);
        for Name { name, kind } in directory::names(directory.as_fd())? {
            if kind == FileType::Directory {
                queue.add((Arc::clone(&directory), name));
                continue;
            }
            let stat = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let bytes = bytes(stat.st_blocks);
            if stat.st_nlink > 1 {
                let names = usize::try_from(stat.st_nlink).unwrap_or(usize::MAX);
                let first = Several { names, seen: 0, bytes };
                lock(&several).entry(identity(&stat)).or_insert(first).seen += 1;
            } else {
                alone += bytes;
            }
        }
        lock(&usage).alone += alone;
        Ok(())
    })?;
    let mut usage = usage.into_inner().unwrap_or_default();
    for file in several.into_inner().unwrap_or_default().into_values() {
        if file.seen >= file.names {
            usage.alone += file.bytes;
        } else {
            usage.shared += file.bytes;
        }
    }
    Ok(usage)
}
