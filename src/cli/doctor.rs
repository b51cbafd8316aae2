//! `doctor`: says what this host and this user can and cannot do.

use super::arguments::{DoctorArguments, ReportFormat};
use super::output;
use crate::observe::doctor;
use crate::observe::finding::{Finding, Verdict};
use crate::shell;

/// The exit status of findings.
const FINDINGS: u8 = 1;

pub(super) fn main(arguments: &DoctorArguments) -> u8 {
    let findings = doctor::examine();
    let faultless =
        findings.iter().all(|finding| matches!(finding.verdict, Verdict::Ok | Verdict::Note));
    let status = if faultless { 0 } else { FINDINGS };
    output::printed(status, |to| match arguments.format {
        ReportFormat::Text => {
            for Finding { verdict, subject, says, advice } in &findings {
                let says = shell::one_line(says);
                writeln!(to, "{:4} {subject:16} {says}", verdict.to_string())?;
                if let Some(advice) = advice {
                    writeln!(to, "     {:16} {}", "", shell::one_line(advice))?;
                }
            }
            Ok(())
        }
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut *to, &findings)?;
            to.write_all(b"\n")
        }
    })
}
