//! `layer`: the reusable layers.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::arguments::LayerVerb;
use super::hang::Hang;
use super::output;
use crate::diagnostic::Report;
use crate::execute::status;
use crate::host::files;
use crate::host::trust::Trust;
use crate::manifest::{self, LARGEST, LayerFile, Variable, VariableSource, VariableType};
use crate::observe::library::{self, Found};
use crate::shell;
use crate::source::Source;

pub(super) fn main(verb: &LayerVerb) -> u8 {
    match verb {
        LayerVerb::List => list(),
        LayerVerb::Show { name } => show(name, &directories()),
    }
}

fn list() -> u8 {
    let layers = listed();
    let width = layers.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    output::printed_report(0, Hang::Column(width + 2), |to| {
        for (name, description) in &layers {
            writeln!(to, "{name:width$}  {}", shell::one_line(description))?;
        }
        Ok(())
    })
}

/// Returns the layers that a manifest in this directory can use, each with what it is for.
pub(super) fn listed() -> Vec<(String, String)> {
    let directories = directories();
    let names = library::names(&directories).into_iter();
    let described = names.map(|name| {
        let description = match read(&name, &directories) {
            Ok(Some((layer, _))) => layer.description.unwrap_or_default(),
            Ok(None) => String::new(),
            Err(_) => "cannot be used; `layer show` says why".to_owned(),
        };
        (name, description)
    });
    described.collect()
}

/// Returns where layers are looked for, as for a manifest in this directory.
fn directories() -> Vec<PathBuf> {
    let mut directories = vec![PathBuf::from("layers")];
    directories.extend(library::directories(None));
    directories
}

fn show(name: &str, directories: &[PathBuf]) -> u8 {
    match read(name, directories) {
        Ok(Some((layer, source))) => {
            output::printed(0, |to| to.write_all(describe(name, &layer, &source).as_bytes()))
        }
        Ok(None) => {
            let missing = library::missing(name, directories);
            let missing = match missing.help {
                None => missing.help("`layered-template layer list` lists them"),
                Some(_) => missing,
            };
            output::diagnostics(&missing.into());
            status::USAGE
        }
        Err(report) => {
            output::diagnostics(&report);
            status::USAGE
        }
    }
}

fn read(name: &str, directories: &[PathBuf]) -> Result<Option<(LayerFile, Arc<Source>)>, Report> {
    let source = match library::find(name, directories) {
        None => return Ok(None),
        // It is only shown.
        Some(Found::File(path)) => files::read_source(&path, LARGEST, &Trust::default())?.0,
        Some(Found::Compiled(text)) => Arc::new(Source::compiled_in(format!("<{name}>"), text)),
    };
    match manifest::parse_layer(&source) {
        (Some(layer), _) => Ok(Some((layer, source))),
        (None, report) => Err(report),
    }
}

fn describe(name: &str, layer: &LayerFile, source: &Source) -> String {
    let mut text = String::new();
    let description = layer.description.as_deref().unwrap_or("no description");
    let _ = writeln!(text, "{name}: {}", shell::one_line(description));
    let origin = match source.has_dir() {
        true => format!("from {}", source.path.display()),
        false => "part of the program".to_owned(),
    };
    let _ = writeln!(text, "  {origin}");
    if !layer.variables.is_empty() {
        let _ = writeln!(text, "\nIts variables:");
        for variable in &layer.variables {
            text.push_str(&described(variable));
        }
    }
    let _ = writeln!(text, "\nThe file:\n");
    for line in source.text.lines() {
        let _ = writeln!(text, "  {}", shell::printable(line));
    }
    text
}

/// Returns a variable's name, what it is without being set, and what it is for.
pub(super) fn described(variable: &Variable) -> String {
    let mut text = format!("  {}\n", line(variable));
    if let Some(description) = &variable.description {
        let _ = writeln!(text, "      {}", shell::one_line(description));
    }
    text
}

/// Returns the same for programs.
pub(super) fn to_json(variable: &Variable) -> serde_json::Value {
    let default = match &variable.source {
        VariableSource::Value(value, _) => Some(value.to_string()),
        _ => None,
    };
    serde_json::json!({
        "name": variable.name,
        "type": variable.kind.map(VariableType::name),
        "default": default,
        "required": matches!(variable.source, VariableSource::Required | VariableSource::Secret(None)),
        "secret": matches!(variable.source, VariableSource::Secret(_)),
        "description": variable.description,
    })
}

fn line(variable: &Variable) -> String {
    let name = &variable.name;
    match &variable.source {
        VariableSource::Value(value, _) => format!("{name} = {}", shell::word(value.to_string())),
        VariableSource::Required => format!("{name}  (required)"),
        VariableSource::Secret(None) => format!("{name}  (a required secret)"),
        VariableSource::Secret(Some(source)) => format!("{name}  (a secret: {source})"),
        VariableSource::From(_) => format!("{name}  (decided by its pre steps)"),
    }
}
