//! The bytes of a file, copied the cheapest way that works.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{SeekFrom, Stat, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};

use super::interrupt::Interrupt;

/// The longest piece that the kernel is asked to copy at once: it hears nothing meanwhile.
const PIECE: u64 = 1 << 26;

/// What works between the two filesystems of a copy.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    /// Whether files may share their bytes.
    clones: AtomicBool,
    /// Whether the kernel copies by itself.
    ranges: AtomicBool,
    /// What ends it.
    interrupt: Interrupt<'a>,
}

impl<'a> Ways<'a> {
    /// Begins with what is known of the filesystem to which is copied.
    pub(super) fn new(clones: bool, interrupt: Interrupt<'a>) -> Self {
        Self { clones: AtomicBool::new(clones), ranges: AtomicBool::new(true), interrupt }
    }

    /// Tells whether files may share their bytes.
    pub(super) fn clones(&self) -> bool {
        self.clones.load(Ordering::Relaxed)
    }

    /// Copies all bytes of `from`, which has this `stat`, into the new file `to`.
    pub(super) fn copy(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        stat: &Stat,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        if size == 0 {
            return Ok(());
        }
        if self.clones() {
            match ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => {
                    self.clones.store(false, Ordering::Relaxed);
                }
                // This one file cannot be shared.
                Err(Errno::INVAL | Errno::TXTBSY | Errno::PERM | Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // A hole is to be expected only where fewer blocks are taken than the length asks for.
        if u64::try_from(stat.st_blocks).unwrap_or_default() * 512 >= size {
            return self.range(from, to, 0, size, buffer);
        }
        let mut position = 0;
        while position < size {
            let start = match seek(from, SeekFrom::Data(position)) {
                Ok(start) => start,
                // There is nothing but a hole up to the end.
                Err(Errno::NXIO) => break,
                // The filesystem knows of no holes.
                Err(Errno::INVAL) => position,
                Err(error) => return Err(error.into()),
            };
            let end = seek(from, SeekFrom::Hole(start)).ok().filter(|end| *end > start);
            let end = end.unwrap_or(size).min(size);
            self.range(from, to, start, end, buffer)?;
            position = end;
        }
        Ok(ftruncate(to, size)?)
    }

    /// Copies the bytes from `start` to `end`, which there may be fewer of.
    fn range(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        start: u64,
        end: u64,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let (mut read, mut written) = (start, start);
        // What fits the buffer takes two calls, and the kernel no pipe.
        while end - written > buffer.len() as u64 && self.ranges.load(Ordering::Relaxed) {
            self.interrupt.check()?;
            let piece = usize::try_from((end - written).min(PIECE)).unwrap_or(usize::MAX);
            match copy_file_range(from, Some(&mut read), to, Some(&mut written), piece) {
                // Filesystems without a size, such as /proc, say so as well.
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                    self.ranges.store(false, Ordering::Relaxed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        while written < end {
            self.interrupt.check()?;
            let piece = usize::try_from(end - written).unwrap_or(usize::MAX).min(buffer.len());
            let read = match pread(from, &mut buffer[..piece], written) {
                Ok(0) => break,
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                match pwrite(to, rest, written) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(wrote) => {
                        written += wrote as u64;
                        rest = &rest[wrote..];
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
