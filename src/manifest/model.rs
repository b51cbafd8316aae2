//! What a manifest says, variables' names still in it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Capability, Duration, LayerName, Mode, RootfsPath, Text};
use crate::digest::Digest;
use crate::source::At;

/// A layer: one wrapper of the chain.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name, unique in the manifest.
    pub name: LayerName,
    /// Where its name stands.
    pub at: At,
    /// The template that it calls, where it is the innermost.
    pub upstream: Option<Upstream>,
    /// What it says of the layer store.
    pub storing: Storing,
    /// The names of the secrets that it gets, and where each stands.
    pub secrets: Vec<(String, At)>,
    /// The environment of its steps, and of the template.
    pub env: Vec<(String, EnvValue)>,
    /// Steps before what the layer wraps.
    pub pre: Vec<Step>,
    /// Steps after it.
    pub post: Vec<Step>,
    /// Steps after those that prove the work.
    pub check: Vec<Step>,
    /// Steps on the way out, whatever happened.
    pub finally: Vec<Step>,
    /// What is dropped into the rootfs.
    pub files: Vec<FileDrop>,
    /// Lines for the container's config.
    pub config: Vec<ConfigLine>,
    /// What belongs to the container and not to the role.
    pub state: Vec<RootfsPath>,
}

/// What a layer says of the layer store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storing {
    /// Whether it is stored; where nothing is said, its steps decide.
    pub store: Option<bool>,
    /// After how long a stored result is rebuilt.
    pub refresh: Option<Duration>,
    /// What makes a container itself: emptied or removed in what is stored.
    pub identity: Vec<RootfsPath>,
}

/// The call of an upstream template.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Which template.
    pub template: TemplateRef,
    /// Where it is named.
    pub at: At,
    /// The arguments that the layer gives it.
    pub args: Vec<Text>,
    /// Files and directories of the host that it copies from.
    pub inputs: Vec<Text>,
    /// What the template's script must digest to, and where that stands.
    pub sha256: Option<(Digest, At)>,
}

/// How a manifest names a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateRef {
    /// The small rootfs that this program makes of the host's static busybox.
    BuiltinBusybox,
    /// A name in LXC's template directory, without the `lxc-`.
    Name(String),
    /// An absolute path.
    Path(PathBuf),
}

impl TemplateRef {
    /// Returns what a person calls it.
    pub fn name(&self) -> String {
        match self {
            Self::BuiltinBusybox => "builtin:busybox".to_owned(),
            Self::Name(name) => name.clone(),
            Self::Path(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// A value of a layer's environment.
#[derive(Debug, Clone)]
pub enum EnvValue {
    /// The manifest gives it.
    Text(Text),
    /// The caller's, where the caller has it.
    Pass,
}

/// A shell snippet or a script.
#[derive(Debug, Clone)]
pub struct Step {
    /// What people call it.
    pub title: Option<String>,
    /// What runs.
    pub action: Action,
    /// The shell that runs it, as words; `/bin/sh -eu` where nothing is given.
    pub shell: Option<Vec<String>>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Where that stands.
    pub timeout_at: Option<At>,
    /// Where it runs.
    pub place: Place,
    /// Where it stands.
    pub at: At,
}

/// Where a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On the host.
    Host,
    /// Inside the rootfs.
    Rootfs(SandboxOptions),
}

/// What a step inside the rootfs has there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Sandbox"))]
pub struct SandboxOptions {
    /// Whether it has the host's network.
    pub network: bool,
    /// Whether it resolves names as the host does.
    pub resolver: bool,
    /// The capabilities that it has besides those of all such steps.
    pub capabilities: Vec<Capability>,
    /// Directories that are kept on the host between runs, and are never part of the rootfs.
    pub cache: Vec<RootfsPath>,
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Shell text.
    Run(String),
    /// A file of the host, as an absolute path.
    Script(PathBuf),
}

/// The kinds of step, in the order in which a layer runs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before what the layer wraps.
    Pre,
    /// After it.
    Post,
    /// After the post steps.
    Check,
    /// On the way out.
    Finally,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pre => "pre",
            Self::Post => "post",
            Self::Check => "check",
            Self::Finally => "finally",
        })
    }
}

/// Something that a layer makes in the rootfs, or removes from it.
#[derive(Debug, Clone)]
pub struct FileDrop {
    /// Where: an absolute path inside the rootfs.
    pub path: Text,
    /// What.
    pub content: Content,
    /// Its permission bits.
    pub mode: Option<Mode>,
    /// Its owner, as `user`, `user:group` or `:group`.
    pub owner: Option<Text>,
    /// What happens where something is there already.
    pub if_exists: IfExists,
    /// At which point of the layer it is made.
    pub when: When,
    /// Where it stands in the manifest.
    pub at: At,
}

/// What a drop makes.
#[derive(Debug, Clone)]
pub enum Content {
    /// A file with this text; with `render` the text is a template of variables.
    Inline {
        /// The text, and where it stands.
        text: String,
        /// Where the text stands.
        at: At,
        /// Whether it is a template.
        render: bool,
    },
    /// A file or a tree of the host.
    Source {
        /// Its path, relative to the manifest's directory.
        path: Text,
        /// Whether the file is a template.
        render: bool,
    },
    /// A file from the network, held to its digest.
    Url {
        /// Where it is fetched from, by http or https.
        url: Text,
        /// What its bytes must digest to.
        sha256: Digest,
    },
    /// A symbolic link with this target.
    Symlink(Text),
    /// A directory.
    Directory,
    /// Nothing: what is there is removed.
    Remove,
}

/// What happens where a drop finds something at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IfExists {
    /// It is replaced.
    #[default]
    Replace,
    /// It stays.
    Keep,
    /// The run fails.
    Error,
}

/// At which point of its layer a drop is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before the post steps.
    #[default]
    BeforePost,
    /// After them.
    AfterPost,
}

/// A line for the container's config.
#[derive(Debug, Clone)]
pub struct ConfigLine {
    /// The dotted key.
    pub key: String,
    /// The value.
    pub value: ConfigValue,
    /// Where the value stands.
    pub at: At,
}

/// The value of a config line.
#[derive(Debug, Clone)]
pub enum ConfigValue {
    /// Text with variables' names.
    Text(Text),
    /// A number or a boolean, as LXC writes it.
    Plain(String),
}
