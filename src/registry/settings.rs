//! Where layers are pulled from where nobody says, and whose word counts: `remote.toml`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fault::RegistryError;
use super::reference::Repository;
use super::signature::Signers;
use crate::cache::Required;
use crate::host::files;
use crate::host::trust::{Trust, Untrusted};

/// The host's own file, and what signatures count where no file says.
const OF_HOST: &str = "/etc/layered-template/remote.toml";
const SIGNERS: &str = "/etc/layered-template/allowed_signers";

/// The largest file, in bytes.
const LARGEST: usize = 1 << 20;

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
        let absolute =
            |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".config")))
            .map(|config| config.join("layered-template/remote.toml"));
        let mut settings = Self::default();
        for path in [Some(PathBuf::from(OF_HOST)), config].into_iter().flatten() {
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
    let about = |error: io::Error| RegistryError::host(format!("`{}`", path.display()), error);
    let opened = match trust.open(path) {
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(None);
        }
        opened => opened.map_err(about)?,
    };
    if let Some(untrusted) = opened.untrusted.filter(Untrusted::is_refused) {
        let why = untrusted.of_file(path).message;
        return Err(RegistryError::malformed(format!("`{}`", path.display()), why));
    }
    let bytes = files::read_opened(opened.file, LARGEST).map_err(about)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(RegistryError::malformed(format!("`{}`", path.display()), "it is not UTF-8")),
    }
}
