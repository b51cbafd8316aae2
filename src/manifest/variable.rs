//! From the TOML tree to the manifest: `[vars]`.

use toml::de::DeValue;

use super::decode::Decoder;
use super::tree::{Entry, Node, Table};
use super::{Value, Variable, VariableSource, is_variable_name};
use crate::diagnostic::Diagnostic;

/// The keys of a variable that is a table, and that this version does not read yet.
const LATER: [&str; 7] = ["required", "default", "description", "type", "secret", "env", "file"];

impl Decoder {
    pub(super) fn variables(&mut self, entry: &Entry<'_>) -> Vec<Variable> {
        let Some(mut table) = Table::of(&entry.node, "a table of variables", &mut self.report)
        else {
            return Vec::new();
        };
        table.take_all().iter().filter_map(|entry| self.variable(entry)).collect()
    }

    fn variable(&mut self, entry: &Entry<'_>) -> Option<Variable> {
        if !is_variable_name(&entry.key) {
            let message = format!("`{}` cannot be the name of a variable", entry.key);
            let help = "a name starts with a lower-case letter or `_` and goes on with lower-case \
                        letters, digits and `_`: steps get it as an environment variable";
            self.report.push(Diagnostic::error(&entry.key_at, message).help(help));
            return None;
        }
        let source = match entry.node.value {
            DeValue::Table(_) => self.variable_table(&entry.node)?,
            _ => VariableSource::Value(self.value(&entry.node)?),
        };
        Some(Variable { name: entry.key.clone(), at: entry.key_at.clone(), source })
    }

    /// Reads a variable that is a table.
    fn variable_table(&mut self, node: &Node<'_>) -> Option<VariableSource> {
        let mut table = Table::of(node, "a table", &mut self.report)?;
        let mut later = false;
        for key in LATER {
            if let Some(entry) = table.take(key) {
                later = true;
                let message = format!("`{key}` of a variable is not supported by this version");
                let help = "give the variable a plain value, as in `http_port = 8080`";
                self.report.push(Diagnostic::error(&entry.key_at, message).help(help));
            }
        }
        let from = table.take("from");
        table.finish("a variable", |_| None, &mut self.report);
        match from {
            Some(entry) => Some(VariableSource::From(self.layer_name(&entry.node)?)),
            None if later => None,
            None => {
                let message = "a variable that is a table needs `from`";
                let help = "`from = \"app\"` says that the pre steps of layer `app` hand it inward";
                self.report.push(Diagnostic::error(&node.at, message).help(help));
                None
            }
        }
    }

    /// Reads a plain value.
    pub(super) fn value(&mut self, node: &Node<'_>) -> Option<Value> {
        match node.value {
            DeValue::String(text) if text.contains('\0') => {
                let message = "a value cannot hold a NUL: no environment can carry it";
                self.report.push(Diagnostic::error(&node.at, message));
                None
            }
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(value) => Some(Value::Boolean(*value)),
            DeValue::Integer(_) => match node.integer() {
                Some(value) => Some(Value::Integer(value)),
                None => {
                    self.report.push(Diagnostic::error(&node.at, "the number is too large"));
                    None
                }
            },
            _ => {
                self.report.push(node.not("a string, an integer or a boolean"));
                None
            }
        }
    }
}
