//! From the TOML tree to the manifest: `[[layer.file]]`.

use toml::de::DeValue;

use super::decode::Decoder;
use super::layer::header_of;
use super::tree::{KeyValue, Node, Table};
use super::{Content, FileDrop, IfExists, Mode, Text, When};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;

/// The keys that say what a drop makes.
const KINDS: &str = "`source`, `content`, `url`, `symlink`, `directory`, `remove`";

impl Decoder {
    pub(super) fn files(&mut self, entry: &KeyValue<'_>) -> Vec<FileDrop> {
        let DeValue::Array(_) = entry.node.value else {
            let help = "write `[[layer.file]]`, in double brackets";
            self.report.push(entry.node.not("a list of files").help(help));
            return Vec::new();
        };
        entry.node.one_or_many().iter().filter_map(|node| self.file(node)).collect()
    }

    fn file(&mut self, node: &Node<'_>) -> Option<FileDrop> {
        let mut table = Table::of(node, "a file's table", &mut self.report)?;
        let path = table.take("path");
        let inline = table.take("content");
        let source = table.take("source");
        let symlink = table.take("symlink");
        let directory = table.take("directory");
        let remove = table.take("remove");
        let render = table.take("render");
        let mode = table.take("mode");
        let owner = table.take("owner");
        let if_exists = table.take("if_exists");
        let when = table.take("when");
        let url = table.take("url");
        let sha256 = table.take("sha256");
        table.finish("a file", explain_unknown, &mut self.report);

        let render_wanted = render.as_ref().and_then(|entry| self.boolean(&entry.node));
        let kinds: Vec<_> =
            [&source, &inline, &url, &symlink, &directory, &remove].into_iter().flatten().collect();
        let kind = match kinds[..] {
            [kind] => kind,
            [] => {
                let message = format!("a file needs one of {KINDS}");
                self.report.push(Diagnostic::error(&header_of(&node.at), message));
                return None;
            }
            [_, second, ..] => {
                let message = format!("a file has only one of {KINDS}");
                self.report.push(Diagnostic::error(&second.key_at, message));
                return None;
            }
        };
        let pinned = sha256.is_some();
        let digest = sha256.as_ref().and_then(|entry| self.sha256(&entry.node));
        let content = if kind.key == "url" {
            self.url(kind, pinned, digest.map(|(digest, _)| digest))?
        } else {
            self.content(kind, render_wanted == Some(true))?
        };
        let renders = matches!(content, Content::Inline { .. } | Content::Source { .. });
        let rendered = render.filter(|_| !renders);
        let makes_no_bits = matches!(content, Content::Symlink(_) | Content::Remove);
        let unused_mode = mode.as_ref().filter(|_| makes_no_bits);
        let unused_exists = if_exists.as_ref().filter(|_| matches!(content, Content::Remove));
        let unused_owner = owner.as_ref().filter(|_| matches!(content, Content::Remove));
        let unused_digest = sha256.as_ref().filter(|_| kind.key != "url");
        let unused = [rendered.as_ref(), unused_mode, unused_owner, unused_digest, unused_exists];
        for entry in unused.into_iter().flatten() {
            let message = format!("`{}` has no meaning beside `{}`", entry.key, kind.key);
            self.report.push(Diagnostic::error(&entry.key_at, message));
        }
        let mode = mode.and_then(|entry| self.mode(&entry.node));
        let owner = owner.and_then(|entry| self.text(&entry.node));
        let existing =
            [("replace", IfExists::Replace), ("keep", IfExists::Keep), ("error", IfExists::Error)];
        let if_exists = if_exists.and_then(|entry| self.choice(&entry.node, &existing));
        let times = [("before-post", When::BeforePost), ("after-post", When::AfterPost)];
        let when = when.and_then(|entry| self.choice(&entry.node, &times));
        let Some(path) = path else {
            let help = "`path` says where it goes, as in `path = \"/etc/motd\"`";
            let message = "a file needs a `path`";
            self.report.push(Diagnostic::error(&header_of(&node.at), message).help(help));
            return None;
        };
        let at = path.node.at.clone();
        let path = self.text(&path.node)?;
        Some(FileDrop {
            path,
            content,
            mode,
            owner,
            if_exists: if_exists.unwrap_or_default(),
            when: when.unwrap_or_default(),
            at,
        })
    }

    fn content(&mut self, kind: &KeyValue<'_>, render: bool) -> Option<Content> {
        match kind.key.as_str() {
            "content" => {
                let text = self.string(&kind.node)?;
                Some(Content::Inline { text, at: kind.node.at.clone(), render })
            }
            "source" => Some(Content::Source { path: self.text(&kind.node)?, render }),
            "symlink" => Some(Content::Symlink(self.text(&kind.node)?)),
            key => {
                if self.boolean(&kind.node)? {
                    return Some(match key {
                        "directory" => Content::Directory,
                        _ => Content::Remove,
                    });
                }
                let message = format!("`{key} = false` makes nothing");
                let help = "leave the file out, or write `true`";
                self.report.push(Diagnostic::error(&kind.node.at, message).help(help));
                None
            }
        }
    }

    /// Reads what is fetched: nothing without a digest vouches for it.
    fn url(
        &mut self,
        kind: &KeyValue<'_>,
        pinned: bool,
        digest: Option<Digest>,
    ) -> Option<Content> {
        if !pinned {
            let message = "a `url` needs its `sha256`";
            let help = "what the network gives is held to it: `curl -L URL | sha256sum` prints it, \
                        once you trust what you got";
            self.report.push(Diagnostic::error(&kind.key_at, message).help(help));
        }
        Some(Content::Url { url: self.text(&kind.node)?, sha256: digest? })
    }

    fn mode(&mut self, node: &Node<'_>) -> Option<Mode> {
        let help = "write the octal digits as a string, as in `mode = \"0644\"`";
        let DeValue::String(text) = node.value else {
            self.report.push(node.not("a string").help(help));
            return None;
        };
        let mode = Mode::parse(text);
        if mode.is_none() {
            let message = format!("`{text}` is not a mode");
            self.report.push(Diagnostic::error(&node.at, message).help(help));
        }
        mode
    }

    /// Reads a text with variables' names, without control characters.
    fn text(&mut self, node: &Node<'_>) -> Option<Text> {
        let text = self.string(node)?;
        self.no_control(&text, &node.at, "a value")
            .then(|| Text::parse(&text, &node.at, &mut self.report))
    }
}

/// A layer's key below `[[layer.file]]` lands in the file.
fn explain_unknown(key: &str) -> Option<String> {
    if key == "name" {
        return Some("a file is named by its `path`".to_owned());
    }
    super::position::LAYER_KEYS.contains(&key).then(|| {
        format!(
            "`{key}` belongs to the layer, but below `[[layer.file]]` it lands in the file: move \
             it up, above the first `[[layer.file]]`"
        )
    })
}
