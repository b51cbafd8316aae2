//! The nest: layers around layers around the upstream.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::drop::FileDrop;
use super::lossy;
use super::status::{CacheStatus, Storage};
use crate::chain::{Origin, SecretVariable};
use crate::digest::Digest;
use crate::lxc::call::Mapped;
use crate::manifest::{Duration, LayerName, Phase, RootfsPath, SandboxOptions};
use crate::source::At;

/// A plan.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Plan {
    /// The version of this format.
    pub plan: u32,
    /// The manifest that it comes from.
    pub manifest: Manifest,
    /// The container that it makes.
    pub container: Target,
    /// The manifest's variables.
    pub variables: Vec<Variable>,
    /// The variables of the caller's environment that secrets are read from: no step has them, but a
    /// layer that lists the secret has it under the secret's own name.
    #[serde(skip)]
    pub hidden: Vec<String>,
    /// How the layer store is used.
    pub storage: Storage,
    /// The outermost layer.
    pub layer: Layer,
}

/// The manifest of a plan.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Manifest {
    /// Its path as it was given.
    #[serde(serialize_with = "lossy::text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: PathBuf,
    /// Its absolute path.
    #[serde(skip)]
    pub absolute: PathBuf,
    /// The digest of its text.
    pub digest: Digest,
    /// What the role is.
    pub description: Option<String>,
}

/// The container of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its architecture, as Debian and LXC's images name it.
    pub arch: String,
    /// Its directory.
    #[serde(serialize_with = "lossy::text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub path: PathBuf,
    /// The directory that becomes its rootfs.
    #[serde(serialize_with = "lossy::text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub rootfs: PathBuf,
    /// The ids that stand for the caller in a user namespace.
    pub mapped: Option<Mapped>,
    /// The user's own arguments for the upstream.
    #[serde(serialize_with = "lossy::words")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub args: Vec<OsString>,
}

/// A variable of a plan.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; nothing for a secret, and where a layer's pre steps decide it during the run.
    pub value: Option<String>,
    /// Whether it is a secret.
    pub secret: bool,
    /// The layer whose pre steps decide it.
    pub from: Option<LayerName>,
    /// Where its value comes from.
    pub origin: Option<Origin>,
    /// What it is for.
    pub description: Option<String>,
    /// Where it is declared.
    pub at: At,
}

/// A layer of a plan, with all that it wraps.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Layer {
    /// Its name.
    pub name: LayerName,
    /// Where it is declared.
    pub at: At,
    /// Where its relative paths start.
    #[serde(serialize_with = "lossy::text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub directory: PathBuf,
    /// The own variables of a reusable layer.
    pub variables: Vec<Variable>,
    /// The secrets that its steps have in their environment, by the names that it knows them by.
    #[serde(serialize_with = "names_of_secrets")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub secrets: Vec<(String, Arc<SecretVariable>)>,
    /// The variables that it sees of those that pre steps hand inward.
    pub sees: Vec<String>,
    /// The variables that its pre steps may hand inward.
    pub hands: Vec<String>,
    /// The environment that its steps have besides the caller's: variables and the layer's own.
    #[serde(serialize_with = "lossy::pairs")]
    #[cfg_attr(test, schemars(with = "std::collections::BTreeMap<String, String>"))]
    pub environment: Arc<[(OsString, OsString)]>,
    /// Steps before what it wraps.
    pub before: Vec<Step>,
    /// What it wraps.
    pub inner: Inner,
    /// What is done after that, in this order.
    pub after: Vec<Act>,
    /// Steps on the way out, whatever happened.
    pub finally: Vec<Step>,
    /// Paths inside the rootfs that belong to the container and not to the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<RootfsPath>,
    /// Where it comes from; nothing, where there is no store.
    pub standing: Option<CacheStatus>,
}

impl Layer {
    /// Returns this layer and those in it, the outermost first.
    pub fn all(&self) -> impl Iterator<Item = &Layer> {
        std::iter::successors(Some(self), |layer| match &layer.inner {
            Inner::Layer(layer) => Some(layer),
            Inner::Upstream(_) => None,
        })
    }

    /// Returns the call of the upstream.
    pub fn upstream(&self) -> &Upstream {
        let mut layer = self;
        loop {
            match &layer.inner {
                Inner::Layer(inner) => layer = inner,
                Inner::Upstream(upstream) => return upstream,
            }
        }
    }

    /// Returns what it does after what it wraps, as far as that is stored: checks on the host prove
    /// every run's work.
    pub fn acts_to_store(&self) -> impl Iterator<Item = &Act> {
        self.after.iter().filter(|act| !act.is_check_on_host())
    }

    /// Tells whether commands run while it is made: what they do to the rootfs nobody knows before.
    pub fn runs_commands(&self) -> bool {
        self.acts_to_store().any(|act| matches!(act, Act::Step(_)))
    }

    /// Tells whether it leaves nothing in the rootfs or config.
    pub fn leaves_nothing(&self) -> bool {
        self.acts_to_store().next().is_none()
    }
}

/// What a layer wraps.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Inner {
    /// Another layer.
    Layer(Box<Layer>),
    /// The upstream template.
    Upstream(Box<Upstream>),
}

/// What a layer does after what it wraps.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Lines for the container's config.
    Config(Vec<Configuration>),
    /// Something in the rootfs.
    Drop(FileDrop),
    /// A step.
    Step(Step),
}

impl Act {
    /// Tells whether it is a check that runs on the host.
    pub fn is_check_on_host(&self) -> bool {
        matches!(self, Self::Step(step)
            if step.phase == Phase::Check && matches!(step.place, Place::Host))
    }
}

/// A line for the container's config.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Configuration {
    /// The dotted key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where the manifest says so.
    pub at: At,
}

/// A step.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// When it runs.
    #[serde(rename = "stop")]
    pub phase: Phase,
    /// Where the manifest has it.
    pub at: At,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The command, as words.
    pub argv: Vec<String>,
    /// The script of the host that it runs, where it is no text of the manifest.
    pub script: Option<Digest>,
    /// Whether that script reads the container's name from its environment.
    #[serde(skip)]
    pub reads_name: bool,
    /// The directory that it runs in.
    #[serde(serialize_with = "lossy::text")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub directory: PathBuf,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Where the manifest says that.
    #[serde(skip)]
    pub timeout_at: Option<At>,
    /// Where it runs.
    pub place: Place,
}

/// Where a step runs.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On the host, with the caller's environment.
    Host,
    /// Inside the rootfs.
    Rootfs(Inside),
}

/// What a step inside the rootfs has there.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Inside {
    /// What the manifest says of it.
    #[serde(flatten)]
    pub sandbox: SandboxOptions,
    /// What it has of the caller's environment, besides what the layer gives.
    #[serde(serialize_with = "lossy::pairs")]
    #[cfg_attr(test, schemars(with = "std::collections::BTreeMap<String, String>"))]
    pub environment: Arc<[(OsString, OsString)]>,
    /// The file of the host whose bytes it runs; nothing, where it runs a text of the manifest.
    #[serde(serialize_with = "lossy::path")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub script: Option<PathBuf>,
}

/// The call of the upstream template.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Upstream {
    /// The template as the manifest names it.
    pub template: String,
    /// Where the manifest names it.
    pub at: At,
    /// The program behind it.
    pub program: Template,
    /// What the program must digest to, and where the manifest says so.
    #[serde(serialize_with = "digest_of_pin")]
    #[cfg_attr(test, schemars(with = "Option<Digest>"))]
    pub pin: Option<(Digest, At)>,
    /// Its arguments, as words.
    #[serde(serialize_with = "lossy::words")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub args: Vec<OsString>,
    /// Its whole environment.
    #[serde(serialize_with = "lossy::pairs")]
    #[cfg_attr(test, schemars(with = "std::collections::BTreeMap<String, String>"))]
    pub environment: Vec<(OsString, OsString)>,
    /// What of that decides what it makes.
    #[serde(skip)]
    pub decisive: Vec<(OsString, OsString)>,
    /// Where what it leaves comes from; nothing, where there is no store.
    pub standing: Option<CacheStatus>,
}

/// The program behind a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// A small rootfs, made by this program of a static busybox.
    Busybox {
        /// The busybox.
        #[serde(serialize_with = "lossy::text")]
        #[cfg_attr(test, schemars(with = "String"))]
        path: PathBuf,
    },
    /// An executable.
    File {
        /// Its absolute path.
        #[serde(serialize_with = "lossy::text")]
        #[cfg_attr(test, schemars(with = "String"))]
        path: PathBuf,
        /// The digest of its bytes.
        digest: Digest,
        /// Whether it is a manifest, which this program runs.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        #[cfg_attr(test, schemars(default))]
        is_manifest: bool,
    },
}

impl Plan {
    /// Returns the layers, the outermost first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layer.all()
    }

    /// Returns the call of the upstream.
    pub fn upstream(&self) -> &Upstream {
        self.layer.upstream()
    }
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn digest_of_pin<S: Serializer>(pin: &Option<(Digest, At)>, to: S) -> Result<S::Ok, S::Error> {
    pin.as_ref().map(|(digest, _)| digest).serialize(to)
}

fn names_of_secrets<S: Serializer>(
    secrets: &[(String, Arc<SecretVariable>)],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_seq(secrets.iter().map(|(name, _)| name))
}
