//! From the TOML tree to the manifest: `[layer.config]`.

use toml::de::DeValue;

use super::decode::Decoder;
use super::tree::{KeyValue, Node, Table};
use super::{ConfigLine, ConfigValue, Text};
use crate::diagnostic::Diagnostic;
use crate::lxc::keys;
use crate::source::At;

impl Decoder {
    /// Reads the lines of a layer's config, in the order of the file: LXC minds it.
    pub(super) fn config(&mut self, entry: &KeyValue<'_>) -> Vec<ConfigLine> {
        let Some(table) = Table::of(&entry.node, "a table of `lxc.*` keys", &mut self.report)
        else {
            return Vec::new();
        };
        let mut leaves = Vec::new();
        flatten("", table, &mut leaves);
        leaves.sort_by_key(|leaf: &Leaf<'_>| leaf.key_at.span.start);
        let mut seen: std::collections::BTreeMap<String, At> = std::collections::BTreeMap::new();
        let mut lines = Vec::new();
        for leaf in leaves {
            if let Some(first) = seen.insert(leaf.key.clone(), leaf.key_at.clone()) {
                let message = format!("`{}` stands twice in this layer", leaf.key);
                let help =
                    format!("line {} has it too; give several values as a list", first.line());
                self.report.push(Diagnostic::error(&leaf.key_at, message).help(help));
            }
            if self.config_key(&leaf) {
                self.config_values(&leaf, &mut lines);
            }
        }
        lines
    }

    /// Checks a key, and tells whether its values are worth reading.
    fn config_key(&mut self, leaf: &Leaf<'_>) -> bool {
        let status = keys::judge(&leaf.key);
        if !matches!(status, keys::KeyStatus::Known(_)) {
            self.report.push_error(|| refused_key(&leaf.key, &leaf.key_at, status));
        }
        matches!(status, keys::KeyStatus::Known(_))
    }

    fn config_values(&mut self, leaf: &Leaf<'_>, lines: &mut Vec<ConfigLine>) {
        if let DeValue::Array(array) = leaf.node.value
            && array.is_empty()
        {
            let message = format!("`{}` has no value", leaf.key);
            let help = "leave it out; an empty string clears what is there: `\"\"`";
            self.report.push(Diagnostic::error(&leaf.node.at, message).help(help));
        }
        for node in leaf.node.one_or_many() {
            let value = match node.value {
                DeValue::Boolean(value) => ConfigValue::Plain(u8::from(*value).to_string()),
                DeValue::Integer(_) => match node.integer() {
                    Some(value) => ConfigValue::Plain(value.to_string()),
                    None => {
                        let message = "the number is too large";
                        self.report.push(Diagnostic::error(&node.at, message));
                        continue;
                    }
                },
                DeValue::String(text) => {
                    if !self.no_control(text, &node.at, "a config value") {
                        continue;
                    }
                    ConfigValue::Text(Text::parse(text, &node.at, &mut self.report))
                }
                _ => {
                    self.report.push(node.not("a string, an integer, a boolean or a list of them"));
                    continue;
                }
            };
            lines.push(ConfigLine { key: leaf.key.clone(), value, at: node.at });
        }
    }
}

/// Returns what is wrong with a key, and what to write instead.
pub(crate) fn refused_key(key: &str, at: &At, status: keys::KeyStatus) -> Diagnostic {
    match status {
        keys::KeyStatus::Refused(reason) => {
            Diagnostic::error(at, format!("`{key}` cannot be set by a manifest")).help(reason)
        }
        keys::KeyStatus::Legacy(now) => {
            Diagnostic::error(at, format!("`{key}` is a key of LXC before 2.1"))
                .help(format!("write `{now}`"))
        }
        keys::KeyStatus::Unknown | keys::KeyStatus::Known(_) => {
            let message = format!("`{key}` is not a key of LXC's container config");
            let help = match keys::nearest(key) {
                _ if super::position::LAYER_KEYS.contains(&key) => format!(
                    "`{key}` belongs to the layer, but below `[layer.config]` it lands in the \
                     config: move it up, above `[layer.config]`"
                ),
                Some(near) => format!("did you mean `{near}`?"),
                None => "the keys are listed in lxc.container.conf(5)".to_owned(),
            };
            Diagnostic::error(at, message).help(help)
        }
    }
}

/// A dotted key with its value.
#[derive(Debug)]
struct Leaf<'a> {
    key: String,
    key_at: At,
    node: Node<'a>,
}

/// Makes dotted, nested and quoted spellings one key.
fn flatten<'a>(prefix: &str, mut table: Table<'a>, leaves: &mut Vec<Leaf<'a>>) {
    for entry in table.take_all() {
        let key =
            if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
        match entry.node.value {
            DeValue::Table(table) => {
                flatten(&key, Table::new(entry.node.at.clone(), table), leaves);
            }
            _ => leaves.push(Leaf { key, key_at: entry.key_at, node: entry.node }),
        }
    }
}
