//! Manifests of a registry: what they say, how they are read and written.

use std::collections::BTreeMap;
use std::{fmt, io};

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::client::{Ask, Client, Right, check};
use super::fault::RegistryError;
use super::reference::Version;
use super::transport::Method;
use crate::digest::Digest;
use crate::tree::Interrupt;

/// The media type of a manifest, of a config that says nothing, and that itself. Source: the image specification
/// of OCI 1.1.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(super) const EMPTY_TEXT: &[u8] = b"{}";

/// The largest manifest that is read, in bytes: registries take no larger ones.
const LARGEST: usize = 4 << 20;

/// How many annotations a manifest may have, and each of its blobs.
const MOST_ANNOTATIONS: usize = 256;

/// What a manifest says of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "few")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Describes some bytes.
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Describes a blob.
    pub(super) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let (media_type, annotations) = (media_type.to_owned(), BTreeMap::new());
        Self { media_type, digest, size, annotations }
    }
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    media_type: String,
    /// The document that says what it is of.
    pub config: Descriptor,
    /// The blobs.
    pub layers: Vec<Descriptor>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "few")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Makes one.
    pub(super) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let (schema_version, media_type) = (2, MANIFEST.to_owned());
        Self { schema_version, media_type, config, layers, annotations: BTreeMap::new() }
    }

    /// Returns its text: always the same for the same manifest.
    pub(super) fn text(&self) -> Result<Vec<u8>, RegistryError> {
        serde_json::to_vec(self).map_err(|error| RegistryError::host("a manifest", error.into()))
    }
}

/// Reads annotations: more than anybody needs are refused, since each takes many times the room of its text.
fn few<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "at most {MOST_ANNOTATIONS} annotations")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, value)) = map.next_entry()? {
                if all.len() == MOST_ANNOTATIONS {
                    return Err(A::Error::invalid_length(MOST_ANNOTATIONS + 1, &self));
                }
                all.insert(name, value);
            }
            Ok(all)
        }
    }
    from.deserialize_map(Few)
}

/// What tells a manifest from other documents, such as a list of manifests.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

impl Client {
    /// Reads a manifest, and returns it with its digest; `None` where there is none.
    pub(super) fn manifest(
        &self,
        version: &Version,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<(Manifest, Digest)>, RegistryError> {
        let path = format!("manifests/{version}");
        let headers = [("Accept", MANIFEST)];
        let ask =
            Ask { headers: &headers, ..Ask::get(Method::Get, &path, "show an image manifest") };
        let response = self.ask(ask, interrupt)?;
        match response.status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refused(ask.what, response)),
        }
        let what = || format!("the manifest {version} of {}", self.repository);
        let text = response.read(LARGEST).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => RegistryError::malformed(what(), error.to_string()),
            _ => check(interrupt).err().unwrap_or_else(|| self.broken(&error)),
        })?;
        let digest = Digest::of(&text);
        if let Version::Digest(wanted) = version
            && *wanted != digest
        {
            return Err(RegistryError::Digest { what: what(), wanted: *wanted, found: digest });
        }
        let malformed = |error: serde_json::Error| {
            RegistryError::malformed(what(), self.shown(&error.to_string()))
        };
        let Kind { media_type } = serde_json::from_slice(&text).map_err(malformed)?;
        if media_type.as_deref().is_some_and(|found| found != MANIFEST) {
            let found = self.shown(&media_type.unwrap_or_default());
            let why = format!("it is no OCI manifest of one image: its type is `{found}`");
            return Err(RegistryError::malformed(what(), why));
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(malformed)?;
        if manifest.schema_version != 2 {
            return Err(RegistryError::malformed(what(), "it is no OCI manifest"));
        }
        Ok(Some((manifest, digest)))
    }

    /// Returns the digest of a manifest; `None` where there is none, or the registry does not say.
    pub(super) fn manifest_digest(
        &self,
        version: &Version,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Digest>, RegistryError> {
        let path = format!("manifests/{version}");
        let headers = [("Accept", MANIFEST)];
        let ask = Ask {
            headers: &headers,
            right: Right::Push,
            ..Ask::get(Method::Head, &path, "show an image manifest")
        };
        let response = self.ask(ask, interrupt)?;
        match response.status {
            200 => Ok(response.header("docker-content-digest").and_then(Digest::parse)),
            404 => Ok(None),
            _ => Err(self.refused(ask.what, response)),
        }
    }

    /// Writes a manifest, all of whose blobs are there, and returns its digest.
    pub(super) fn put_manifest(
        &self,
        version: &Version,
        text: &[u8],
        interrupt: Interrupt<'_>,
    ) -> Result<Digest, RegistryError> {
        let path = format!("manifests/{version}");
        let headers = [("Content-Type", MANIFEST)];
        let ask = Ask {
            right: Right::Push,
            headers: &headers,
            body: Some(text),
            ..Ask::get(Method::Put, &path, "take an image manifest")
        };
        let response = self.ask(ask, interrupt)?;
        if response.status != 201 {
            return Err(self.refused(ask.what, response));
        }
        Ok(Digest::of(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_takes_no_more_room_than_its_text_would_say() {
        let read = |count: usize| {
            let mut descriptor = Descriptor::new("x/y", Digest::of(b""), 0);
            let names = (0..count).map(|number| (number.to_string(), String::new()));
            descriptor.annotations.extend(names);
            let text = Manifest::new(descriptor.clone(), vec![descriptor]).text().unwrap();
            serde_json::from_slice::<Manifest>(&text).map_err(|error| error.to_string())
        };
        assert_eq!(read(MOST_ANNOTATIONS).unwrap().layers[0].annotations.len(), MOST_ANNOTATIONS);
        let why = read(MOST_ANNOTATIONS + 1).unwrap_err();
        assert!(why.starts_with("invalid length 257, expected at most 256 annotations"), "{why}");
    }
}
