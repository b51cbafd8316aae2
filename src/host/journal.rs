//! A journal: a file of lines to which every process of a user adds, and which takes no more of the disk than it
//! may.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, statat};
use rustix::io::Errno;

use super::files;
use super::new_file::NewFile;
use super::owned::OwnerIds;

/// The largest file, in bytes.
const LARGEST: usize = 1024 * 1024;

/// How much of the end is kept when it would become larger, in bytes.
const KEPT: usize = LARGEST / 2;

/// How long another may write, and how often it is asked whether it has done so.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The file `name` of a directory.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: OwnedFd,
    name: &'static str,
    owner: OwnerIds,
}

impl Journal {
    /// Opens the journal `name` of a directory; the file need not be there. A new one belongs to `owner`.
    pub(crate) fn open(directory: &Path, name: &'static str, owner: OwnerIds) -> io::Result<Self> {
        Ok(Self { directory: files::open_directory(directory)?, name, owner })
    }

    /// Returns what is in it; nothing, where there is no file.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        match files::open_in(&self.directory, self.name) {
            Ok(file) => files::read_opened(file.into(), 2 * LARGEST),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds a line, which is made of what is there by then. It is there as a whole, and behind those of others; a
    /// line that a power cut has left unfinished stays one of its own.
    pub(crate) fn add(
        &self,
        line: impl FnOnce(&There<'_>) -> io::Result<Vec<u8>>,
    ) -> io::Result<()> {
        let file = self.locked()?;
        let there = There { file: &file, size: file.metadata()?.len() };
        let mut line = line(&there)?;
        line.push(b'\n');
        if there.bytes(1)?.last().is_some_and(|last| *last != b'\n') {
            line.insert(0, b'\n');
        }
        if there.size + line.len() as u64 <= LARGEST as u64 {
            return (&file).write_all(&line);
        }
        let mut kept = there.last(KEPT)?;
        kept.append(&mut line);
        self.replace(&kept, &file)
    }

    /// Opens the file, and locks it alone.
    fn locked(&self) -> io::Result<File> {
        let since = Instant::now();
        loop {
            let file = self.opened()?;
            while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
                if error != Errno::WOULDBLOCK || since.elapsed() > PATIENCE {
                    return Err(error.into());
                }
                thread::sleep(POLL_INTERVAL);
            }
            let metadata = file.metadata()?;
            // Another may have put a new one into its place meanwhile.
            let there = statat(&self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW);
            if there
                .is_ok_and(|there| (there.st_dev, there.st_ino) == (metadata.dev(), metadata.ino()))
            {
                return Ok(file);
            }
            if since.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn opened(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        loop {
            match openat(&self.directory, self.name, flags, Mode::empty()) {
                Ok(file) => {
                    let file = File::from(file);
                    return match file.metadata()?.is_file() {
                        true => Ok(file),
                        false => Err(io::Error::other("it is not a regular file")),
                    };
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            match openat(&self.directory, self.name, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                Ok(file) => {
                    let file = File::from(file);
                    if let Some((uid, gid)) = self.owner {
                        fchown(&file, Some(uid), Some(gid))?;
                    }
                    return Ok(file);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Puts a new file into the place of `old`, with its owner and mode: whoever looks sees one or the other.
    fn replace(&self, bytes: &[u8], old: &File) -> io::Result<()> {
        let new = NewFile::create(self.directory.as_fd(), Mode::RUSR | Mode::WUSR)?;
        let metadata = old.metadata()?;
        new.file().write_all(bytes)?;
        fchown(new.file(), Some(metadata.uid()), Some(metadata.gid()))?;
        new.file().set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
        new.put(self.name.as_ref())
    }
}

/// What is in a journal while nobody else writes there.
#[derive(Debug)]
pub(crate) struct There<'a> {
    file: &'a File,
    size: u64,
}

impl There<'_> {
    /// Returns the last whole lines that have room in so many bytes.
    pub(crate) fn last(&self, most: usize) -> io::Result<Vec<u8>> {
        // With the byte before them it is known whether the first line is whole.
        let mut bytes = self.bytes(most.saturating_add(1))?;
        if bytes.len() > most {
            let cut = bytes.iter().position(|byte| *byte == b'\n');
            bytes.drain(..cut.map_or(bytes.len(), |cut| cut + 1));
        }
        Ok(bytes)
    }

    /// Returns the last bytes, so many if there are, and if there may be.
    fn bytes(&self, most: usize) -> io::Result<Vec<u8>> {
        let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(most).min(2 * LARGEST);
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, self.size - count as u64)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn journal(place: &Path) -> Journal {
        Journal::open(place, "runs", None).unwrap()
    }

    #[test]
    fn lines_of_many_writers_are_all_there_and_whole() {
        let place = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for writer in 0..8 {
                let place = place.path();
                scope.spawn(move || {
                    for line in 0..50 {
                        journal(place)
                            .add(|_| Ok(format!("{writer} {line}").into_bytes()))
                            .unwrap();
                    }
                });
            }
        });
        let text = String::from_utf8(journal(place.path()).read().unwrap()).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 400);
    }

    #[test]
    fn it_is_bounded_and_the_newest_lines_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let journal = journal(place.path());
        for count in 0..40 {
            journal.add(|_| Ok(format!("{count} {}", "x".repeat(60_000)).into_bytes())).unwrap();
            let metadata = fs::metadata(place.path().join("runs")).unwrap();
            assert!(metadata.len() <= LARGEST as u64, "{}", metadata.len());
            assert_eq!(metadata.mode() & 0o7777, 0o600);
        }
        let text = String::from_utf8(journal.read().unwrap()).unwrap();
        let numbers: Vec<u32> =
            text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.len() >= 8, "{numbers:?}");
        assert_eq!(numbers.last(), Some(&39));
        assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_line_stays_one_of_its_own() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("runs"), "one\ntw").unwrap();
        journal(place.path()).add(|_| Ok(b"three".to_vec())).unwrap();
        assert_eq!(journal(place.path()).read().unwrap(), b"one\ntw\nthree\n");
    }

    #[test]
    fn the_last_lines_are_whole() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("runs"), "one\ntwo\nthree\n").unwrap();
        journal(place.path())
            .add(|there| {
                for (most, lines) in [
                    (0, ""),
                    (5, ""),
                    (6, "three\n"),
                    (9, "three\n"),
                    (10, "two\nthree\n"),
                    (14, "one\ntwo\nthree\n"),
                    (usize::MAX, "one\ntwo\nthree\n"),
                ] {
                    assert_eq!(there.last(most)?, lines.as_bytes(), "{most}");
                }
                Ok(b"four".to_vec())
            })
            .unwrap();
        assert_eq!(journal(place.path()).read().unwrap(), b"one\ntwo\nthree\nfour\n");
    }

    #[test]
    fn nothing_is_written_through_a_link_or_into_a_fifo() {
        let place = tempfile::tempdir().unwrap();
        let (name, target) = (place.path().join("runs"), place.path().join("target"));
        std::os::unix::fs::symlink(&target, &name).unwrap();
        assert!(journal(place.path()).add(|_| Ok(b"x".to_vec())).is_err());
        assert!(!target.exists());
        fs::remove_file(&name).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &name, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(journal(place.path()).add(|_| Ok(b"x".to_vec())).is_err());
        assert!(journal(place.path()).read().is_err());
    }
}
