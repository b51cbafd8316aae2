//! From the TOML tree to the manifest: the call of an upstream template.

use toml::de::DeValue;

use super::decode::Decoder;
use super::position::Position;
use super::tree::{KeyValue, Node, Table};
use super::{TemplateRef, Text, Upstream};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::source::At;

/// The prefix of templates that are part of this program.
const BUILTIN: &str = "builtin:";

impl Decoder {
    /// Reads what calls the upstream template.
    pub(super) fn upstream(
        &mut self,
        table: &mut Table<'_>,
        header: &At,
        position: Position,
    ) -> Option<Upstream> {
        let template = table.take("template");
        let args = table.take("args");
        let inputs = table.take("inputs");
        let sha256 = table.take("sha256");
        let Some(template) = template else {
            for entry in [&args, &inputs, &sha256].into_iter().flatten() {
                let message = format!("`{}` stands without a `template`", entry.key);
                self.report.push(Diagnostic::error(&entry.key_at, message));
            }
            if matches!(position, Position::Innermost { .. }) {
                self.no_template(header, position);
            }
            return None;
        };
        let fault = match position {
            Position::Innermost { .. } => None,
            Position::Extending => Some((
                "a `template` in a manifest that extends another",
                "the innermost layer of the base calls the template; this manifest adds layers \
                 around it",
            )),
            Position::Outer => Some((
                "a second `template`: only the first layer of a manifest has one",
                "layers are written from the inside out; the first calls the template, the others \
                 wrap it",
            )),
        };
        if let Some((message, help)) = fault {
            self.report.push(Diagnostic::error(&template.key_at, message).help(help));
        }
        let at = template.node.at.clone();
        let args = args.map(|entry| self.args(&entry)).unwrap_or_default();
        let inputs = inputs.map(|entry| self.inputs(&entry)).unwrap_or_default();
        let sha256 = sha256.and_then(|entry| self.sha256(&entry.node));
        let template = self.template(&template.node)?;
        if template == TemplateRef::BuiltinBusybox {
            let fault = "a built-in template takes none";
            if let Some(arg) = args.first() {
                let message = format!("arguments for `{BUILTIN}busybox`: {fault}");
                self.report.push(Diagnostic::error(&arg.at, message));
            }
            if let Some(input) = inputs.first() {
                let message = format!("`inputs` for `{BUILTIN}busybox`: {fault}");
                self.report.push(Diagnostic::error(&input.at, message));
            }
            if let Some((_, at)) = &sha256 {
                let message = format!("`sha256` for `{BUILTIN}busybox`: {fault}");
                self.report.push(Diagnostic::error(at, message));
            }
        }
        Some(Upstream { template, at, args, inputs, sha256 })
    }

    fn template(&mut self, node: &Node<'_>) -> Option<TemplateRef> {
        let text = self.string(node)?;
        if let Some(name) = text.strip_prefix(BUILTIN) {
            if name == "busybox" {
                return Some(TemplateRef::BuiltinBusybox);
            }
            let message = format!("no template `{name}` is built in");
            let help = "the built-in one is `builtin:busybox`";
            self.report.push(Diagnostic::error(&node.at, message).help(help));
            return None;
        }
        if !self.no_control(&text, &node.at, "the name of a template") {
            return None;
        }
        if text.contains('/') {
            let path = self.source.dir.join(text);
            // Of the `.` in `./template` nothing is left.
            return Some(TemplateRef::Path(path.components().collect()));
        }
        let sound = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
            && text.len() <= 64
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
        if !sound {
            let message = format!("`{text}` cannot be the name of a template");
            let help = "give a name of LXC's template directory, as in `debian`, or a path";
            self.report.push(Diagnostic::error(&node.at, message).help(help));
            return None;
        }
        // LXC's own users often write the file's name.
        let name = text.strip_prefix("lxc-").filter(|name| !name.is_empty()).unwrap_or(&text);
        Some(TemplateRef::Name(name.to_owned()))
    }

    pub(super) fn sha256(&mut self, node: &Node<'_>) -> Option<(Digest, At)> {
        let text = self.string(node)?;
        let digest = Digest::parse(&text);
        if digest.is_none() {
            let message = "a SHA-256 digest has 64 hexadecimal digits";
            let help = format!("found {} characters; `sha256sum FILE` prints it", text.len());
            self.report.push(Diagnostic::error(&node.at, message).help(help));
        }
        digest.map(|digest| (digest, node.at.clone()))
    }

    /// Reads the arguments of a template: a list of words, or a table of options.
    fn args(&mut self, entry: &KeyValue<'_>) -> Vec<Text> {
        match entry.node.value {
            DeValue::Array(_) => entry
                .node
                .one_or_many()
                .iter()
                .filter_map(|node| {
                    let text = self.string(node)?;
                    self.argument(&text, &node.at)
                })
                .collect(),
            DeValue::Table(_) => {
                let Some(mut table) = Table::of(&entry.node, "a table", &mut self.report) else {
                    return Vec::new();
                };
                table.take_all().iter().flat_map(|entry| self.option(entry)).collect()
            }
            _ => {
                let help = "write `{ release = \"bookworm\" }` or `[\"--release\", \"bookworm\"]`";
                self.report.push(entry.node.not("a table or a list").help(help));
                Vec::new()
            }
        }
    }

    /// Reads the paths that a template copies from.
    fn inputs(&mut self, entry: &KeyValue<'_>) -> Vec<Text> {
        let read = |node: &Node<'_>| {
            let text = self.string(node)?;
            self.no_control(&text, &node.at, "a path")
                .then(|| Text::parse(&text, &node.at, &mut self.report))
        };
        entry.node.one_or_many().iter().filter_map(read).collect()
    }

    /// Reads one option: `k = "v"` is `--k=v`, `true` is `--k`, `false` nothing, a list repeats,
    /// and a key of one letter is `-k v`.
    fn option(&mut self, entry: &KeyValue<'_>) -> Vec<Text> {
        let name = entry.key.as_str();
        let sound = !name.is_empty()
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !sound {
            let message = format!("`{name}` cannot be the name of an option");
            let help = "write it without the dashes: `release = \"bookworm\"` is \
                        `--release=bookworm`";
            self.report.push(Diagnostic::error(&entry.key_at, message).help(help));
            return Vec::new();
        }
        let mut words = Vec::new();
        for node in entry.node.one_or_many() {
            let value = match node.value {
                DeValue::Boolean(false) => continue,
                DeValue::Boolean(true) => None,
                _ => match self.value(&node) {
                    Some(value) => Some(value.to_string()),
                    None => continue,
                },
            };
            let words_of_value = match (name.len(), value) {
                (1, None) => vec![format!("-{name}")],
                (1, Some(value)) => vec![format!("-{name}"), value],
                (_, None) => vec![format!("--{name}")],
                (_, Some(value)) => vec![format!("--{name}={value}")],
            };
            words.extend(words_of_value.iter().filter_map(|word| self.argument(word, &node.at)));
        }
        words
    }

    fn argument(&mut self, text: &str, at: &At) -> Option<Text> {
        self.no_control(text, at, "an argument of a template")
            .then(|| Text::parse(text, at, &mut self.report))
    }
}
