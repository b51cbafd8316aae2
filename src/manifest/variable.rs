//! From the TOML tree to the manifest: `[vars]`, and vars files.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::decode::Decoder;
use super::tree::{KeyValue, Node, Table};
use super::{
    Assignment, LayerName, SELF, SecretSource, Value, Variable, VariableSource, VariableType,
    WORDS, is_variable_name,
};
use crate::diagnostic::Diagnostic;
use crate::source::At;

/// What a table can say of where a variable's value comes from.
struct VariableKeys<'a> {
    required: Option<KeyValue<'a>>,
    default: Option<KeyValue<'a>>,
    secret: Option<KeyValue<'a>>,
    env: Option<KeyValue<'a>>,
    file: Option<KeyValue<'a>>,
    from: Option<KeyValue<'a>>,
}

impl Decoder {
    /// Reads `[vars]`; in a reusable layer a variable is handed inward only by that layer itself.
    pub(super) fn variables(&mut self, entry: &KeyValue<'_>, reusable: bool) -> Vec<Variable> {
        let Some(mut table) = Table::of(&entry.node, "a table of variables", &mut self.report)
        else {
            self.lost = true;
            return Vec::new();
        };
        let entries = table.take_all();
        let variables: Vec<_> =
            entries.iter().filter_map(|entry| self.variable(entry, reusable)).collect();
        self.lost |= variables.len() < entries.len();
        variables
    }

    /// Reads a vars file.
    pub(super) fn assignments(&mut self, document: &Spanned<DeTable<'_>>) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        for KeyValue { key: name, key_at: name_at, node } in self.document(document).take_all() {
            if let DeValue::Table(_) = node.value {
                let help = "a vars file holds lines of `name = value` and nothing else";
                self.report.push_error(|| node.not("a string, an integer or a boolean").help(help));
            } else if let Some(value) = self.value(&node) {
                assignments.push(Assignment { name, name_at, value, at: node.at });
            }
        }
        assignments
    }

    fn variable(&mut self, entry: &KeyValue<'_>, reusable: bool) -> Option<Variable> {
        let (name, at) = (&entry.key, &entry.key_at);
        if !is_variable_name(name) {
            let message = format!("`{name}` cannot be the name of a variable");
            let help = "a name starts with a lower-case letter or `_` and goes on with lower-case \
                        letters, digits and `_`: steps get it as an environment variable";
            self.report.push(Diagnostic::error(at, message).help(help));
            return None;
        }
        if WORDS.contains(&name.as_str()) {
            let message = format!("`{name}` cannot be the name of a variable");
            let help = "it is a word of templates, where it would stand for something else: choose \
                        another name";
            self.report.push(Diagnostic::error(at, message).help(help));
            return None;
        }
        if let DeValue::Table(_) = entry.node.value {
            return self.variable_table(entry, reusable);
        }
        let source = VariableSource::Value(self.value(&entry.node)?, entry.node.at.clone());
        let (name, at) = (name.clone(), at.clone());
        Some(Variable { name, at, description: None, kind: None, source })
    }

    /// Reads a variable that is a table.
    fn variable_table(&mut self, entry: &KeyValue<'_>, reusable: bool) -> Option<Variable> {
        let mut table = Table::of(&entry.node, "a table", &mut self.report)?;
        let description = table.take("description").and_then(|entry| self.string(&entry.node));
        let type_entry = table.take("type");
        let keys = VariableKeys {
            required: table.take("required"),
            default: table.take("default"),
            secret: table.take("secret"),
            env: table.take("env"),
            file: table.take("file"),
            from: table.take("from"),
        };
        table.finish("a variable", |_| None, &mut self.report);
        let kinds = [
            ("string", VariableType::String),
            ("integer", VariableType::Integer),
            ("boolean", VariableType::Boolean),
            ("path", VariableType::Path),
        ];
        let kind = type_entry.as_ref().and_then(|entry| self.choice(&entry.node, &kinds));
        let source = self.variable_source(&entry.node.at, &keys, reusable)?;
        let fault = match (&source, kind, &type_entry) {
            (VariableSource::From(_), _, Some(_)) => Some("what a pre step hands inward is text"),
            (VariableSource::Secret(_), Some(kind), _) if kind != VariableType::String => {
                Some("a secret is text")
            }
            _ => None,
        };
        if let (Some(fault), Some(entry)) = (fault, &type_entry) {
            let message = "`type` has no meaning here";
            self.report.push(Diagnostic::error(&entry.key_at, message).help(fault));
        }
        if let (VariableSource::Value(value, at), Some(kind)) = (&source, kind)
            && !kind.admits(value)
        {
            let message = format!(
                "the default of `{}` is {}, and its type {}",
                entry.key,
                value.kind().article(),
                kind.article()
            );
            self.report.push(Diagnostic::error(at, message));
        }
        let (name, at) = (entry.key.clone(), entry.key_at.clone());
        Some(Variable { name, at, description, kind, source })
    }

    /// Reads where the value comes from: one of `default`, `required`, `secret`, `from`.
    fn variable_source(
        &mut self,
        at: &At,
        keys: &VariableKeys<'_>,
        reusable: bool,
    ) -> Option<VariableSource> {
        let secret = keys.secret.as_ref().and_then(|entry| self.boolean(&entry.node));
        let required = keys.required.as_ref().and_then(|entry| self.boolean(&entry.node));
        if let Some(from) = &keys.from {
            self.no_meaning_beside(
                from,
                [&keys.required, &keys.default, &keys.secret, &keys.env, &keys.file],
            );
            return self.from(from, reusable).map(VariableSource::From);
        }
        if secret == Some(true) {
            return self.secret(at, keys, required == Some(true));
        }
        for entry in [&keys.env, &keys.file].into_iter().flatten() {
            let message = format!("`{}` without `secret = true`", entry.key);
            let help = "only a secret is read from there; another value comes by `--set` or a vars \
                        file";
            self.report.push(Diagnostic::error(&entry.key_at, message).help(help));
        }
        let unread =
            |entry: &Option<KeyValue<'_>>, value: Option<bool>| entry.is_some() && value.is_none();
        let is_reported = keys.env.is_some()
            || keys.file.is_some()
            || unread(&keys.required, required)
            || unread(&keys.secret, secret);
        match (&keys.default, required) {
            (Some(default), Some(true)) => {
                let message = "a variable with a default is never required";
                let help = "leave out `required` or `default`";
                self.report.push(Diagnostic::error(&default.key_at, message).help(help));
                None
            }
            (Some(default), _) => {
                let value = self.value(&default.node)?;
                Some(VariableSource::Value(value, default.node.at.clone()))
            }
            (None, Some(true)) => Some(VariableSource::Required),
            (None, _) if is_reported => None,
            (None, _) => {
                let message = "nothing says where the value comes from";
                let help = "write one of `default = \"…\"`, `required = true`, `secret = true`, \
                            `from = \"layer\"`";
                self.report.push(Diagnostic::error(at, message).help(help));
                None
            }
        }
    }

    fn from(&mut self, entry: &KeyValue<'_>, reusable: bool) -> Option<LayerName> {
        let name = self.layer_name(&entry.node)?;
        if reusable && name.as_str() != SELF {
            let message = "a reusable layer knows no other layer";
            let help = "`from = \"self\"` says that its own pre steps hand the variable inward";
            self.report.push(Diagnostic::error(&entry.node.at, message).help(help));
            return None;
        }
        Some(name)
    }

    fn secret(
        &mut self,
        at: &At,
        keys: &VariableKeys<'_>,
        required: bool,
    ) -> Option<VariableSource> {
        if let Some(default) = &keys.default {
            let message = "a secret's value never stands in a manifest";
            let help = "`env = \"NAME\"` or `file = \"PATH\"` says where it is read from";
            self.report.push(Diagnostic::error(&default.key_at, message).help(help));
            return None;
        }
        match (&keys.env, &keys.file) {
            (Some(_), Some(file)) => {
                let message = "a secret is read from `env` or `file`, not both";
                self.report.push(Diagnostic::error(&file.key_at, message));
                None
            }
            (Some(env), None) => {
                let name = self.string(&env.node)?;
                if !super::env::is_environment_name(&name) {
                    let message = format!("`{name}` cannot be the name of an environment variable");
                    self.report.push(Diagnostic::error(&env.node.at, message));
                    return None;
                }
                Some(VariableSource::Secret(Some(SecretSource::Env(name))))
            }
            (None, Some(file)) => {
                let text = self.string(&file.node)?;
                let path = self.host_path(&text, &file.node.at, "a secret's file")?;
                Some(VariableSource::Secret(Some(SecretSource::File(self.source.dir.join(path)))))
            }
            (None, None) if required => Some(VariableSource::Secret(None)),
            (None, None) => {
                let message = "nothing says where the secret is read from";
                let help = "write `env = \"NAME\"` or `file = \"PATH\"`, or `required = true` where \
                            the file's user binds it";
                self.report.push(Diagnostic::error(at, message).help(help));
                None
            }
        }
    }

    fn no_meaning_beside(&mut self, kind: &KeyValue<'_>, others: [&Option<KeyValue<'_>>; 5]) {
        for entry in others.into_iter().flatten() {
            let message = format!("`{}` has no meaning beside `{}`", entry.key, kind.key);
            self.report.push(Diagnostic::error(&entry.key_at, message));
        }
    }

    /// Reads a plain value.
    pub(super) fn value(&mut self, node: &Node<'_>) -> Option<Value> {
        match node.value {
            DeValue::String(text) => {
                self.no_nul(text, &node.at).then(|| Value::String(text.to_string()))
            }
            DeValue::Boolean(value) => Some(Value::Boolean(*value)),
            DeValue::Integer(_) => match node.integer() {
                Some(value) => Some(Value::Integer(value)),
                None => {
                    self.report.push(Diagnostic::error(&node.at, "the number is too large"));
                    None
                }
            },
            _ => {
                self.report.push_error(|| node.not("a string, an integer or a boolean"));
                None
            }
        }
    }

    /// Reports a NUL in a value.
    pub(super) fn no_nul(&mut self, text: &str, at: &At) -> bool {
        let found = text.contains('\0');
        if found {
            let message = "a value cannot hold a NUL: no environment can carry it";
            self.report.push(Diagnostic::error(at, message));
        }
        !found
    }
}

/// Returns the fault that `layer` has no step that could hand `variable` inward.
pub(crate) fn no_pre(at: &At, layer: &str, variable: &str) -> Diagnostic {
    let message = format!("{layer} has no `pre` that could hand `{variable}` inward");
    let help =
        format!("a pre step hands it inward: pre = \"echo {variable}=… >>\\\"$LAYER_ENV\\\"\"");
    Diagnostic::error(at, message).help(help)
}
