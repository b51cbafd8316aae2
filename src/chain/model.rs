//! What a chain is: layers whose variables are bound.

use std::path::PathBuf;
use std::sync::Arc;

use super::Values;
use crate::digest::Digest;
use crate::manifest::{
    IfExists, LayerName, Mode, Owner, RootfsPath, Step, TemplateRef, Value, When,
};
use crate::source::{At, Source};

/// What is known of the container before its manifest is bound.
#[derive(Debug, Clone)]
pub struct Container<'a> {
    /// Its name: `{{ lxc.name }}`.
    pub name: &'a str,
    /// Its architecture, as Debian and LXC's images name it: `{{ lxc.arch }}`.
    pub arch: &'a str,
}

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
    /// The values, for files that are rendered when their bytes are known.
    pub values: Values,
}

/// A bound variable.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; nothing where a layer's pre steps hand it inward.
    pub value: Option<Value>,
    /// The layer that hands it inward.
    pub from: Option<LayerName>,
    /// Where it is declared.
    pub at: At,
}

/// A bound layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name.
    pub name: LayerName,
    /// Where it stands.
    pub at: At,
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
    /// What its script must digest to.
    pub sha256: Option<(Digest, At)>,
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
    /// Its owner.
    pub owner: Owner,
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
