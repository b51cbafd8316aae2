//! Writes a layer's lines into the container's config.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use super::Run;
use super::failure::{Cause, Failure, status};
use super::observe::{Doing, Subject};
use super::workspace::Workspace;
use crate::host::files::{self, Ownership};
use crate::lxc::call::Mapped;
use crate::lxc::config;
use crate::plan::{Configuration, Layer};

/// The name of the config in the container's directory.
pub(super) const NAME: &str = "config";

/// The permission bits that LXC gives a config.
const MODE: u32 = 0o640;

impl Run<'_> {
    pub(super) fn config(&mut self, layer: &Layer, lines: &[Configuration]) -> Result<(), Failure> {
        let text: Vec<_> =
            lines.iter().map(|line| (line.key.as_str(), line.value.as_str())).collect();
        self.append(layer.name.as_str(), &text).map_err(|error| {
            let subject = Subject { layer: layer.name.clone(), doing: Doing::Config };
            let at = lines.first().map_or(&layer.at, |line| &line.at);
            Failure::of(status::FILES, subject, at, format!("could not be written: {error}"))
                .because(Cause::from(&error))
        })
    }

    /// Adds lines under a comment that names the layer: the file is at all times the old or the new
    /// one.
    pub(super) fn append(&self, layer: &str, lines: &[(&str, &str)]) -> io::Result<()> {
        let old = read(&self.workspace)?;
        let new = config::append(&old, layer, lines.iter().copied());
        let ownership = ownership(&self.workspace.container, self.workspace.target.mapped)?;
        files::replace_in(&self.workspace.container, NAME, &new, ownership)
    }
}

/// Reads the config; where there was none from the beginning, it is empty.
pub(super) fn read(workspace: &Workspace) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match files::open_in(&workspace.container, NAME) {
        Ok(file) => file.take(config::LARGEST as u64 + 1).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => match workspace.had(NAME) {
            true => return Err(io::Error::new(error.kind(), "something has removed `config`")),
            false => 0,
        },
        Err(error) => return Err(error),
    };
    if text.len() > config::LARGEST {
        return Err(io::Error::other("it is too large"));
    }
    Ok(text)
}

/// Returns what the config must belong to for LXC to load it later: who it belongs to now, or else
/// the caller behind the user namespace.
pub(super) fn ownership(container: &OwnedFd, mapped: Option<Mapped>) -> io::Result<Ownership> {
    match files::open_in(container, NAME) {
        Ok(file) => Ownership::of(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (uid, gid) = mapped.map_or_else(
                || {
                    let caller = crate::host::caller::Caller::observe();
                    (caller.uid, caller.gid)
                },
                |mapped| (mapped.uid, mapped.gid),
            );
            Ok(Ownership { uid, gid, mode: MODE })
        }
        Err(error) => Err(error),
    }
}
