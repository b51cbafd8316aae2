//! Blobs from a registry: into a file that an interrupted download goes on with, and digested before anybody
//! reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::client::{Ask, Client, check};
use super::fault::RegistryError;
use super::manifest::Descriptor;
use super::pace::Pace;
use super::transport::{Method, Response};
use crate::digest::{Digest, Hasher};
use crate::host::files;
use crate::tree::{Interrupt, Limits, Patience};

/// How many bytes are read at once.
const PIECE: usize = 128 * 1024;

/// How often a download goes on that broke off without a single byte, and how often one begins again; how often where
/// minutes were waited for a byte.
const TRIES: u32 = 5;
const STALLED_TRIES: u32 = 2;

/// How long is waited before it goes on.
const PAUSE: Duration = Duration::from_millis(500);

/// A blob that was downloaded, and is what was asked for. Dropped, its file is removed, unless it is kept.
#[derive(Debug)]
pub(crate) struct Download {
    /// The blob, to be read from its first byte on. Its lock is held.
    pub file: File,
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Client {
    /// Reads a blob of at most `most` bytes.
    pub(super) fn small_blob(
        &self,
        blob: &Descriptor,
        most: usize,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<u8>, RegistryError> {
        let what = || self.name(blob);
        if blob.size > most as u64 {
            let why = format!("it has {} bytes, and at most {most} are taken", blob.size);
            return Err(RegistryError::malformed(what(), why));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let response = self.blob(blob, 0, interrupt)?;
            let text = match response.read(most) {
                Ok(text) => text,
                Err(error) if tries == TRIES || error.kind() == io::ErrorKind::TimedOut => {
                    return Err(self.broken(&error));
                }
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(RegistryError::malformed(what(), error.to_string()));
                }
                Err(error) => {
                    check(interrupt)?;
                    tracing::debug!(%error, "a blob is read again");
                    pause(interrupt)?;
                    continue;
                }
            };
            let found = Digest::of(&text);
            if found != blob.digest {
                return Err(RegistryError::Digest { what: what(), wanted: blob.digest, found });
            }
            return Ok(text);
        }
    }

    /// Downloads a blob into a file of `directory`. `progress` is told how many bytes are there.
    ///
    /// # Errors
    ///
    /// Where the bytes are others than were asked for, also when they are asked for once more; where there are more
    /// of them than a layer may have, or than the disk has room for.
    pub(crate) fn download(
        &self,
        blob: &Descriptor,
        directory: &Path,
        progress: &mut dyn FnMut(u64),
        interrupt: Interrupt<'_>,
    ) -> Result<Download, RegistryError> {
        let most = Limits::default().bytes;
        if blob.size > most {
            let why = format!("it has {} bytes, and at most {most} are taken", blob.size);
            return Err(RegistryError::malformed(self.name(blob), why));
        }
        let path = directory.join(format!("{}.part", hex(blob.digest)));
        let about = |error| RegistryError::host(format!("`{}`", path.display()), error);
        let waits = || {
            self.note(&format!("another run downloads {}; waiting for it", self.name(blob)));
        };
        let file = lock(&path, waits, interrupt)?.ok_or(RegistryError::Interrupted)?;
        let mut download = Download { file, path: path.clone(), is_kept: false };
        let there = download.file.metadata().map_err(about)?.len();
        if files::free_bytes(directory).map_err(about)?.saturating_add(there) < blob.size {
            return Err(about(Errno::NOSPC.into()));
        }
        let mut is_again = false;
        loop {
            let found = match self.complete(blob, &mut download.file, progress, interrupt) {
                Ok(found) => found,
                Err(error) => {
                    let is_full = matches!(&error,
                        RegistryError::Host { source, .. } if files::is_full(source));
                    // Otherwise what is there by now is what the next download begins with.
                    download.is_kept = !is_full;
                    return Err(error);
                }
            };
            if found == blob.digest {
                download.file.rewind().map_err(about)?;
                return Ok(download);
            }
            if is_again {
                let what = self.name(blob);
                return Err(RegistryError::Digest { what, wanted: blob.digest, found });
            }
            tracing::debug!(%found, "what was downloaded is thrown away, and asked for again");
            download.file.set_len(0).map_err(about)?;
            is_again = true;
        }
    }

    /// Downloads what is missing of a blob, and returns the digest of all.
    fn complete(
        &self,
        blob: &Descriptor,
        file: &mut File,
        progress: &mut dyn FnMut(u64),
        interrupt: Interrupt<'_>,
    ) -> Result<Digest, RegistryError> {
        let about = |error| RegistryError::host("a blob cannot be kept", error);
        if file.metadata().map_err(about)?.len() > blob.size {
            file.set_len(0).map_err(about)?;
        }
        file.rewind().map_err(about)?;
        let mut hasher = Hasher::default();
        let mut there = 0;
        let mut piece = vec![0; PIECE];
        loop {
            check(interrupt)?;
            match file.read(&mut piece).map_err(about)? {
                0 => break,
                read => {
                    hasher.update(&piece[..read]);
                    there += read as u64;
                }
            }
        }
        let (mut tries, mut stalled, mut begun) = (0, 0, 0);
        let mut pace = Pace::begin(Instant::now());
        while there < blob.size {
            tries += 1;
            let response = self.blob(blob, there, interrupt)?;
            // It may know of no ranges.
            if response.status == 200 && there > 0 {
                file.set_len(0).map_err(about)?;
                (hasher, there) = (Hasher::default(), 0);
                begun += 1;
            }
            let ends_with_it = ends_with_blob(&response, blob);
            file.seek(SeekFrom::Start(there)).map_err(about)?;
            let mut body = response.body.take(blob.size - there);
            let broken = loop {
                check(interrupt)?;
                match body.read(&mut piece) {
                    Ok(0) if ends_with_it && there < blob.size => {
                        let why = format!("it has {there} bytes, not {}", blob.size);
                        return Err(RegistryError::malformed(self.name(blob), why));
                    }
                    Ok(0) => break io::Error::from(io::ErrorKind::UnexpectedEof),
                    Ok(read) => {
                        file.write_all(&piece[..read]).map_err(about)?;
                        hasher.update(&piece[..read]);
                        there += read as u64;
                        (tries, stalled) = (0, 0);
                        progress(there);
                        let paced = pace.count(Instant::now(), read as u64);
                        paced.map_err(|error| self.broken(&error))?;
                    }
                    Err(error) => break error,
                }
            };
            if there < blob.size {
                check(interrupt)?;
                stalled += u32::from(broken.kind() == io::ErrorKind::TimedOut);
                if tries == TRIES || begun == TRIES || stalled == STALLED_TRIES {
                    return Err(self.broken(&broken));
                }
                if stalled > 0 {
                    self.tell_again("sends no more of a blob");
                }
                tracing::debug!(error = %broken, there, "a download goes on");
                pause(interrupt)?;
            }
        }
        Ok(hasher.finish())
    }

    fn blob(
        &self,
        blob: &Descriptor,
        from: u64,
        interrupt: Interrupt<'_>,
    ) -> Result<Response, RegistryError> {
        let path = format!("blobs/{}", blob.digest);
        let range = format!("bytes={from}-");
        let headers = [("Range", range.as_str())];
        let headers = if from > 0 { &headers[..] } else { &[] };
        let ask = Ask { headers, ..Ask::get(Method::Get, &path, "send a blob") };
        let response = self.ask(ask, interrupt)?;
        match response.status {
            200 => Ok(response),
            206 if from > 0 && first_byte(&response).is_none_or(|first| first == from) => {
                Ok(response)
            }
            // What it has, or what it makes of a range, is something else.
            206 | 416 if from > 0 => self.blob(blob, 0, interrupt),
            _ => Err(self.refused(ask.what, response)),
        }
    }

    fn name(&self, blob: &Descriptor) -> String {
        format!("the blob {} of {}", blob.digest, self.repository)
    }
}

/// Returns with which byte of a blob a piece of it begins, if its answer says that.
fn first_byte(answer: &Response) -> Option<u64> {
    let range = answer.header("content-range")?.strip_prefix("bytes ")?;
    range.split('-').next()?.parse().ok()
}

/// Tells whether an answer ends where the registry's blob does: not one that only ends with its connection, nor a
/// piece of a blob of the right length.
fn ends_with_blob(answer: &Response, blob: &Descriptor) -> bool {
    if answer.status == 206 {
        let range = answer.header("content-range").and_then(|range| range.rsplit('/').next());
        let total: Option<u64> = range.and_then(|total| total.parse().ok());
        return total.is_some_and(|total| total != blob.size);
    }
    answer.header("content-length").is_some() || answer.header("transfer-encoding").is_some()
}

/// Opens a file that nobody else downloads into; `None` where a signal has come first. `waits` tells of a longer wait.
fn lock(
    path: &Path,
    waits: impl Fn(),
    interrupt: Interrupt<'_>,
) -> Result<Option<File>, RegistryError> {
    let mut patience = Patience::silent();
    let about = |error: io::Error| RegistryError::host(format!("`{}`", path.display()), error);
    loop {
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_link)
            .open(path)
            .map_err(about)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Whoever had it before may have removed it.
            Ok(()) if is_at(&file, path) => return Ok(Some(file)),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                if patience.is_news() {
                    waits();
                }
                if patience.pause(interrupt).is_err() {
                    return Ok(None);
                }
            }
            Err(error) => return Err(about(error.into())),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    id(file.metadata()).is_some_and(|own| id(fs::symlink_metadata(path)) == Some(own))
}

fn pause(interrupt: Interrupt<'_>) -> Result<(), RegistryError> {
    interrupt.sleep(PAUSE).map_err(|_| RegistryError::Interrupted)
}

/// Returns the digits of a digest.
pub(super) fn hex(digest: Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}

#[cfg(all(test, feature = "registry"))]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::reference::Repository;
    use super::*;

    /// Downloads a blob of which `begun` is there from a registry that answers so to a request for all of it, and to one
    /// for a range. Returns why that fails, if it does, and how often the blob was asked for.
    fn download(
        blob: &Descriptor,
        begun: &[u8],
        answer: impl Fn(bool) -> String + Sync,
    ) -> (Option<String>, u32) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let asked = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let part = directory.path().join(format!("{}.part", hex(blob.digest)));
        if !begun.is_empty() {
            fs::write(&part, begun).unwrap();
        }
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                for mut client in listener.incoming().flatten() {
                    let mut reader = BufReader::new(client.try_clone().unwrap());
                    match reader.fill_buf().unwrap_or_default().first() {
                        // It speaks no TLS.
                        Some(0x16) => {
                            let _ = client.write_all(b"HTTP/1.1 400 Bad\r\n\r\n");
                            continue;
                        }
                        Some(_) => {}
                        None => return,
                    }
                    let mut head = String::new();
                    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
                    asked.fetch_add(1, Ordering::Relaxed);
                    let has_range = head.to_ascii_lowercase().contains("\nrange:");
                    let _ = client.write_all(answer(has_range).as_bytes());
                }
            });
            let repository = Repository { host: host.clone(), name: "web".to_owned() };
            let client = Client::new(&repository).unwrap();
            let error =
                client.download(blob, directory.path(), &mut |_| {}, Interrupt::NEVER).err();
            drop(std::net::TcpStream::connect(&host));
            // Whoever tries again, in this process or another one, waits for nobody.
            lock(&part, || panic!("it is locked"), Interrupt::NEVER).unwrap();
            error
        });
        (error.map(|error| error.to_string().replace(&host, "HOST")), asked.into_inner())
    }

    /// Downloads a blob of a registry that knows no ranges, sends so many bytes of `a` each time, and says that there
    /// are `told`. Returns why that fails, and how often the blob was asked for.
    fn fails(sent: usize, told: usize, wanted: u64) -> (String, u32) {
        let blob = Descriptor::new("x/y", Digest::of(b"other"), wanted);
        let answer = |_| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {told}\r\n\r\n");
            head + &"a".repeat(sent)
        };
        let (error, asked) = download(&blob, b"", answer);
        (error.unwrap(), asked)
    }

    #[test]
    fn a_blob_is_asked_for_as_a_whole_where_the_rest_alone_does_not_come() {
        let blob = Descriptor::new("x/y", Digest::of(b"0123456789"), 10);
        for (rest, requests) in [
            ("206 Partial\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789", 1),
            ("206 Partial\r\nContent-Length: 6\r\n\r\n456789", 1),
            ("416 Not there\r\nContent-Range: bytes */3\r\nContent-Length: 0\r\n\r\n", 2),
            (
                "206 Partial\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\n0123456789",
                2,
            ),
            ("206 Partial\r\nContent-Range: bytes 2-7/10\r\nContent-Length: 6\r\n\r\n234567", 2),
        ] {
            let (error, asked) = download(&blob, b"0123", |has_range| match has_range {
                true => format!("HTTP/1.1 {rest}"),
                false => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789".to_owned(),
            });
            assert_eq!((error, asked), (None, requests), "{rest}");
        }
    }

    #[test]
    fn a_blob_that_is_shorter_than_it_should_be_is_asked_for_once() {
        let (why, asked) = fails(100, 100, 1000);
        assert!(why.ends_with("of HOST/web cannot be used: it has 100 bytes, not 1000"), "{why}");
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_blob_that_always_breaks_off_is_not_asked_for_for_ever() {
        let (why, asked) = fails(600, 1000, 1000);
        assert!(why.starts_with("HOST does not answer ("), "{why}");
        assert_eq!(asked, TRIES + 1);
    }

    #[test]
    fn a_download_that_another_run_is_at_is_waited_for_and_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.part");
        let other = std::cell::RefCell::new(lock(&path, || panic!(), Interrupt::NEVER).unwrap());
        assert!(other.borrow().is_some());
        let waits = || drop(other.take());
        let file = lock(&path, waits, Interrupt::NEVER).unwrap();
        assert!(file.is_some() && other.borrow().is_none());
    }

    #[test]
    fn a_blob_larger_than_any_layer_or_than_the_disk_is_not_asked_for() {
        for (wanted, expected) in [(1 << 62, "are taken"), (256 << 30, "No space left on device")] {
            let directory = Path::new("/");
            if files::free_bytes(directory).is_ok_and(|free| free >= 256 << 30) && wanted < 1 << 62
            {
                continue;
            }
            let (why, asked) = fails(600, 1000, wanted);
            assert!(why.contains(expected), "{why}");
            assert_eq!(asked, 0);
        }
    }
}
