//! A manifest as an LXC template: the door that `lxc-create -t ROLE.toml` comes through.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::arguments::ValueArguments;
use super::load::Loaded;
use super::template::{self, Call};
use super::{output, role_help};
use crate::diagnostic::{Diagnostic, Report};
use crate::execute::status;
use crate::host::trust::{Policy, Trust};
use crate::lxc::call::{self, Arguments, VariableOption};
use crate::manifest::{Variable, VariableType};

/// Returns the manifest that the program was called by, and the words for it: the kernel puts the
/// manifest's path before those that the caller gave.
pub(super) fn called_by(words: &[OsString]) -> Option<(&OsStr, &[OsString])> {
    let (first, rest) = words.split_first()?;
    let bytes = first.as_bytes();
    (bytes.contains(&b'/') && !bytes.starts_with(b"-")).then_some((first, rest))
}

/// Runs the program as the template that a manifest is, and returns the exit status.
pub(super) fn main(path: &OsStr, words: &[OsString]) -> u8 {
    output::trace(0);
    let trust = Trust::observe(Policy::Refuse.unless(call::allows_untrusted(words)));
    let manifest = match behind_link(Path::new(path), &trust) {
        Ok(manifest) => manifest,
        Err(fault) => return output::refused(&fault.into()),
    };
    let (loaded, mut report) = Loaded::read(&manifest, &ValueArguments::default(), &trust);
    let Some(loaded) = loaded else { return output::refused(&report) };
    let variables = loaded.variables();
    let options: Vec<_> = variables.iter().map(option).collect();
    let arguments = match Arguments::parse_for_role(words, &options) {
        Ok(arguments) => arguments,
        Err(error) => return template::usage(&error.to_string()),
    };
    let loaded = match loaded.with_values(&template::values(&arguments), &trust) {
        Ok((loaded, more)) => {
            report.extend(more);
            loaded
        }
        Err(faults) => {
            report.extend(faults);
            return output::refused(&report);
        }
    };
    let help = role_help::text(&manifest, &loaded, &variables);
    // Somebody looks what it is.
    if words.is_empty() {
        return shown(&help, &report);
    }
    let call = Call { manifest: &manifest, trust, arguments: &arguments, help: Some(help) };
    call.run(Some(loaded), report)
}

fn shown(help: &str, report: &Report) -> u8 {
    output::diagnostics(report);
    let status = if report.has_errors() { status::USAGE } else { 0 };
    output::printed(status, |to| to.write_all(help.as_bytes()))
}

/// Returns the manifest itself where a link of LXC's template directory leads to it: what it names is beside
/// the file, and not beside the link.
fn behind_link(path: &Path, trust: &Trust) -> Result<PathBuf, Diagnostic> {
    if !path.is_symlink() {
        return Ok(path.to_path_buf());
    }
    let fault = |error: std::io::Error| Diagnostic::of_file(path, error.to_string());
    match trust.look(path).map_err(fault)? {
        Some(untrusted) if untrusted.is_refused() => Err(untrusted.of_file(path)),
        _ => path.canonicalize().map_err(fault),
    }
}

fn option(variable: &Variable) -> VariableOption {
    let is_flag = variable.kind == Some(VariableType::Boolean);
    VariableOption { name: variable.name.clone(), is_flag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_word_with_a_slash_is_a_manifest() {
        for (line, expected) in [
            ("/srv/web.toml --path=/l/c", Some("/srv/web.toml")),
            ("./web.toml", Some("./web.toml")),
            ("web.toml", None),
            ("--path=/l/c /srv/web.toml", None),
            ("plan roles/web.toml", None),
            ("", None),
        ] {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let found = called_by(&words).map(|(manifest, rest)| {
                assert_eq!(rest.len(), words.len() - 1);
                manifest.to_str().unwrap()
            });
            assert_eq!(found, expected, "{line}");
        }
    }
}
