//! How a registry is spoken with: certificates, passwords and tokens.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::pushing::role;
use crate::sandbox::Sandbox;

/// Makes an authority of a test's own, and what it vouches for: `ca.pem`, `server.pem` and `server.key`.
const CERTIFICATES: &str = r"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
    -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry \
    -keyout server.key -out server.csr
printf 'subjectAltName=IP:127.0.0.1,DNS:registry.test\nextendedKeyUsage=serverAuth\n' >ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem
";

/// Certificates with which no registry is believed, besides `ca.pem`.
const WRONG_CERTIFICATES: &str = r"
printf 'subjectAltName=DNS:other.example\nextendedKeyUsage=serverAuth\n' >other
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile other -out other.pem
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -extfile ext -out old.pem
";

/// Makes a key that tokens are signed with, and its certificate.
const TOKEN_KEY: &str = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=token -keyout token.key \
                         -out token.pem";

/// A service that gives tokens to `user` with the password `secret`, or who has the token `refresh`: what was
/// asked for stands in the file `asked`. It ends with whoever holds its standard input.
const TOKENS: &str = r"
import base64, http.server, json, os, subprocess, sys, threading, time, urllib.parse as p

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()

def token(scopes):
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(':')
        access.append({'type': kind, 'name': name, 'actions': actions.split(',')})
    chain = [''.join(open('token.pem').read().split('\n')[1:-2])]
    head = {'typ': 'JWT', 'alg': 'RS256', 'x5c': chain}
    body = {'iss': 'test', 'sub': 'user', 'aud': 'registry', 'exp': int(time.time()) + 300,
            'nbf': int(time.time()) - 10, 'iat': int(time.time()), 'jti': '1', 'access': access}
    text = '.'.join(b64(json.dumps(part).encode()) for part in (head, body))
    signed = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', 'token.key'],
                            input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    return text + '.' + b64(signed)

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass
    def answer(self, query, allowed):
        with open('asked', 'a') as asked:
            asked.write(self.command + ' ' + ' '.join(query.get('scope', [])) + '\n')
        scopes = ' '.join(query.get('scope', [])).split()
        body = json.dumps({'token': token(scopes)} if allowed else {'errors': [{'message': 'who are you?'}]})
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(body.encode())
    def do_GET(self):
        basic = 'Basic ' + base64.b64encode(b'user:secret').decode()
        query = p.parse_qs(p.urlparse(self.path).query)
        self.answer(query, self.headers.get('Authorization') == basic)
    def do_POST(self):
        query = p.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
        self.answer(query, query.get('refresh_token') == ['refresh'])

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
";

/// `user` with the password `secret`, as `htpasswd -B` writes it, and as a file of credentials has it.
const PASSWORDS: &str = "user:$2y$05$1iCaYkcOmM/wcXZMv2bLNe6OXh2Ky812BV9Ctg/Lw2YZbOdq7d6Wu\n";
const BASIC: &str = "dXNlcjpzZWNyZXQ=";

#[track_caller]
fn shell(text: &str, at: &Path) {
    let output = Command::new("sh").args(["-ec", text]).current_dir(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a file of credentials.
fn credentials(sandbox: &Sandbox, path: &str, text: &str) {
    let path = sandbox.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_registry_with_a_certificate_is_spoken_with_by_tls_alone() {
    let places = tempfile::Builder::new().prefix("layered-tls-").tempdir().unwrap();
    shell(CERTIFICATES, places.path());
    let top = places.path().display();
    let http = format!("  tls:\n    certificate: {top}/server.pem\n    key: {top}/server.key\n");
    let Some(registry) = super::start_with(&http, "") else { return };
    let repository = registry.repository("web");
    let stranger = role();
    let ran = stranger.run(["push", "m.toml", &repository]);
    ran.exits(8).mentions("the certificate of 127.0.0.1:");
    ran.mentions("is not signed by a CA that this host trusts").mentions("update-ca-certificates");
    let ran = role().run(["pull", "m.toml", "--from", &repository, "--allow-untrusted"]);
    ran.exits(8).mentions("is not signed by a CA that this host trusts");
    ran.mentions("name it in `SSL_CERT_FILE`").shows("nothing pulled; 1 of 1 role failed");
    let host = role().env("SSL_CERT_FILE", "/no/ca.pem");
    let ran = host.run(["push", "m.toml", &repository]);
    ran.exits(8)
        .mentions(" cannot be checked: `SSL_CERT_FILE` names `/no/ca.pem`, which is no file\n");
    let host = role().env("SSL_CERT_FILE", places.path().join("ca.pem").to_str().unwrap());
    host.run(["push", "m.toml", &repository]).exits(0);
    let other = role().env("SSL_CERT_FILE", places.path().join("ca.pem").to_str().unwrap());
    other.run(["pull", "m.toml", "--from", &repository, "--allow-untrusted"]).exits(0);

    // By a proxy, which sees no more than where to.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let by_proxy = Arc::clone(&seen);
    std::thread::spawn(move || {
        proxy.incoming().flatten().for_each(|client| connect(client, &by_proxy));
    });
    let pull = |from: &str| {
        let other = role()
            .env("SSL_CERT_FILE", places.path().join("ca.pem").to_str().unwrap())
            .env("HTTPS_PROXY", format!("http://{address}"));
        other.run(["pull", "m.toml", "--from", from, "--allow-untrusted"]).exits(0);
    };
    // What is on this machine is nobody else's business.
    pull(&repository);
    assert_eq!(*seen.lock().unwrap(), [""; 0]);
    let named = format!("registry.test:{}", registry.port);
    pull(&format!("{named}/web"));
    let seen = seen.lock().unwrap();
    let expected = format!("CONNECT {named} HTTP/1.1");
    assert!(!seen.is_empty() && seen.iter().all(|line| *line == expected), "{seen:?}");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let places = tempfile::Builder::new().prefix("layered-tls-").tempdir().unwrap();
    shell(CERTIFICATES, places.path());
    shell(WRONG_CERTIFICATES, places.path());
    let top = places.path().display();
    for (certificate, key, host, why) in [
        ("other.pem", "server.key", "127.0.0.1", "is for other.example, not 127.0.0.1"),
        ("server.pem", "server.key", "localhost", "is for 127.0.0.1, registry.test, not localhost"),
        ("old.pem", "server.key", "127.0.0.1", "has expired"),
        ("ca.pem", "ca.key", "127.0.0.1", "is a CA's certificate, not a server's"),
    ] {
        let is_of_ca = certificate == "ca.pem";
        let http = format!("  tls:\n    certificate: {top}/{certificate}\n    key: {top}/{key}\n");
        let Some(registry) = super::start_with(&http, "") else { return };
        let authority = places.path().join("ca.pem");
        let sandbox = role().env("SSL_CERT_FILE", authority.to_str().unwrap());
        let host = format!("{host}:{}", registry.port);
        let ran = sandbox.run(["pull", "m.toml", "--from", &format!("{host}/web")]);
        ran.exits(8).mentions(&format!("the certificate of {host} {why}"));
        let has_hint = ran.stderr().contains("\nhint: let the registry have a certificate");
        assert_eq!(has_hint, is_of_ca, "{}", ran.stderr());
    }
}

#[test]
fn nobody_is_told_who_asks_without_tls() {
    if !crate::requirement::root() {
        return;
    }
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = registry.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in registry.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer \
                  realm=\"http://tokens.example/\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    let ran = role().run(["pull", "m.toml", "--from", &format!("{host}/web")]);
    ran.exits(8).mentions(&format!(
        "{host} asks for a token from a URL that is not https; no credentials are sent"
    ));
}

/// Connects somebody to the port that is asked for, as a proxy does, and notes the request.
fn connect(client: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 || line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let Some(first) = lines.first() else { return };
    seen.lock().unwrap().push(first.clone());
    let port = first.split([':', ' ']).nth(2).and_then(|port| port.parse().ok()).unwrap();
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let mut answer = client.try_clone().unwrap();
    answer.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
    let (mut to, mut from) = (server.try_clone().unwrap(), server);
    std::thread::spawn(move || std::io::copy(&mut reader, &mut to));
    std::thread::spawn(move || std::io::copy(&mut from, &mut answer));
}

#[test]
fn a_password_comes_from_the_files_of_other_programs() {
    let auth = "auth:\n  htpasswd:\n    realm: test\n    path: @/htpasswd\n";
    let Some(mut registry) = super::start_with("", auth) else { return };
    fs::write(registry.path("htpasswd"), PASSWORDS).unwrap();
    assert!(registry.run());
    let (host, repository) = (registry.host(), registry.repository("web"));
    let sandbox = role();
    let ran = sandbox.run(["push", "m.toml", &repository]);
    ran.exits(8).mentions("nothing in `auth.json` says who you are there");
    let hint = format!("\nhint: `podman login {host}` logs in");
    ran.mentions(&hint);
    let ran = role().run(["pull", "m.toml", "--from", &repository]);
    ran.exits(8).mentions(&format!("{host} refuses to show an image manifest")).mentions(&hint);

    let known = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{BASIC}\"}}}}}}");
    for path in ["home/.docker/config.json", "home/.config/containers/auth.json"] {
        let sandbox = role();
        credentials(&sandbox, path, &known);
        sandbox.run(["push", "m.toml", &repository]).exits(0);
    }
    let sandbox = role().env("REGISTRY_AUTH_FILE", sandbox.path("auth").to_str().unwrap());
    let ran = sandbox.run(["push", "m.toml", &repository]);
    ran.exits(8);
    let wrong = "dXNlcjp3cm9uZw==";
    credentials(&sandbox, "home/.docker/config.json", &known.replace(BASIC, wrong));
    let sandbox = role();
    credentials(&sandbox, "home/.docker/config.json", &known.replace(BASIC, wrong));
    let ran = sandbox.run(["push", "m.toml", &repository, "-vvv"]);
    ran.exits(8);
    for secret in ["wrong", wrong, "secret", BASIC] {
        assert!(!ran.stderr().contains(secret), "{}", ran.stderr());
    }

    // A helper is asked by its standard input, and nothing of what it says is seen.
    let sandbox = role().program(
        "docker-credential-test",
        "#!/bin/sh\n[ $# = 1 ] && [ $1 = get ] || exit 1\nread -r asked; echo \"$asked\" >\"$0.asked\"\n\
         echo '{\"ServerURL\": \"\", \"Username\": \"user\", \"Secret\": \"secret\"}'\n",
    );
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", sandbox.path("").display());
    let sandbox = sandbox.env("PATH", path);
    let helper = format!("{{\"credHelpers\": {{\"{host}\": \"test\"}}}}");
    credentials(&sandbox, "home/.docker/config.json", &helper);
    sandbox.run(["push", "m.toml", &repository]).exits(0);
    let asked = fs::read_to_string(sandbox.path("docker-credential-test.asked")).unwrap();
    assert_eq!(asked.trim(), host);
}

/// A token service.
struct Tokens {
    child: Child,
    port: u16,
}

impl Tokens {
    fn start(at: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", TOKENS])
            .current_dir(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn tokens_are_asked_for_just_what_is_done() {
    let places = tempfile::Builder::new().prefix("layered-token-").tempdir().unwrap();
    shell(TOKEN_KEY, places.path());
    let tokens = Tokens::start(places.path());
    let auth = format!(
        "auth:\n  token:\n    realm: http://127.0.0.1:{}/token\n    service: registry\n    issuer: \
         test\n    rootcertbundle: {}/token.pem\n",
        tokens.port,
        places.path().display()
    );
    let Some(registry) = super::start_with("", &auth) else { return };
    let (host, repository) = (registry.host(), registry.repository("web"));
    let nobody = role();
    let ran = nobody.run(["push", "m.toml", &repository]);
    ran.exits(8).mentions("refuses to give a token: who are you?");

    let sandbox = role();
    let known = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{BASIC}\"}}}}}}");
    credentials(&sandbox, "home/.docker/config.json", &known);
    fs::remove_file(places.path().join("asked")).unwrap();
    sandbox.run(["push", "m.toml", &repository]).exits(0);
    let other = registry.repository("other");
    sandbox.run(["push", "m.toml", &other, "--mount-from", "web"]).exits(0).shows("mounted");
    let asked = fs::read_to_string(places.path().join("asked")).unwrap();
    let lines: Vec<_> = asked.lines().collect();
    assert_eq!(lines[0], "GET repository:web:pull,push", "{asked}");
    assert!(lines.contains(&"GET repository:other:pull,push repository:web:pull"), "{asked}");

    // By a token for which another is given, and for nothing but reading.
    let sandbox = role();
    let known = format!("{{\"auths\": {{\"{host}\": {{\"identitytoken\": \"refresh\"}}}}}}");
    credentials(&sandbox, "home/.docker/config.json", &known);
    fs::remove_file(places.path().join("asked")).unwrap();
    sandbox.run(["pull", "m.toml", "--from", &repository, "--allow-untrusted"]).exits(0);
    let asked = fs::read_to_string(places.path().join("asked")).unwrap();
    assert!(asked.lines().all(|line| line == "POST repository:web:pull"), "{asked}");
}
