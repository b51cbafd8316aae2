//! From a manifest to its chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Chain, ConfigLine, Container, EnvSource, Layer, Upstream, Values, Variable, overlap};
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{self, ConfigValue, Content, EnvValue, Manifest, RootfsPath, VariableSource};
use crate::source::At;

/// Binds a manifest's variables and checks what their values make of it.
pub fn bind(manifest: &Manifest, container: &Container<'_>) -> (Option<Chain>, Report) {
    let mut binder = Binder { values: Values::new(manifest, container), report: Report::default() };
    let chain = binder.chain(manifest);
    let Binder { values, mut report } = binder;
    warn_unused(manifest, &values, &mut report);
    let chain = chain.map(|chain| Chain { values, ..chain });
    (chain.filter(|_| !report.has_errors()), report)
}

pub(super) struct Binder {
    pub(super) values: Values,
    pub(super) report: Report,
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
        overlap::check_hooks(&layers, &mut self.report);
        overlap::warn(&layers, &mut self.report);
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
