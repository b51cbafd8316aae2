//! The documents of an OCI image, by what is known of a role.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::target::LayerCompression;
use crate::digest::Digest;
use crate::lxc;

/// The label with the lines of LXC's config.
const CONFIG_LABEL: &str = "org.layered-template.lxc-config";

/// What a container has for a `PATH` where its config sets none: as in the sandbox.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The kinds of documents. Source: the image specification of OCI 1.1.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What names the tag of an image in an index.
pub(super) const TAG: &str = "org.opencontainers.image.ref.name";

/// A layer of an image.
#[derive(Debug, Clone)]
pub(crate) struct LayerBlob {
    /// The digest of its bytes as they are stored.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// That of the archive in it.
    pub diff_id: Digest,
    /// How that is compressed.
    pub compression: LayerCompression,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// What made it, for people.
    pub by: String,
}

impl LayerBlob {
    /// Returns its media type.
    pub(crate) fn media_type(&self) -> &'static str {
        match self.compression {
            LayerCompression::Gzip => GZIP_LAYER,
            LayerCompression::Zstd => ZSTD_LAYER,
        }
    }
}

/// Tells whether a media type is that of a layer that can be read here.
pub(crate) fn is_layer(media_type: &str) -> bool {
    [GZIP_LAYER, ZSTD_LAYER].contains(&media_type)
}

/// Returns the config of an image.
pub(super) fn config(arch: &str, layers: &[LayerBlob], lxc_config: &str) -> Value {
    let (architecture, variant) = platform(arch);
    let mut environment: Vec<String> = Vec::new();
    for line in lxc_config.lines() {
        if let Some(value) = lxc::config::last_value(line, "lxc.environment") {
            environment.push(value.to_owned());
        }
    }
    if !environment.iter().any(|variable| variable.starts_with("PATH=")) {
        environment.insert(0, PATH.to_owned());
    }
    let history: Vec<_> = layers
        .iter()
        .map(|layer| json!({ "created": layer.created, "created_by": layer.by }))
        .collect();
    let mut config = json!({
        "created": layers.last().map(|layer| layer.created.as_str()),
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Env": environment,
            "Cmd": ["/sbin/init"],
            "StopSignal": "SIGRTMIN+3",
            "Labels": BTreeMap::from([(CONFIG_LABEL, lxc_config)]),
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>(),
        },
        "history": history,
    });
    if let Some(variant) = variant {
        config["variant"] = variant.into();
    }
    config
}

/// Returns the manifest of an image whose config has this digest and size.
pub(super) fn manifest(config: (Digest, u64), layers: &[LayerBlob]) -> Value {
    let describe = |layer: &LayerBlob| descriptor(layer.media_type(), layer.digest, layer.size);
    let layers: Vec<_> = layers.iter().map(describe).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config.0, config.1),
        "layers": layers,
    })
}

/// Returns an index in which a tag stands for a manifest, and all else is as in `before`.
pub(super) fn index(before: Option<Value>, tag: &str, manifest: (Digest, u64)) -> Value {
    let mut index = before
        .unwrap_or_else(|| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
    let mut new = descriptor(MANIFEST, manifest.0, manifest.1);
    new["annotations"] = json!({ TAG: tag });
    match index["manifests"].as_array_mut() {
        Some(manifests) => {
            manifests.retain(|manifest| manifest["annotations"][TAG] != tag);
            manifests.push(new);
        }
        None => index["manifests"] = json!([new]),
    }
    index
}

fn descriptor(kind: &str, digest: Digest, size: u64) -> Value {
    json!({ "mediaType": kind, "digest": digest, "size": size })
}

/// Returns how an image names an architecture that Debian names so, and its variant.
fn platform(arch: &str) -> (&str, Option<&'static str>) {
    match arch {
        "i386" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "arm64" => ("arm64", Some("v8")),
        "ppc64el" => ("ppc64le", None),
        "mips64el" => ("mips64le", None),
        other => (other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_takes_the_place_of_its_own_alone() {
        let id = |text: &str| (Digest::of(text.as_bytes()), 1);
        let one = index(None, "one", id("a"));
        let both = index(Some(one), "two", id("b"));
        let again = index(Some(both), "one", id("c"));
        let found: Vec<_> = again["manifests"].as_array().unwrap().iter().collect();
        let of = |tag: &str| {
            let is_of = |manifest: &&&Value| manifest["annotations"][TAG] == tag;
            let found: Vec<_> =
                found.iter().filter(is_of).map(|manifest| &manifest["digest"]).collect();
            assert_eq!(found.len(), 1);
            found[0].clone()
        };
        assert_eq!(of("one"), json!(Digest::of(b"c")));
        assert_eq!(of("two"), json!(Digest::of(b"b")));
    }

    #[test]
    fn the_environment_of_the_config_is_that_of_the_image() {
        let config =
            config("armhf", &[], "lxc.environment = A=1\nlxc.tty.max = 1\nlxc.environment = B=\n");
        assert_eq!(config["config"]["Env"], json!([PATH, "A=1", "B="]));
        assert_eq!((&config["architecture"], &config["variant"]), (&json!("arm"), &json!("v7")));
    }
}
