//! Binding what a layer drops into the rootfs.

use super::bind::Binder;
use super::values::Binding;
use super::{Dropped, FileDrop, Rendered, render};
use crate::diagnostic::Diagnostic;
use crate::manifest::{self, Content, Mode, Owner, RootfsPath, Text};
use crate::source::At;

impl Binder<'_> {
    pub(super) fn file(&mut self, file: &manifest::FileDrop) -> Option<FileDrop> {
        let path = self.fill(&file.path);
        let content = self.content(&file.content);
        let owner = match &file.owner {
            None => Some(None),
            Some(text) => self.owner(text).map(Some),
        };
        let path = path?;
        let path = match RootfsPath::parse(&path) {
            Ok(path) => path,
            Err(reason) => {
                let message = format!("`{path}` cannot be a path inside the rootfs");
                self.report.push(Diagnostic::error(&file.at, message).help(reason));
                return None;
            }
        };
        let tree = matches!(content, Some(Dropped::Source { render: false, .. }));
        if path.is_root() && !tree {
            let message = "the rootfs itself is not something to drop";
            let help = "only a tree may go to `/`: it merges into what is there";
            self.report.push(Diagnostic::error(&file.at, message).help(help));
            return None;
        }
        let secret = matches!(content, Some(Dropped::Secret { .. }));
        Some(FileDrop {
            path,
            content: content?,
            mode: file.mode.or(secret.then_some(Mode::new(0o600))),
            owner: owner?,
            if_exists: file.if_exists,
            when: file.when,
            at: file.at.clone(),
        })
    }

    fn owner(&mut self, text: &Text) -> Option<Owner> {
        let filled = self.fill(text)?;
        let owner = Owner::parse(&filled);
        if owner.is_none() {
            let message = format!("`{filled}` cannot be an owner");
            let help = "write `user`, `user:group` or `:group`, by name or number";
            self.report.push(Diagnostic::error(&text.at, message).help(help));
        }
        owner
    }

    fn content(&mut self, content: &Content) -> Option<Dropped> {
        Some(match content {
            Content::Inline { text, at, render: false } => {
                self.unrendered(text, at);
                Dropped::Inline(text.as_bytes().into())
            }
            // What a template needs may be in what could not be read.
            Content::Inline { text, render: true, .. } if self.values.is_partial() => {
                Dropped::Inline(text.as_bytes().into())
            }
            Content::Inline { text, at, render: true } => self.template(text, at)?,
            Content::Source { path, render } => {
                let filled = self.fill(path)?;
                if filled.is_empty() {
                    let message = "an empty source";
                    self.report.push(Diagnostic::error(&path.at, message));
                    return None;
                }
                if !path.at.source.has_dir() && !filled.starts_with('/') {
                    let message =
                        format!("`{filled}` is relative, and a compiled-in layer has no directory");
                    let help = "write the text as `content`, or let a variable of \
                                `type = \"path\"` name the file";
                    self.report.push(Diagnostic::error(&path.at, message).help(help));
                    return None;
                }
                let path_on_host = path.at.dir().join(filled);
                let render = *render && !self.values.is_partial();
                Dropped::Source { path: path_on_host, render, at: path.at.clone() }
            }
            Content::Url { url, sha256 } => {
                let filled = self.fill(url)?;
                if !is_url(&filled) {
                    let message = format!("`{filled}` is not a URL that can be fetched");
                    let help = "write `https://…` or `http://…`, spaces as `%20`";
                    self.report.push(Diagnostic::error(&url.at, message).help(help));
                    return None;
                }
                Dropped::Url { url: filled, sha256: *sha256 }
            }
            Content::Symlink(target) => {
                let filled = self.fill(target)?;
                if filled.is_empty() || filled.len() > 4095 {
                    let message = "the target of a link is 1 to 4095 bytes long";
                    self.report.push(Diagnostic::error(&target.at, message));
                    return None;
                }
                Dropped::Symlink(filled)
            }
            Content::Directory => Dropped::Directory,
            Content::Remove => Dropped::Remove,
        })
    }

    /// Warns where a text names a variable, and stays as it is.
    fn unrendered(&mut self, text: &str, at: &At) {
        let mut names =
            text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()));
        let Some(name) = names.find(|name| self.values.known(name).is_some()) else { return };
        let message = format!("`{{{{ {name} }}}}` stays as it is: this file is not rendered");
        let help = "write `render = true` for it to become the value";
        self.report.push(Diagnostic::warning(at, message).help(help));
        self.used.insert(name.to_owned());
    }

    /// Renders a template that stands in the manifest.
    fn template(&mut self, text: &str, at: &At) -> Option<Dropped> {
        if let Ok(names) = render::names(text, &self.values) {
            let is_faulty =
                |name: &String| matches!(self.values.known(name), Some(Binding::Faulty));
            let reported = names.iter().any(is_faulty);
            self.used.extend(names);
            // Without the value nothing is left to be said.
            if reported {
                return None;
            }
        }
        // What would be reported is not kept any more.
        if self.report.is_full() {
            return None;
        }
        match render::render_within(text, &self.values, &mut self.allowance, &mut self.used) {
            Ok(Rendered::Text(text)) => Some(Dropped::Inline(text.into_bytes().into())),
            Ok(Rendered::Secret(secrets)) => {
                Some(Dropped::Secret { template: text.into(), secrets })
            }
            Err(fault) => {
                self.report.push(fault.diagnostic(at, "the content"));
                None
            }
        }
    }
}

/// Tells whether `text` is a URL of http or https with a host.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.starts_with(['/', '?', '#', ':', '@']) && !rest.is_empty())
        && !text.contains(char::is_whitespace)
}
