//! The manifest: TOML text becomes a value that cannot be wrong.
//!
//! [`parse`] is pure. It gathers every fault of the text in one [`Report`], each with its place.
//! What it returns still holds variables' names; [`crate::chain`] puts their values in.

mod capability;
mod config;
mod decode;
mod duration;
mod file;
mod layer;
mod mode;
mod model;
mod name;
mod owner;
mod path;
mod sandbox;
mod step;
mod text;
mod tree;
mod variable;

use std::sync::Arc;

pub use capability::Capability;
pub use duration::Duration;
pub use mode::Mode;
pub use model::{Action, Place, Sandbox, Value};
pub use model::{
    ConfigLine, ConfigValue, Content, EnvValue, FileDrop, IfExists, Layer, Manifest, Step, Stop,
    TemplateRef, Upstream, Variable, VariableSource, When,
};
pub use name::{LayerName, is_variable_name};
pub use owner::{Id, Owner};
pub use path::RootfsPath;
pub use text::{Part, Text};

use crate::diagnostic::{Diagnostic, Report};
use crate::source::{At, Source};
use decode::Decoder;

/// The largest manifest that is read, in bytes.
pub const LARGEST: usize = 1024 * 1024;

/// The longest chain of layers. The nest is walked recursively, so that its depth is bounded.
pub const MOST_LAYERS: usize = 2048;

/// Parses the text of a manifest.
///
/// The manifest is there if no diagnostic of the report is an error.
pub fn parse(source: &Arc<Source>) -> (Option<Manifest>, Report) {
    let (document, errors) = toml::de::DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        return (None, syntax(source, &errors));
    }
    let mut decoder = Decoder::new(source);
    let manifest = decoder.manifest(&document);
    let report = decoder.finish();
    (manifest.filter(|_| !report.has_errors()), report)
}

/// Reports faults of syntax: the first of each line, since the parser's recovery repeats itself.
fn syntax(source: &Arc<Source>, errors: &[toml::de::Error]) -> Report {
    let mut report = Report::default();
    let mut lines = std::collections::BTreeSet::new();
    for error in errors {
        let end = source.text.len();
        let span = error.span().unwrap_or(end..end);
        let at = At { source: Arc::clone(source), span: span.start.min(end)..span.end.min(end) };
        if lines.insert(at.line()) {
            let message = error.message().lines().next().unwrap_or("this is not TOML");
            let mut diagnostic = Diagnostic::error(&at, message);
            if message.contains("duplicate key") {
                diagnostic =
                    diagnostic.help("a key stands once in a table; give several values as a list");
            }
            report.push(diagnostic);
        }
    }
    report
}
