//! Blobs to a registry: not at all where it has them, in pieces otherwise.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use super::client::{Ask, Client, Right, check};
use super::fault::{Outage, RegistryError};
use super::target::{Target, located};
use super::transport::{Method, Response};
use crate::digest::{Digest, Hasher};
use crate::tree::Interrupt;

/// How many bytes are sent at once.
const PIECE: usize = 8 << 20;

/// How often a blob is tried to be sent without the registry having more of it than ever before, and how often where
/// minutes were waited for each.
const TRIES: u32 = 5;
const STALLED_TRIES: u32 = 2;

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

/// How sending a blob has gone since the registry had more of it than ever before.
#[derive(Debug, Default)]
struct Standstill {
    tries: u32,
    /// How many of them were waited for too long.
    stalled: u32,
    /// What was seen last that broke off, in words that follow the registry.
    why: Option<String>,
}

impl Standstill {
    /// Notes that no answer has come, or that the registry is out of order.
    fn broke_off(&mut self, error: &RegistryError) {
        if let RegistryError::Unreachable { why, outage, .. } = error {
            self.stalled += u32::from(*outage == Outage::Stalled);
            self.why = Some(why.clone());
        }
    }
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
        if self.has_blob(digest, 0, interrupt)? {
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

    /// Tells whether the repository has a blob. `stalled` is how often it was waited for too long.
    fn has_blob(
        &self,
        digest: Digest,
        stalled: u32,
        interrupt: Interrupt<'_>,
    ) -> Result<bool, RegistryError> {
        let path = format!("blobs/{digest}");
        let ask = Ask { body: None, ..push(Method::Head, &path) };
        let response = self.ask_after(stalled, ask, interrupt)?;
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
        let (mut sent, mut furthest, mut pause) = (0, 0, PAUSE);
        let mut still = Standstill::default();
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
                self.send_piece(&at, sent, &piece, &mut still, interrupt)?
            } else if self.finish(&at, digest, &mut still, interrupt)? {
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
                (furthest, still, pause) = (sent, Standstill::default(), PAUSE);
                continue;
            }
            // What is sent again is on its way to where it was already.
            if place.is_some() && sent > before {
                continue;
            }
            still.tries += 1;
            let tries = still.tries;
            if tries == TRIES || still.stalled == STALLED_TRIES {
                let (host, what) = (self.repository.host.clone(), WHAT.to_owned());
                let last = still.why.map(|why| format!(": it {why}")).unwrap_or_default();
                let why = format!("{tries} tries in a row got no further{last}");
                return Err(RegistryError::Refused { host, what, why, needs_login: false });
            }
            if let Some(why) = &still.why {
                self.tell_again(why);
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
        still: &mut Standstill,
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
                still.broke_off(&error);
            }
            Err(error) => return Err(error),
        }
        check(interrupt)?;
        let ask = Ask { body: None, ..push(Method::Get, place) };
        let response = self.ask_after(still.stalled, ask, interrupt)?;
        match response.status {
            204 => {
                let taken = response.header("range").map_or(0, taken);
                if taken < from || taken > from + piece.len() as u64 {
                    return Ok(Piece::Lost);
                }
                Ok(Piece::Taken(taken, self.place(&response, place)?))
            }
            404 => Ok(Piece::Lost),
            _ => Err(self.refused(WHAT, response)),
        }
    }

    /// Asks, and once alone where it was waited for too long before.
    fn ask_after(
        &self,
        stalled: u32,
        ask: Ask<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Response, RegistryError> {
        match stalled {
            0 => self.ask(ask, interrupt),
            _ => self.ask_once(ask, interrupt),
        }
    }

    /// Ends an upload; false, where the registry does not know it any more.
    fn finish(
        &self,
        place: &str,
        digest: Digest,
        still: &mut Standstill,
        interrupt: Interrupt<'_>,
    ) -> Result<bool, RegistryError> {
        let mark = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{mark}digest={digest}");
        match self.ask_once(push(Method::Put, &url), interrupt) {
            Ok(response) if response.status == 201 => Ok(true),
            Ok(response) if response.status == 404 || response.status >= 500 => {
                // It may have come to its end before the connection did.
                self.has_blob(digest, still.stalled, interrupt)
            }
            Ok(response) => Err(self.refused(WHAT, response)),
            Err(error) if error.is_unreachable() => {
                still.broke_off(&error);
                self.has_blob(digest, still.stalled, interrupt)
            }
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

/// Returns how many bytes a registry has by its header `Range`.
fn taken(range: &str) -> u64 {
    let end = range.rsplit('-').next().and_then(|end| end.parse().ok());
    // `0-0` is nothing, and may be one byte: too little to be of use.
    end.filter(|end| *end > 0).map_or(0, |end: u64| end.saturating_add(1))
}

/// What is asked for with a blob.
const WHAT: &str = "take a blob";

fn push(method: Method, path: &str) -> Ask<'_> {
    let body = Some(&[][..]);
    Ask { right: Right::Push, body, ..Ask::get(method, path, WHAT) }
}

#[cfg(all(test, feature = "registry"))]
mod tests {
    use std::io::{BufRead, BufReader, Cursor, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::super::notice::Notice;
    use super::super::reference::Repository;
    use super::*;

    /// Uploads a blob to a registry that says nothing to requests of these methods, and returns why that fails, the
    /// methods of the requests, and what was told meanwhile.
    fn fails(silent: &[&str]) -> (String, Vec<String>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let (asked, told) = (Mutex::new(Vec::new()), Arc::new(Mutex::new(Vec::new())));
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut held = Vec::new();
                for mut client in listener.incoming().flatten() {
                    let mut reader = BufReader::new(client.try_clone().unwrap());
                    let first = reader.fill_buf().unwrap_or_default().first();
                    let Some(first) = first else { return };
                    if *first == 0x16 {
                        let _ = client.write_all(b"HTTP/1.1 400 Bad\r\n\r\n");
                        continue;
                    }
                    let mut head = String::new();
                    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
                    let method = head.split(' ').next().unwrap_or_default().to_owned();
                    let status = match method.as_str() {
                        "HEAD" => "404 Nothing",
                        "GET" => "204 None",
                        "PUT" => "201 Made",
                        _ => "202 Go on",
                    };
                    let is_silent = silent.contains(&method.as_str());
                    asked.lock().unwrap().push(method);
                    if is_silent {
                        held.push(client);
                        continue;
                    }
                    let more = "Connection: close\r\nContent-Length: 0\r\nRange: 0-0";
                    let place = "Location: /v2/web/blobs/uploads/1";
                    let _ = write!(client, "HTTP/1.1 {status}\r\n{more}\r\n{place}\r\n\r\n");
                }
            });
            let repository = Repository { host: host.clone(), name: "web".to_owned() };
            let client = Client::new(&repository).unwrap().impatient(Duration::from_millis(300));
            let tells = Arc::clone(&told);
            client.tell(Notice::by(move |text| tells.lock().unwrap().push(text.to_owned())));
            let blob = (Digest::of(b"blob"), 4);
            let sent = client.upload(blob, &mut Cursor::new(b"blob"), None, Interrupt::NEVER);
            drop(client);
            drop(TcpStream::connect(&host));
            sent.unwrap_err()
        });
        let shown = |text: &str| text.replace(&host, "HOST");
        let told = told.lock().unwrap().iter().map(|text| shown(text)).collect();
        (shown(&error.to_string()), asked.into_inner().unwrap(), told)
    }

    #[test]
    fn what_a_registry_has_is_read_whatever_it_says() {
        for (range, expected) in [
            ("0-9", 10),
            ("bytes=0-9", 10),
            ("0-0", 0),
            ("-", 0),
            ("", 0),
            ("0--9", 10),
            ("0-18446744073709551615", u64::MAX),
            ("0-18446744073709551616", 0),
        ] {
            assert_eq!(taken(range), expected, "{range}");
        }
    }

    #[test]
    fn an_upload_that_stands_still_is_given_up_and_told_of() {
        let refused =
            "HOST refuses to take a blob: 2 tries in a row got no further: it does not answer (";
        let again = "HOST does not answer (";
        for (silent, expected, methods) in [
            (&["PATCH"][..], refused, &["HEAD", "POST", "PATCH", "GET", "PATCH", "GET"][..]),
            (&["PATCH", "GET"], again, &["HEAD", "POST", "PATCH", "GET"]),
            (
                &["PUT"],
                refused,
                &["HEAD", "POST", "PATCH", "PUT", "HEAD", "POST", "PATCH", "PUT", "HEAD"],
            ),
        ] {
            let (why, asked, told) = fails(silent);
            assert!(why.starts_with(expected), "{silent:?}: {why}");
            assert_eq!(asked, methods, "{silent:?}");
            let is_told = !silent.contains(&"GET");
            assert_eq!(told.len(), usize::from(is_told), "{told:?}");
            for told in told {
                assert!(told.starts_with(again) && told.ends_with("; trying again"), "{told}");
            }
        }
    }
}
