//! A manifest as an LXC template: the door that `lxc-create -t ROLE.toml` comes through.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::arguments::ValueArguments;
use super::load::Loaded;
use super::template::{self, Call};
use super::{output, passed_on, role_help};
use crate::diagnostic::{Diagnostic, Report};
use crate::execute::status;
use crate::host::trust::{Policy, Trust};
use crate::lxc::call::{self, Arguments};
use crate::shell;

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
    let Some(mut loaded) = loaded else {
        // What its options are nobody knows then.
        let arguments = Arguments::parse(words).unwrap_or_default();
        return template::refused((&manifest, None), &arguments, &report);
    };
    let variables = loaded.variables();
    let options: Vec<_> = variables.iter().map(passed_on::option).collect();
    let arguments = match Arguments::parse_for_role(words, &options) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&manifest, &error.to_string()),
    };
    match loaded.take_options(&template::values(&arguments), &trust) {
        Ok(more) => report.extend(more),
        Err(faults) => {
            report.extend(faults);
            return template::refused((&manifest, Some(&loaded)), &arguments, &report);
        }
    }
    if let Some(slip) = passed_on::slip(&loaded, &options, &arguments, &trust) {
        return usage(&manifest, &slip.to_string());
    }
    let help = role_help::text(&manifest, &loaded, &variables);
    // Somebody looks what it is.
    if words.is_empty() {
        return shown(&help, &report);
    }
    let call = Call { manifest: &manifest, trust, arguments: &arguments, help: Some(help) };
    call.run(Some(loaded), report)
}

/// Says what is wrong with the words for a role.
fn usage(manifest: &Path, message: &str) -> u8 {
    let absolute = std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_path_buf());
    let hint = format!("run `lxc-create -t {} -h`", shell::word(&absolute));
    output::error(message, Some(&hint));
    status::USAGE
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
