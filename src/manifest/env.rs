//! From the TOML tree to the manifest: `env` of a layer.

use toml::de::DeValue;

use super::decode::Decoder;
use super::tree::{KeyValue, Table};
use super::{EnvValue, Text};
use crate::diagnostic::Diagnostic;

impl Decoder {
    /// Reads `env`: values, or `{ pass = true }` for the caller's own.
    pub(super) fn env(&mut self, entry: &KeyValue<'_>) -> Vec<(String, EnvValue)> {
        let Some(mut table) = Table::of(&entry.node, "a table of values", &mut self.report) else {
            return Vec::new();
        };
        table.take_all().iter().filter_map(|entry| self.env_value(entry)).collect()
    }

    fn env_value(&mut self, entry: &KeyValue<'_>) -> Option<(String, EnvValue)> {
        let name = entry.key.clone();
        if !is_environment_name(&name) {
            let message = format!("`{name}` cannot be the name of an environment variable");
            self.report.push(Diagnostic::error(&entry.key_at, message));
            return None;
        }
        if let DeValue::Table(_) = entry.node.value {
            let mut table = Table::of(&entry.node, "a table", &mut self.report)?;
            let pass = table.take("pass");
            table.finish("a value of `env`", |_| None, &mut self.report);
            let passed = pass.and_then(|entry| self.boolean(&entry.node)) == Some(true);
            if !passed {
                let message = format!("`{name}` is a table without `pass = true`");
                let help = "`{ pass = true }` passes the caller's value on";
                self.report.push(Diagnostic::error(&entry.node.at, message).help(help));
            }
            return passed.then_some((name, EnvValue::Pass));
        }
        let text = self.value(&entry.node)?.to_string();
        Some((name, EnvValue::Text(Text::parse(&text, &entry.node.at, &mut self.report))))
    }
}

/// Tells whether `name` can be the name of an environment variable.
pub(super) fn is_environment_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
