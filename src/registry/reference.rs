//! Where an image or a layer is in a registry: `REGISTRY/REPO[:TAG|@DIGEST]`.

use std::fmt;
use std::net::IpAddr;

use crate::digest::Digest;

/// The longest name of a repository, and of a tag, in bytes. Source: the distribution specification of OCI 1.1.
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// The tag of an image where none is given.
pub(super) const LATEST: &str = "latest";

/// What the tag of a layer begins with, before the digits of its key.
pub(super) const KEY_MARK: &str = "key-";

/// What the tag of signatures ends with, and that of what is told of a role.
pub(super) const SIGNATURES_MARK: &str = ".lt-sig";
pub(super) const ROLE_MARK: &str = ".lt-role";

/// A registry's repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Repository {
    /// The registry: a host, with a port where it has one.
    pub host: String,
    /// The name in it.
    pub name: String,
}

/// Something in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The repository.
    pub repository: Repository,
    /// What of it; `None` where the text names none.
    pub what: Option<Version>,
}

/// A tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Version {
    /// A name that can be moved to something else.
    Tag(String),
    /// A manifest by its digest.
    Digest(Digest),
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// It begins as a URL does.
    #[error("write it without `{scheme}://`: {rest}")]
    Scheme {
        /// What it begins with.
        scheme: &'static str,
        /// What follows.
        rest: String,
    },
    /// The registry's port is none.
    #[error("{0} is no port")]
    Port(String),
    /// It has a registry alone.
    #[error("it names no repository: write HOST/NAME")]
    NoRepository,
    /// It names one image, where all of a repository is meant.
    #[error("it takes no {0}: layers are found by their keys")]
    TooMuch(&'static str),
    /// It has no registry in front.
    #[error("it names no registry: write REGISTRY/REPOSITORY, as in `registry.example/team/web`")]
    NoRegistry,
    /// The registry is no host.
    #[error("its registry is no host name")]
    Host,
    /// The repository's name has other letters.
    #[error(
        "a repository's name has lower-case letters, digits, and `.`, `_`, `-` and `/` between them"
    )]
    Name,
    /// The tag has other letters, or is too long.
    #[error("a tag has up to {LONGEST_TAG} letters, digits, `_`, `.` and `-`")]
    Tag,
    /// The tag is one by which layers, signatures or roles are found.
    #[error("the tag `{0}` is one of the program's own")]
    OwnTag(String),
    /// What is pushed is named by a tag.
    #[error("an image is pushed by a tag")]
    PushedDigest,
    /// What stands behind `@` is no digest.
    #[error("what stands behind `@` is no `sha256:` digest")]
    Digest,
}

impl Reference {
    /// Reads a reference.
    pub(crate) fn parse(text: &str) -> Result<Self, ReferenceError> {
        for scheme in ["https", "http"] {
            let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
            if let Some(rest) = rest.map(str::to_owned) {
                return Err(ReferenceError::Scheme { scheme, rest });
            }
        }
        let (host, rest) = text.split_once('/').unwrap_or((text, ""));
        let is_host = host.contains(['.', ':']) || host == "localhost";
        if !is_host {
            return Err(ReferenceError::NoRegistry);
        }
        if let Some((name, port)) = host.rsplit_once(':')
            && !name.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().ok().is_none_or(|port| port == 0)
            && !port.is_empty()
        {
            return Err(ReferenceError::Port(port.to_owned()));
        }
        if !is_authority(host) {
            return Err(ReferenceError::Host);
        }
        if rest.is_empty() {
            return Err(ReferenceError::NoRepository);
        }
        let (name, what) = if let Some((name, digest)) = rest.split_once('@') {
            let digest = digest
                .starts_with("sha256:")
                .then(|| Digest::parse(digest))
                .flatten()
                .ok_or(ReferenceError::Digest)?;
            (name, Some(Version::Digest(digest)))
        } else if let Some((name, tag)) = rest.split_once(':') {
            if !is_tag(tag) {
                return Err(ReferenceError::Tag);
            }
            (name, Some(Version::Tag(tag.to_owned())))
        } else {
            (rest, None)
        };
        if !is_name(name) {
            return Err(ReferenceError::Name);
        }
        let repository = Repository { host: host.to_owned(), name: name.to_owned() };
        Ok(Self { repository, what })
    }

    /// Reads where an image is to be pushed: a repository, and a tag that is nothing else's.
    pub(crate) fn parse_destination(text: &str) -> Result<(Repository, String), ReferenceError> {
        let Self { repository, what } = Self::parse(text)?;
        match what {
            None => Ok((repository, LATEST.to_owned())),
            Some(Version::Tag(tag)) if is_own_tag(&tag) => Err(ReferenceError::OwnTag(tag)),
            Some(Version::Tag(tag)) => Ok((repository, tag)),
            Some(Version::Digest(_)) => Err(ReferenceError::PushedDigest),
        }
    }
}

impl Repository {
    /// Reads the name of a repository without tag or digest.
    pub(crate) fn parse(text: &str) -> Result<Self, ReferenceError> {
        match Reference::parse(text)? {
            Reference { repository, what: None } => Ok(repository),
            Reference { what: Some(Version::Tag(_)), .. } => Err(ReferenceError::TooMuch("tag")),
            Reference { what: Some(Version::Digest(_)), .. } => {
                Err(ReferenceError::TooMuch("digest"))
            }
        }
    }

    /// Tells whether the registry is on this machine, where nobody listens on the way.
    pub(crate) fn is_local(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Tells whether a host, with or without a port, is this machine.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Tells whether a text is a host with or without a port.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (None, port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port).filter(|port| !port.is_empty())),
            None => (Some(text), Some("")),
        },
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_host =
        |host: &str| !host.is_empty() && host.bytes().all(is_word) && !host.starts_with(['-', '.']);
    host.is_none_or(is_host)
        && port
            .is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let ends = |byte: Option<u8>| {
            byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        ends(part.bytes().next())
            && ends(part.bytes().last())
            && part.bytes().all(known)
            && !part.contains("..")
    };
    name.len() <= LONGEST_REPOSITORY && name.split('/').all(is_part)
}

/// Tells whether a tag is one that `push` puts beside an image.
fn is_own_tag(tag: &str) -> bool {
    let is_key = |key: &str| key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    tag.strip_prefix(KEY_MARK).is_some_and(is_key)
        || tag.ends_with(SIGNATURES_MARK)
        || tag.ends_with(ROLE_MARK)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.name)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => formatter.write_str(tag),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_in_all_their_forms() {
        let digest = Digest::of(b"x");
        let table = [
            ("registry.example/web", ("registry.example", "web", None)),
            ("localhost/a/b_c.d-e", ("localhost", "a/b_c.d-e", None)),
            (
                "127.0.0.1:5000/web:v1.0",
                ("127.0.0.1:5000", "web", Some(Version::Tag("v1.0".into()))),
            ),
            ("[::1]:5000/web", ("[::1]:5000", "web", None)),
            (
                &format!("r.example/web@{digest}"),
                ("r.example", "web", Some(Version::Digest(digest))),
            ),
        ];
        for (text, (host, name, what)) in table {
            let repository = Repository { host: host.into(), name: name.into() };
            assert_eq!(Reference::parse(text), Ok(Reference { repository, what }), "{text}");
        }
        for (text, error) in [
            ("web", ReferenceError::NoRegistry),
            ("team/web", ReferenceError::NoRegistry),
            ("r.example/Web", ReferenceError::Name),
            ("r.example/", ReferenceError::NoRepository),
            ("r.example/a//b", ReferenceError::Name),
            ("r.example/../b", ReferenceError::Name),
            ("r.example/a:", ReferenceError::Tag),
            ("r.example/a:-x", ReferenceError::Tag),
            ("r.example/a@sha256:12", ReferenceError::Digest),
            ("r.example:x/a", ReferenceError::Host),
            ("r.example:0/a", ReferenceError::Port("0".to_owned())),
            ("user@r.example/a", ReferenceError::Host),
            ("[r.example]/a", ReferenceError::Host),
        ] {
            assert_eq!(Reference::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_local() {
        for (host, expected) in [
            ("localhost:5000", true),
            ("127.8.9.1", true),
            ("[::1]:5000", true),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
