//! Fetches a file that a drop names by its URL, with the host's own curl or wget.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Run;
use super::failure::{Cause, Failure, status};
use super::observe::{Doing, Subject};
use super::step::{Growing, Job, host_command};
use crate::host::child::SpawnOptions;
use crate::plan::{FileDrop, Layer};
use crate::shell;

/// How long nothing may come from a server before it is given up, in seconds.
const STALLED: &str = "60";

/// Where a command is looked for, should the environment not say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Run<'_> {
    /// Fetches into the run's directory, and returns where the file is. Whether it is what the
    /// manifest wants is found out when it is dropped.
    pub(super) fn fetch(
        &mut self,
        layer: &Layer,
        drop: &FileDrop,
        url: &str,
    ) -> Result<PathBuf, Failure> {
        let subject =
            Subject { layer: layer.name.clone(), doing: Doing::Drop(drop.path.to_string()) };
        let fail = |reason: &str| {
            Failure::of(
                status::FILES,
                subject.clone(),
                &drop.at,
                format!("could not be fetched: {reason}"),
            )
        };
        let Some(directory) = &self.context.directory else {
            return Err(fail("there is no state directory to put it into"));
        };
        let (to, heads) = (directory.place("fetched"), directory.place("fetched.heads"));
        let Some(command) = command(url, &to, &heads) else {
            return Err(fail("neither `curl` nor `wget` is installed"));
        };
        let job = Job {
            subject: subject.clone(),
            at: &drop.at,
            text: url,
            status: status::FILES,
            download: Some(Growing { file: &to, heads: &heads }),
        };
        let options =
            SpawnOptions { tick: self.context.observer.tick(), ..SpawnOptions::default() };
        let program = command.get_program().to_string_lossy().into_owned();
        self.command(job, command, options).map_err(|failure| match failure.cause {
            Cause::Ended => {
                let reason = format!("`{program}` could not fetch {url}: it {}", failure.reason);
                Failure { reason: shell::reason(&reason).into_owned(), ..failure }
            }
            _ => failure,
        })?;
        Ok(to)
    }
}

fn command(url: &str, to: &Path, heads: &Path) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let is_there = |name: &str| std::env::split_paths(&path).any(|at| at.join(name).is_file());
    Some(if is_there("curl") {
        let mut curl = host_command("curl");
        curl.args(["--fail", "--location", "--silent", "--show-error", "--proto", "=http,https"]);
        curl.args(["--max-redirs", "10", "--speed-time", STALLED, "--speed-limit", "1"]);
        curl.arg("--dump-header").arg(heads).arg("--output").arg(to).arg("--").arg(url);
        curl
    } else if is_there("wget") {
        let mut wget = host_command("wget");
        wget.args(["--no-verbose", "--tries=3", "--timeout", STALLED, "--output-document"]);
        wget.arg(to).arg("--").arg(url);
        wget
    } else {
        return None;
    })
}
