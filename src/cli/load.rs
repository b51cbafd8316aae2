//! From a manifest's path to its chain.

use std::path::Path;

use crate::chain::{self, Chain, Container};
use crate::diagnostic::Report;
use crate::host::{files, probe};
use crate::manifest;

/// Reads a manifest, and binds it for a container of this name.
///
/// The chain is there if no diagnostic of the report is an error.
pub(super) fn chain(path: &Path, name: &str) -> (Option<Chain>, Report) {
    let source = match files::read_source(path, manifest::LARGEST) {
        Ok(source) => source,
        Err(diagnostic) => return (None, diagnostic.into()),
    };
    let (manifest, mut report) = manifest::parse(&source);
    let Some(manifest) = manifest else { return (None, report) };
    let container = Container { name, arch: probe::arch() };
    let (chain, faults) = chain::bind(&manifest, &container);
    report.extend(faults);
    (chain, report)
}

/// Returns a name for a container of a manifest that is only looked at: the manifest's own.
pub(super) fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    stem.filter(|stem| !stem.is_empty() && stem.chars().all(sound) && !stem.starts_with('.'))
        .unwrap_or_else(|| "container".to_owned())
}
