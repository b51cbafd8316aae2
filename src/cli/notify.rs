//! `notify.toml`: a command that is told how runs end.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::arguments::LogFormat;
use super::output;
use crate::host::child::{self, End};
use crate::host::ended::describe;
use crate::host::program;
use crate::host::settings;
use crate::host::trust::{Policy, Trust, Untrusted};
use crate::manifest::Duration;
use crate::record::RunRecord;

/// The name of the files.
const NAME: &str = "notify.toml";

/// How long the command may take where nobody says.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// A command that is told how runs end.
#[derive(Debug)]
pub(super) struct Notify {
    program: PathBuf,
    arguments: Vec<String>,
    on: On,
    limit: std::time::Duration,
}

/// A file that says so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    command: Vec<String>,
    #[serde(default)]
    on: On,
    timeout: Option<String>,
}

/// Of which runs it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum On {
    /// Of those that did not do what they should.
    #[default]
    Failure,
    /// Of all.
    Always,
}

impl Notify {
    /// Reads whom this host, or the caller, wants to be told. What cannot be used is a warning, and so is what
    /// others could have written: `--allow-untrusted` speaks of roles and layers, not of this.
    pub(super) fn read(log_format: LogFormat) -> Option<Self> {
        let trust = Trust::observe(Policy::Refuse);
        // The caller's own words count more.
        for path in settings::paths(NAME).iter().rev() {
            let read = settings::read(path, &trust).map_err(|error| error.to_string());
            match read.and_then(|text| text.map(|text| Self::of(&text, &trust)).transpose()) {
                Ok(None) => {}
                Ok(notify) => return notify,
                Err(why) => {
                    output::warning(
                        &format!("`{}` is not used: {why}", path.display()),
                        log_format,
                    );
                    return None;
                }
            }
        }
        None
    }

    fn of(text: &str, trust: &Trust) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let (name, arguments) = written.command.split_first().ok_or("`command` is empty")?;
        let program = match name.contains('/') {
            true => Some(PathBuf::from(name)),
            false => program::find(name),
        };
        let program = program.ok_or_else(|| format!("there is no program `{name}` in PATH"))?;
        if !program.is_absolute() {
            return Err(format!("`{name}` is neither an absolute path nor a name"));
        }
        let untrusted = trust.look(&program).map_err(|error| format!("`{name}`: {error}"))?;
        if let Some(untrusted) = untrusted.filter(Untrusted::is_refused) {
            return Err(format!("`{name}`: {}", untrusted.of_file(&program).message));
        }
        let limit = written.timeout.as_deref().map(|text| {
            Duration::parse(text)
                .map(Into::into)
                .ok_or("`timeout`: write a number and `s`, `m`, `h` or `d`")
        });
        let limit = limit.transpose()?.unwrap_or(LIMIT);
        Ok(Self { program, arguments: arguments.to_vec(), on: written.on, limit })
    }

    /// Tells of a run that has ended: its JSON is the command's standard input.
    ///
    /// # Errors
    ///
    /// What has gone wrong with that, for a warning.
    pub(super) fn tell(&self, run: &RunRecord) -> Result<(), String> {
        if self.on == On::Failure && !run.state.is_failure() {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let mut line = run.line();
        line.push(b'\n');
        let why = match child::run_with_input(command, &line, self.limit) {
            Ok(End::Own(status)) if status.success() => return Ok(()),
            Ok(End::Own(status)) => describe(status),
            Ok(End::TimedOut | End::Interrupted(_)) => {
                format!("took longer than {} s", self.limit.as_secs())
            }
            Err(error) => format!("could not be started: {error}"),
        };
        Err(format!("the notification command `{}` {why}", self.program.display()))
    }
}
