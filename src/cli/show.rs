//! `show`: what a container was made from, or what a role is made of.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use super::arguments::{ReportFormat, ShowArguments, ValueArguments};
use super::hang::Hang;
use super::load::Loaded;
use super::meant::{is_named_like, record_of};
use super::{layer, meant, output};
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::trust::Trust;
use crate::manifest::{LayerEntry, TemplateRef};
use crate::plan::{EntryId, StorageMode};
use crate::record::{FileKind, Layer, Record, SuppliedBy, Supply};
use crate::shell;

pub(super) fn main(arguments: &ShowArguments) -> u8 {
    let what = &arguments.what;
    let caller = Caller::observe();
    if what.is_file() {
        if let Some(said) = is_named_like(what, &arguments.places.lxcpath, &caller) {
            output::say(&format!("warning: {said}"));
        }
        return role(what, arguments.output.format);
    }
    let container = match meant::named(what, &arguments.places.lxcpath, &caller) {
        Ok(container) => container,
        Err(_) if is_missing_file(what) => {
            output::error(&format!("`{}`: there is no such file", meant::shown_path(what)), None);
            return status::USAGE;
        }
        Err(message) => {
            let hint =
                "`layered-template status` lists containers; a manifest is named by its path";
            output::error(&message, Some(hint));
            return status::USAGE;
        }
    };
    let record = match record_of(&container) {
        Ok(record) => record,
        Err(refusal) => {
            refusal.say();
            return status::USAGE;
        }
    };
    match arguments.output.format {
        ReportFormat::Json => output::printed_data(0, |to| {
            serde_json::to_writer_pretty(&mut *to, record)?;
            to.write_all(b"\n")
        }),
        ReportFormat::Text => output::printed_report(0, Hang::Nest, |to| {
            head(record, to)?;
            if let Some(why) = meant::cut_off(&container, &caller) {
                writeln!(to, "  note     {why}")?;
            }
            writeln!(to)?;
            nest(record, to)
        }),
    }
}

/// Tells whether a manifest must be meant, and there is none.
fn is_missing_file(what: &Path) -> bool {
    let is_file = what.extension().is_some_and(|extension| extension == "toml");
    is_file && !what.exists()
}

fn head(record: &Record, to: &mut dyn Write) -> io::Result<()> {
    let role = record.manifest.description.as_deref().unwrap_or("a container");
    writeln!(to, "{}: {}", shell::one_line(&record.name), shell::one_line(role))?;
    let manifest = shell::one_line(&record.manifest.path);
    writeln!(to, "  manifest {manifest}  sha256:{}", record.manifest.digest.short())?;
    let took = record.took_ms.map(|took| format!(", in {}", seconds(took))).unwrap_or_default();
    let (created, version) = (shell::one_line(&record.created), shell::one_line(&record.version));
    writeln!(to, "  made     {created}{took}, by layered-template {version}")?;
    match (&record.stored, record.storage()) {
        (Some(stored), StorageMode::Overlay) => {
            writeln!(to, "  storage  an overlay on {}", entry(&stored.entry))?;
        }
        (Some(stored), _) => {
            writeln!(to, "  storage  a copy of {}", entry(&stored.entry))?;
        }
        (None, _) => writeln!(to, "  storage  none: all was made in the container")?,
    }
    for variable in &record.variables {
        let value = variable.value.as_ref().map(|value| format!(" = {}", shell::word(value)));
        let origin = variable.origin.as_ref().map(|origin| format!("  ({origin})"));
        let (value, origin) = (value.unwrap_or_default(), origin.unwrap_or_default());
        writeln!(
            to,
            "  variable {}{value}{}",
            shell::one_line(&variable.name),
            shell::one_line(&origin)
        )?;
    }
    Ok(())
}

/// Writes the layers of a container as the nest that they were made in, the outermost first.
pub(super) fn nest(record: &Record, to: &mut dyn Write) -> io::Result<()> {
    let layers: Vec<&Layer> = record.layers.iter().rev().collect();
    let bars = |depth: usize| "| ".repeat(depth);
    for (depth, layer) in layers.iter().enumerate() {
        let supply = supply(layer.supply.as_ref());
        writeln!(
            to,
            "{}layer    {}{supply}  ({})",
            bars(depth),
            shell::one_line(&layer.name),
            shell::one_line(&layer.at)
        )?;
    }
    let bar = bars(layers.len());
    let upstream = &record.upstream;
    let template = shell::one_line(&upstream.template);
    writeln!(to, "{bar}template {template}{}", self::supply(upstream.supply.as_ref()))?;
    if let Some(digest) = upstream.digest {
        let pinned = if upstream.pinned { ", as pinned" } else { "" };
        writeln!(to, "{bar}         sha256:{}{pinned}", digest.short())?;
    }
    if !upstream.args.is_empty() {
        writeln!(to, "{bar}         {}", shell::command(&upstream.args))?;
    }
    for (depth, layer) in layers.iter().enumerate().rev() {
        let bar = bars(depth + 1);
        for line in &layer.config {
            writeln!(to, "{bar}config   {}", shell::one_line(line))?;
        }
        for file in &layer.files {
            let kind = match file.kind {
                FileKind::File => "file",
                FileKind::Directory => "dir",
                FileKind::Symlink => "link",
                FileKind::Remove => "remove",
            };
            let path = shell::word(&file.path);
            let mode = file.mode.iter().map(|mode| format!(" {}", shell::one_line(mode)));
            let owner = file.owner.iter().map(|owner| format!(" {}", shell::one_line(owner)));
            let digest = file.digest.iter().map(|digest| format!(" sha256:{}", digest.short()));
            let target = file.target.iter().map(|target| format!(" -> {}", shell::word(target)));
            let more: String = mode.chain(owner).chain(digest).chain(target).collect();
            writeln!(to, "{bar}{kind:8} {path}{more}")?;
        }
        for step in &layer.steps {
            let (phase, at) = (shell::one_line(&step.phase), shell::one_line(&step.at));
            writeln!(to, "{bar}{phase:8} sha256:{}  ({at})", step.digest.short())?;
        }
    }
    Ok(())
}

/// Says where a layer came from, and which entry of the store it is.
fn supply(supply: Option<&Supply>) -> String {
    let Some(Supply { by, entry, took_ms, .. }) = supply else { return String::new() };
    let took = took_ms.map(|took| format!(" in {}", seconds(took))).unwrap_or_default();
    let came = match by {
        SuppliedBy::Store => "from the store",
        SuppliedBy::Build => "built",
        SuppliedBy::Registry => "pulled",
    };
    let entry = EntryId::parse(entry).map(|entry| format!(": {}", entry.name()));
    format!("  [{came}{took}{}]", entry.unwrap_or_default())
}

/// Returns the name of an entry of the store as the layers have it.
fn entry(text: &str) -> String {
    EntryId::parse(text).map_or_else(|| shell::one_line(text), |entry| entry.name())
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// Shows what a role is made of. It need not have all that it needs to be run.
fn role(manifest: &Path, format: ReportFormat) -> u8 {
    let (loaded, report) = Loaded::read(manifest, &ValueArguments::default(), &Trust::default());
    let Some(loaded) = loaded else { return output::refused(&report) };
    if report.has_errors() {
        return output::refused(&report);
    }
    output::diagnostics(&report);
    let status = 0;
    let levels = loaded.levels();
    let description = levels.iter().rev().find_map(|level| level.manifest.description.as_deref());
    let variables = || levels.iter().rev().flat_map(|level| &level.manifest.variables);
    let layers = || levels.iter().rev().flat_map(|level| level.manifest.layers.iter().rev());
    let template = loaded.template().map(TemplateRef::name);
    let bases: Vec<_> =
        levels.iter().rev().skip(1).map(|level| level.manifest.source.path.clone()).collect();
    if format == ReportFormat::Json {
        let document = serde_json::json!({
            "manifest": manifest.to_string_lossy(),
            "description": description,
            "extends": bases.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
            "template": template,
            "variables": variables().map(layer::to_json).collect::<Vec<_>>(),
            "layers": layers().map(|entry| serde_json::json!({
                "name": entry.name(),
                "use": used(entry),
                "at": entry.at(),
            })).collect::<Vec<_>>(),
        });
        return output::printed_data(status, |to| {
            serde_json::to_writer_pretty(&mut *to, &document)?;
            to.write_all(b"\n")
        });
    }
    output::printed_report(status, Hang::Nest, |to| {
        let path = meant::shown_path(manifest);
        writeln!(to, "{path}: {}", shell::one_line(description.unwrap_or("a container")))?;
        for base in &bases {
            writeln!(to, "  extends {}", meant::shown_path(base))?;
        }
        if variables().next().is_some() {
            writeln!(to, "\nIts variables:")?;
            for variable in variables() {
                to.write_all(layer::described(variable).as_bytes())?;
            }
        }
        to.write_all(nest_of(&loaded).as_bytes())
    })
}

/// Returns what a role names its layers and its template, as text.
pub(super) fn nest_of(loaded: &Loaded) -> String {
    let mut text = "\nIts layers, the outermost first:\n".to_owned();
    let layers = loaded.levels().iter().rev();
    for entry in layers.flat_map(|level| level.manifest.layers.iter().rev()) {
        let of = used(entry).map(|name| format!("  (use = \"{name}\")")).unwrap_or_default();
        let _ = writeln!(text, "  {}{of}", entry.name());
    }
    if let Some(template) = loaded.template() {
        let _ = writeln!(text, "\nIts template: {}", shell::one_line(&template.name()));
    }
    text
}

fn used(entry: &LayerEntry) -> Option<&str> {
    match entry {
        LayerEntry::Own(_) => None,
        LayerEntry::Use(used) => {
            Some(used.used.as_str()).filter(|name| *name != used.name.as_str())
        }
    }
}
