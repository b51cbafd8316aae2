//! An image server on the loopback, for lxc-download.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::image::Image;
use crate::lab::Lab;
use crate::requirement::PATH;

/// Serves the current directory over TLS, and prints the port. It ends with whoever holds its
/// standard input, so that it cannot outlive a test that is killed.
const SERVER: &str = r"
import http.server, os, ssl, sys, threading

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
";

const BUILD: &str = "images/busybox/1/amd64/default/20200101_0000";

/// The server; dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    /// `host:port`, as `--server` takes it.
    pub(crate) address: String,
    /// The settings that make wget trust the server.
    pub(crate) wgetrc: PathBuf,
}

impl Server {
    /// Makes an image and serves it as `busybox`, release `1`, architecture `amd64`.
    pub(crate) fn start(lab: &Lab) -> Self {
        let root = lab.directory("www");
        Image::make(lab, &format!("www/{BUILD}"));
        lab.directory("www/meta");
        lab.directory("www/meta/1.0");
        for kind in ["system", "user"] {
            let index = format!("busybox;1;amd64;default;20200101_0000;/{BUILD}/\n");
            lab.write(format!("www/meta/1.0/index-{kind}"), &index);
        }
        let certificate = certificate(lab);
        let wgetrc = lab.write("wgetrc", &format!("ca_certificate = {}\n", certificate.display()));
        let mut child = Command::new("python3")
            // It bears no mark of the lab: nobody is to take it for what a run left behind.
            .args(["-c", SERVER, "../key.pem"])
            .current_dir(&root)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut port).expect("the server prints its port");
        let address = format!("127.0.0.1:{}", port.trim());
        Self { child, address, wgetrc }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a certificate of the loopback's own, and beside it a file of key and certificate.
fn certificate(lab: &Lab) -> PathBuf {
    let certificate = lab.path("certificate.pem");
    let key = lab.path("secret.pem");
    lab.call_as_root(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .outcome()
        .success();
    let both = lab.read(&key) + &lab.read(&certificate);
    lab.write("key.pem", &both);
    certificate
}
