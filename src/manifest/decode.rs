//! From the TOML tree to the manifest: the file as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Entry, Node, Table};
use super::{LayerName, MOST_LAYERS, Manifest, VariableSource};
use crate::diagnostic::{Diagnostic, Report};
use crate::shell;
use crate::source::{At, Source};

/// Decodes one file and gathers its faults.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) source: Arc<Source>,
    pub(super) report: Report,
}

impl Decoder {
    pub(super) fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), report: Report::default() }
    }

    pub(super) fn finish(self) -> Report {
        self.report
    }

    /// Decodes a whole manifest; what comes back is sound only if the report has no error.
    pub(super) fn manifest(&mut self, document: &Spanned<DeTable<'_>>) -> Option<Manifest> {
        let end = self.source.text.len();
        let at = At { source: Arc::clone(&self.source), span: document.span() };
        let start = At { source: Arc::clone(&self.source), span: 0..end.min(1) };
        let mut table = Table::new(at, document.get_ref());
        self.format(&mut table, &start);
        let description = table.take("description").and_then(|entry| self.string(&entry.node));
        let extends = "write the base's layers into this manifest";
        table.reject_later("extends", extends, &mut self.report);
        let variables = table.take("vars").map(|entry| self.variables(&entry)).unwrap_or_default();
        let layers = match table.take("layer") {
            Some(entry) => self.layers(&entry),
            None => {
                let help = "the first `[[layer]]` names the template to start from:\n\n[[layer]]\n\
                            name = \"os\"\ntemplate = \"debian\"";
                let message = "a manifest needs at least one `[[layer]]`";
                self.report.push(Diagnostic::error(&start, message).help(help));
                Vec::new()
            }
        };
        table.finish("a manifest", misplaced_layer_key, &mut self.report);
        let manifest =
            Manifest { source: Arc::clone(&self.source), description, variables, layers };
        self.check_names(&manifest);
        Some(manifest)
    }

    /// Reads `manifest = 1`.
    fn format(&mut self, table: &mut Table<'_>, start: &At) {
        let help = "write `manifest = 1` as the first line";
        match table.take("manifest") {
            None => self
                .report
                .push(Diagnostic::error(start, "the format version is missing").help(help)),
            Some(entry) => match entry.node.integer() {
                Some(1) => {}
                Some(other) => self.report.push(
                    Diagnostic::error(&entry.node.at, format!("unknown format version {other}"))
                        .help("this version of the program reads `manifest = 1`"),
                ),
                None => self.report.push(entry.node.not("an integer").help(help)),
            },
        }
    }

    fn layers(&mut self, entry: &Entry<'_>) -> Vec<super::Layer> {
        let DeValue::Array(_) = entry.node.value else {
            let help = "write `[[layer]]`, in double brackets";
            self.report.push(entry.node.not("a list of layers").help(help));
            return Vec::new();
        };
        let nodes = entry.node.one_or_many();
        if nodes.len() > MOST_LAYERS {
            let message = format!("{} layers, and a chain has at most {MOST_LAYERS}", nodes.len());
            self.report.push(Diagnostic::error(&entry.key_at, message));
            return Vec::new();
        }
        let last = nodes.len().saturating_sub(1);
        let decode = |(index, node)| self.layer(node, index == 0, index == last);
        nodes.iter().enumerate().filter_map(decode).collect()
    }

    /// Checks what names refer to.
    fn check_names(&mut self, manifest: &Manifest) {
        let mut seen: BTreeMap<&LayerName, &At> = BTreeMap::new();
        for layer in &manifest.layers {
            if let Some(first) = seen.insert(&layer.name, &layer.at) {
                let message = format!("two layers are named `{}`", layer.name);
                let help = format!("the other stands in line {}", first.line());
                self.report.push(Diagnostic::error(&layer.at, message).help(help));
            }
        }
        for variable in &manifest.variables {
            let VariableSource::From(layer) = &variable.source else { continue };
            match manifest.layers.iter().find(|candidate| candidate.name == *layer) {
                None => {
                    let message = format!("no layer is named `{layer}`");
                    let known = manifest.layers.iter().map(|layer| layer.name.as_str());
                    self.report.push(
                        Diagnostic::error(&variable.at, message)
                            .did_you_mean(layer.as_str(), known),
                    );
                }
                Some(layer) if layer.pre.is_empty() => {
                    let message =
                        format!("layer `{}` has no `pre` that could hand it inward", layer.name);
                    let help = format!(
                        "a pre step hands it inward: \
                         pre = \"echo {}=… >>\\\"$LAYER_ENV\\\"\"",
                        variable.name
                    );
                    self.report.push(Diagnostic::error(&variable.at, message).help(help));
                }
                Some(_) => {}
            }
        }
    }

    /// Reads a string.
    pub(super) fn string(&mut self, node: &Node<'_>) -> Option<String> {
        if let DeValue::String(text) = node.value {
            return Some(text.to_string());
        }
        self.report.push(node.not("a string"));
        None
    }

    /// Reads a boolean.
    pub(super) fn boolean(&mut self, node: &Node<'_>) -> Option<bool> {
        if let DeValue::Boolean(value) = node.value {
            return Some(*value);
        }
        self.report.push(node.not("a boolean").help("write `true` or `false`"));
        None
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        node: &Node<'_>,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.string(node)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            let message = format!("`{text}` is none of {}", words.join(", "));
            let known = choices.iter().map(|(word, _)| *word);
            self.report.push(Diagnostic::error(&node.at, message).did_you_mean(&text, known));
        }
        found.map(|(_, value)| *value)
    }

    /// Reads the name of a layer.
    pub(super) fn layer_name(&mut self, node: &Node<'_>) -> Option<LayerName> {
        let text = self.string(node)?;
        let name = LayerName::parse(&text);
        if name.is_none() {
            let message = format!("`{text}` cannot be the name of a layer");
            let help = "a name is made of letters, digits, `-`, `_` and `.`, starts with a letter \
                        or a digit, and is at most 64 characters long";
            self.report.push(Diagnostic::error(&node.at, message).help(help));
        }
        name
    }

    /// Reports a control character in a value that must not have one.
    pub(super) fn no_control(&mut self, text: &str, at: &At, what: &str) -> bool {
        let found = shell::has_control(text);
        if found {
            let message = format!("a control character in {what}");
            let help = "LXC reads its config line by line; a line feed here would start another";
            self.report.push(Diagnostic::error(at, message).help(help));
        }
        !found
    }
}

/// Explains a key of a layer that stands at the top of the file.
fn misplaced_layer_key(key: &str) -> Option<String> {
    match key {
        "layers" => Some("layers are written one by one, as `[[layer]]`".to_owned()),
        "variables" | "var" => Some("variables stand in `[vars]`".to_owned()),
        _ if super::layer::KEYS.contains(&key) => {
            Some(format!("`{key}` belongs to a layer: put it below a `[[layer]]`"))
        }
        _ => None,
    }
}
