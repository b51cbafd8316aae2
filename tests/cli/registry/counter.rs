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
    ended: AtomicBool,
}

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
        Self::open(port, u64::MAX, times, 0)
    }

    /// Opens one on which the first requests are refused, with how many seconds to wait.
    pub(super) fn busy(port: u16, times: usize, seconds: u64) -> Self {
        Self::open(port, u64::MAX, times, seconds)
    }

    /// Opens one on which each connection ends after so many bytes were received.
    pub(super) fn cutting(port: u16, most: u64) -> Self {
        Self::open(port, most, 0, 0)
    }

    fn open(port: u16, most: u64, mut failures: usize, wait: u64) -> Self {
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
                    pass(from, to, u64::MAX, |bytes| {
                        counts.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        note(bytes, &counts.requests);
                    });
                });
                let counts = Arc::clone(&seen);
                std::thread::spawn(move || {
                    pass(server, client, most, |bytes| {
                        counts.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
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

fn pass(mut from: TcpStream, mut to: TcpStream, most: u64, mut seen: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = most;
    while let Ok(read) = from.read(&mut buffer) {
        let gone = to.write_all(&buffer[..read]).is_err();
        seen(&buffer[..read]);
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
