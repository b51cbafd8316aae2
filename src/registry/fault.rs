//! Why something could not be had from a registry, or brought to it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::proxy::UnusableProxy;
use crate::cache::Unfit;
use crate::digest::Digest;
use crate::host::files;

/// What kind of thing keeps an answer away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// It may pass.
    Passing,
    /// It was waited for as long as anything is.
    Stalled,
    /// A proxy wants to know who asks.
    ProxyLogin,
}

/// Why something could not be had from a registry, or brought to it.
#[derive(Debug, Error)]
pub(crate) enum RegistryError {
    /// No answer came, or only such that says to come again later.
    #[error("{host} {why}")]
    Unreachable {
        /// The registry.
        host: String,
        /// What was seen last, in words that follow it.
        why: String,
        /// What kind of thing that was.
        outage: Outage,
    },
    /// It has refused what was asked.
    #[error("{host} refuses to {what}: {why}")]
    Refused {
        /// The registry.
        host: String,
        /// What was asked.
        what: String,
        /// Its words.
        why: String,
        /// Whether that depends on who asks.
        needs_login: bool,
    },
    /// It has answered in a way that no registry should.
    #[error("{what} cannot be used: {why}")]
    Malformed {
        /// What it has sent.
        what: String,
        /// What is wrong with that.
        why: String,
    },
    /// Nobody whom this host trusts says that it is the registry.
    #[error("the certificate of {host} {why}")]
    Certificate {
        /// The registry.
        host: String,
        /// What is wrong with it, in words that follow it.
        why: String,
        /// What kind of thing is wrong.
        unfit: Unfit,
    },
    /// The environment names a proxy that is not spoken with.
    #[error("{0}")]
    Proxy(UnusableProxy),
    /// It wants something that would not be safe, or without which it cannot be asked.
    #[error("{0}")]
    Unsafe(String),
    /// Bytes are not those that were asked for.
    #[error(
        "{what} is not what was asked for, but damaged or altered: its digest is {found}, not \
         {wanted}"
    )]
    Digest {
        /// What was sent.
        what: String,
        /// The digest that it should have.
        wanted: Digest,
        /// The digest that it has.
        found: Digest,
    },
    /// What is kept of a blob is not what its digest says.
    #[error("what is kept of a blob is damaged")]
    DamagedBlob,
    /// What would be pushed is not what the lock pins.
    #[error("{slot} is not what was locked")]
    NotLocked {
        /// What of the role.
        slot: String,
    },
    /// What would be pushed has files that no layer has.
    #[error(
        "{slot} leaves {files} beside the rootfs, in the container's directory, where no layer reaches"
    )]
    Beside {
        /// What of the role.
        slot: String,
        /// Their names.
        files: String,
    },
    /// There is no such key to sign with.
    #[error("there is no key `{}`", .0.display())]
    NoKey(PathBuf),
    /// The host's own files, or a program of the host, have failed.
    #[error("{what}: {source}")]
    Host {
        /// What was done.
        what: String,
        /// Why it has failed.
        source: io::Error,
    },
    /// A signal asks for the end.
    #[error("it was interrupted")]
    Interrupted,
    /// This program was built without a client.
    #[error("this build has no registry client (cargo feature `registry`)")]
    NoClient,
}

impl RegistryError {
    /// Returns one of what the host has failed to do.
    pub(super) fn host(what: impl Into<String>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::Interrupted {
            return Self::Interrupted;
        }
        Self::Host { what: what.into(), source }
    }

    /// Returns one of what is stored of a role.
    pub(crate) fn of_image(error: io::Error) -> Self {
        Self::host("what is stored", error)
    }

    /// Returns one of an answer that no registry should give.
    pub(super) fn malformed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), why: why.into() }
    }

    /// Tells whether a disk of this host is full.
    pub(crate) fn is_of_full_disk(&self) -> bool {
        matches!(self, Self::Host { source, .. } if files::is_full(source))
    }

    /// Returns what must not be used because of it, if anything is.
    pub(crate) fn unfit(&self) -> Option<Unfit> {
        match self {
            Self::Digest { .. } | Self::Malformed { .. } => Some(Unfit::Altered),
            Self::Certificate { unfit, .. } => Some(*unfit),
            Self::Unsafe(_) => Some(Unfit::Registry),
            Self::Proxy(_) => Some(Unfit::Proxy),
            Self::NotLocked { .. } => Some(Unfit::NotLocked),
            _ => None,
        }
    }

    /// Returns what to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { host, needs_login: true, .. } => {
                Some(format!("`podman login {host}` logs in, and so does `docker login {host}`"))
            }
            Self::Beside { .. } => Some(
                "each host builds such a role itself, from its manifest; one whose files are all in the rootfs \
                 can be pushed"
                    .to_owned(),
            ),
            Self::Unreachable { outage: Outage::ProxyLogin, host, .. } => Some(format!(
                "`HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT` says who asks, and `NO_PROXY={}` has the \
                 registry asked without a proxy",
                host.split(':').next().unwrap_or(host)
            )),
            _ => self.unfit().and_then(Unfit::hint).map(str::to_owned),
        }
    }

    /// Tells whether what was sent is not what it should be, and would be the same another time.
    pub(crate) fn is_unfit(&self) -> bool {
        matches!(self, Self::Digest { .. } | Self::Malformed { .. })
    }

    /// Tells whether the registry is why, and may be well another time.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl From<RegistryError> for io::Error {
    fn from(error: RegistryError) -> Self {
        let kind = match &error {
            RegistryError::Interrupted => io::ErrorKind::Interrupted,
            RegistryError::Host { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
