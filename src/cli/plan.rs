//! `plan`: shows what a run would do.

use std::path::Path;

use super::arguments::{PlanArguments, PlanFormat, StorageArguments, ValueArguments};
use super::load::{self, Loaded};
use super::output;
use super::start::Start;
use super::storage::Wanted;
use crate::chain::Chain;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::lxcpath;
use crate::lxc::call::{Mapped, is_container_name};
use crate::observe::probe;
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
    let start = match Start::read(arguments.config.as_deref(), &caller) {
        Ok(start) => start,
        Err(message) => {
            output::error(&message, None);
            return status::USAGE;
        }
    };
    let path = lxcpath.join(&name);
    let wanted = {
        let StorageArguments { storage, rebuild } = arguments.storage;
        start.wanted(storage.into(), rebuild, &caller, &path.join("rootfs"))
    };
    let target = target(&name, &path, start.mapping.mapped(), arguments.args.clone());
    let Some((plan, _)) = make(&manifest, target, &arguments.values, &wanted) else {
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
    wanted: &Wanted,
) -> Option<(Plan, Chain)> {
    let (loaded, mut report) = Loaded::read(manifest, values);
    let chain = loaded.as_ref().and_then(|loaded| {
        let (chain, faults) = loaded.bind(&target.name, None);
        report.extend(faults);
        chain
    });
    let facts = chain.as_ref().and_then(|chain| {
        let (facts, faults) = probe::probe(chain, &target.args);
        report.extend(faults);
        facts
    });
    let usable = chain.zip(facts).filter(|_| !report.has_errors());
    let plan = usable.and_then(|(chain, facts)| {
        let plan = plan::build(&chain, target, &facts).map_err(|faults| report.extend(faults));
        let plan = plan.ok()?;
        let plan = match &loaded {
            Some(loaded) => wanted.apply(plan, loaded, &chain, &facts),
            None => plan,
        };
        Some((plan, chain))
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

/// Tells whether the template is the one that the manifest pins.
pub(super) fn pin_holds(plan: &Plan) -> bool {
    match (&plan.upstream().program, &plan.upstream().pin) {
        (Template::File { digest, .. }, Some((pin, _))) => digest == pin,
        _ => true,
    }
}
