//! `validate`: judges manifests.

use std::path::Path;

use super::arguments::{FindingsFormat, ValidateArguments};
use super::load::{self, Loaded};
use super::lock_file::LockFile;
use super::output;
use crate::cache::PLACEHOLDER;
use crate::diagnostic::{Report, Severity};
use crate::host::trust::{Policy, Trust};
use crate::lock::RoleInputs;
use crate::observe::probe::Probe;
use crate::plan;

/// The exit status of findings.
const FINDINGS: u8 = 1;

pub(super) fn main(arguments: &ValidateArguments) -> u8 {
    let mut all = Report::default();
    for manifest in &arguments.manifests {
        all.extend(judge(manifest, arguments));
    }
    let status = if all.has_errors() { FINDINGS } else { 0 };
    match arguments.format {
        FindingsFormat::Text => {
            output::diagnostics(&all);
            if !all.is_empty() {
                output::say("");
            }
            output::say(&summary(arguments.manifests.len(), &all));
            status
        }
        FindingsFormat::Json => output::printed_json(status, |to| {
            serde_json::to_writer_pretty(&mut *to, &all.to_json())?;
            to.write_all(b"\n")
        }),
        FindingsFormat::Github => {
            output::printed(status, |to| to.write_all(all.to_github().as_bytes()))
        }
    }
}

/// Judges one manifest, with the files that it names. That its template is not on this host is no error: it may be on
/// the one that the manifest is for.
fn judge(manifest: &Path, arguments: &ValidateArguments) -> Report {
    let name = load::name_of(manifest);
    let trust = Trust::observe(Policy::Warn);
    let (loaded, mut report) = Loaded::read_in_part(manifest, &arguments.values, &trust);
    let Some(loaded) = loaded else { return report };
    // What can be bound of a faulty role names files that may have faults of their own.
    let (chain, faults) = loaded.judge(&name);
    report.extend(faults);
    let Some(chain) = chain else { return report };
    let (facts, faults) = Probe::new(&trust).files(&chain);
    report.extend(faults);
    report.extend(plan::check(&chain, &facts));
    report.extend(Probe::warn_of_template(&chain));
    match LockFile::read(manifest, &trust) {
        Ok(Some(file)) if !report.has_errors() => {
            if let Some(twin) = loaded.bind_twin(PLACEHOLDER) {
                let (levels, cache) = (loaded.levels(), None);
                let role = RoleInputs { levels, chain: &chain, twin: &twin, facts: &facts, cache };
                report.extend(file.outdated(&file.lock.hold(role).differences));
            }
        }
        Ok(_) => {}
        Err(faults) => report.extend(faults),
    }
    report
}

fn summary(manifests: usize, report: &Report) -> String {
    let numbered = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    format!(
        "{}: {}, {}",
        numbered(manifests, "manifest"),
        numbered(report.count(Severity::Error), "error"),
        numbered(report.count(Severity::Warning), "warning"),
    )
}
