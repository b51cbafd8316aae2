//! The values that a container is upgraded with: those that it was made with, and over them those that are given.

use std::path::Path;

use crate::cli::arguments::ValueArguments;
use crate::cli::load::Loaded;
use crate::host::files;
use crate::host::trust::Trust;
use crate::manifest;
use crate::record::Call;

/// Returns the values of a call with others laid over them. A variable that a given file sets has no other value
/// than that; what is wrong with the file is told when it is read once more.
pub(super) fn laid_over(
    given: &ValueArguments,
    unset: &[String],
    call: &Call,
    trust: &Trust,
) -> ValueArguments {
    let names: Vec<String> = given
        .vars_files
        .iter()
        .filter_map(|file| files::read_source(file, manifest::LARGEST, trust).ok())
        .filter_map(|(source, _)| manifest::parse_vars(&source).0)
        .flatten()
        .map(|assignment| assignment.name)
        .collect();
    let is_replaced = |word: &&String| {
        let mut others = names.iter().chain(unset);
        name_of(word).is_some_and(|name| others.any(|other| other == name))
    };
    let set = call.set.iter().filter(|word| !is_replaced(word)).chain(&given.set);
    let files = call.vars_files.iter().map(Into::into).chain(given.vars_files.iter().cloned());
    ValueArguments { set: set.cloned().collect(), vars_files: files.collect() }
}

/// Returns the file that gives a container a value for a variable, if one does.
pub(super) fn file_of<'a>(name: &str, call: &'a Call, trust: &Trust) -> Option<&'a str> {
    let mut files = call.vars_files.iter();
    let found = files.find(|file| {
        let read = files::read_source(Path::new(file), manifest::LARGEST, trust);
        let values = read.ok().and_then(|(source, _)| manifest::parse_vars(&source).0);
        values.into_iter().flatten().any(|value| value.name == name)
    });
    found.map(String::as_str)
}

/// Finds the values that a container was made with, and that its role has no variable for any more.
pub(super) fn without_variable(
    manifest: &Path,
    unset: &[String],
    call: &Call,
    trust: &Trust,
) -> Vec<String> {
    let (loaded, _) = Loaded::read(manifest, &ValueArguments::default(), trust);
    // What is wrong with the manifest is told by whoever uses it.
    let Some(loaded) = loaded.filter(|_| !call.set.is_empty()) else { return Vec::new() };
    let variables = loaded.variables();
    let is_known = |name: &str| {
        variables.iter().any(|variable| variable.name == name)
            || unset.iter().any(|other| other == name)
    };
    let unknown = call.set.iter().filter(|word| name_of(word).is_some_and(|name| !is_known(name)));
    unknown.cloned().collect()
}

/// Returns the name of the variable in the value of a `--set`.
pub(super) fn name_of(word: &str) -> Option<&str> {
    word.split_once('=').map(|(name, _)| name)
}
