//! From the TOML tree to the manifest: one `[[layer]]`.

use toml::de::DeValue;

use super::decode::Decoder;
use super::position::Position;
use super::tree::{KeyValue, Node, Table};
use super::{Layer, LayerName, Phase, RootfsPath, Upstream};
use crate::diagnostic::Diagnostic;
use crate::source::At;

impl Decoder {
    /// Decodes one `[[layer]]` of a manifest.
    pub(super) fn entry(
        &mut self,
        node: &Node<'_>,
        position: Position,
    ) -> Option<super::LayerEntry> {
        let mut table = Table::of(node, "a layer's table", &mut self.report)?;
        let header = header_of(&table.at);
        if let Some(used) = table.take("use") {
            if matches!(position, Position::Innermost { .. }) {
                self.no_template(&header, position);
            }
            return self.used(&used, table).map(super::LayerEntry::Use);
        }
        if let Some(with) = table.take("with") {
            let message = "`with` stands without a `use`";
            let help = "it binds the variables of a reusable layer; a layer that is written here \
                        sees those of `[vars]`";
            self.report.push(Diagnostic::error(&with.key_at, message).help(help));
        }
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
        let upstream = self.upstream(&mut table, &header, position);
        let layer = self.layer(table, upstream);
        // What else is wrong with it is found out all the same.
        self.lost |= name.is_none();
        let name = name.unwrap_or_else(LayerName::unnamed);
        Some(super::LayerEntry::Own(Box::new(Layer { name, at, ..layer })))
    }

    /// Decodes what all layers have; its name stays open.
    pub(super) fn layer(&mut self, mut table: Table<'_>, upstream: Option<Upstream>) -> Layer {
        let header = header_of(&table.at);
        let storing = self.storing(&mut table);
        let secrets = table.take("secrets").map(|entry| self.secrets(&entry)).unwrap_or_default();
        let env = table.take("env").map(|entry| self.env(&entry)).unwrap_or_default();
        let pre = self.steps(&mut table, "pre", Phase::Pre);
        let post = self.steps(&mut table, "post", Phase::Post);
        let check = self.steps(&mut table, "check", Phase::Check);
        let finally = self.steps(&mut table, "finally", Phase::Finally);
        let config = table.take("config").map(|entry| self.config(&entry)).unwrap_or_default();
        let state = table.take("state").map(|entry| self.state(&entry)).unwrap_or_default();
        let files = table.take("file").map(|entry| self.files(&entry)).unwrap_or_default();
        table.finish("a layer", explain_unknown, &mut self.report);
        Layer {
            name: LayerName::unnamed(),
            at: header,
            upstream,
            storing,
            secrets,
            env,
            pre,
            post,
            check,
            finally,
            files,
            config,
            state,
        }
    }

    /// Reads the paths of what belongs to the container.
    fn state(&mut self, entry: &KeyValue<'_>) -> Vec<RootfsPath> {
        let message = "the rootfs as a whole cannot be state: nothing of the role would be left";
        self.rootfs_paths(entry, message, "name the directories that hold the container's own data")
    }

    /// Reads the names of the secrets that a layer gets.
    fn secrets(&mut self, entry: &KeyValue<'_>) -> Vec<(String, At)> {
        let DeValue::Array(_) = entry.node.value else {
            let help = "write `secrets = [\"token\"]`";
            self.report.push(entry.node.not("a list of names").help(help));
            return Vec::new();
        };
        let nodes = entry.node.one_or_many();
        nodes.iter().filter_map(|node| Some((self.string(node)?, node.at.clone()))).collect()
    }

    pub(super) fn no_template(&mut self, header: &At, position: Position) {
        let help = if position == (Position::Innermost { alone: true }) {
            "name the template to start from: `template = \"debian\"`, or \
             `template = \"builtin:busybox\"`, which needs no network"
        } else {
            "the first `[[layer]]` of a manifest is the innermost: it names the template that the \
             others wrap, as in `template = \"debian\"`"
        };
        let message = "the first layer has no `template`";
        self.report.push(Diagnostic::error(header, message).help(help));
    }
}

/// Returns the first line of a table: where it starts, for a layer without a name.
pub(super) fn header_of(at: &At) -> At {
    let (lines, _) = at.source.lines_of(&(at.span.start..at.span.start));
    let end = at.span.end.min(lines.end).max(at.span.start);
    At { source: at.source.clone(), span: at.span.start..end }
}

fn explain_unknown(key: &str) -> Option<String> {
    (key == "files").then(|| "files are written one by one, as `[[layer.file]]`".to_owned())
}
