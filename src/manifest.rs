//! The manifest: TOML text becomes a value that cannot be wrong.
//!
//! [`parse`] is pure. It gathers every fault of the text in one [`Report`], each with its place.
//! What it returns still holds variables' names; [`crate::chain`] puts their values in.

mod capability;
mod config;
mod decode;
mod duration;
mod env;
pub(crate) mod env_call;
mod file;
mod layer;
mod lookalike;
mod mode;
mod model;
mod name;
mod owner;
mod path;
mod position;
mod reuse;
mod sandbox;
#[cfg(test)]
mod schema;
pub(crate) mod shebang;
mod step;
mod storing;
mod survey;
mod template;
mod text;
mod tree;
mod used;
mod value;
mod variable;

use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

pub use capability::Capability;
pub(crate) use config::refused_key;
pub use duration::Duration;
pub use mode::Mode;
pub use model::{
    Action, ConfigLine, ConfigValue, Content, EnvValue, FileDrop, IfExists, Layer, Phase, Place,
    SandboxOptions, Step, Storing, TemplateRef, Upstream, When,
};
pub use name::{LayerName, SELF, WORDS, is_variable_name};
pub use owner::{Id, Owner};
pub use path::RootfsPath;
pub use reuse::{Extends, LayerEntry, LayerFile, Use, With, WithValue};
pub use text::{Text, TextPart};
pub use value::{SecretSource, Value, Variable, VariableSource, VariableType};
pub(crate) use variable::no_pre;

use crate::diagnostic::{Diagnostic, Report};
use crate::source::{At, Source};
use decode::Decoder;
use survey::{Survey, survey};

/// The largest manifest that is read, in bytes.
pub const LARGEST: usize = 1024 * 1024;

/// How many lines are searched for what a message could say better.
const SEARCHED_LINES: usize = 2000;

/// The longest chain of layers. The nest is walked recursively, so that its depth is bounded.
pub const MOST_LAYERS: usize = 2048;

/// A manifest: one host role.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Where it was read from.
    pub source: Arc<Source>,
    /// What the role is, for people.
    pub description: Option<String>,
    /// The manifest whose layers stand inside this one's.
    pub extends: Option<Extends>,
    /// The variables, in the order of the file.
    pub variables: Vec<Variable>,
    /// The layers, the innermost first: the upstream, unless the manifest extends another.
    pub layers: Vec<LayerEntry>,
    /// Whether every variable, layer and base could be read, however faulty they may be: then names
    /// that seem to be missing are.
    pub whole: bool,
}

/// Parses the text of a manifest.
///
/// The manifest is there if no diagnostic of the report is an error.
pub fn parse(source: &Arc<Source>) -> (Option<Manifest>, Report) {
    let (manifest, report) = read(source);
    (manifest.filter(|_| !report.has_errors()), report)
}

/// Parses as [`parse`] does, and returns what there is of a faulty manifest too: the files that it
/// names may have faults of their own.
pub(crate) fn read(source: &Arc<Source>) -> (Option<Manifest>, Report) {
    decode(source, Decoder::manifest)
}

/// Parses the text of a reusable layer.
pub fn parse_layer(source: &Arc<Source>) -> (Option<LayerFile>, Report) {
    let (layer, report) = read_layer(source);
    (layer.filter(|_| !report.has_errors()), report)
}

/// Does the same, and returns what there is of a faulty layer too.
pub(crate) fn read_layer(source: &Arc<Source>) -> (Option<LayerFile>, Report) {
    let (layer, report) = decode(source, Decoder::layer_file);
    (layer.flatten(), report)
}

/// Parses the text of a vars file: plain values, each with the places of its name and its value.
///
/// Those that are sound are there even if the report has an error, unless the text is not TOML.
pub fn parse_vars(source: &Arc<Source>) -> (Option<Vec<Assignment>>, Report) {
    decode(source, Decoder::assignments)
}

/// One line of a vars file.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The variable's name.
    pub name: String,
    /// Where that stands.
    pub name_at: At,
    /// The value.
    pub value: Value,
    /// Where the value stands.
    pub at: At,
}

fn decode<T>(
    source: &Arc<Source>,
    decode: impl FnOnce(&mut Decoder, &Spanned<DeTable<'_>>) -> T,
) -> (Option<T>, Report) {
    let text = match survey(&source.text) {
        Survey::Sound => &source.text[..],
        Survey::Faulty(end) => &source.text[..end],
        Survey::Excessive(start) => {
            let at = At { source: Arc::clone(source), span: start..start };
            let help = "bring texts in from files of their own, by `source` or `script`";
            let message = "too many keys and values for one file";
            return (None, Diagnostic::error(&at, message).help(help).into());
        }
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (None, syntax(source, &errors));
    }
    let mut decoder = Decoder::new(source);
    let decoded = decode(&mut decoder, &document);
    (Some(decoded), decoder.finish())
}

/// How many faults of syntax are shown: a file with more is likely no manifest at all.
const MOST_OF_SYNTAX: usize = 10;

/// Reports faults of syntax: the first of each line, since the parser's recovery repeats itself.
fn syntax(source: &Arc<Source>, errors: &[toml::de::Error]) -> Report {
    let mut report = Report::default();
    let mut lines = std::collections::BTreeSet::new();
    for error in errors {
        let end = source.text.len();
        let span = error.span().unwrap_or(end..end);
        let at = At { source: Arc::clone(source), span: span.start.min(end)..span.end.min(end) };
        if lines.insert(at.line()) {
            report.push_error_below(MOST_OF_SYNTAX, || {
                let message = error.message().lines().next().unwrap_or("this is not TOML");
                let diagnostic = Diagnostic::error(&at, message);
                match syntax_help(message, &at) {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            });
        }
    }
    report
}

/// Explains what TOML has to say of a key.
///
/// LXC has keys that begin with another key, which TOML takes for a table and a value at once.
fn syntax_help(message: &str, at: &At) -> Option<String> {
    let (lines, _) = at.source.lines_of(&at.span);
    let key = at.source.text[lines].split('=').next().unwrap_or_default().trim();
    let quoting = |longer: &str| {
        format!(
            "TOML allows no key beside its own beginning; quote the longer one: `\"{longer}\" = …`"
        )
    };
    let is_config = key.starts_with("lxc.") && key.len() <= 200 && !key.contains(['"', '\n']);
    if is_config && message.contains("cannot extend value") {
        return Some(quoting(key));
    }
    if message.contains("leading zero") {
        return octal(at).map(|(key, digits)| {
            let what = if key == "mode" { "the mode" } else { "it" };
            format!("write {what} as a string: `{key} = \"{digits}\"`")
        });
    }
    if message.contains("escape") {
        let help = "in a text in double quotes `\\\\` stands for `\\`; in one in single quotes nothing is \
                    escaped: 'C:\\x'";
        return Some(help.to_owned());
    }
    if !message.contains("duplicate key") {
        return lookalike::help(at);
    }
    let longer = at.source.text.lines().take(SEARCHED_LINES).find_map(|line| {
        let other = line.split('=').next().unwrap_or_default().trim();
        let rest = other.strip_prefix(key)?;
        (is_config && rest.starts_with('.') && other.len() <= 200).then_some(other)
    });
    Some(longer.map_or_else(
        || "a table has each key once; give several values as a list".to_owned(),
        quoting,
    ))
}

/// Returns the octal number that begins or goes on at a place, and its key.
fn octal(at: &At) -> Option<(&str, &str)> {
    let (lines, _) = at.source.lines_of(&at.span);
    let (before, after) = at
        .source
        .text
        .get(lines.start..lines.end)?
        .split_at_checked(at.span.start.checked_sub(lines.start)?)?;
    let is_digit = |letter: char| ('0'..='7').contains(&letter);
    let begun = before.len() - before.trim_end_matches(is_digit).len();
    let rest = after.len() - after.trim_start_matches(is_digit).len();
    let start = lines.start + before.len() - begun;
    let digits = &at.source.text[start..start + begun + rest];
    let ends = after[rest..].chars().next().is_none_or(|next| !next.is_alphanumeric());
    let key = at.source.text[lines.start..start].trim_end().strip_suffix('=')?.trim_end();
    let key = key.rsplit([' ', '\t', ',', '{']).next()?;
    let is_key = key.len() <= 64 && LayerName::parse(key).is_some();
    (is_key && ends && (2..=8).contains(&digits.len())).then_some((key, digits))
}
