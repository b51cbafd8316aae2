//! What is known from outside the manifest before it is bound.

use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Report};
use crate::lxc::InstalledLxc;
use crate::lxc::call::option_of;
use crate::source::Source;

/// What is known of the container before its manifest is bound.
#[derive(Debug, Clone)]
pub struct Container<'a> {
    /// Its name: `{{ lxc.name }}`.
    pub name: &'a str,
    /// Its architecture, as Debian and LXC's images name it: `{{ lxc.arch }}`.
    pub arch: &'a str,
}

/// What the caller and the host give.
#[derive(Debug, Clone)]
pub struct BindContext<'a> {
    /// The container.
    pub container: Container<'a>,
    /// What gives variables values, in order, as `--set` does: `name=value`.
    pub set: &'a [String],
    /// How that is said.
    pub set_by: SetBy,
    /// The vars files, in order; a later one wins.
    pub vars_files: &'a [Arc<Source>],
    /// The caller's absolute working directory: what paths in `--set` are relative to.
    pub directory: &'a Path,
    /// The LXC that will read the config; `None` where its lines need no judge.
    pub lxc: Option<&'a dyn InstalledLxc>,
}

/// How the caller gives a variable its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetBy {
    /// `--set name=value`.
    #[default]
    Set,
    /// `--name value`, as a manifest takes it that is a template.
    Option,
}

impl SetBy {
    /// Returns what can be typed for a variable, its value left out.
    pub(super) fn typed(self, name: &str) -> String {
        match option_of(name).filter(|_| self == Self::Option) {
            Some(option) => format!("{option} …"),
            None => format!("--set {name}=…"),
        }
    }
}

/// Splits a word of `--set`.
pub(super) fn assignment<'a>(word: &'a str, report: &mut Report) -> Option<(&'a str, &'a str)> {
    let pair = word.split_once('=');
    if pair.is_none() {
        let message = format!("`{word}` is not an assignment");
        report.push(of_set(message).help("write it as `--set name=value`"));
    }
    pair
}

/// Returns a fault of `--set`.
pub(super) fn of_set(message: impl Into<String>) -> Diagnostic {
    Diagnostic::of_file("--set", message)
}
