//! `plan`: shows what a run would do.

use super::arguments::{PlanArguments, PlanFormat};
use super::remote::RemoteChoice;
use super::request::{LockUse, Request, check, check_lxcpath, target, wanted};
use super::start::InitialConfig;
use super::{load, output};
use crate::cache::PlanDocument;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::lxcpath;
use crate::host::trust::{Policy, Trust};
use crate::plan::{self, Detail, Plan, Template};

pub(super) fn main(arguments: &PlanArguments) -> u8 {
    let request = match request(arguments) {
        Ok(Ok(request)) => request,
        Ok(Err(status)) => return status,
        Err(message) => {
            output::error(&message, None);
            return status::USAGE;
        }
    };
    let prepared = match request.prepare() {
        Ok(prepared) => prepared,
        Err(status) => return status,
    };
    let ladder = prepared.ladder_with_registry();
    let plan = ladder.annotate(&prepared.plan, &prepared.cache);
    let ends_with = match pin_holds(&plan) {
        _ if prepared.is_untrusted || ladder.distrusts() => status::TRUST,
        true => 0,
        false => status::UPSTREAM,
    };
    match arguments.format {
        PlanFormat::Text => output::printed(ends_with, |to| {
            let detail = if arguments.verbose > 0 { Detail::Whole } else { Detail::Lines };
            plan::text(&plan, detail, to)?;
            ladder.text(detail, to)
        }),
        PlanFormat::Mermaid => output::printed(ends_with, |to| plan::mermaid(&plan, to)),
        PlanFormat::Json => output::printed_json(ends_with, |to| {
            let document = PlanDocument { plan: &plan, ladder: &ladder };
            serde_json::to_writer_pretty(&mut *to, &document)?;
            to.write_all(b"\n")
        }),
    }
}

fn request(arguments: &PlanArguments) -> Result<Result<Request, u8>, String> {
    let manifest = arguments.manifest.path();
    let name = arguments.name.clone().unwrap_or_else(|| load::name_of(&manifest));
    check(Some(&name), &arguments.args)?;
    let caller = Caller::observe();
    let lxcpath = match &arguments.lxcpath {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        None => lxcpath::default(&caller),
    };
    check_lxcpath(&lxcpath)?;
    let start = InitialConfig::read(arguments.config.as_deref(), &caller)?;
    let path = lxcpath.join(&name);
    let target = target(&name, &path, start.mapping.mapped(), arguments.args.clone());
    let mut wanted = wanted(arguments.storage.storage.into(), arguments.storage.rebuild);
    let choice = RemoteChoice {
        from: arguments.remote.from.as_deref(),
        only_pull: arguments.remote.only_pull,
        allow_untrusted: arguments.allow_untrusted,
    };
    let remote = match choice.open(&mut wanted) {
        Ok(remote) => remote,
        Err(status) => return Ok(Err(status)),
    };
    Ok(Ok(Request {
        manifest,
        values: arguments.values.clone(),
        trust: Trust::observe(Policy::Warn.unless(arguments.allow_untrusted)),
        config: start.config(&target.rootfs),
        ids: start.ids(&caller),
        wanted,
        remote,
        lock: LockUse::Tell.unless(arguments.storage.locked),
        target,
    }))
}

/// Tells whether the template is the one that the manifest pins.
pub(super) fn pin_holds(plan: &Plan) -> bool {
    match (&plan.upstream().program, &plan.upstream().pin) {
        (Template::File { digest, .. }, Some((pin, _))) => digest == pin,
        _ => true,
    }
}
