//! Where layers are pulled from where nobody says, and whose word counts: `remote.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fault::RegistryError;
use super::reference::Repository;
use super::signature::Signers;
use crate::cache::Required;
use crate::host::settings::{self, SettingsError};
use crate::host::trust::Trust;

/// The name of the files.
const NAME: &str = "remote.toml";

/// What signatures count where no file says.
const SIGNERS: &str = "/etc/layered-template/allowed_signers";

/// Where layers are pulled from where nobody says, and whose word counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The repository.
    pub from: Option<Repository>,
    /// Whose signatures count.
    pub signers: Option<Signers>,
    /// What must vouch for a layer, where not either will do.
    pub required: Option<Required>,
}

/// A file of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    from: Option<String>,
    signers: Option<PathBuf>,
    require: Option<Required>,
}

impl Settings {
    /// Reads the host's file, and then the caller's, whose words count more.
    pub(crate) fn read(trust: &Trust) -> Result<Self, RegistryError> {
        let mut settings = Self::default();
        for path in settings::paths(NAME) {
            if let Some(text) = read(&path, trust)? {
                settings.add(&path, &text)?;
            }
        }
        if settings.signers.is_none() && fs::symlink_metadata(SIGNERS).is_ok() {
            settings.signers = Some(Signers(SIGNERS.into()));
        }
        if let Some(Signers(signers)) = &settings.signers {
            // Whoever can write there can sign.
            read(signers, trust)?;
        }
        Ok(settings)
    }

    fn add(&mut self, path: &Path, text: &str) -> Result<(), RegistryError> {
        let malformed =
            |why: String| RegistryError::malformed(format!("`{}`", path.display()), why);
        let written: Written =
            toml::from_str(text).map_err(|error| malformed(error.message().to_owned()))?;
        if let Some(from) = written.from {
            let repository =
                Repository::parse(&from).map_err(|error| malformed(format!("`from`: {error}")))?;
            self.from = Some(repository);
        }
        if let Some(signers) = written.signers {
            let directory = path.parent().unwrap_or(Path::new("/"));
            self.signers = Some(Signers(directory.join(signers)));
        }
        self.required = written.require.or(self.required);
        Ok(())
    }
}

/// Reads a file, if there is one.
fn read(path: &Path, trust: &Trust) -> Result<Option<String>, RegistryError> {
    let what = || format!("`{}`", path.display());
    settings::read(path, trust).map_err(|error| match error {
        SettingsError::Unreadable(error) => RegistryError::host(what(), error),
        error => RegistryError::malformed(what(), error.to_string()),
    })
}
