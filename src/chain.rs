//! The chain: a manifest's layers with their variables bound, the innermost first.
//!
//! [`bind`] is pure. It gathers every fault that shows only with the values known.

mod render;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use render::render;
pub use values::Values;

use crate::diagnostic::{Diagnostic, Report};
use crate::digest::Digest;
use crate::lxc::keys;
use crate::manifest::{
    self, ConfigValue, Content, EnvValue, IfExists, LayerName, Manifest, Mode, Owner, RootfsPath,
    Step, TemplateRef, Text, Value, VariableSource, When,
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

/// Binds a manifest's variables and checks what their values make of it.
pub fn bind(manifest: &Manifest, container: &Container<'_>) -> (Option<Chain>, Report) {
    let mut binder = Binder { values: Values::new(manifest, container), report: Report::default() };
    let chain = binder.chain(manifest);
    let Binder { values, mut report } = binder;
    warn_unused(manifest, &values, &mut report);
    let chain = chain.map(|chain| Chain { values, ..chain });
    (chain.filter(|_| !report.has_errors()), report)
}

struct Binder {
    values: Values,
    report: Report,
}

impl Binder {
    fn chain(&mut self, manifest: &Manifest) -> Option<Chain> {
        let upstream = manifest.layers.first()?.upstream.as_ref()?;
        let upstream = Upstream {
            template: upstream.template.clone(),
            at: upstream.at.clone(),
            args: upstream
                .args
                .iter()
                .map(|text| self.values.fill(text, &mut self.report))
                .collect(),
            sha256: upstream.sha256.clone(),
        };
        let layers: Vec<_> =
            manifest.layers.iter().map(|layer| self.layer(manifest, layer)).collect();
        self.check_hooks(&layers);
        self.warn_overlaps(&layers);
        let variables = manifest
            .variables
            .iter()
            .map(|variable| match &variable.source {
                VariableSource::Value(value) => (Some(value.clone()), None),
                VariableSource::From(layer) => (None, Some(layer.clone())),
            })
            .zip(&manifest.variables)
            .map(|((value, from), variable)| Variable {
                name: variable.name.clone(),
                value,
                from,
                at: variable.at.clone(),
            })
            .collect();
        Some(Chain {
            source: Arc::clone(&manifest.source),
            description: manifest.description.clone(),
            variables,
            upstream,
            layers,
            values: Values::default(),
        })
    }

    fn layer(&mut self, manifest: &Manifest, layer: &manifest::Layer) -> Layer {
        let from_here = |variable: &&manifest::Variable| match &variable.source {
            VariableSource::From(name) => *name == layer.name,
            VariableSource::Value(_) => false,
        };
        let hands = manifest.variables.iter().filter(from_here);
        let env = layer.env.iter().map(|(name, value)| {
            let value = match value {
                EnvValue::Pass => EnvSource::Caller,
                EnvValue::Text(text) => EnvSource::Value(self.values.fill(text, &mut self.report)),
            };
            (name.clone(), value)
        });
        let env = env.collect();
        let files: Vec<_> = layer.files.iter().filter_map(|file| self.file(file)).collect();
        let mut paths: BTreeMap<&RootfsPath, &At> = BTreeMap::new();
        for file in &files {
            if let Some(first) = paths.insert(&file.path, &file.at) {
                let message = format!("two files of layer `{}` go to `{}`", layer.name, file.path);
                let help = format!("the other stands in line {}", first.line());
                self.report.push(Diagnostic::error(&file.at, message).help(help));
            }
        }
        Layer {
            name: layer.name.clone(),
            at: layer.at.clone(),
            hands: hands.map(|variable| variable.name.clone()).collect(),
            env,
            pre: layer.pre.clone(),
            post: layer.post.clone(),
            check: layer.check.clone(),
            finally: layer.finally.clone(),
            files,
            config: layer.config.iter().map(|line| self.config(line)).collect(),
        }
    }

    fn file(&mut self, file: &manifest::FileDrop) -> Option<FileDrop> {
        let path = self.values.fill(&file.path, &mut self.report);
        let content = self.content(&file.content);
        let owner = match &file.owner {
            None => None,
            Some(text) => Some(self.owner(text)?),
        };
        let path = match RootfsPath::parse(&path) {
            Ok(path) => path,
            Err(reason) => {
                let message = format!("`{path}` cannot be a path inside the rootfs");
                self.report.push(Diagnostic::error(&file.at, message).help(reason));
                return None;
            }
        };
        let tree = matches!(content, Some(Dropped::Source { render: false, .. }));
        if path.is_root() && !tree {
            let message = "the rootfs itself is not something to drop";
            let help = "only a tree may go to `/`: it merges into what is there";
            self.report.push(Diagnostic::error(&file.at, message).help(help));
            return None;
        }
        Some(FileDrop {
            path,
            content: content?,
            mode: file.mode,
            owner,
            if_exists: file.if_exists,
            when: file.when,
            at: file.at.clone(),
        })
    }

    fn owner(&mut self, text: &Text) -> Option<Owner> {
        let filled = self.values.fill(text, &mut self.report);
        let owner = Owner::parse(&filled);
        if owner.is_none() {
            let message = format!("`{filled}` cannot be an owner");
            let help = "write `user`, `user:group` or `:group`, by name or number";
            self.report.push(Diagnostic::error(&text.at, message).help(help));
        }
        owner
    }

    fn content(&mut self, content: &Content) -> Option<Dropped> {
        Some(match content {
            Content::Inline { text, render: false, .. } => Dropped::Inline(text.as_bytes().into()),
            Content::Inline { text, at, render: true } => match render(text, &self.values) {
                Ok(text) => Dropped::Inline(text.into_bytes().into()),
                Err(fault) => {
                    self.report.push(fault.diagnostic(at, "the content"));
                    return None;
                }
            },
            Content::Source { path, render } => {
                let filled = self.values.fill(path, &mut self.report);
                if filled.is_empty() {
                    let message = "an empty source";
                    self.report.push(Diagnostic::error(&path.at, message));
                    return None;
                }
                let path_on_host = path.at.dir().join(filled);
                Dropped::Source { path: path_on_host, render: *render, at: path.at.clone() }
            }
            Content::Symlink(target) => {
                let filled = self.values.fill(target, &mut self.report);
                if filled.is_empty() || filled.len() > 4095 {
                    let message = "the target of a link is 1 to 4095 bytes long";
                    self.report.push(Diagnostic::error(&target.at, message));
                    return None;
                }
                Dropped::Symlink(filled)
            }
            Content::Directory => Dropped::Directory,
            Content::Remove => Dropped::Remove,
        })
    }

    fn config(&mut self, line: &manifest::ConfigLine) -> ConfigLine {
        let value = match &line.value {
            ConfigValue::Plain(value) => value.clone(),
            ConfigValue::Text(text) => self.values.fill(text, &mut self.report),
        };
        if line.key == "lxc.include" && !value.is_empty() && !value.starts_with('/') {
            let message = "a relative `lxc.include`";
            let help = "LXC takes it relative to where lxc-create happens to be called; write an \
                        absolute path";
            self.report.push(Diagnostic::error(&line.at, message).help(help));
        }
        ConfigLine { key: line.key.clone(), value, at: line.at.clone() }
    }

    /// Checks the first `lxc.hook.start`: LXC takes its whole value for the path of a program.
    fn check_hooks(&mut self, layers: &[Layer]) {
        let lines = layers.iter().flat_map(|layer| &layer.config);
        let mut hooks = lines.filter(|line| line.key == "lxc.hook.start");
        if let Some(first) = hooks.next()
            && first.value.trim().contains([' ', '\t'])
        {
            let message = "the first `lxc.hook.start` has arguments";
            let help = "LXC looks for a file of that whole name and refuses to start; drop a \
                        script without arguments and name that";
            self.report.push(Diagnostic::error(&first.at, message).help(help));
        }
    }

    /// Warns where the outer of two layers wins, and where a hook would run twice.
    fn warn_overlaps(&mut self, layers: &[Layer]) {
        let mut scalars: BTreeMap<&str, &Layer> = BTreeMap::new();
        let mut hooks: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut paths: BTreeMap<&RootfsPath, &Layer> = BTreeMap::new();
        for layer in layers {
            for line in &layer.config {
                if keys::shape(&line.key) == keys::Shape::Scalar {
                    if let Some(inner) = scalars.insert(&line.key, layer)
                        && inner.name != layer.name
                    {
                        let message = format!("layer `{}` sets `{}` too", inner.name, line.key);
                        let help = format!("the outer layer wins: `{}`", layer.name);
                        self.report.push(Diagnostic::warning(&line.at, message).help(help));
                    }
                } else if line.key.starts_with("lxc.hook.")
                    && !line.value.is_empty()
                    && !hooks.insert((&line.key, &line.value))
                {
                    let message = format!("`{}` stands twice, and runs twice", line.key);
                    self.report.push(Diagnostic::warning(&line.at, message));
                }
            }
            for file in &layer.files {
                let tree = matches!(file.content, Dropped::Source { .. } | Dropped::Directory);
                if let Some(inner) = paths.insert(&file.path, layer)
                    && !tree
                {
                    let message = format!("layer `{}` drops `{}` too", inner.name, file.path);
                    let help = format!("the outer layer wins: `{}`", layer.name);
                    self.report.push(Diagnostic::warning(&file.at, message).help(help));
                }
            }
        }
    }
}

/// Warns of variables that nothing can see.
///
/// Steps see all of them, so where there is a step no variable is unused.
fn warn_unused(manifest: &Manifest, values: &Values, report: &mut Report) {
    let has_steps = |layer: &manifest::Layer| {
        [&layer.pre, &layer.post, &layer.check, &layer.finally]
            .iter()
            .any(|steps| !steps.is_empty())
    };
    let renders = |layer: &manifest::Layer| {
        layer.files.iter().any(|file| matches!(&file.content, Content::Source { render: true, .. }))
    };
    if manifest.layers.iter().any(|layer| has_steps(layer) || renders(layer)) {
        return;
    }
    for variable in manifest.variables.iter().filter(|variable| !values.was_used(&variable.name)) {
        let message = format!("variable `{}` is never used", variable.name);
        report.push(Diagnostic::warning(&variable.at, message));
    }
}
