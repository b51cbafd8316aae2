//! Binding what a layer drops into the rootfs.

use super::bind::Binder;
use super::{Dropped, FileDrop, render};
use crate::diagnostic::Diagnostic;
use crate::manifest::{self, Content, Owner, RootfsPath};

impl Binder {
    pub(super) fn file(&mut self, file: &manifest::FileDrop) -> Option<FileDrop> {
        let path = self.values.fill(&file.path, &mut self.report);
        let content = self.content(&file.content);
        let owner = match &file.owner {
            None => Some(Owner::ROOT),
            Some(text) => {
                let filled = self.values.fill(text, &mut self.report);
                let owner = Owner::parse(&filled);
                if owner.is_none() {
                    let message = format!("`{filled}` cannot be an owner");
                    let help = "write `user`, `user:group` or `:group`, by name or number";
                    self.report.push(Diagnostic::error(&text.at, message).help(help));
                }
                owner
            }
        };
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
        Some(FileDrop {
            path,
            content: content?,
            mode: file.mode,
            owner: owner?,
            if_exists: file.if_exists,
            when: file.when,
            at: file.at.clone(),
        })
    }

    fn content(&mut self, content: &Content) -> Option<Dropped> {
        Some(match content {
            Content::Inline { text, render: false, .. } => Dropped::Inline(text.as_bytes().into()),
            Content::Inline { text, at, render: true } => match render(text, &self.values) {
                Ok(text) => Dropped::Inline(text.into_bytes().into()),
                Err(fault) => {
                    self.report.push(fault.diagnostic(at, "the content"));
                    return None;
                }
            },
            Content::Source { path, render } => {
                let filled = self.values.fill(path, &mut self.report);
                if filled.is_empty() {
                    let message = "an empty source";
                    self.report.push(Diagnostic::error(&path.at, message));
                    return None;
                }
                let path_on_host = path.at.dir().join(filled);
                Dropped::Source { path: path_on_host, render: *render, at: path.at.clone() }
            }
            Content::Symlink(target) => {
                let filled = self.values.fill(target, &mut self.report);
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
}
