//! A run that was refused before it began: the history has it too.

use std::path::Path;

use super::history::{self, RunSubject};
use super::load::Loaded;
use super::options::Options;
use super::request::{Request, words};
use crate::chain::Secrets;
use crate::diagnostic::Report;
use crate::execute::{Failure, status};
use crate::host::owned::OwnerIds;
use crate::manifest::VariableSource;
use crate::plan::Target;
use crate::shell;

/// What was to be run.
pub(super) struct RefusedRun<'a> {
    manifest: &'a Path,
    /// The name and the directory of the container.
    container: (&'a str, &'a Path),
    owner: OwnerIds,
    options: Options,
    /// What was given as a value of a secret; `None` where nobody knows what is one.
    secrets: Option<Secrets>,
}

impl<'a> RefusedRun<'a> {
    /// Returns that of a request, of whose manifest as much is known.
    pub(super) fn of(request: &'a Request, loaded: Option<&Loaded>, options: Options) -> Self {
        let values = &request.values.set;
        Self::new((&request.manifest, loaded), &request.target, values, options)
    }

    /// Returns that of a manifest, for a container.
    pub(super) fn new(
        (manifest, loaded): (&'a Path, Option<&Loaded>),
        target: &'a Target,
        values: &[String],
        options: Options,
    ) -> Self {
        Self {
            manifest,
            container: (&target.name, &target.path),
            owner: target.mapped.map(|mapped| (mapped.uid, mapped.gid)),
            options,
            secrets: given(loaded, values),
        }
    }

    /// Notes that it was refused with an exit status, and why.
    pub(super) fn note(self, status: u8, report: &Report) {
        let failure = match report.first_error() {
            Some(error) => {
                let message = match error.at {
                    Some(_) => error.message.clone(),
                    None => format!("{}: {}", error.file.display(), error.message),
                };
                Failure { at: error.at.clone(), ..Failure::of_run(status, message) }
            }
            None if status == status::TRUST => {
                Failure::of_run(status, "the role does not fit its lock")
            }
            // The words of the call were wrong, and not what they name.
            None => return,
        };
        let command = match &self.secrets {
            Some(_) => words(),
            None => format!("{} ...", shell::command(std::env::args_os().take(2))),
        };
        let secrets = self.secrets.unwrap_or_default();
        let manifest = std::path::absolute(self.manifest);
        let manifest = manifest.unwrap_or_else(|_| self.manifest.to_path_buf());
        let subject = RunSubject {
            verb: self.options.verb,
            container: Some(self.container),
            role: None,
            manifest: &manifest,
            command,
        };
        let note = history::begin(&subject, &secrets, self.options, self.owner);
        note.refuse(status, history::failure(&failure));
    }
}

/// Returns what was given for variables that are secrets: it is wrong, and nobody may see it all the same. Of a
/// manifest that cannot be read nobody knows which those are.
fn given(loaded: Option<&Loaded>, values: &[String]) -> Option<Secrets> {
    let variables = loaded?.variables();
    // What no variable is called may be a secret whose name is misspelt.
    let is_secret = |name: &str| {
        let found = variables.iter().find(|variable| variable.name == name);
        found.is_none_or(|variable| matches!(variable.source, VariableSource::Secret(_)))
    };
    let pairs = values.iter().filter_map(|value| value.split_once('='));
    Secrets::given(pairs.filter(|(name, _)| is_secret(name)))
}
