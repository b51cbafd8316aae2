//! One request and its answer: HTTP, TLS and proxies. It is all that differs in a build without a client.

use std::io::{self, Read};
use std::time::Instant;

use super::pace::read_small;
use super::proxy::UnusableProxy;
use crate::cache::Unfit;

/// What a failure begins with that is a proxy's.
pub(super) const BY_PROXY: &str = "the proxy ";

/// What it has in it where the proxy wants to know who asks.
pub(super) const WHO_ASKS: &str = "status 407";

/// What is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Patch,
    Put,
}

/// A request.
#[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "nothing is sent"))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub method: Method,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    /// `None` where the method has none.
    pub body: Option<&'a [u8]>,
}

/// An answer, its body yet to be read.
pub(super) struct Response {
    pub status: u16,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Box<dyn Read>,
}

impl Response {
    /// Returns the first header of a name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns all headers of a name in lower case.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body; fails where it is longer than `most` bytes, or comes too slowly, as [`read_small`].
    pub(super) fn read(self, most: usize) -> io::Result<Vec<u8>> {
        read_small(self.body, most, Instant::now)
    }
}

/// Why no answer came.
#[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "nothing is sent"))]
#[derive(Debug)]
pub(super) enum SendError {
    /// The other side does not speak TLS.
    NotTls,
    /// The certificate of the other side is not one that this host trusts.
    Certificate {
        /// What is wrong with it, in words that follow it.
        why: String,
        /// What kind of thing is wrong.
        unfit: Unfit,
    },
    /// The environment names a proxy that is not spoken with.
    Proxy(UnusableProxy),
    /// Anything else.
    Io(io::Error),
    /// There is no client in this build.
    #[cfg_attr(feature = "registry", expect(dead_code, reason = "this build has a client"))]
    NoClient,
}

#[cfg(feature = "registry")]
pub(super) use self::with_client::Transport;

#[cfg(feature = "registry")]
mod with_client {
    use std::sync::Arc;
    use std::time::Duration;

    use ureq::tls::{RootCerts, TlsConfig};
    use ureq::unversioned::resolver::DefaultResolver;
    use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};
    use ureq::{Agent, http};

    use super::super::meter::Meter;
    use super::super::proxy::Proxies;
    use super::super::socket::{Body, LONGEST_STALL, SocketConnector, Wake};
    use super::super::target::Target;
    use super::{BY_PROXY, Method, Request, Response, SendError};
    use crate::cache::Unfit;
    use crate::tree::Interrupt;

    /// How long the sending of a request may take: a piece of a blob by 1 KiB a second.
    const LONGEST_SENDING: Duration = Duration::from_secs(8 * 1024 + 120);

    /// How many bytes of headers an answer may have.
    const MOST_HEADERS: usize = 64 * 1024;

    /// What sends requests; it keeps connections for the next ones.
    #[derive(Debug)]
    pub(in crate::registry) struct Transport {
        agent: Agent,
        proxies: Proxies,
        wake: Arc<Wake>,
        /// How long may pass until more of a body is there.
        longest: Duration,
    }

    impl Transport {
        pub(in crate::registry) fn new() -> Self {
            Self::waiting(LONGEST_STALL)
        }

        /// Returns one that waits so long for a connection, again for the head of an answer, all of it, and again for
        /// each piece of its body.
        pub(in crate::registry) fn waiting(longest: Duration) -> Self {
            let wake = Arc::new(Wake::default());
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::PlatformVerifier)
                .unversioned_rustls_crypto_provider(provider)
                .build();
            let config = Agent::config_builder()
                .tls_config(tls)
                .http_status_as_error(false)
                .max_redirects(0)
                .max_response_header_size(MOST_HEADERS)
                .timeout_connect(Some(longest))
                .timeout_send_request(Some(longest))
                .timeout_send_body(Some(LONGEST_SENDING))
                .timeout_recv_response(Some(longest))
                .user_agent(concat!("layered-template/", env!("CARGO_PKG_VERSION")))
                .build();
            let connector =
                ().chain(ConnectProxyConnector::default())
                    .chain(SocketConnector { wake: Arc::clone(&wake) })
                    .chain(RustlsConnector::default());
            let agent = Agent::with_parts(config, connector, DefaultResolver::default());
            Self { agent, proxies: Proxies::observe(), wake, longest }
        }

        /// Has it told from now on how long is waited.
        pub(in crate::registry) fn measure(&self, meter: Arc<Meter>) {
            self.wake.measure(meter);
        }

        /// Sends a request, and returns the answer once its headers are there. None is followed to another place.
        pub(in crate::registry) fn send(
            &self,
            request: Request<'_>,
            interrupt: Interrupt<'_>,
        ) -> Result<Response, SendError> {
            self.wake.listen(interrupt).map_err(SendError::Io)?;
            let Some(target) = Target::parse(request.url) else {
                let message = format!("`{}` is no place to ask", request.url);
                return Err(SendError::Io(std::io::Error::other(message)));
            };
            let is_secret = request.url.starts_with("https://");
            // What is for this machine alone goes to nobody else.
            let proxy = match target.is_local() {
                true => None,
                false => self.proxies.to(request.url).map_err(SendError::Proxy)?,
            };
            let mut builder =
                http::Request::builder().uri(request.url).method(match request.method {
                    Method::Get => http::Method::GET,
                    Method::Head => http::Method::HEAD,
                    Method::Post => http::Method::POST,
                    Method::Patch => http::Method::PATCH,
                    Method::Put => http::Method::PUT,
                });
            for (name, value) in request.headers {
                builder = builder.header(*name, *value);
            }
            let invalid = |error: http::Error| SendError::Io(std::io::Error::other(error));
            let agent = &self.agent;
            let answer = match request.body {
                None => {
                    let request = builder.body(()).map_err(invalid)?;
                    agent.run(
                        agent.configure_request(request).https_only(is_secret).proxy(proxy).build(),
                    )
                }
                Some(body) => {
                    let request = builder.body(body).map_err(invalid)?;
                    agent.run(
                        agent.configure_request(request).https_only(is_secret).proxy(proxy).build(),
                    )
                }
            };
            let answer = answer.map_err(|error| what_failed(error.into_io()))?;
            let (parts, body) = answer.into_parts();
            let headers = parts.headers.iter().map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
            let (from, wake, longest) = (body.into_reader(), Arc::clone(&self.wake), self.longest);
            Ok(Response {
                status: parts.status.as_u16(),
                headers: headers.collect(),
                body: Box::new(Body { from, wake, longest }),
            })
        }
    }

    fn what_failed(error: std::io::Error) -> SendError {
        let of_client = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        // Others who wait too long say so themselves.
        if matches!(of_client, Some(ureq::Error::Timeout(_))) {
            let why = "its answer takes too long";
            return SendError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why));
        }
        if let Some(ureq::Error::ConnectProxyFailed(reason)) = of_client {
            // The client says `proxy server responded 407/407`.
            let status = reason.rsplit_once('/').map(|(_, status)| status);
            let what = status.map(|status| format!("refuses (status {status})"));
            let what = what.unwrap_or_else(|| "does not answer".to_owned());
            return SendError::Io(std::io::Error::other(format!("{BY_PROXY}{what}")));
        }
        let inner = error.get_ref().and_then(|inner| {
            let direct = inner.downcast_ref::<rustls::Error>();
            direct.or_else(|| match inner.downcast_ref::<ureq::Error>()? {
                ureq::Error::Rustls(error) => Some(error),
                _ => None,
            })
        });
        match inner {
            Some(rustls::Error::InvalidMessage(_)) => SendError::NotTls,
            Some(rustls::Error::InvalidCertificate(error)) => what_is_wrong(error),
            Some(rustls::Error::General(_)) => match missing_authority() {
                Some(missing) => SendError::Certificate {
                    why: format!("cannot be checked: {missing}"),
                    unfit: Unfit::Registry,
                },
                None => SendError::Io(error),
            },
            _ => SendError::Io(error),
        }
    }

    /// Says that the variable which names the authorities of this host names no file, where that is so.
    fn missing_authority() -> Option<String> {
        let path = std::path::PathBuf::from(std::env::var_os("SSL_CERT_FILE")?);
        let is_missing = !path.is_file();
        is_missing.then(|| format!("`SSL_CERT_FILE` names `{}`, which is no file", path.display()))
    }

    /// Says what is wrong with a certificate.
    fn what_is_wrong(error: &rustls::CertificateError) -> SendError {
        use rustls::CertificateError as Error;

        let mut unfit = Unfit::Registry;
        let why = match error {
            // A CA of the same name, but with another key, is another one.
            Error::UnknownIssuer | Error::BadSignature => {
                unfit = Unfit::UnknownCa;
                let missing = missing_authority().map(|missing| format!(": {missing}"));
                let missing = missing.unwrap_or_default();
                format!("is not signed by a CA that this host trusts{missing}")
            }
            Error::NotValidForNameContext { expected, presented } => {
                // They are shown as `DnsName("example.org")` and `IpAddress(127.0.0.1)`.
                let name = |text: &String| {
                    let within = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
                    within.unwrap_or(text).trim_matches('"').to_owned()
                };
                let presented: Vec<_> = presented.iter().map(name).collect();
                let presented = match presented.is_empty() {
                    true => "no host".to_owned(),
                    false => presented.join(", "),
                };
                format!("is for {presented}, not {}", expected.to_str())
            }
            Error::NotValidForName => "is for another host".to_owned(),
            Error::Expired | Error::ExpiredContext { .. } => "has expired".to_owned(),
            Error::NotValidYet | Error::NotValidYetContext { .. } => "is not valid yet".to_owned(),
            Error::Revoked => "was revoked".to_owned(),
            // What another crate has found has no other name here.
            Error::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                unfit = Unfit::OwnCa;
                "is a CA's certificate, not a server's".to_owned()
            }
            Error::Other(other) => format!("cannot be used: {}", other.0),
            other => format!("cannot be used: {other}"),
        };
        SendError::Certificate { why, unfit }
    }

    #[cfg(test)]
    mod tests {
        use std::io::{Read, Write};
        use std::net::TcpListener;
        use std::os::fd::AsFd;
        use std::time::Instant;

        use super::*;

        #[test]
        fn the_head_of_an_answer_is_not_waited_for_for_ever() {
            let continued = "HTTP/1.1 100 Continue\r\n\r\n";
            for (begin, more, pause) in [
                ("", "", 1000),
                ("HTTP/1.1 200 OK\r\nX-Header: ", "x", 20),
                (continued, continued, 20),
            ] {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let url = format!("http://{}/v2/", listener.local_addr().unwrap());
                let server = std::thread::spawn(move || {
                    let (mut client, _) = listener.accept().unwrap();
                    let _ = client.read(&mut [0; 4096]);
                    let _ = client.write_all(begin.as_bytes());
                    let begun = Instant::now();
                    while begun.elapsed() < Duration::from_secs(20)
                        && (more.is_empty() || client.write_all(more.as_bytes()).is_ok())
                    {
                        std::thread::sleep(Duration::from_millis(pause));
                        if more.is_empty() && client.read(&mut [0; 1]).is_ok_and(|read| read == 0) {
                            break;
                        }
                    }
                });
                let transport = Transport::waiting(Duration::from_millis(300));
                let request = Request { method: Method::Get, url: &url, headers: &[], body: None };
                let begun = Instant::now();
                let Err(SendError::Io(error)) = transport.send(request, Interrupt::NEVER) else {
                    panic!("{begin:?}: it is answered")
                };
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{begin:?}: {error}");
                assert!(begun.elapsed() < Duration::from_secs(10), "{begin:?}");
                drop(transport);
                server.join().unwrap();
            }
        }

        /// Reads an answer whose body ends, and after which trailers come without end: so many at once, and then after
        /// a pause. Returns why that fails.
        fn reads(at_once: usize, pause: u64, interrupt: Interrupt<'_>) -> std::io::Error {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/v2/", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || {
                let (mut client, _) = listener.accept().unwrap();
                let _ = client.read(&mut [0; 4096]);
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n";
                let _ = client.write_all(head.as_bytes());
                let (begun, trailers) = (Instant::now(), "X: y\r\n".repeat(at_once));
                while begun.elapsed() < Duration::from_secs(20)
                    && client.write_all(trailers.as_bytes()).is_ok()
                {
                    std::thread::sleep(Duration::from_millis(pause));
                }
            });
            let longest = if interrupt.descriptor().is_some() { 60_000 } else { 300 };
            let transport = Transport::waiting(Duration::from_millis(longest));
            let request = Request { method: Method::Get, url: &url, headers: &[], body: None };
            let answer = transport.send(request, Interrupt::NEVER);
            let answer = answer.unwrap_or_else(|error| panic!("{error:?}"));
            // It comes once the head is there.
            transport.wake.listen(interrupt).unwrap();
            let begun = Instant::now();
            let error = answer.read(1 << 20).unwrap_err();
            assert!(begun.elapsed() < Duration::from_secs(10), "{at_once}: {error}");
            drop(transport);
            server.join().unwrap();
            error
        }

        #[test]
        fn what_comes_and_is_no_part_of_an_answer_holds_nobody() {
            for (at_once, pause) in [(1, 20), (1 << 20, 0)] {
                let error = reads(at_once, pause, Interrupt::NEVER);
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{at_once}: {error}");
            }
            // Its other end is closed.
            let (signal, _) = std::io::pipe().unwrap();
            let error = reads(1 << 20, 0, Interrupt::of(signal.as_fd()));
            assert!(error.to_string().ends_with("it was interrupted"), "{error}");
        }
    }
}

#[cfg(not(feature = "registry"))]
pub(super) use self::without_client::Transport;

#[cfg(not(feature = "registry"))]
mod without_client {
    use std::sync::Arc;

    use super::super::meter::Meter;
    use super::{Request, Response, SendError};
    use crate::tree::Interrupt;

    /// What sends nothing.
    #[derive(Debug)]
    pub(in crate::registry) struct Transport;

    impl Transport {
        pub(in crate::registry) fn new() -> Self {
            Self
        }

        /// Nothing is waited for.
        pub(in crate::registry) fn measure(&self, _: Arc<Meter>) {}

        /// Always fails.
        pub(in crate::registry) fn send(
            &self,
            _: Request<'_>,
            _: Interrupt<'_>,
        ) -> Result<Response, SendError> {
            Err(SendError::NoClient)
        }
    }
}
