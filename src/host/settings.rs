//! Settings of a host and of its users: small files that the program reads wherever it is called.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files;
use super::trust::{Trust, Untrusted};

/// Where the host has its own.
const OF_HOST: &str = "/etc/layered-template";

/// The largest file, in bytes.
const LARGEST: usize = 1 << 20;

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// Others could have written it.
    #[error("{0}")]
    Untrusted(String),
    /// It is no text.
    #[error("it is not UTF-8")]
    NotText,
}

/// Returns where the file `name` may be: the host's, and then the caller's, whose words count more.
pub(crate) fn paths(name: &str) -> Vec<PathBuf> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let own = config.map(|config| config.join("layered-template"));
    [Some(PathBuf::from(OF_HOST)), own].into_iter().flatten().map(|at| at.join(name)).collect()
}

/// Reads a file of settings; `None` if there is none.
pub(crate) fn read(path: &Path, trust: &Trust) -> Result<Option<String>, SettingsError> {
    let opened = match trust.open(path) {
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            // Somebody has put it there, and may be waiting for what is mounted.
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(io::Error::new(error.kind(), "it is a link to nothing").into()),
                Err(_) => Ok(None),
            };
        }
        opened => opened?,
    };
    if let Some(untrusted) = opened.untrusted.filter(Untrusted::is_refused) {
        return Err(SettingsError::Untrusted(untrusted.of_file(path).message));
    }
    let bytes = files::read_opened(opened.file, LARGEST)?;
    String::from_utf8(bytes).map(Some).map_err(|_| SettingsError::NotText)
}
