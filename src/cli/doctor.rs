//! `doctor`: says what this host and this user can and cannot do.

use std::path::Path;

use super::arguments::{DoctorArguments, ReportFormat};
use super::hang::Hang;
use super::output;
use crate::execute::FULL_DISK_HINT;
use crate::host::caller::Caller;
use crate::host::passage::{self, Passer};
use crate::host::userns::Ids;
use crate::observe::doctor::{self, Remedies};
use crate::observe::finding::{Finding, Verdict, fault};
use crate::shell;
use crate::store;

/// The exit status of findings.
const FINDINGS: u8 = 1;

/// In which column it is said what was found.
const SAYS: usize = 22;

/// What is said of the store.
const SUBJECT: &str = "layer store";

pub(super) fn main(arguments: &DoctorArguments) -> u8 {
    let mut findings = doctor::examine();
    findings.extend(layer_store());
    let faultless =
        findings.iter().all(|finding| matches!(finding.verdict, Verdict::Ok | Verdict::Note));
    let status = if faultless { 0 } else { FINDINGS };
    match arguments.output.format {
        ReportFormat::Text => output::printed_report(status, Hang::Column(SAYS), |to| {
            for Finding { verdict, subject, says, advice } in &findings {
                let says = shell::one_line(says);
                writeln!(to, "{:4} {subject:16} {says}", verdict.to_string())?;
                if let Some(advice) = advice {
                    writeln!(to, "     {:16} {}", "", shell::one_line(advice))?;
                }
            }
            Ok(())
        }),
        ReportFormat::Json => output::printed_json(status, |to| {
            serde_json::to_writer_pretty(&mut *to, &findings)?;
            to.write_all(b"\n")
        }),
    }
}

/// Looks at where layers are stored. A run goes on without the store where this is a fault.
fn layer_store() -> Vec<Finding> {
    let caller = Caller::observe();
    let Some(top) = store::directory(&caller) else {
        let advice =
            format!("or set {}; until then each create builds all layers", store::VARIABLE);
        return vec![fault(Verdict::Warn, SUBJECT, store::NO_DIRECTORY, advice)];
    };
    match store::check(&top, store::owner(&caller)) {
        Ok(_) => {
            let remedies = Remedies { variable: Some(store::VARIABLE), full: Some(FULL_DISK_HINT) };
            let mut findings = doctor::filesystem(&top, SUBJECT, remedies);
            findings.extend(closed(&caller, &top));
            findings
        }
        Err(error) => {
            let says = format!("`{}` is not used: {error}", top.display());
            let advice = "until that is mended, each create builds all layers";
            vec![fault(Verdict::Warn, SUBJECT, says, advice)]
        }
    }
}

/// Tells of a directory that keeps containers of an ordinary user from standing on the store.
fn closed(caller: &Caller, top: &Path) -> Option<Finding> {
    let ids = if caller.uid == 0 { Ids::of_this_process() } else { Ids::subordinate(caller) };
    let closed = passage::closed_to(Some(Passer::root_of(ids?, caller)), top)?;
    let closed = shell::word(closed);
    let says =
        format!("the ids of your containers may not pass {closed}: `--storage=overlay` is refused");
    Some(fault(Verdict::Warn, SUBJECT, says, format!("`chmod o+x {closed}` lets them")))
}
