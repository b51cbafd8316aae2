//! Requests to a registry: tried again where that may help, and with what the registry wants to know of who
//! asks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::authorization::{Challenge, query};
use super::credentials::{self, Credentials};
use super::fault::{Outage, RegistryError};
use super::meter::{Meter, Upload};
use super::notice::Notice;
use super::reference::Repository;
use super::target::{Target, located};
use super::transport::{BY_PROXY, Method, Request, Response, SendError, Transport, WHO_ASKS};
use crate::tree::Interrupt;

/// How often something is tried.
const TRIES: u32 = 5;

/// How often where nothing will change soon.
const HOPELESS_TRIES: u32 = 2;

/// How long is waited before the second try; before each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait that a registry may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often a registry may send on to another place.
const MOST_REDIRECTS: u32 = 5;

/// The largest answer of a token service, the longest token, and the largest answer that refuses something, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;
const LARGEST_TOKEN: usize = 64 * 1024;
const LARGEST_REFUSAL: usize = 64 * 1024;

/// The longest word of a registry that is shown, in characters.
const LONGEST_WORD: usize = 400;

/// The host behind Docker's name for its registry.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// What may be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Pull,
    Push,
}

/// A repository of a registry, and whoever asks there.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) repository: Repository,
    credentials: Credentials,
    transport: RefCell<Transport>,
    /// `https` or `http`, once that is known.
    scheme: Cell<Option<&'static str>>,
    /// The headers that were found to be wanted, by what they are for.
    authorizations: RefCell<BTreeMap<String, String>>,
    /// Who is told that something takes long.
    notice: RefCell<Option<Notice>>,
    /// Whether that was told.
    is_told: Cell<bool>,
    /// Who is told how far uploads have come.
    meter: RefCell<Option<Arc<Meter>>>,
    /// Which blob of how many is sent.
    uploading: Cell<(usize, usize)>,
}

/// What is asked of a repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub method: Method,
    /// Below the repository, or a whole URL.
    pub path: &'a str,
    pub right: Right,
    /// Another repository of the registry, of which something is taken.
    pub from: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Option<&'a [u8]>,
    /// What it is for, in words that follow "refuses to".
    pub what: &'a str,
}

impl<'a> Ask<'a> {
    /// Asks for something.
    pub(super) fn get(method: Method, path: &'a str, what: &'a str) -> Self {
        let (headers, body) = (&[][..], None);
        Self { method, path, right: Right::Pull, from: None, headers, body, what }
    }
}

impl Client {
    /// Returns one for a repository, and finds out who the caller is there. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// Where a file of credentials, or a helper for them, cannot be used.
    pub(crate) fn new(repository: &Repository) -> Result<Self, RegistryError> {
        Ok(Self {
            credentials: Credentials::find(repository)?,
            repository: repository.clone(),
            transport: RefCell::new(Transport::new()),
            // A name that leads elsewhere is never asked in the clear.
            scheme: Cell::new((!repository.is_local()).then_some("https")),
            authorizations: RefCell::default(),
            notice: RefCell::default(),
            is_told: Cell::default(),
            meter: RefCell::default(),
            uploading: Cell::default(),
        })
    }

    /// Waits no longer than this for anything.
    #[cfg(all(test, feature = "registry"))]
    pub(super) fn impatient(self, longest: Duration) -> Self {
        Self { transport: RefCell::new(Transport::waiting(longest)), ..self }
    }

    /// Returns the repository.
    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Forgets its connections: another process may have them too.
    pub(crate) fn reconnect(&self) {
        self.transport.replace(Transport::new());
    }

    /// From now on, tells of what takes long.
    pub(crate) fn tell(&self, notice: Notice) {
        self.notice.replace(Some(notice));
    }

    /// Tells that something is tried again, if nothing of the kind was told before.
    pub(super) fn tell_again(&self, why: &str) {
        if !self.is_told.replace(true) {
            self.note(&format!("{} {why}; trying again", self.repository.host));
        }
    }

    /// Tells of something.
    pub(super) fn note(&self, text: &str) {
        if let Some(notice) = &*self.notice.borrow() {
            notice.tell(text);
        }
    }

    /// From now on, tells how far uploads have come, and how long is waited.
    pub(crate) fn measure(&self, meter: Meter) {
        let meter = Arc::new(meter);
        self.transport.borrow().measure(Arc::clone(&meter));
        self.meter.replace(Some(meter));
    }

    /// Says which blob of how many is sent next.
    pub(super) fn number(&self, number: usize, count: usize) {
        self.uploading.set((number, count));
    }

    /// Tells how many bytes of that are sent.
    pub(super) fn measured(&self, done: u64, total: u64) {
        if let Some(meter) = &*self.meter.borrow() {
            let (number, count) = self.uploading.get();
            meter.tell(Upload { number, count, done, total, waited: Duration::ZERO });
        }
    }

    /// Asks, and tries again while the registry is out of order.
    ///
    /// # Errors
    ///
    /// Where no answer comes. An answer of another kind than was hoped for is an answer.
    pub(super) fn ask(
        &self,
        ask: Ask<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Response, RegistryError> {
        let mut wait = FIRST_WAIT;
        let mut tried = 0;
        loop {
            tried += 1;
            let (NoAnswer { why, tries, outage }, longer) = match self.authorized(ask, interrupt)? {
                Ok(response) if response.status == 429 || response.status >= 500 => {
                    let longer = response.header("retry-after").and_then(|text| text.parse().ok());
                    let why = format!("does not answer (status {})", response.status);
                    (NoAnswer::passing(why, TRIES), longer.map(Duration::from_secs))
                }
                Ok(response) => return Ok(response),
                Err(error) => (no_answer(&error, self.repository.is_local()), None),
            };
            if tried >= tries {
                let host = self.repository.host.clone();
                return Err(RegistryError::Unreachable { host, why, outage });
            }
            tracing::debug!(why, tried, "the registry is asked again");
            if tries == TRIES || outage == Outage::Stalled {
                self.tell_again(&why);
            }
            let pause = longer.unwrap_or(wait).min(LONGEST_WAIT);
            interrupt.sleep(pause).map_err(|_| RegistryError::Interrupted)?;
            wait *= 2;
        }
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// Where no answer comes.
    pub(super) fn ask_once(
        &self,
        ask: Ask<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Response, RegistryError> {
        self.authorized(ask, interrupt)?.map_err(|error| self.broken(&error))
    }

    /// Returns the failure of a connection that broke off.
    pub(super) fn broken(&self, error: &io::Error) -> RegistryError {
        let NoAnswer { why, outage, .. } = no_answer(error, false);
        RegistryError::Unreachable { host: self.repository.host.clone(), why, outage }
    }

    /// Returns the URL of a path of the registry.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = self.scheme.get().unwrap_or("https");
        format!("{scheme}://{}{path}", self.authority())
    }

    /// Asks once, and again with what the registry wants to know of who asks.
    fn authorized(
        &self,
        ask: Ask<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<io::Result<Response>, RegistryError> {
        let scope = self.scope(ask);
        let url = if ask.path.contains("://") {
            ask.path.to_owned()
        } else {
            let scheme = match self.scheme(interrupt)? {
                Ok(scheme) => scheme,
                Err(error) => return Ok(Err(error)),
            };
            format!("{scheme}://{}/v2/{}/{}", self.authority(), self.repository.name, ask.path)
        };
        let own = self.is_own(&url);
        let mut is_new = false;
        loop {
            let header = self.authorizations.borrow().get(&scope).cloned();
            let mut headers = ask.headers.to_vec();
            if let Some(header) = header.as_deref().filter(|_| own) {
                headers.push(("Authorization", header));
            }
            let request =
                Request { method: ask.method, url: &url, headers: &headers, body: ask.body };
            let response = match self.send(request, interrupt)? {
                Ok(response) => response,
                Err(error) => return Ok(Err(error)),
            };
            if response.status != 401 || is_new || !own {
                return Ok(Ok(response));
            }
            let challenge = response.all("www-authenticate").find_map(Challenge::parse);
            let header = match self.answer(challenge, &scope, interrupt)? {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(Ok(response)),
                Err(error) => return Ok(Err(error)),
            };
            self.authorizations.borrow_mut().insert(scope.clone(), header);
            is_new = true;
        }
    }

    /// Sends a request, and follows the answer to where it leads. Nobody else is told who asks.
    fn send(
        &self,
        request: Request<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<io::Result<Response>, RegistryError> {
        let mut response = self.send_once(request, interrupt)?;
        if !matches!(request.method, Method::Get | Method::Head) {
            return Ok(response);
        }
        let headers: Vec<_> =
            request.headers.iter().filter(|(name, _)| *name != "Authorization").copied().collect();
        let mut url = request.url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let Ok(Response { status: 301 | 302 | 303 | 307 | 308, headers: location, .. }) =
                &response
            else {
                return Ok(response);
            };
            let location = location.iter().find(|(name, _)| name == "location");
            let Some((_, location)) = location else { return Ok(response) };
            let next = located(&url, location);
            let from = Target::parse(&url);
            let leads =
                |next: &String| from.zip(Target::parse(next)).is_some_and(|(a, b)| a.leads_to(b));
            let Some(next) = next.filter(leads) else {
                let what = format!("an answer of {}", self.repository.host);
                let location = self.shown(location);
                let why = format!("it leads to `{location}`, where others could listen");
                return Err(RegistryError::malformed(what, why));
            };
            url = next;
            response =
                self.send_once(Request { url: &url, headers: &headers, ..request }, interrupt)?;
            // Whoever else asks who is there gets no answer.
            if let Ok(response) = &mut response {
                response.headers.retain(|(name, _)| name != "www-authenticate");
            }
        }
        Ok(response)
    }

    /// Sends a request. What cannot be helped by trying again is the outer error.
    fn send_once(
        &self,
        request: Request<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<io::Result<Response>, RegistryError> {
        check(interrupt)?;
        let sent = self.transport.borrow().send(request, interrupt);
        match sent {
            Ok(response) => Ok(Ok(response)),
            Err(SendError::NoClient) => Err(RegistryError::NoClient),
            Err(SendError::Certificate { why, unfit }) => {
                let host = self.repository.host.clone();
                Err(RegistryError::Certificate { host, why, unfit })
            }
            Err(SendError::Proxy(proxy)) => Err(RegistryError::Proxy(proxy)),
            Err(SendError::NotTls) => Ok(Err(io::Error::other("it does not speak TLS"))),
            Err(SendError::Io(error)) => {
                check(interrupt)?;
                Ok(Err(error))
            }
        }
    }

    /// Finds out how a registry of this machine is to be spoken with.
    fn scheme(&self, interrupt: Interrupt<'_>) -> Result<io::Result<&'static str>, RegistryError> {
        if let Some(scheme) = self.scheme.get() {
            return Ok(Ok(scheme));
        }
        let url = format!("https://{}/v2/", self.authority());
        let request = Request { method: Method::Get, url: &url, headers: &[], body: None };
        check(interrupt)?;
        let sent = self.transport.borrow().send(request, interrupt);
        let scheme = match sent {
            Ok(_) | Err(SendError::Certificate { .. }) => "https",
            Err(SendError::NotTls) => "http",
            Err(SendError::NoClient) => return Err(RegistryError::NoClient),
            Err(SendError::Proxy(proxy)) => return Err(RegistryError::Proxy(proxy)),
            Err(SendError::Io(error)) => {
                check(interrupt)?;
                return Ok(Err(error));
            }
        };
        self.scheme.set(Some(scheme));
        Ok(Ok(scheme))
    }

    fn authority(&self) -> &str {
        if self.repository.host == DOCKER.0 { DOCKER.1 } else { &self.repository.host }
    }

    /// Tells whether a URL is of the registry itself: nobody else is told who asks.
    fn is_own(&self, url: &str) -> bool {
        let scheme = self.scheme.get().unwrap_or("https");
        url.starts_with(&format!("{scheme}://{}/", self.authority()))
    }

    /// Returns what is asked for, as token services name it.
    fn scope(&self, ask: Ask<'_>) -> String {
        let rights = match ask.right {
            Right::Pull => "pull",
            Right::Push => "pull,push",
        };
        let own = format!("repository:{}:{rights}", self.repository.name);
        match ask.from {
            Some(from) => format!("{own} repository:{from}:pull"),
            None => own,
        }
    }

    /// Returns the header that a registry wants; nothing, where there is none that would help.
    fn answer(
        &self,
        challenge: Option<Challenge>,
        scope: &str,
        interrupt: Interrupt<'_>,
    ) -> Result<io::Result<Option<String>>, RegistryError> {
        let (realm, service) = match challenge {
            Some(Challenge::Basic) => return Ok(Ok(self.credentials.basic())),
            Some(Challenge::Bearer { realm, service, .. }) => (realm, service),
            None => return Ok(Ok(None)),
        };
        let place = Target::parse(&realm);
        let is_local = |place: Target<'_>| self.repository.is_local() && place.is_local();
        let is_safe = place.is_some_and(|place| place.is_secret || is_local(place));
        if !is_safe {
            return Err(RegistryError::Unsafe(format!(
                "{} asks for a token from a URL that is not https; no credentials are sent",
                self.repository.host
            )));
        }
        let mut asked: Vec<String> = Vec::new();
        asked.extend(service.map(|service| format!("service={}", query(&service))));
        let response = match &self.credentials {
            Credentials::Token(token) => {
                asked.push(format!("scope={}", query(scope)));
                asked.push("grant_type=refresh_token".to_owned());
                asked.push("client_id=layered-template".to_owned());
                asked.push(format!("refresh_token={}", query(token)));
                let body = asked.join("&");
                let headers = [("Content-Type", "application/x-www-form-urlencoded")];
                let (method, body) = (Method::Post, Some(body.as_bytes()));
                self.send(Request { method, url: &realm, headers: &headers, body }, interrupt)?
            }
            credentials => {
                asked.extend(scope.split(' ').map(|scope| format!("scope={}", query(scope))));
                let mark = if realm.contains('?') { '&' } else { '?' };
                let url = format!("{realm}{mark}{}", asked.join("&"));
                let basic = credentials.basic();
                let headers: Vec<_> =
                    basic.iter().map(|header| ("Authorization", header.as_str())).collect();
                let method = Method::Get;
                self.send(Request { method, url: &url, headers: &headers, body: None }, interrupt)?
            }
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if response.status >= 500 || response.status == 429 {
            let message = format!("its token service: status {}", response.status);
            return Ok(Err(io::Error::other(message)));
        }
        if response.status != 200 {
            return Err(self.refused("give a token", response));
        }
        let unsafe_answer = |why: &str| {
            let host = &self.repository.host;
            Err(RegistryError::Unsafe(format!("the token service of {host} gives {why}")))
        };
        let text = match response.read(LARGEST_ANSWER) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return unsafe_answer(&format!("no token: {error}"));
            }
            Err(error) => {
                check(interrupt)?;
                return Ok(Err(error));
            }
        };
        // The words of the parser may be a piece of the token.
        let answer: Option<Answer> = serde_json::from_slice(&text).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        match token {
            // It goes into a header, which has no room for anything.
            Some(token)
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                unsafe_answer("a token that no header can have")
            }
            Some(token) if token.len() > LARGEST_TOKEN => {
                unsafe_answer(&format!("a token of more than {LARGEST_TOKEN} bytes"))
            }
            Some(token) => Ok(Ok(Some(format!("Bearer {token}")))),
            None => unsafe_answer("no token"),
        }
    }

    /// Returns what a registry says in a line, if it is short, and without what it was told of who asks: it may say all
    /// that again.
    pub(super) fn shown(&self, text: &str) -> String {
        let mut secrets = self.credentials.secrets();
        let authorizations = self.authorizations.borrow();
        let tokens = authorizations.values().filter_map(|header| header.split(' ').nth(1));
        secrets.extend(tokens.map(str::to_owned));
        let mut said = crate::shell::one_line(&credentials::mask(text, &secrets));
        if let Some((end, _)) = said.char_indices().nth(LONGEST_WORD) {
            said.truncate(end);
            said.push_str("...");
        }
        said
    }

    /// Returns the failure of an answer that was not hoped for.
    pub(super) fn refused(&self, what: &str, response: Response) -> RegistryError {
        let status = response.status;
        let (host, what) = (self.repository.host.clone(), what.to_owned());
        let said = response.read(LARGEST_REFUSAL).ok();
        let said = said.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        let said = said.and_then(|said| {
            let first = &said["errors"][0];
            let word = first["message"].as_str().filter(|text| !text.is_empty());
            Some(self.shown(word.or_else(|| first["code"].as_str())?))
        });
        let why = match (said, status, &self.credentials) {
            (said, 401 | 403, Credentials::Nobody) => {
                let said = said.unwrap_or_else(|| format!("status {status}"));
                format!("{said} (nothing in `auth.json` says who you are there)")
            }
            (Some(said), ..) => format!("{said} (status {status})"),
            (None, ..) => format!("status {status}"),
        };
        RegistryError::Refused { host, what, why, needs_login: matches!(status, 401 | 403) }
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Why no answer came.
#[derive(Debug)]
struct NoAnswer {
    /// In words that follow the registry.
    why: String,
    /// How often it is worth to ask.
    tries: u32,
    outage: Outage,
}

impl NoAnswer {
    fn passing(why: String, tries: u32) -> Self {
        Self { why, tries, outage: Outage::Passing }
    }
}

/// Says why no answer came. `is_local` is of a registry of this machine.
fn no_answer(error: &io::Error, is_local: bool) -> NoAnswer {
    let text = error.to_string();
    if let Some(why) = text.strip_prefix(BY_PROXY) {
        // It would say so again: it is to be told who asks.
        let (tries, outage) = match why.contains(WHO_ASKS) {
            true => (1, Outage::ProxyLogin),
            false => (TRIES, Outage::Passing),
        };
        return NoAnswer { why: format!("cannot be reached: the proxy {why}"), tries, outage };
    }
    let (why, tries) = reason(error, &text, is_local);
    let is_stall = error.kind() == io::ErrorKind::TimedOut;
    let outage = if is_stall { Outage::Stalled } else { Outage::Passing };
    NoAnswer { why: format!("does not answer ({why})"), tries, outage }
}

fn reason(error: &io::Error, text: &str, is_local: bool) -> (String, u32) {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return ("connection refused".to_owned(), if is_local { HOPELESS_TRIES } else { TRIES });
    }
    // Minutes were waited already.
    if error.kind() == io::ErrorKind::TimedOut {
        return (text.to_owned(), HOPELESS_TRIES);
    }
    if let Some(why) = text.strip_prefix("failed to lookup address information: ") {
        let why = match why {
            "Name or service not known" | "No address associated with hostname" => {
                "no host has that name".to_owned()
            }
            why => in_lower_case(why),
        };
        return (why, HOPELESS_TRIES);
    }
    if text == "host not found" {
        return ("no host has that name".to_owned(), HOPELESS_TRIES);
    }
    let words = text.split(" (os error ").next().unwrap_or(text);
    (in_lower_case(words), TRIES)
}

/// Lets a text begin with a small letter, so that it can stand within a sentence. An acronym stays one.
fn in_lower_case(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), next) if !next.is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Fails once a signal has asked for the end.
pub(super) fn check(interrupt: Interrupt<'_>) -> Result<(), RegistryError> {
    interrupt.check().map_err(|_| RegistryError::Interrupted)
}
