//! From a manifest's path to its chain.

use std::path::{Path, PathBuf};

use super::arguments::ValueArguments;
use crate::chain::{self, Chain, Container, Given};
use crate::diagnostic::Report;
use crate::host::library::HostLibrary;
use crate::host::{files, probe};
use crate::manifest;

/// Reads a manifest with all that it names, and binds it for a container of this name.
///
/// With errors in the report there may be a chain all the same: it is no chain to run, but the files
/// that it names can be judged too.
pub(super) fn chain(
    path: &Path,
    name: &str,
    values: &ValueArguments,
    lxc: Option<(u32, u32)>,
) -> (Option<Chain>, Report) {
    match resolved(path, name, values, lxc) {
        Ok(resolved) => resolved,
        Err(report) => (None, report),
    }
}

fn resolved(
    path: &Path,
    name: &str,
    values: &ValueArguments,
    lxc: Option<(u32, u32)>,
) -> Result<(Option<Chain>, Report), Report> {
    let source = files::read_source(path, manifest::LARGEST)?;
    let vars_files: Vec<_> = values
        .vars_files
        .iter()
        .map(|path| files::read_source(path, manifest::LARGEST))
        .collect::<Result<_, _>>()?;
    let (role, mut report) = chain::resolve(&source, &mut HostLibrary::default());
    let Some(role) = role else { return Err(report) };
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let given = Given {
        container: Container { name, arch: probe::arch() },
        set: &values.set,
        vars_files: &vars_files,
        directory: &directory,
        lxc,
    };
    let (chain, faults) = chain::bind(&role, &given);
    report.extend(faults);
    Ok((chain, report))
}

/// Returns a name for a container of a manifest that is only looked at: the manifest's own.
pub(super) fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    stem.filter(|stem| !stem.is_empty() && stem.chars().all(sound) && !stem.starts_with('.'))
        .unwrap_or_else(|| "container".to_owned())
}
