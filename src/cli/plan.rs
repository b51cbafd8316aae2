//! `plan`: shows what a run would do.

use std::path::Path;

use super::arguments::{PlanArguments, PlanFormat, ValueArguments};
use super::mapping::{self, Mapping};
use super::{load, output};
use crate::chain::Chain;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::{lxcpath, probe};
use crate::lxc::call::{Mapped, is_container_name};
use crate::plan::{self, Detail, Plan, Target, Template};
use crate::shell;

pub(super) fn main(arguments: &PlanArguments) -> u8 {
    let manifest = arguments.manifest.path();
    let name = arguments.name.clone().unwrap_or_else(|| load::name_of(&manifest));
    if !is_container_name(&name) {
        output::error(&format!("`{}` cannot be the name of a container", shell::word(&name)), None);
        return status::USAGE;
    }
    if let Some(word) = arguments.args.iter().find(|word| shell::has_control(word)) {
        let message = format!("the argument {} holds a control character", shell::word(word));
        output::error(&message, None);
        return status::USAGE;
    }
    let caller = Caller::observe();
    let lxcpath = match &arguments.lxcpath {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        None => lxcpath::default(&caller),
    };
    let target = target(&name, &lxcpath.join(&name), mapped(&caller), arguments.args.clone());
    let Some((plan, _)) = make(&manifest, target, &arguments.values) else {
        return status::USAGE;
    };
    let ends_with = if pin_holds(&plan) { 0 } else { status::UPSTREAM };
    output::printed(ends_with, |to| match arguments.format {
        PlanFormat::Text => {
            let detail = if arguments.verbose > 0 { Detail::Whole } else { Detail::Lines };
            plan::text(&plan, detail, to)
        }
        PlanFormat::Mermaid => plan::mermaid(&plan, to),
        PlanFormat::Json => {
            serde_json::to_writer_pretty(&mut *to, &plan)?;
            to.write_all(b"\n")
        }
    })
}

/// Makes the plan of a manifest, and shows what is wrong with it.
pub(super) fn make(
    manifest: &Path,
    target: Target,
    values: &ValueArguments,
) -> Option<(Plan, Chain)> {
    let (chain, mut report) = load::chain(manifest, &target.name, values, None);
    let facts = chain.as_ref().and_then(|chain| {
        let (facts, faults) = probe::probe(chain);
        report.extend(faults);
        facts
    });
    let usable = chain.zip(facts).filter(|_| !report.has_errors());
    let plan = usable.and_then(|(chain, facts)| {
        let plan = plan::build(&chain, target, &facts).map_err(|faults| report.extend(faults));
        plan.ok().map(|plan| (plan, chain))
    });
    output::diagnostics(&report);
    plan
}

/// Returns the target that LXC would make of a container's directory.
pub(super) fn target(
    name: &str,
    path: &Path,
    mapped: Option<Mapped>,
    args: Vec<std::ffi::OsString>,
) -> Target {
    Target {
        name: name.to_owned(),
        arch: probe::arch().to_owned(),
        path: path.to_path_buf(),
        rootfs: path.join("rootfs"),
        mapped,
        args,
    }
}

/// Returns the pair that the template would be given: as `create` gives it, and LXC by the same
/// default.conf.
fn mapped(caller: &Caller) -> Option<Mapped> {
    let config = lxcpath::default_config(caller);
    let config = config.and_then(|path| mapping::starting_config(&path).ok()).unwrap_or_default();
    Mapping::decide(&config, caller).mapped()
}

/// Tells whether the template is the one that the manifest pins.
pub(super) fn pin_holds(plan: &Plan) -> bool {
    match (&plan.upstream().program, &plan.upstream().pin) {
        (Template::File { digest, .. }, Some((pin, _))) => digest == pin,
        _ => true,
    }
}
