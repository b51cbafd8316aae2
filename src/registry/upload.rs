//! Blobs to a registry: not at all where it has them, in pieces otherwise.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use super::client::{Ask, Client, Right, check};
use super::fault::RegistryError;
use super::target::{Target, located};
use super::transport::{Method, Response};
use crate::digest::{Digest, Hasher};
use crate::tree::Interrupt;

/// How many bytes are sent at once.
const PIECE: usize = 8 << 20;

/// How often a blob is tried to be sent without the registry having more of it than ever before.
const TRIES: u32 = 5;

/// How long is waited before the first time; before each further one twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// How a registry came to have a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It had it.
    There,
    /// Another repository of the registry had it.
    Mounted,
    /// All bytes were sent.
    Whole,
}

/// What can be sent, from the beginning as often as it must be.
pub(crate) trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// What became of a piece.
enum Piece {
    /// The registry has all before this byte, and takes the rest at this place.
    Taken(u64, String),
    /// The registry does not know the upload any more.
    Lost,
}

impl Client {
    /// Sees that the registry has a blob of `size` bytes. `from` is another repository that may have it.
    pub(crate) fn upload(
        &self,
        (digest, size): (Digest, u64),
        source: &mut dyn Source,
        from: Option<&str>,
        interrupt: Interrupt<'_>,
    ) -> Result<Sent, RegistryError> {
        if self.has_blob(digest, interrupt)? {
            return Ok(Sent::There);
        }
        if let Some(from) = from {
            let path = format!("blobs/uploads/?mount={digest}&from={from}");
            let ask = Ask { from: Some(from), ..push(Method::Post, &path) };
            let response = self.ask(ask, interrupt)?;
            match response.status {
                201 => return Ok(Sent::Mounted),
                202 => {
                    let place = self.place(&response, &path)?;
                    return self.send_blob((digest, size), source, Some(place), interrupt);
                }
                // Whoever may not read there sends the bytes.
                _ => {}
            }
        }
        self.send_blob((digest, size), source, None, interrupt)
    }

    /// Tells whether the repository has a blob.
    fn has_blob(&self, digest: Digest, interrupt: Interrupt<'_>) -> Result<bool, RegistryError> {
        let path = format!("blobs/{digest}");
        let ask = Ask { body: None, ..push(Method::Head, &path) };
        let response = self.ask(ask, interrupt)?;
        match response.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refused("tell whether it has a blob", response)),
        }
    }

    fn send_blob(
        &self,
        (digest, size): (Digest, u64),
        source: &mut dyn Source,
        begun: Option<String>,
        interrupt: Interrupt<'_>,
    ) -> Result<Sent, RegistryError> {
        let mut place = begun;
        let (mut sent, mut furthest, mut tries, mut pause) = (0, 0, 0, PAUSE);
        let mut piece = Vec::new();
        // It is digested as it is read for the first time.
        let (mut hasher, mut hashed) = (Hasher::default(), 0);
        loop {
            let at = match place.take() {
                Some(place) => place,
                None => {
                    sent = 0;
                    self.begin(interrupt)?
                }
            };
            let before = sent;
            let taken = if sent < size {
                let about = |error| RegistryError::host("a blob cannot be read", error);
                source.seek(SeekFrom::Start(sent)).map_err(about)?;
                piece.clear();
                Read::take(&mut *source, PIECE as u64).read_to_end(&mut piece).map_err(about)?;
                if piece.is_empty() {
                    return Err(about(io::ErrorKind::UnexpectedEof.into()));
                }
                let end = sent + piece.len() as u64;
                if end > hashed {
                    let known = usize::try_from(hashed - sent).unwrap_or_default();
                    hasher.update(&piece[known..]);
                    hashed = end;
                }
                if hashed == size && hasher.clone().finish() != digest {
                    return Err(RegistryError::DamagedBlob);
                }
                self.send_piece(&at, sent, &piece, interrupt)?
            } else if self.finish(&at, digest, interrupt)? {
                return Ok(Sent::Whole);
            } else {
                Piece::Lost
            };
            match taken {
                Piece::Taken(end, next) => (sent, place) = (end, Some(next)),
                Piece::Lost => place = None,
            }
            self.measured(sent, size);
            if sent > furthest {
                (furthest, tries, pause) = (sent, 0, PAUSE);
                continue;
            }
            // What is sent again is on its way to where it was already.
            if place.is_some() && sent > before {
                continue;
            }
            tries += 1;
            if tries == TRIES {
                let (host, what) = (self.repository.host.clone(), WHAT.to_owned());
                let why = format!("{TRIES} tries in a row got no further");
                return Err(RegistryError::Refused { host, what, why, needs_login: false });
            }
            interrupt.sleep(pause).map_err(|_| RegistryError::Interrupted)?;
            pause *= 2;
        }
    }

    /// Begins an upload, and returns where it goes.
    fn begin(&self, interrupt: Interrupt<'_>) -> Result<String, RegistryError> {
        let path = "blobs/uploads/";
        let response = self.ask(push(Method::Post, path), interrupt)?;
        if response.status != 202 {
            return Err(self.refused(WHAT, response));
        }
        self.place(&response, path)
    }

    /// Sends a piece. Where that breaks off, the registry is asked how far it has come.
    fn send_piece(
        &self,
        place: &str,
        from: u64,
        piece: &[u8],
        interrupt: Interrupt<'_>,
    ) -> Result<Piece, RegistryError> {
        let end = from + piece.len() as u64;
        let range = format!("{from}-{}", end - 1);
        let headers =
            [("Content-Type", "application/octet-stream"), ("Content-Range", range.as_str())];
        let ask = Ask { headers: &headers, body: Some(piece), ..push(Method::Patch, place) };
        match self.ask_once(ask, interrupt) {
            Ok(response) if response.status == 202 => {
                return Ok(Piece::Taken(end, self.place(&response, place)?));
            }
            Ok(response) if response.status == 404 => return Ok(Piece::Lost),
            // Out of order, in both meanings.
            Ok(response) if response.status == 416 || response.status >= 500 => {}
            Ok(response) => return Err(self.refused(WHAT, response)),
            Err(error) if error.is_unreachable() => {
                tracing::debug!(%error, "an upload broke off");
            }
            Err(error) => return Err(error),
        }
        check(interrupt)?;
        let ask = Ask { body: None, ..push(Method::Get, place) };
        let response = self.ask(ask, interrupt)?;
        match response.status {
            204 => {
                let end = response.header("range").and_then(|range| range.rsplit('-').next());
                // `0-0` is nothing, and may be one byte: too little to be of use.
                let end: u64 = end.and_then(|end| end.parse().ok()).unwrap_or_default();
                let taken = if end == 0 { 0 } else { end + 1 };
                if taken < from || taken > from + piece.len() as u64 {
                    return Ok(Piece::Lost);
                }
                Ok(Piece::Taken(taken, self.place(&response, place)?))
            }
            404 => Ok(Piece::Lost),
            _ => Err(self.refused(WHAT, response)),
        }
    }

    /// Ends an upload; false, where the registry does not know it any more.
    fn finish(
        &self,
        place: &str,
        digest: Digest,
        interrupt: Interrupt<'_>,
    ) -> Result<bool, RegistryError> {
        let mark = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{mark}digest={digest}");
        match self.ask_once(push(Method::Put, &url), interrupt) {
            Ok(response) if response.status == 201 => Ok(true),
            Ok(response) if response.status == 404 || response.status >= 500 => {
                // It may have come to its end before the connection did.
                self.has_blob(digest, interrupt)
            }
            Ok(response) => Err(self.refused(WHAT, response)),
            Err(error) if error.is_unreachable() => self.has_blob(digest, interrupt),
            Err(error) => Err(error),
        }
    }

    /// Returns where an upload goes on.
    fn place(&self, response: &Response, asked: &str) -> Result<String, RegistryError> {
        let missing = || {
            let what = format!("the answer of {} to an upload", self.repository.host);
            RegistryError::malformed(what, format!("it does not say where it goes on ({asked})"))
        };
        let place = response.header("location").ok_or_else(missing)?;
        let own = self.url("/");
        let found = located(&own, place).ok_or_else(missing)?;
        let ways = Target::parse(&own).zip(Target::parse(&found));
        if ways.is_some_and(|(own, found)| own.hands_over_to(found)) {
            return Ok(found);
        }
        let what = format!("the answer of {} to an upload", self.repository.host);
        let place = self.shown(place);
        let why = format!("it leads to `{place}`, where others could listen");
        Err(RegistryError::malformed(what, why))
    }
}

/// What is asked for with a blob.
const WHAT: &str = "take a blob";

fn push(method: Method, path: &str) -> Ask<'_> {
    let body = Some(&[][..]);
    Ask { right: Right::Push, body, ..Ask::get(method, path, WHAT) }
}
