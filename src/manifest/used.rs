//! From the TOML tree to the manifest: reusable layers, and their use.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::decode::Decoder;
use super::layer::header_of;
use super::tree::{KeyValue, Table};
use super::variable::no_pre;
use super::{LayerFile, Text, Use, VariableSource, With, WithValue};
use crate::diagnostic::Diagnostic;

/// How many keys are named that do not stand beside `use`.
const MOST_KEYS: usize = 8;

impl Decoder {
    /// Decodes the file of a reusable layer.
    ///
    /// What it is shows by its `[layer]`, so that a format version may stand there but need not.
    pub(super) fn layer_file(&mut self, document: &Spanned<DeTable<'_>>) -> Option<LayerFile> {
        let start = self.start();
        let mut table = self.document(document);
        let version = table.take("manifest");
        self.format(version, &start, false);
        let description = table.take("description").and_then(|entry| self.string(&entry.node));
        let variables = table.take("vars").map(|entry| self.variables(&entry, true));
        let variables = variables.unwrap_or_default();
        let layer = table.take("layer");
        table.finish("a reusable layer", |_| None, &mut self.report);
        let Some(entry) = layer else {
            let message = "a reusable layer needs a `[layer]` table";
            self.report.push(Diagnostic::error(&start, message));
            return None;
        };
        if let DeValue::Array(_) = entry.node.value {
            let help = "a reusable layer is one layer, in single brackets; a manifest is extended, \
                        with `extends`";
            self.report.push(entry.node.not("a table").help(help));
            return None;
        }
        let mut table = Table::of(&entry.node, "a table", &mut self.report)?;
        let named = "it gets its name where it is used: that of the file, or the `name` beside \
                     `use`";
        let inner = "the manifest that uses the layer names the template";
        for (key, help) in [
            ("name", named),
            ("use", "write the layer's keys here, or use both layers in the manifest"),
            ("with", "`default` gives a variable of `[vars]` its value"),
            ("template", inner),
            ("args", inner),
            ("inputs", inner),
            ("sha256", inner),
        ] {
            if let Some(entry) = table.take_foreign(key) {
                let message = format!("a reusable layer has no `{key}`");
                self.report.push(Diagnostic::error(&entry.key_at, message).help(help));
            }
        }
        let layer = self.layer(table, None);
        for variable in &variables {
            if matches!(variable.source, VariableSource::From(_)) && layer.pre.is_empty() {
                self.report.push(no_pre(&variable.at, "this layer", &variable.name));
            }
        }
        Some(LayerFile { source: Arc::clone(&self.source), description, variables, layer })
    }

    /// Reads the use of a reusable layer.
    pub(super) fn used(&mut self, entry: &KeyValue<'_>, mut table: Table<'_>) -> Option<Use> {
        let header = header_of(&table.at);
        let used = self.layer_name(&entry.node);
        let name_entry = table.take("name");
        let at = match &name_entry {
            Some(name) => name.node.at.clone(),
            None if used.is_some() => entry.node.at.clone(),
            None => header,
        };
        let name = match name_entry {
            Some(name) => self.layer_name(&name.node),
            None => used.clone(),
        };
        let with = table.take("with").map(|entry| self.with(&entry)).unwrap_or_default();
        let others = table.take_all();
        if let Some(first) = others.first() {
            let message = "a layer with `use` takes only `name` and `with`";
            let keys = others.iter().take(MOST_KEYS).map(|other| format!("`{}`", other.key));
            let keys = keys.collect::<Vec<_>>().join(", ");
            let more = if others.len() > MOST_KEYS { ", ..." } else { "" };
            let help = format!(
                "the layer is what its file says: write another layer around it for {keys}{more}"
            );
            self.report.push(Diagnostic::error(&first.key_at, message).help(help));
        }
        Some(Use { name: name?, at, used: used?, used_at: entry.node.at.clone(), with })
    }

    fn with(&mut self, entry: &KeyValue<'_>) -> Vec<With> {
        let Some(mut table) = Table::of(&entry.node, "a table of values", &mut self.report) else {
            return Vec::new();
        };
        let mut bound = Vec::new();
        for KeyValue { key: name, key_at: name_at, node } in table.take_all() {
            let value = match node.value {
                DeValue::String(text) => self
                    .no_nul(text, &node.at)
                    .then(|| WithValue::Text(Text::parse(text, &node.at, &mut self.report))),
                _ => self.value(&node).map(WithValue::Plain),
            };
            if let Some(value) = value {
                bound.push(With { name, name_at, value, at: node.at });
            }
        }
        bound
    }
}
