//! The files that a manifest names: its bases, and the reusable layers.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::Library;
use crate::diagnostic::{Diagnostic, Report};
use crate::host::files;
use crate::host::trust::Trust;
use crate::layers;
use crate::manifest::{LARGEST, LayerName};
use crate::source::{At, Source};

/// The variable with more directories of layers, separated by colons.
pub const VARIABLE: &str = "LAYERED_TEMPLATE_PATH";

/// Where a host keeps its own layers, and where packages put theirs.
const STANDARD: [&str; 2] = ["/etc/layered-template/layers", "/usr/share/layered-template/layers"];

/// Where a reusable layer was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// In a file.
    File(PathBuf),
    /// Among those that are part of the program.
    Compiled(&'static str),
}

/// The library of the host.
#[derive(Debug, Clone, Default)]
pub struct HostLibrary {
    read: BTreeMap<PathBuf, Arc<Source>>,
    trust: Trust,
    warnings: Report,
}

impl HostLibrary {
    /// Creates one of files that root may have to refuse.
    pub(crate) fn trusting(trust: &Trust) -> Self {
        Self { trust: trust.clone(), ..Self::default() }
    }

    /// Returns what there is to say of files that were taken.
    pub(crate) fn warnings(self) -> Report {
        self.warnings
    }

    /// Reads a file once.
    fn read(&mut self, path: &Path) -> Result<Arc<Source>, Report> {
        if let Some(source) = self.read.get(path) {
            return Ok(Arc::clone(source));
        }
        let (source, warnings) = files::read_source(path, LARGEST, &self.trust)?;
        self.warnings.extend(warnings);
        self.read.insert(path.to_path_buf(), Arc::clone(&source));
        Ok(source)
    }
}

impl Library for HostLibrary {
    fn base(&mut self, path: &Path, at: &At) -> Result<Arc<Source>, Report> {
        let (shown, _) = at.source.sibling(path);
        self.read(&shown).map_err(|report| report.note(&format!("it is extended at {at}")))
    }

    fn layer(&mut self, name: &LayerName, at: &At) -> Result<Option<Arc<Source>>, Report> {
        match find(name.as_str(), &directories(Some(at))) {
            None => Ok(None),
            Some(Found::File(path)) => {
                let source = self.read(&path);
                source.map(Some).map_err(|report| report.note(&format!("it is used at {at}")))
            }
            Some(Found::Compiled(text)) => {
                let path = PathBuf::from(format!("<{name}>"));
                if let Some(source) = self.read.get(&path) {
                    return Ok(Some(Arc::clone(source)));
                }
                let source = Arc::new(Source::compiled_in(&path, text));
                self.read.insert(path, Arc::clone(&source));
                Ok(Some(source))
            }
        }
    }

    fn names(&mut self, at: &At) -> Vec<String> {
        names(&directories(Some(at)))
    }
}

/// Returns the directories that layers are looked for in, in order: beside the manifest first.
pub fn directories(at: Option<&At>) -> Vec<PathBuf> {
    let beside = at.filter(|at| at.source.has_dir()).map(|at| at.source.sibling("layers").0);
    let given = env::var_os(VARIABLE).unwrap_or_default();
    let given = env::split_paths(&given).filter(|path| path.is_absolute()).collect::<Vec<_>>();
    beside.into_iter().chain(given).chain(STANDARD.map(PathBuf::from)).collect()
}

/// Finds a reusable layer by its name.
pub fn find(name: &str, directories: &[PathBuf]) -> Option<Found> {
    let file = format!("{name}.toml");
    let is_there = |path: &PathBuf| match std::fs::symlink_metadata(path) {
        Ok(_) => true,
        // What cannot be looked at is reported when it is read.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    let found = directories.iter().map(|directory| directory.join(&file)).find(is_there);
    found.map(Found::File).or_else(|| layers::find(name).map(Found::Compiled))
}

/// Returns the names of all layers that can be found, sorted.
pub fn names(directories: &[PathBuf]) -> Vec<String> {
    let entries = directories.iter().filter_map(|path| path.read_dir().ok()).flatten();
    let found = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".toml").map(str::to_owned)
    });
    let compiled = layers::ALL.iter().map(|(name, _)| (*name).to_owned());
    let mut names: Vec<_> = found.chain(compiled).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the fault of a file that was asked for by name alone.
pub fn missing(name: &str, directories: &[PathBuf]) -> Diagnostic {
    let names = names(directories);
    Diagnostic::of_file(name, "there is no reusable layer of this name")
        .did_you_mean(name, names.iter().map(String::as_str))
}
