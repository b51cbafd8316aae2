//! From the TOML tree to the manifest: one `[[layer]]`.

use toml::de::DeValue;

use super::decode::Decoder;
use super::tree::{Entry, Node, Table};
use super::{EnvValue, Layer, Stop, TemplateRef, Text, Upstream};
use crate::diagnostic::{Diagnostic, nearest};
use crate::digest::Digest;
use crate::source::At;

/// The keys of a layer, also those of later versions: what is written below a `[[layer.file]]` by
/// mistake is recognised by them.
pub(super) const KEYS: [&str; 19] = [
    "name",
    "template",
    "args",
    "env",
    "sha256",
    "pre",
    "post",
    "check",
    "finally",
    "file",
    "config",
    "use",
    "with",
    "secrets",
    "store",
    "refresh",
    "identity",
    "description",
    "vars",
];

/// The prefix of templates that are part of this program.
const BUILTIN: &str = "builtin:";

impl Decoder {
    /// Decodes a layer; the first of a manifest is its upstream.
    pub(super) fn layer(&mut self, node: &Node<'_>, first: bool, last: bool) -> Option<Layer> {
        let mut table = Table::of(node, "a layer's table", &mut self.report)?;
        let header = header_of(&table.at);
        self.reject_later_keys(&mut table);
        let name_entry = table.take("name");
        let at = name_entry.as_ref().map_or_else(|| header.clone(), |entry| entry.node.at.clone());
        let name = match name_entry {
            Some(entry) => self.layer_name(&entry.node),
            None => {
                let help = "a layer's name stands in messages and in the container's config";
                let message = "a layer needs a `name`";
                self.report.push(Diagnostic::error(&header, message).help(help));
                None
            }
        };
        let upstream = self.upstream(&mut table, &header, first, last);
        let env = table.take("env").map(|entry| self.env(&entry)).unwrap_or_default();
        let pre = self.steps(&mut table, "pre", Stop::Pre);
        let post = self.steps(&mut table, "post", Stop::Post);
        let check = self.steps(&mut table, "check", Stop::Check);
        let finally = self.steps(&mut table, "finally", Stop::Finally);
        let config = table.take("config").map(|entry| self.config(&entry)).unwrap_or_default();
        let files = table.take("file").map(|entry| self.files(&entry)).unwrap_or_default();
        table.finish("a layer", explain_unknown, &mut self.report);
        Some(Layer { name: name?, at, upstream, env, pre, post, check, finally, files, config })
    }

    /// Rejects what belongs to later versions of the program.
    fn reject_later_keys(&mut self, table: &mut Table<'_>) {
        let inline = "write the layer's keys here instead";
        table.reject_later("use", inline, &mut self.report);
        table.reject_later("with", inline, &mut self.report);
        let plain = "read the secret in a step instead, from where the host keeps it";
        table.reject_later("secrets", plain, &mut self.report);
        let no_store = "nothing is stored yet: every run makes every layer; leave it out";
        table.reject_later("store", no_store, &mut self.report);
        table.reject_later("refresh", no_store, &mut self.report);
        table.reject_later("identity", no_store, &mut self.report);
    }

    /// Reads what calls the upstream template.
    fn upstream(
        &mut self,
        table: &mut Table<'_>,
        header: &At,
        first: bool,
        last: bool,
    ) -> Option<Upstream> {
        let template = table.take("template");
        let args = table.take("args");
        let sha256 = table.take("sha256");
        let Some(template) = template else {
            for entry in [&args, &sha256].into_iter().flatten() {
                let message = format!("`{}` stands without a `template`", entry.key);
                self.report.push(Diagnostic::error(&entry.key_at, message));
            }
            if first {
                let help = if last {
                    "name the template to start from: `template = \"debian\"`, or \
                     `template = \"builtin:busybox\"`, which needs no network"
                } else {
                    "the first `[[layer]]` of a manifest is the innermost: it names the template \
                     that the others wrap, as in `template = \"debian\"`"
                };
                let message = "the first layer has no `template`";
                self.report.push(Diagnostic::error(header, message).help(help));
            }
            return None;
        };
        if !first {
            let message = "a second `template`: only the first layer of a manifest has one";
            let help = "layers are written from the inside out; the first calls the template, the \
                        others wrap it";
            self.report.push(Diagnostic::error(&template.key_at, message).help(help));
        }
        let at = template.node.at.clone();
        let args = args.map(|entry| self.args(&entry)).unwrap_or_default();
        let sha256 = sha256.and_then(|entry| self.sha256(&entry.node));
        let template = self.template(&template.node)?;
        if template == TemplateRef::BuiltinBusybox {
            let fault = "a built-in template takes none";
            if let Some(arg) = args.first() {
                let message = format!("arguments for `{BUILTIN}busybox`: {fault}");
                self.report.push(Diagnostic::error(&arg.at, message));
            }
            if let Some((_, at)) = &sha256 {
                let message = format!("`sha256` for `{BUILTIN}busybox`: {fault}");
                self.report.push(Diagnostic::error(at, message));
            }
        }
        Some(Upstream { template, at, args, sha256 })
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
            return Some(TemplateRef::Path(self.source.dir.join(text)));
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

    fn sha256(&mut self, node: &Node<'_>) -> Option<(Digest, At)> {
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
    fn args(&mut self, entry: &Entry<'_>) -> Vec<Text> {
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

    /// Reads one option: `k = "v"` is `--k=v`, `true` is `--k`, `false` nothing, a list repeats,
    /// and a key of one letter is `-k v`.
    fn option(&mut self, entry: &Entry<'_>) -> Vec<Text> {
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

    /// Reads `env`: values, or `{ pass = true }` for the caller's own.
    fn env(&mut self, entry: &Entry<'_>) -> Vec<(String, EnvValue)> {
        let Some(mut table) = Table::of(&entry.node, "a table of values", &mut self.report) else {
            return Vec::new();
        };
        table.take_all().iter().filter_map(|entry| self.env_value(entry)).collect()
    }

    fn env_value(&mut self, entry: &Entry<'_>) -> Option<(String, EnvValue)> {
        let name = entry.key.clone();
        let mut letters = name.chars();
        let sound = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !sound {
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

/// Returns the first line of a table: where it starts, for a layer without a name.
fn header_of(at: &At) -> At {
    let (lines, _) = at.source.lines_of(&(at.span.start..at.span.start));
    let end = at.span.end.min(lines.end).max(at.span.start);
    At { source: at.source.clone(), span: at.span.start..end }
}

fn explain_unknown(key: &str) -> Option<String> {
    match key {
        "url" | "source" | "content" | "path" | "mode" | "owner" => {
            Some(format!("`{key}` belongs to a file: put it below a `[[layer.file]]`"))
        }
        "files" => Some("files are written one by one, as `[[layer.file]]`".to_owned()),
        _ => nearest(key, KEYS).map(|near| format!("did you mean `{near}`?")),
    }
}
