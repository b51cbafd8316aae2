//! A layer that a registry has, and who vouches for it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::plan::EntryId;

/// What a registry says to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has this.
    Offered(Offer),
    /// It has something that must not be used, or is none to ask.
    Unfit {
        /// Why.
        why: String,
        /// What kind of thing is wrong.
        unfit: Unfit,
    },
    /// It has nothing.
    Nothing {
        /// The registry, and the repository of it that was asked.
        repository: String,
    },
    /// It cannot be asked; why.
    Unreachable(String),
    /// A signal has come before its answer.
    Interrupted,
}

/// What is wrong with what a registry has, or with the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Nobody vouches for a layer.
    Unvouched {
        /// Whether somebody has signed it.
        is_signed: bool,
    },
    /// A layer has the name of one that the lock pins, and is not that.
    NotLocked,
    /// A layer is not what was pushed.
    Altered,
    /// This host trusts nobody who vouches for the registry.
    UnknownCa,
    /// The registry vouches for itself: its certificate is that of a CA.
    OwnCa,
    /// The registry cannot be spoken with in a safe way.
    Registry,
    /// The way to the registry leads through a proxy that is not spoken with.
    Proxy,
}

impl Unfit {
    /// Tells whether the layer is at fault, and not the way to it.
    pub fn is_of_layer(self) -> bool {
        matches!(self, Self::Unvouched { .. } | Self::NotLocked | Self::Altered)
    }

    /// Returns what to do about it.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unvouched { is_signed: false } => Some(
                "`lock` pins it, `push --sign` signs it; `--allow-untrusted` takes what nobody \
                 vouches for",
            ),
            Self::Unvouched { is_signed: true } => Some(
                "to trust a signer, add the key to /etc/layered-template/allowed_signers (`man \
                 ssh-keygen`, ALLOWED SIGNERS), or pin the layers by `layered-template lock` where \
                 they are pushed, and use `--locked`",
            ),
            Self::NotLocked => Some(
                "what an image holds depends on `SOURCE_DATE_EPOCH`: it has to be the same where layers are \
                 locked and where they are pushed, with `--locked`",
            ),
            Self::UnknownCa => Some(
                "add the CA of this registry to the host's trust store \
                 (`update-ca-certificates`), or name it in `SSL_CERT_FILE`",
            ),
            Self::OwnCa => Some(
                "let the registry have a certificate that a CA has signed (`openssl x509 -req -CA ca.pem \
                 -CAkey ca.key`), and add that CA to the host's trust store (`update-ca-certificates`), or \
                 name it in `SSL_CERT_FILE`",
            ),
            Self::Proxy => Some(
                "`HTTPS_PROXY=http://HOST:PORT` names an HTTP proxy, and `NO_PROXY=HOST` what is asked without \
                 one",
            ),
            Self::Altered | Self::Registry => None,
        }
    }
}

/// A layer that a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The entry.
    pub entry: EntryId,
    /// How many bytes have to be fetched.
    pub size: u64,
    /// Where it is: a registry and a repository of it.
    pub repository: String,
    /// The digest of its manifest there.
    pub manifest: Digest,
    /// Who vouches for it.
    pub vouched: Vouched,
    /// Whether somebody has signed it, whose signatures may not count here.
    pub is_signed: bool,
    /// Whether the lock pins something else by its name.
    pub is_other: bool,
}

/// Who vouches for a layer of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Vouched {
    /// The role's lock pins it.
    Lock,
    /// Somebody has signed it whose signatures count on this host.
    Signature {
        /// Who.
        principal: String,
    },
    /// Nobody.
    Nobody {
        /// Why not, in words that follow what it is called.
        why: String,
    },
}

/// Whence a stored layer came, where that is another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Provenance {
    /// The registry, and the repository of it.
    pub repository: String,
    /// The digest of its manifest there.
    pub manifest: Digest,
    /// Who vouched for it.
    pub vouched: Vouched,
}

/// What must vouch for a layer, where not either will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Required {
    /// The role's lock.
    Lock,
    /// A signature.
    Signature,
}

/// A layer that a lock pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedEntry {
    /// The entry.
    pub entry: EntryId,
    /// The digest of all that is told of it to other hosts; `None` where the lock does not say.
    pub document: Option<Digest>,
}

/// What is known of a layer that a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The layer.
    pub entry: EntryId,
    /// The digest of all that is told of it.
    pub document: Digest,
    /// What the lock pins in its place.
    pub pinned: Option<PinnedEntry>,
    /// Who has signed it, of those whose signatures count.
    pub signed_by: Option<String>,
    /// Whether anybody has signed it.
    pub is_signed: bool,
    /// Whether any signatures count.
    pub has_signers: bool,
    /// The newest generation of its key that is stored here.
    pub stored: Option<u64>,
}

impl Evidence {
    /// Tells whether the lock pins something else by the layer's name.
    pub fn is_other(&self) -> bool {
        let own = self.pinned.filter(|pin| pin.entry == self.entry);
        own.and_then(|pin| pin.document).is_some_and(|document| document != self.document)
    }

    /// Decides who vouches for the layer.
    pub fn judge(self, required: Option<Required>) -> Vouched {
        let nobody = |why: &str| Vouched::Nobody { why: why.to_owned() };
        let is_pinned = self
            .pinned
            .is_some_and(|pin| pin.entry == self.entry && pin.document == Some(self.document));
        // Who has signed it has not signed what was reviewed.
        if self.is_other() {
            return nobody("is not what the lock pins");
        }
        // What a lock pins may be older than what is stored: that is what locks are for.
        if is_pinned && required != Some(Required::Signature) {
            return Vouched::Lock;
        }
        if self.stored.is_some_and(|stored| stored > self.entry.generation) {
            return nobody("is older than what is stored here");
        }
        match (self.signed_by, required) {
            (_, Some(Required::Lock)) => {
                nobody("is not pinned by a lock, as `remote.toml` requires")
            }
            (Some(principal), _) => Vouched::Signature { principal },
            (None, Some(Required::Signature)) if !self.is_signed => {
                nobody("is not signed, as `remote.toml` requires")
            }
            (None, None) if !self.is_signed => nobody("is neither signed nor pinned by a lock"),
            (None, required) if self.has_signers || required.is_some() => {
                nobody("has no signature that counts here")
            }
            (None, _) => nobody("is pinned by no lock, and no signatures count here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_a_lock_or_a_signature_vouches() {
        let entry = |generation| EntryId { key: Digest::of(b"k"), generation };
        let (right, wrong) = (Digest::of(b"d"), Digest::of(b"x"));
        let pin = |generation, document| Some(PinnedEntry { entry: entry(generation), document });
        let signature = Vouched::Signature { principal: "ci".to_owned() };
        let nobody = Vouched::Nobody { why: String::new() };
        let (lock, sign) = (Some(Required::Lock), Some(Required::Signature));
        let table = [
            (pin(5, Some(right)), None, None, None, Vouched::Lock),
            (pin(5, Some(right)), None, Some(9), None, Vouched::Lock),
            (pin(5, Some(right)), None, None, sign, nobody.clone()),
            (pin(5, Some(right)), Some("ci"), None, sign, signature.clone()),
            (pin(5, Some(wrong)), None, None, None, nobody.clone()),
            (pin(5, Some(wrong)), Some("ci"), None, None, nobody.clone()),
            (pin(5, Some(wrong)), Some("ci"), None, sign, nobody.clone()),
            (pin(5, None), Some("ci"), None, None, signature.clone()),
            (pin(4, Some(wrong)), Some("ci"), None, None, signature.clone()),
            (pin(5, None), None, None, None, nobody.clone()),
            (pin(4, Some(right)), None, None, None, nobody.clone()),
            (None, Some("ci"), None, None, signature.clone()),
            (None, Some("ci"), Some(5), None, signature.clone()),
            (None, Some("ci"), Some(6), None, nobody.clone()),
            (None, Some("ci"), None, lock, nobody.clone()),
            (None, None, None, None, nobody),
        ];
        for (row, (pinned, signed_by, stored, required, expected)) in table.into_iter().enumerate()
        {
            let signed_by = signed_by.map(str::to_owned);
            let (entry, document) = (entry(5), right);
            let (has_signers, is_signed) = (true, signed_by.is_some());
            let evidence =
                Evidence { entry, document, pinned, signed_by, is_signed, has_signers, stored };
            match (evidence.judge(required), expected) {
                (Vouched::Nobody { .. }, Vouched::Nobody { .. }) => {}
                (found, expected) => assert_eq!(found, expected, "row {row}"),
            }
        }
    }

    #[test]
    fn what_a_host_requires_is_what_a_layer_is_said_to_lack() {
        let entry = EntryId { key: Digest::of(b"k"), generation: 5 };
        let document = Digest::of(b"d");
        let pin = Some(PinnedEntry { entry, document: Some(document) });
        let by_signature = Some(Required::Signature);
        for (pinned, is_signed, has_signers, required, expected) in [
            (None, false, true, None, "is neither signed nor pinned by a lock"),
            (None, true, true, None, "has no signature that counts here"),
            (None, true, false, None, "is pinned by no lock, and no signatures count here"),
            (pin, false, true, by_signature, "is not signed, as `remote.toml` requires"),
            (pin, true, false, by_signature, "has no signature that counts here"),
            (
                None,
                true,
                true,
                Some(Required::Lock),
                "is not pinned by a lock, as `remote.toml` requires",
            ),
        ] {
            let (signed_by, stored) = (None, None);
            let evidence =
                Evidence { entry, document, pinned, signed_by, is_signed, has_signers, stored };
            assert_eq!(evidence.judge(required), Vouched::Nobody { why: expected.to_owned() });
        }
    }
}
