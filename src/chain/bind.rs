//! From a role to its chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::render::Allowance;
use super::resolve::Role;
use super::scope::{self, Scope, warn_unused};
use super::values::Binding;
use super::{
    BindContext, Chain, ConfigLine, EnvSource, Layer, Upstream, UpstreamInput, Values, advice,
    config, overlap,
};
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{
    self, ConfigValue, EnvValue, LayerEntry, LayerName, RootfsPath, TemplateRef, Text,
};
use crate::source::{At, Source};

/// Binds a role's variables and checks what their values make of it.
///
/// The chain is there if no diagnostic of the report is an error.
pub fn bind(role: &Role, context: &BindContext<'_>) -> (Option<Chain>, Report) {
    let (chain, report) = judge(role, context);
    (chain.filter(|_| !report.has_errors()), report)
}

/// Does the same, and returns what could be bound of a role with errors too: the files that it names may have
/// faults of their own.
pub(crate) fn judge(role: &Role, context: &BindContext<'_>) -> (Option<Chain>, Report) {
    let mut report = Report::default();
    let scope = scope::bind(role, context, &mut report);
    let mut binder = Binder {
        context,
        values: Values::default(),
        used: BTreeSet::new(),
        report,
        allowance: Allowance::default(),
    };
    let chain = binder.chain(role, scope);
    (chain, binder.report)
}

pub(super) struct Binder<'a> {
    pub(super) context: &'a BindContext<'a>,
    /// What the layer sees that is being bound.
    pub(super) values: Values,
    /// The names that were used of it.
    pub(super) used: BTreeSet<String>,
    pub(super) report: Report,
    /// What is left for the templates in the manifests.
    pub(super) allowance: Allowance,
}

impl Binder<'_> {
    fn chain(&mut self, role: &Role, scope: Scope) -> Option<Chain> {
        let mut layers = Vec::new();
        let mut upstream = None;
        let mut handed: BTreeMap<&LayerName, Vec<String>> = BTreeMap::new();
        for variable in &scope.variables {
            if let Some(layer) = &variable.from {
                handed.entry(layer).or_default().push(variable.name.clone());
            }
        }
        let mut steps_see_all = false;
        for (level, values) in role.levels.iter().zip(&scope.levels) {
            for entry in &level.manifest.layers {
                self.values = values.clone();
                let layer = match entry {
                    LayerEntry::Own(own) => {
                        steps_see_all |= sees_all(own);
                        if let Some(call) = &own.upstream {
                            upstream = Some(self.upstream(call));
                        }
                        let mut layer = self.layer(own, &own.name, &own.at);
                        layer.hands = handed.remove(&own.name).unwrap_or_default();
                        layer
                    }
                    LayerEntry::Use(used) => match level.used.get(&used.used) {
                        Some(file) => self.used(used, file),
                        // That it could not be read is reported already.
                        None => continue,
                    },
                };
                layers.push(layer);
            }
        }
        if let Some(lxc) = self.context.lxc {
            config::judge(&layers, self.context.container.name, lxc, &mut self.report);
        }
        overlap::warn(&layers, &mut self.report);
        if role.whole {
            advice::warn(&layers, &mut self.report);
        }
        if role.sound && !self.report.has_errors() {
            warn_unused(&scope.variables, &self.used, steps_see_all, &mut self.report);
        }
        let mut secrets: Vec<_> = layers
            .iter()
            .flat_map(|layer| layer.values.secrets())
            .map(|(_, secret)| Arc::clone(secret))
            .collect();
        secrets.sort_by(|a, b| a.source.cmp(&b.source));
        secrets.dedup_by(|a, b| a.source == b.source);
        let source = Arc::clone(&role.manifest().source);
        // Of a role that could not be read as a whole, the rest is judged all the same.
        let upstream = upstream.or_else(|| (!role.whole).then(|| none(&source)));
        Some(Chain {
            source,
            description: role.description().map(str::to_owned),
            variables: scope.variables,
            upstream: upstream?,
            layers,
            secrets,
        })
    }

    fn upstream(&mut self, call: &manifest::Upstream) -> Upstream {
        Upstream {
            template: call.template.clone(),
            at: call.at.clone(),
            args: call.args.iter().filter_map(|text| self.fill(text)).collect(),
            inputs: call.inputs.iter().filter_map(|text| self.input(text)).collect(),
            sha256: call.sha256.clone(),
        }
    }

    fn input(&mut self, text: &Text) -> Option<UpstreamInput> {
        let word = self.fill(text)?;
        if word.is_empty() {
            self.report.push(Diagnostic::error(&text.at, "an empty input"));
            return None;
        }
        Some(UpstreamInput { path: text.at.dir().join(&word), word, at: text.at.clone() })
    }

    /// Binds what all layers have.
    pub(super) fn layer(&mut self, layer: &manifest::Layer, name: &LayerName, at: &At) -> Layer {
        self.list_secrets(layer);
        let env = layer.env.iter().filter_map(|(name, value)| {
            let value = match value {
                EnvValue::Pass => EnvSource::Caller,
                EnvValue::Text(text) => EnvSource::Value(self.fill(text)?),
            };
            Some((name.clone(), value))
        });
        let env = env.collect();
        let files: Vec<_> = layer.files.iter().filter_map(|file| self.file(file)).collect();
        let mut paths: BTreeMap<&RootfsPath, &At> = BTreeMap::new();
        for file in &files {
            if let Some(first) = paths.insert(&file.path, &file.at) {
                let message = format!("two files of layer `{name}` go to `{}`", file.path);
                let help = format!("the other stands in line {}", first.line());
                self.report.push(Diagnostic::error(&file.at, message).help(help));
            }
        }
        Layer {
            name: name.clone(),
            at: at.clone(),
            source: Arc::clone(&layer.at.source),
            used: None,
            variables: Vec::new(),
            storing: layer.storing.clone(),
            values: self.values.clone(),
            hands: Vec::new(),
            env,
            pre: layer.pre.clone(),
            post: layer.post.clone(),
            check: layer.check.clone(),
            finally: layer.finally.clone(),
            files,
            config: layer.config.iter().filter_map(|line| self.config(line)).collect(),
            state: layer.state.clone(),
        }
    }

    /// Lets a layer see the secrets that it lists.
    fn list_secrets(&mut self, layer: &manifest::Layer) {
        let mut listed = Vec::new();
        for (name, at) in &layer.secrets {
            match self.values.known(name) {
                Some(Binding::Secret(_) | Binding::Faulty) => {
                    self.used.insert(name.clone());
                    listed.push(name.clone());
                }
                Some(_) => {
                    let message = format!("`{name}` is not a secret");
                    let help = "every layer sees it; leave it out here, or declare it with \
                                `secret = true`";
                    self.report.push(Diagnostic::error(at, message).help(help));
                }
                None if self.values.is_partial() => {}
                None => {
                    let names = self.values.names();
                    let diagnostic =
                        Diagnostic::error(at, format!("no variable is named `{name}`"));
                    self.report.push(diagnostic.did_you_mean(name, names));
                }
            }
        }
        self.values = self.values.listing(listed);
    }

    /// Puts the values into a text.
    pub(super) fn fill(&mut self, text: &Text) -> Option<String> {
        self.values.fill(text, &mut self.used, &mut self.report)
    }

    fn config(&mut self, line: &manifest::ConfigLine) -> Option<ConfigLine> {
        let value = match &line.value {
            ConfigValue::Plain(value) => value.clone(),
            ConfigValue::Text(text) => self.fill(text)?,
        };
        Some(ConfigLine { key: line.key.clone(), value, at: line.at.clone() })
    }
}

/// Returns what stands for an upstream that could not be read.
fn none(source: &Arc<Source>) -> Upstream {
    Upstream {
        template: TemplateRef::BuiltinBusybox,
        at: At { source: Arc::clone(source), span: 0..0 },
        args: Vec::new(),
        inputs: Vec::new(),
        sha256: None,
    }
}

/// Tells whether a layer's steps, or templates whose text is not known yet, see every variable.
pub(super) fn sees_all(layer: &manifest::Layer) -> bool {
    let steps = [&layer.pre, &layer.post, &layer.check, &layer.finally];
    let renders = |file: &manifest::FileDrop| {
        matches!(&file.content, manifest::Content::Source { render: true, .. })
    };
    steps.iter().any(|steps| !steps.is_empty()) || layer.files.iter().any(renders)
}
