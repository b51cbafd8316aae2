//! Blobs from a registry: into a file that an interrupted download goes on with, and digested before anybody
//! reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::client::{Ask, Client, check, no_answer};
use super::fault::RegistryError;
use super::manifest::Descriptor;
use super::transport::Method;
use crate::digest::{Digest, Hasher};
use crate::host::files;
use crate::tree::Interrupt;

/// How many bytes are read at once.
const PIECE: usize = 128 * 1024;

/// How often a download goes on that broke off without a single byte.
const TRIES: u32 = 5;

/// How long is waited before it goes on.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether another run has done with the same blob.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A blob that was downloaded, and is what was asked for. Dropped, its file is removed.
#[derive(Debug)]
pub(crate) struct Download {
    /// The blob, to be read from its first byte on. Its lock is held.
    pub file: File,
    path: PathBuf,
}

impl Drop for Download {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
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
        let what = || format!("the blob {} of {}", blob.digest, self.repository);
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
                Err(error) if tries == TRIES => return Err(self.broken(&error)),
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
    /// Where the bytes are others than were asked for, also when they are asked for once more.
    pub(crate) fn download(
        &self,
        blob: &Descriptor,
        directory: &Path,
        progress: &mut dyn FnMut(u64),
        interrupt: Interrupt<'_>,
    ) -> Result<Download, RegistryError> {
        let path = directory.join(format!("{}.part", hex(blob.digest)));
        let about = |error| RegistryError::host(format!("`{}`", path.display()), error);
        let file = lock(&path, interrupt)?.ok_or(RegistryError::Interrupted)?;
        let mut download = Download { file, path: path.clone() };
        let mut is_again = false;
        loop {
            let found = match self.complete(blob, &mut download.file, progress, interrupt) {
                Ok(found) => found,
                Err(error) => {
                    let is_full = matches!(&error,
                        RegistryError::Host { source, .. } if files::is_full(source));
                    // Otherwise what is there by now is what the next download begins with.
                    if !is_full {
                        std::mem::forget(download);
                    }
                    return Err(error);
                }
            };
            if found == blob.digest {
                download.file.rewind().map_err(about)?;
                return Ok(download);
            }
            if is_again {
                let what = format!("the blob {} of {}", blob.digest, self.repository);
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
        let mut tries = 0;
        while there < blob.size {
            tries += 1;
            let response = self.blob(blob, there, interrupt)?;
            // It may know of no ranges.
            if response.status == 200 && there > 0 {
                file.set_len(0).map_err(about)?;
                (hasher, there) = (Hasher::default(), 0);
            }
            file.seek(SeekFrom::Start(there)).map_err(about)?;
            let mut body = response.body.take(blob.size - there);
            let broken = loop {
                check(interrupt)?;
                match body.read(&mut piece) {
                    Ok(0) => break io::Error::from(io::ErrorKind::UnexpectedEof),
                    Ok(read) => {
                        file.write_all(&piece[..read]).map_err(about)?;
                        hasher.update(&piece[..read]);
                        there += read as u64;
                        tries = 0;
                        progress(there);
                    }
                    Err(error) => break error,
                }
            };
            if there < blob.size {
                check(interrupt)?;
                if tries == TRIES {
                    return Err(self.broken(&broken));
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
    ) -> Result<super::transport::Response, RegistryError> {
        let path = format!("blobs/{}", blob.digest);
        let range = format!("bytes={from}-");
        let headers = [("Range", range.as_str())];
        let headers = if from > 0 { &headers[..] } else { &[] };
        let ask = Ask { headers, ..Ask::get(Method::Get, &path, "send a blob") };
        let response = self.ask(ask, interrupt)?;
        match response.status {
            200 => Ok(response),
            206 if from > 0 => Ok(response),
            _ => Err(self.refused(ask.what, response)),
        }
    }

    fn broken(&self, error: &io::Error) -> RegistryError {
        let (host, why) = (self.repository.host.clone(), no_answer(error, false).0);
        RegistryError::Unreachable { host, why }
    }
}

/// Opens a file that nobody else downloads into; `None` where a signal has come first.
fn lock(path: &Path, interrupt: Interrupt<'_>) -> Result<Option<File>, RegistryError> {
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
                if interrupt.sleep(POLL_INTERVAL).is_err() {
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
