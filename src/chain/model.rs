//! What a chain is: layers whose variables are bound.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Origin, SecretVariable, Values};
use crate::digest::Digest;
use crate::manifest::{
    IfExists, LayerName, Mode, Owner, RootfsPath, Step, Storing, TemplateRef, Value, When,
};
use crate::source::{At, Source};

/// The layers of a manifest, resolved.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The manifest.
    pub source: Arc<Source>,
    /// What the role is.
    pub description: Option<String>,
    /// The variables.
    pub variables: Vec<Variable>,
    /// The template that the innermost layer calls.
    pub upstream: Upstream,
    /// The layers, the innermost first; never empty.
    pub layers: Vec<Layer>,
    /// The secrets that layers list: what a run has to read.
    pub secrets: Vec<Arc<SecretVariable>>,
}

/// A bound variable.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; `None` for a secret, and where a layer's pre steps hand it inward.
    pub value: Option<Value>,
    /// The layer that hands it inward.
    pub from: Option<LayerName>,
    /// Where it is declared.
    pub at: At,
    /// What it is for, for people.
    pub description: Option<String>,
    /// Whether it is a secret.
    pub secret: bool,
    /// Whether its value is a path of the host.
    pub is_path: bool,
    /// Where its value came from; `None` only if that is reported as an error.
    pub origin: Option<Origin>,
}

/// A bound layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name.
    pub name: LayerName,
    /// Where it stands.
    pub at: At,
    /// The file that defines it: the manifest, or that of a reusable layer.
    pub source: Arc<Source>,
    /// Where a reusable layer is used.
    pub used: Option<At>,
    /// The own variables of a reusable layer.
    pub variables: Vec<Variable>,
    /// What it says of the layer store.
    pub storing: Storing,
    /// What its steps and templates see.
    pub values: Values,
    /// Variables that its pre steps hand inward.
    pub hands: Vec<String>,
    /// The environment of its steps, and of the template.
    pub env: Vec<(String, EnvSource)>,
    /// Steps before what it wraps.
    pub pre: Vec<Step>,
    /// Steps after it.
    pub post: Vec<Step>,
    /// Steps that prove the work.
    pub check: Vec<Step>,
    /// Steps on the way out.
    pub finally: Vec<Step>,
    /// What is dropped into the rootfs.
    pub files: Vec<FileDrop>,
    /// Lines for the container's config.
    pub config: Vec<ConfigLine>,
    /// What belongs to the container and not to the role.
    pub state: Vec<RootfsPath>,
}

/// A bound value of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvSource {
    /// This value.
    Value(String),
    /// The caller's.
    Caller,
}

/// The bound call of an upstream template.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Which template.
    pub template: TemplateRef,
    /// Where it is named.
    pub at: At,
    /// The layer's arguments for it.
    pub args: Vec<String>,
    /// Files and directories of the host that it copies from.
    pub inputs: Vec<UpstreamInput>,
    /// What its script must digest to.
    pub sha256: Option<(Digest, At)>,
}

/// A file or directory of the host that a template copies from.
#[derive(Debug, Clone)]
pub struct UpstreamInput {
    /// Its path as the layer names it.
    pub word: String,
    /// Its absolute path.
    pub path: PathBuf,
    /// Where it is named.
    pub at: At,
}

/// A bound drop.
#[derive(Debug, Clone)]
pub struct FileDrop {
    /// Where.
    pub path: RootfsPath,
    /// What.
    pub content: Dropped,
    /// Its permission bits, where they are given.
    pub mode: Option<Mode>,
    /// Its owner, where one is given.
    pub owner: Option<Owner>,
    /// What happens where something is there.
    pub if_exists: IfExists,
    /// At which point.
    pub when: When,
    /// Where it stands.
    pub at: At,
}

/// What a bound drop makes.
#[derive(Debug, Clone)]
pub enum Dropped {
    /// A file of these bytes.
    Inline(Arc<[u8]>),
    /// A file or tree of the host.
    Source {
        /// Its absolute path.
        path: PathBuf,
        /// Whether it is a template of variables.
        render: bool,
        /// Where it is named.
        at: At,
    },
    /// A template of variables that names secrets: its text is made only during the run.
    Secret {
        /// The template.
        template: Arc<str>,
        /// The secrets in it, by the names that the layer knows them by.
        secrets: Vec<String>,
    },
    /// A file from the network.
    Url {
        /// Where it is fetched from, by http or https.
        url: String,
        /// What its bytes must digest to.
        sha256: Digest,
    },
    /// A symbolic link.
    Symlink(String),
    /// A directory.
    Directory,
    /// Nothing: what is there goes.
    Remove,
}

/// A bound line for the container's config.
#[derive(Debug, Clone)]
pub struct ConfigLine {
    /// The dotted key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where it stands.
    pub at: At,
}
