//! From the TOML tree to the manifest: the file as a whole.

use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::position::Position;
use super::tree::{KeyValue, Node, Table};
use super::{Extends, LayerName, MOST_LAYERS, Manifest};
use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::shell;
use crate::source::{At, Source};

/// The least letters of a word that its beginning can be told from.
const SHORTEST: usize = 3;

/// Decodes one file and gathers its faults.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) source: Arc<Source>,
    pub(super) report: Report,
    /// Whether a variable, a layer or a base could not be read: names may then seem to be missing.
    pub(super) lost: bool,
}

impl Decoder {
    pub(super) fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), report: Report::default(), lost: false }
    }

    pub(super) fn finish(self) -> Report {
        self.report
    }

    /// Decodes a whole manifest; what comes back is sound only if the report has no error.
    pub(super) fn manifest(&mut self, document: &Spanned<DeTable<'_>>) -> Manifest {
        let start = self.start();
        let mut table = self.document(document);
        if let Some(layer) = table.peek("layer").filter(|layer| is_reusable(&layer.node)) {
            let name = self.source.path.file_stem().map(shell::word);
            let help = format!(
                "`layered-template layer show {}` shows it; validate a manifest that uses it",
                name.unwrap_or_default()
            );
            let message = "it is a reusable layer, not a manifest";
            self.report.push(Diagnostic::error(&layer.node.at, message).help(help));
            self.lost = true;
            return self.nothing();
        }
        let version = table.take("manifest");
        self.format(version, &start, true);
        let description = table.take("description").and_then(|entry| self.string(&entry.node));
        let base = table.take("extends");
        let extending = base.is_some();
        let extends = base.and_then(|entry| self.extends(&entry));
        self.lost |= extending && extends.is_none();
        let variables = table.take("vars").map(|entry| self.variables(&entry, false));
        let layers = match table.take("layer") {
            Some(entry) => self.layers(&entry, extending),
            None if extending => Vec::new(),
            None => {
                let help = "the first `[[layer]]` names the template to start from:\n\n[[layer]]\n\
                            name = \"os\"\ntemplate = \"debian\"";
                let message = "a manifest needs at least one `[[layer]]`";
                self.report.push(Diagnostic::error(&start, message).help(help));
                Vec::new()
            }
        };
        table.finish("a manifest", misplaced_layer_key, &mut self.report);
        Manifest {
            source: Arc::clone(&self.source),
            description,
            extends,
            variables: variables.unwrap_or_default(),
            layers,
            whole: !self.lost,
        }
    }

    /// Returns a manifest that says nothing.
    fn nothing(&self) -> Manifest {
        Manifest {
            source: Arc::clone(&self.source),
            description: None,
            extends: None,
            variables: Vec::new(),
            layers: Vec::new(),
            whole: false,
        }
    }

    /// Returns the top table of the file.
    pub(super) fn document<'a>(&self, document: &'a Spanned<DeTable<'_>>) -> Table<'a> {
        let at = At { source: Arc::clone(&self.source), span: document.span() };
        Table::new(at, document.get_ref())
    }

    /// Returns the place where something that the file lacks would stand.
    pub(super) fn start(&self) -> At {
        let first = self.source.text.chars().next().map_or(0, char::len_utf8);
        At { source: Arc::clone(&self.source), span: 0..first }
    }

    /// Reads the path of the base.
    fn extends(&mut self, entry: &KeyValue<'_>) -> Option<Extends> {
        let text = self.string(&entry.node)?;
        let path = self.host_path(&text, &entry.node.at, "a base")?;
        Some(Extends { path, at: entry.node.at.clone() })
    }

    /// Checks a path of the host, and returns it as the file has it.
    pub(super) fn host_path(&mut self, text: &str, at: &At, what: &str) -> Option<PathBuf> {
        if !self.no_control(text, at, "a path") {
            return None;
        }
        if text.is_empty() {
            self.report.push(Diagnostic::error(at, format!("{what} needs a path")));
            return None;
        }
        if !self.source.has_dir() && !text.starts_with('/') {
            let message = format!("`{text}` is relative, and a compiled-in layer has no directory");
            let help = "write the text itself here, or let a variable of `type = \"path\"` name it";
            self.report.push(Diagnostic::error(at, message).help(help));
            return None;
        }
        Some(PathBuf::from(text))
    }

    /// Reads `manifest = 1`.
    pub(super) fn format(&mut self, entry: Option<KeyValue<'_>>, start: &At, required: bool) {
        let help = "write `manifest = 1` as the first line";
        match entry {
            None if required => self
                .report
                .push(Diagnostic::error(start, "the format version is missing").help(help)),
            None => {}
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

    fn layers(&mut self, entry: &KeyValue<'_>, extending: bool) -> Vec<super::LayerEntry> {
        let DeValue::Array(_) = entry.node.value else {
            let help = "write `[[layer]]`, in double brackets";
            self.report.push(entry.node.not("a list of layers").help(help));
            self.lost = true;
            return Vec::new();
        };
        let nodes = entry.node.one_or_many();
        if nodes.len() > MOST_LAYERS {
            let message = format!("{} layers, and a chain has at most {MOST_LAYERS}", nodes.len());
            self.report.push(Diagnostic::error(&entry.key_at, message));
            self.lost = true;
            return Vec::new();
        }
        let last = nodes.len().saturating_sub(1);
        let decode = |(index, node)| {
            let position = match index {
                _ if extending => Position::Extending,
                0 => Position::Innermost { alone: last == 0 },
                _ => Position::Outer,
            };
            self.entry(node, position)
        };
        let layers: Vec<_> = nodes.iter().enumerate().filter_map(decode).collect();
        self.lost |= layers.len() < nodes.len();
        layers
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
            let message = format!("`{text}` is not one of {}", words.join(", "));
            let known = || choices.iter().map(|(word, _)| *word);
            // Other languages have short names for types.
            let is_short = |word: &&str| text.len() >= SHORTEST && word.starts_with(&text);
            let near = nearest(&text, known()).or_else(|| known().find(is_short));
            let fault = Diagnostic::error(&node.at, message);
            self.report.push(match near {
                Some(near) => fault.help(format!("did you mean `{near}`?")),
                None => fault,
            });
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

/// Tells whether what stands as `layer` makes a file a reusable layer. A slip of a manifest's names what no
/// reusable layer has.
fn is_reusable(layer: &Node<'_>) -> bool {
    let DeValue::Table(layer) = layer.value else { return false };
    !["name", "template", "use"].iter().any(|key| layer.contains_key(*key))
}

/// Explains a key of a layer that stands at the top of the file.
fn misplaced_layer_key(key: &str) -> Option<String> {
    match key {
        "layers" => Some("layers are written one by one, as `[[layer]]`".to_owned()),
        "variables" | "var" => Some("variables stand in `[vars]`".to_owned()),
        _ if super::position::LAYER_KEYS.contains(&key) => {
            Some(format!("`{key}` belongs to a layer: put it below a `[[layer]]`"))
        }
        _ => None,
    }
}
