//! The marks in a layer that say what of the tree is gone.
//!
//! Source: the image specification of OCI 1.1.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RawDir, fstat, futimens, statat};
use rustix::io::Errno;

use super::member_path::{MARK, MemberPath};
use super::written::{Key, Written};
use super::{Layer, UnpackFault};
use crate::tree::archive::{ArchiveKind, ArchiveMember};
use crate::tree::attributes::times;
use crate::tree::dir_path::DirPath;
use crate::tree::directory;
use crate::tree::remove::remove;

/// The name that empties the directory that it is in.
const OPAQUE: &CStr = c".wh..wh..opq";

/// How many directories are emptied at once, in which the layer has put something before.
const MOST: usize = 16 * 1024;

impl Layer<'_> {
    /// Takes away what a mark says is gone. That it is not there is no fault: what cannot be in an archive
    /// has a mark too, since it may have taken the place of something.
    pub(super) fn remove(
        &mut self,
        path: &MemberPath,
        member: &ArchiveMember,
    ) -> Result<(), UnpackFault> {
        let Some(mark) = path.name() else { return Err(UnpackFault::Top) };
        if member.kind != ArchiveKind::File(0) {
            return Err(UnpackFault::Mark("it is not an empty file"));
        }
        let name = &mark.to_bytes()[MARK.len()..];
        match name {
            _ if mark == OPAQUE => {}
            b"" => return Err(UnpackFault::Mark("names nothing")),
            b"." | b".." => {
                return Err(UnpackFault::Mark("names a directory that is no name in it"));
            }
            _ if name.starts_with(MARK) => {
                return Err(UnpackFault::Reserved(mark.to_bytes().to_vec()));
            }
            _ => {}
        }
        if !self.descent.find(path.above(), &self.written)? {
            return Ok(());
        }
        if mark == OPAQUE {
            return self.empty();
        }
        let name = &mark.to_bytes_with_nul()[MARK.len()..];
        let name =
            CStr::from_bytes_with_nul(name).map_err(|_| UnpackFault::Mark("names nothing"))?;
        let frame = self.descent.last_mut();
        if self.written.has(self.written.below(frame.key(), name.to_bytes())) {
            return Err(UnpackFault::RemovesOwn);
        }
        match statat(frame.directory(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        frame.remove(name)?;
        self.unpacked.removed += 1;
        Ok(())
    }

    /// Takes away all that is in the directory, but for what the layer has put there.
    fn empty(&mut self) -> Result<(), UnpackFault> {
        let frame = self.descent.last_mut();
        let top = frame.directory();
        let mut kept = Vec::new();
        let mut removed = sweep(top, (&Arc::default(), frame.key()), &self.written, &mut kept)?;
        while let Some((dir_path, key)) = kept.pop() {
            if kept.len() > MOST {
                return Err(UnpackFault::Empties(MOST));
            }
            let below = directory::reopen(dir_path.open(top)?.as_fd())?;
            let before = times(&fstat(&below)?);
            let count = sweep(below.as_fd(), (&dir_path, key), &self.written, &mut kept)?;
            if count > 0 {
                futimens(&below, &before)?;
            }
            removed += count;
        }
        if removed > 0 {
            frame.touch();
        }
        self.unpacked.removed += removed;
        Ok(())
    }
}

/// Takes away what is in a directory and not of the layer; adds the directories that stay to `kept`.
fn sweep(
    directory: BorrowedFd<'_>,
    (dir_path, key): (&Arc<DirPath>, Key),
    written: &Written,
    kept: &mut Vec<(Arc<DirPath>, Key)>,
) -> io::Result<u64> {
    let mut removed = 0;
    loop {
        let before = (removed, kept.len());
        let mut buffer = [MaybeUninit::uninit(); 8 * 1024];
        let open = directory::reopen(directory)?;
        let mut read = RawDir::new(&open, &mut buffer);
        while let Some(entry) = read.next() {
            let entry = entry?;
            let name: CString = entry.file_name().to_owned();
            if [c".", c".."].contains(&name.as_c_str()) {
                continue;
            }
            let below = written.below(key, name.to_bytes());
            if !written.has(below) {
                remove(directory, OsStr::from_bytes(name.to_bytes()))?;
                removed += 1;
                continue;
            }
            let stat = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && kept.len() <= MOST {
                kept.push((dir_path.below(&name), below));
            }
        }
        // Names may be passed over while others are taken away.
        if removed == before.0 {
            return Ok(removed);
        }
        kept.truncate(before.1);
    }
}
