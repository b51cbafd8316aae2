//! From a manifest's path to its chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::arguments::ValueArguments;
use crate::chain::{self, BindContext, Chain, Container, Level, Role, SetBy};
use crate::diagnostic::{Diagnostic, Report};
use crate::host::files;
use crate::host::trust::Trust;
use crate::lxc::InstalledLxc;
use crate::manifest::{self, LayerEntry, TemplateRef, Variable};
use crate::observe::library::HostLibrary;
use crate::observe::lxc::HostLxc;
use crate::observe::probe;
use crate::source::Source;

/// A manifest with all that it names, and the files that give its variables values.
#[derive(Debug)]
pub(super) struct Loaded {
    role: Role,
    set: Vec<String>,
    set_by: SetBy,
    vars_files: Vec<Arc<Source>>,
    lxc: HostLxc,
}

impl Loaded {
    /// Reads it. With errors in the report it may be there all the same: it is nothing to run, but
    /// what its values make of it can be judged too.
    pub(super) fn read(
        path: &Path,
        values: &ValueArguments,
        trust: &Trust,
    ) -> (Option<Self>, Report) {
        let (loaded, report) = Self::read_in_part(path, values, trust);
        (loaded.filter(|loaded| loaded.role.whole), report)
    }

    /// Does the same, also where a part of it could not be read: the rest may have faults of its own.
    pub(super) fn read_in_part(
        path: &Path,
        values: &ValueArguments,
        trust: &Trust,
    ) -> (Option<Self>, Report) {
        match Self::try_read(path, values, trust) {
            Ok(read) => read,
            Err(report) => (None, report),
        }
    }

    fn try_read(
        path: &Path,
        values: &ValueArguments,
        trust: &Trust,
    ) -> Result<(Option<Self>, Report), Report> {
        let (source, warnings) = read_source(path, trust)?;
        let (vars_files, more) = read_vars_files(values, trust)?;
        let mut library = HostLibrary::trusting(trust);
        let (role, mut report) = chain::resolve(&source, &mut library);
        report.extend(warnings);
        report.extend(more);
        report.extend(library.warnings());
        let (set, set_by) = (values.set.clone(), SetBy::Set);
        let lxc = HostLxc::default();
        Ok((role.map(|role| Self { role, set, set_by, vars_files, lxc }), report))
    }

    /// Takes the values that the options of the role give, and returns what there is to say of the files among
    /// those.
    ///
    /// # Errors
    ///
    /// What is wrong with such a file.
    pub(super) fn take_options(
        &mut self,
        values: &ValueArguments,
        trust: &Trust,
    ) -> Result<Report, Report> {
        let (vars_files, report) = read_vars_files(values, trust)?;
        (self.set, self.set_by, self.vars_files) = (values.set.clone(), SetBy::Option, vars_files);
        Ok(report)
    }

    /// Returns what the manifests say of their variables.
    pub(super) fn variables(&self) -> Vec<Variable> {
        chain::declared(&self.role)
    }

    /// Binds it for a container of this name.
    pub(super) fn bind(&self, name: &str) -> (Option<Chain>, Report) {
        self.bind_for(name, Some(&self.lxc))
    }

    /// Does the same, and returns what could be bound of a faulty one too.
    pub(super) fn judge(&self, name: &str) -> (Option<Chain>, Report) {
        self.with_context(name, Some(&self.lxc), chain::judge)
    }

    /// Binds it for a name that no container has, so that LXC reads none of it.
    pub(super) fn bind_twin(&self, name: &str) -> Option<Chain> {
        self.bind_for(name, None).0
    }

    /// Returns the manifests with the reusable layers that they use, the innermost base first.
    pub(super) fn levels(&self) -> &[Level] {
        &self.role.levels
    }

    /// Returns the template that the innermost layer calls, as the manifest names it.
    pub(super) fn template(&self) -> Option<&TemplateRef> {
        let entries = self.levels().iter().flat_map(|level| &level.manifest.layers);
        let own = entries.filter_map(|entry| match entry {
            LayerEntry::Own(layer) => layer.upstream.as_ref(),
            LayerEntry::Use(_) => None,
        });
        own.map(|upstream| &upstream.template).next()
    }

    fn bind_for(&self, name: &str, lxc: Option<&dyn InstalledLxc>) -> (Option<Chain>, Report) {
        self.with_context(name, lxc, chain::bind)
    }

    fn with_context<T>(
        &self,
        name: &str,
        lxc: Option<&dyn InstalledLxc>,
        bind: impl FnOnce(&Role, &BindContext<'_>) -> T,
    ) -> T {
        let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let context = BindContext {
            container: Container { name, arch: probe::arch() },
            set: &self.set,
            set_by: self.set_by,
            vars_files: &self.vars_files,
            directory: &directory,
            lxc,
        };
        bind(&self.role, &context)
    }
}

fn read_source(path: &Path, trust: &Trust) -> Result<(Arc<Source>, Report), Diagnostic> {
    files::read_source(path, manifest::LARGEST, trust)
}

fn read_vars_files(
    values: &ValueArguments,
    trust: &Trust,
) -> Result<(Vec<Arc<Source>>, Report), Diagnostic> {
    let mut report = Report::default();
    let read = |path: &PathBuf| {
        let (source, warnings) = read_source(path, trust)?;
        report.extend(warnings);
        Ok(source)
    };
    let sources: Result<_, _> = values.vars_files.iter().map(read).collect();
    sources.map(|sources| (sources, report))
}

/// Returns a name for a container of a manifest that is only looked at: the manifest's own.
pub(super) fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    stem.filter(|stem| !stem.is_empty() && stem.chars().all(sound) && !stem.starts_with('.'))
        .unwrap_or_else(|| "container".to_owned())
}
