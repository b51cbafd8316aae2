//! Reads secrets where their manifest says they are.

use crate::chain::{Chain, Secret, Secrets};
use crate::diagnostic::Report;
use crate::host::files;
use crate::manifest::SecretSource;

/// The longest secret, in bytes: an environment carries it.
const LONGEST: usize = 64 * 1024;

/// Reads the secrets that a chain's layers list.
pub(crate) fn read(chain: &Chain) -> Result<Secrets, Report> {
    Secrets::gather(chain, |source| match source {
        SecretSource::Env(name) => match std::env::var(name) {
            Ok(value) => Ok(Secret::new(value)),
            Err(std::env::VarError::NotPresent) => Err("it is not set".to_owned()),
            Err(std::env::VarError::NotUnicode(_)) => Err("it is not UTF-8".to_owned()),
        },
        SecretSource::File(path) => {
            let bytes = files::read_regular(path, LONGEST).map_err(|error| error.to_string())?;
            let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            Ok(Secret::new(text))
        }
    })
}
