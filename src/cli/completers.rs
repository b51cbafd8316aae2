//! What completes the values of the command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use super::arguments::ValueArguments;
use super::load::Loaded;
use super::{layer, meant, runs, store};
use crate::host::caller::Caller;
use crate::host::trust::Trust;
use crate::manifest::{Variable, VariableSource};
use crate::shell;

/// Returns what completes a value, by what the command line calls it.
pub(super) fn of(name: &str) -> Option<ArgValueCompleter> {
    Some(match name {
        "MANIFEST" => ArgValueCompleter::new(manifests()),
        "CONTAINER" => ArgValueCompleter::new(containers),
        "CONTAINER|MANIFEST" => ArgValueCompleter::new(|current: &OsStr| {
            joined(containers(current), manifests().complete(current))
        }),
        "FAILED-RUN|CONTAINER" => ArgValueCompleter::new(|current: &OsStr| {
            joined(containers(current), PathCompleter::dir().complete(current))
        }),
        "LAYER" => ArgValueCompleter::new(layers),
        "ENTRY" => ArgValueCompleter::new(entries),
        "RUN" => ArgValueCompleter::new(numbers),
        "NAME=VALUE" => ArgValueCompleter::new(variables),
        "DIR" => ArgValueCompleter::new(PathCompleter::dir()),
        "FILE" | "KEYFILE" => ArgValueCompleter::new(PathCompleter::file()),
        _ => return None,
    })
}

fn joined(
    mut first: Vec<CompletionCandidate>,
    second: Vec<CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    first.extend(second);
    first
}

fn manifests() -> PathCompleter {
    PathCompleter::any().filter(is_manifest)
}

fn is_manifest(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "toml")
}

/// Returns the words of the line that is typed.
fn words() -> Vec<OsString> {
    std::env::args_os().skip_while(|word| word != "--").skip(1).collect()
}

fn containers(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = words();
    let given = words.windows(2).filter(|pair| pair[0] == "-P" || pair[0] == "--lxcpath");
    let lxcpaths: Vec<PathBuf> = given.map(|pair| PathBuf::from(&pair[1])).collect();
    let found = meant::find(&[], &lxcpaths, &Caller::observe()).unwrap_or_default();
    beginning(current, found.into_iter().map(|container| (container.name, String::new())))
}

fn layers(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning(current, layer::listed())
}

fn entries(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning(current, store::entry_names().into_iter().map(|name| (name, String::new())))
}

fn numbers(current: &OsStr) -> Vec<CompletionCandidate> {
    let runs = runs::all().unwrap_or_default().into_iter().rev();
    beginning(
        current,
        runs.map(|run| {
            let of = run.container.unwrap_or(run.manifest);
            (run.run.to_string(), format!("{} {of}", run.verb.name()))
        }),
    )
}

/// The variables of the manifests that the line names.
fn variables(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = Vec::new();
    for path in words().iter().map(Path::new).filter(|path| is_manifest(path)) {
        let (loaded, _) = Loaded::read(path, &ValueArguments::default(), &Trust::default());
        let levels = loaded.iter().flat_map(Loaded::levels);
        let variables = levels.flat_map(|level| &level.manifest.variables);
        found.extend(variables.filter_map(setting));
    }
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    beginning(current, found)
}

/// Returns what may follow `--set`.
fn setting(variable: &Variable) -> Option<(String, String)> {
    let is_free = matches!(variable.source, VariableSource::Value(..) | VariableSource::Required);
    let help = variable.description.clone().unwrap_or_default();
    is_free.then(|| (format!("{}=", variable.name), help))
}

/// Returns those that begin with what is typed, each with what it is for.
fn beginning(
    current: &OsStr,
    all: impl IntoIterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let all = all.into_iter().filter(|(text, _)| text.starts_with(&*current));
    all.map(|(text, help)| {
        let help = Some(shell::one_line(&help)).filter(|help| !help.is_empty());
        CompletionCandidate::new(text).help(help.map(Into::into))
    })
    .collect()
}
