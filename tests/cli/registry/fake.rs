//! A registry that answers as a test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What it has heard.
#[derive(Debug, Default)]
struct Heard {
    heads: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// The registry; it speaks no TLS.
pub(super) struct Fake {
    port: u16,
    heard: Arc<Heard>,
}

impl Fake {
    /// Starts one that answers a request by its head: with a status, headers, and after an empty line a body.
    pub(super) fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Heard::default());
        let hears = Arc::clone(&heard);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if hears.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (hears, answer) = (Arc::clone(&hears), Arc::clone(&answer));
                std::thread::spawn(move || serve(client, &hears, &*answer));
            }
        });
        Self { port, heard }
    }

    /// Returns `host:port`.
    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the heads of all requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heard.heads.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.heard.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut client: TcpStream, heard: &Heard, answer: &dyn Fn(&str) -> String) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let is_tls = reader.fill_buf().is_ok_and(|bytes| bytes.first() == Some(&0x16));
    let answer = if is_tls {
        "400 Bad\r\nContent-Length: 0".to_owned()
    } else {
        let mut head = String::new();
        while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
        if head.is_empty() {
            return;
        }
        // Whoever still sends when it is answered may not hear that.
        let length = head.lines().find_map(|line| {
            let (name, length) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| length.parse().ok())?
        });
        let _ = std::io::copy(&mut (&mut reader).take(length.unwrap_or(0)), &mut std::io::sink());
        heard.heads.lock().unwrap().push(head.clone());
        answer(&head)
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let _ = write!(client, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}");
}
