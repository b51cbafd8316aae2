//! A way to a registry on which requests and bytes are counted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What has gone by.
#[derive(Debug, Default)]
struct Counts {
    requests: Mutex<Vec<String>>,
    sent: AtomicU64,
    received: AtomicU64,
    /// How many of the requests have begun as those that are refused.
    begun: AtomicU64,
    ended: AtomicBool,
}

/// What a request is refused with.
const REFUSAL: &[u8] = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The way; it ends with the test's process.
pub(super) struct Counter {
    port: u16,
    counts: Arc<Counts>,
}

impl Counter {
    /// Opens a way to a port.
    pub(super) fn to(port: u16) -> Self {
        Self::cutting(port, u64::MAX)
    }

    /// Opens one on which the first requests are refused as by a registry that is out of order.
    pub(super) fn failing(port: u16, times: usize) -> Self {
        Self::open(port, u64::MAX, (times, 0), None)
    }

    /// Opens one on which the first requests are refused, with how many seconds to wait.
    pub(super) fn busy(port: u16, times: usize, seconds: u64) -> Self {
        Self::open(port, u64::MAX, (times, seconds), None)
    }

    /// Opens one on which each connection ends after so many bytes were received.
    pub(super) fn cutting(port: u16, most: u64) -> Self {
        Self::open(port, most, (0, 0), None)
    }

    /// Opens one on which requests that begin so are refused, but for the first ones.
    pub(super) fn refusing(port: u16, begin: &'static str, allowed: usize) -> Self {
        Self::open(port, u64::MAX, (0, 0), Some((begin, allowed)))
    }

    fn open(
        port: u16,
        most: u64,
        (mut failures, wait): (usize, u64),
        refused: Option<(&'static str, usize)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if seen.ended.load(Ordering::Relaxed) {
                    return;
                }
                if failures > 0 {
                    // What asks whether it speaks TLS is no request.
                    failures -= usize::from(fail(client, failures, wait));
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let counts = Arc::clone(&seen);
                std::thread::spawn(move || {
                    let answer = from.try_clone();
                    pass(from, to, u64::MAX, |bytes| {
                        if let Some((begin, allowed)) = refused
                            && bytes.starts_with(begin.as_bytes())
                            && counts.begun.fetch_add(1, Ordering::Relaxed) >= allowed as u64
                        {
                            let _ = answer.as_ref().map(|mut to| to.write_all(REFUSAL));
                            return false;
                        }
                        counts.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        note(bytes, &counts.requests);
                        true
                    });
                });
                let counts = Arc::clone(&seen);
                std::thread::spawn(move || {
                    pass(server, client, most, |bytes| {
                        counts.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        true
                    });
                });
            }
        });
        Self { port: own, counts }
    }

    pub(super) fn repository(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Returns the requests since the last time, and how many bytes were sent and received.
    pub(super) fn take(&self) -> (Vec<String>, u64, u64) {
        let requests = std::mem::take(&mut *self.counts.requests.lock().unwrap());
        let sent = self.counts.sent.swap(0, Ordering::Relaxed);
        (requests, sent, self.counts.received.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.counts.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers a request as a registry that is out of order; false, where it was none.
fn fail(mut client: TcpStream, number: usize, wait: u64) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    let read = client.read(&mut buffer).unwrap_or_default();
    let status = if number.is_multiple_of(2) { "503 Out of order" } else { "429 Too many" };
    let answer = format!(
        "HTTP/1.1 {status}\r\nRetry-After: {wait}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let _ = client.write_all(answer.as_bytes());
    buffer[..read].starts_with(b"GET ") || buffer[..read].starts_with(b"HEAD ")
}

/// Passes bytes on, as long as `seen` lets them.
fn pass(mut from: TcpStream, mut to: TcpStream, most: u64, mut seen: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = most;
    while let Ok(read) = from.read(&mut buffer) {
        if !seen(&buffer[..read]) {
            break;
        }
        let gone = to.write_all(&buffer[..read]).is_err();
        left = left.saturating_sub(read as u64);
        if read == 0 || gone || left == 0 {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

/// Notes the first lines of requests. The client sends each in a piece of its own.
fn note(bytes: &[u8], requests: &Mutex<Vec<String>>) {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if let Ok(line) = std::str::from_utf8(line)
        && let Some(line) = line.strip_suffix(" HTTP/1.1")
    {
        requests.lock().unwrap().push(line.to_owned());
    }
}
