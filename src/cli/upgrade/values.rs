//! The values that a container is upgraded with: those that it was made with, and over them those that are given.

use crate::cli::arguments::ValueArguments;
use crate::host::files;
use crate::host::trust::Trust;
use crate::manifest;
use crate::record::Call;

/// Returns the values of a call with others laid over them. A variable that a given file sets has no other value
/// than that; what is wrong with the file is told when it is read once more.
pub(super) fn laid_over(given: &ValueArguments, call: &Call, trust: &Trust) -> ValueArguments {
    let names: Vec<String> = given
        .vars_files
        .iter()
        .filter_map(|file| files::read_source(file, manifest::LARGEST, trust).ok())
        .filter_map(|(source, _)| manifest::parse_vars(&source).0)
        .flatten()
        .map(|assignment| assignment.name)
        .collect();
    let is_replaced = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| names.iter().any(|other| other == name))
    };
    let set = call.set.iter().filter(|word| !is_replaced(word)).chain(&given.set);
    let files = call.vars_files.iter().map(Into::into).chain(given.vars_files.iter().cloned());
    ValueArguments { set: set.cloned().collect(), vars_files: files.collect() }
}
