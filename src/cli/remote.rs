//! What layers are pulled from that are not stored: what the caller says, or else `remote.toml`.

use std::rc::Rc;

use super::output;
use crate::cache::{Pulling, Wanted};
use crate::execute::status;
use crate::host::trust::{Policy, Trust};
use crate::plan::StorageMode;
use crate::registry::{ReferenceError, Remote, Repository, Settings};

/// What a caller says of registries.
#[derive(Debug, Clone, Copy)]
pub(super) struct RemoteChoice<'a> {
    /// The repository.
    pub(super) from: Option<&'a str>,
    /// Whether nothing is built.
    pub(super) only_pull: bool,
    /// Whether layers are taken that nobody vouches for.
    pub(super) allow_untrusted: bool,
}

impl RemoteChoice<'_> {
    /// Opens what layers are pulled from, if anything is, and says so in what is `wanted` of the store. Nothing
    /// is asked yet, but mapped ids may not read what the caller may.
    ///
    /// # Errors
    ///
    /// With the exit status, where it cannot be used; that is told by then.
    pub(super) fn open(self, wanted: &mut Wanted) -> Result<Option<Rc<Remote>>, u8> {
        let fail = |message: String, status: u8| {
            output::error(&message, None);
            status
        };
        let given = self.from.map(|text| {
            Repository::parse(text).map_err(|error| {
                let message = match error {
                    ReferenceError::TooMuch(what) => {
                        format!("`--from` takes no {what}: layers are found by their keys")
                    }
                    error => format!("`--from={text}`: {error}"),
                };
                fail(message, status::USAGE)
            })
        });
        let given = given.transpose()?;
        let trust = Trust::observe(Policy::Refuse.unless(self.allow_untrusted));
        let settings = match Settings::read(&trust) {
            Ok(settings) => settings,
            Err(error) => return Err(fail(error.to_string(), status::TRUST)),
        };
        if wanted.mode == StorageMode::None {
            let word =
                if self.only_pull { Some("--only-pull") } else { self.from.map(|_| "--from") };
            return match word {
                Some(word) => Err(fail(
                    format!("`{word}` takes layers from the store, and `--storage=none` uses none"),
                    status::USAGE,
                )),
                None => Ok(None),
            };
        }
        let Some(repository) = given.or_else(|| settings.from.clone()) else {
            if self.only_pull {
                let message =
                    "no registry is named: give `--from REGISTRY/REPO`, or `from` in remote.toml";
                return Err(fail(message.to_owned(), status::USAGE));
            }
            return Ok(None);
        };
        wanted.pulling = if self.only_pull { Pulling::Only } else { Pulling::First };
        wanted.trusts_all = self.allow_untrusted;
        match Remote::open(&repository, settings) {
            Ok(remote) => {
                remote.tell(output::notice());
                Ok(Some(Rc::new(remote)))
            }
            Err(error) => Err(fail(error.to_string(), status::USAGE)),
        }
    }
}
