//! `plan`: shows what a run would do, or what it would change in a container that exists.

use std::path::Path;

use super::arguments::{PlanArguments, PlanFormat, ReportFormat};
use super::hang::Hang;
use super::judge::Judge;
use super::meant::{record_of, shown_path};
use super::prepare::Prepared;
use super::remote::RemoteChoice;
use super::request::{LockUse, Request, check, check_lxcpath, target, wanted};
use super::role_difference::RoleDifference;
use super::role_plan::RolePlan;
use super::start::InitialConfig;
use super::{load, output, plan_short};
use crate::cache::{CacheAct, Ladder, PlanDocument};
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::lxcpath;
use crate::host::trust::{Policy, Trust};
use crate::observe::container::Container;
use crate::plan::{self, Detail, Plan, Template};
use crate::record::{Outcome, Record};
use crate::shell;

/// The exit status of findings.
const FINDINGS: u8 = 1;

pub(super) fn main(arguments: &PlanArguments) -> u8 {
    let manifests = arguments.manifests.paths();
    let refusal = match (arguments.format, manifests.len()) {
        (PlanFormat::Mermaid, 2..) => Some("`--format=mermaid` draws one manifest"),
        (PlanFormat::Mermaid, _) if arguments.diff => Some("`--format=mermaid` draws no `--diff`"),
        (_, 2..) if arguments.name.is_some() => {
            Some("`--name` names one container, and there are several manifests")
        }
        _ => None,
    };
    if let Some(refusal) = refusal {
        output::error(refusal, None);
        return status::USAGE;
    }
    let mut planner = Planner { arguments, judge: Judge::new(Caller::observe()) };
    match manifests.as_slice() {
        [manifest] if arguments.format != PlanFormat::Github => planner.show(manifest),
        manifests => planner.summarise(manifests),
    }
}

/// Plans roles.
struct Planner<'a> {
    arguments: &'a PlanArguments,
    judge: Judge,
}

/// A role that was planned.
struct PlannedRole {
    plan: Plan,
    ladder: Ladder,
    /// What would change in the container, where that is asked for.
    difference: Option<RoleDifference>,
    /// The exit status.
    status: u8,
}

/// That a role cannot be planned, which was told on standard error: the exit status, and why in a line.
type Unplanned = (u8, String);

impl Planner<'_> {
    /// Shows all of one plan.
    fn show(&mut self, manifest: &Path) -> u8 {
        let role = match self.plan(manifest) {
            Ok(role) => role,
            Err((status, _)) => return status,
        };
        let PlannedRole { plan, ladder, difference, status } = role;
        if let Some(difference) = difference {
            let format = match self.arguments.format {
                PlanFormat::Json => ReportFormat::Json,
                _ => ReportFormat::Text,
            };
            return difference.print(status, format, true);
        }
        if self.arguments.format == PlanFormat::Text {
            tell_of_existing(&plan);
        }
        match self.arguments.format {
            PlanFormat::Text if self.arguments.short => {
                output::printed(status, |to| plan_short::write(&plan, &ladder, to))
            }
            PlanFormat::Text | PlanFormat::Github => {
                output::printed_report(status, Hang::Nest, |to| {
                    let is_whole = self.arguments.verbose > 0;
                    let detail = if is_whole { Detail::Whole } else { Detail::Lines };
                    plan::text(&plan, detail, to)?;
                    ladder.text(detail, to)
                })
            }
            PlanFormat::Mermaid => output::printed(status, |to| plan::mermaid(&plan, to)),
            PlanFormat::Json => output::printed_json(status, |to| {
                let document = PlanDocument { plan: &plan, ladder: &ladder };
                serde_json::to_writer_pretty(&mut *to, &document)?;
                to.write_all(b"\n")
            }),
        }
    }

    /// Shows several roles in short. One that cannot be planned hides no other.
    fn summarise(&mut self, manifests: &[std::path::PathBuf]) -> u8 {
        let planned: Vec<_> =
            manifests.iter().map(|manifest| (manifest, self.plan(manifest))).collect();
        let roles: Vec<RolePlan<'_>> = planned
            .iter()
            .map(|(manifest, planned)| match planned {
                Err((status, why)) => RolePlan::unusable(manifest, *status, why),
                Ok(PlannedRole { plan, ladder, difference, status }) => {
                    let document = PlanDocument { plan, ladder };
                    RolePlan::of(manifest, *status, document, difference.as_ref())
                }
            })
            .collect();
        let worst = roles.iter().map(|role| role.status).max().unwrap_or_default();
        match self.arguments.format {
            PlanFormat::Json => output::printed_json(worst, |to| {
                serde_json::to_writer_pretty(&mut *to, &roles)?;
                to.write_all(b"\n")
            }),
            PlanFormat::Github => output::printed(worst, |to| RolePlan::table(&roles, to)),
            PlanFormat::Text | PlanFormat::Mermaid => {
                output::printed_report(worst, Hang::Reasons, |to| {
                    roles.iter().try_for_each(|role| role.text(to))
                })
            }
        }
    }

    fn plan(&mut self, manifest: &Path) -> Result<PlannedRole, Unplanned> {
        let usage = |why: String| {
            output::error(&why, None);
            (status::USAGE, why)
        };
        let name = self.arguments.name.clone().unwrap_or_else(|| load::name_of(manifest));
        let container = match self.arguments.diff {
            true => Some(self.container(&name).map_err(usage)?),
            false => None,
        };
        let record = container.as_ref().map(record_of).transpose().map_err(|refusal| {
            refusal.say();
            (status::USAGE, refusal.message())
        })?;
        let of = container.as_ref().zip(record);
        let request = request(self.arguments, manifest, &name, of).map_err(usage)?;
        let request =
            request.map_err(|status| (status, "its registry cannot be used".to_owned()))?;
        let mut prepared = request.prepare_or_why()?;
        prepared.look_into_store();
        let ladder = prepared.ladder_with_registry();
        let plan = ladder.annotate(&prepared.plan, &prepared.cache);
        let difference = of.map(|(container, record)| {
            tell_of_values(manifest, record, &plan);
            self.judge.difference(container, record, &prepared)
        });
        let difference = difference.transpose().map_err(usage)?;
        let status = self.status(&prepared, &ladder, &plan, difference.as_ref());
        Ok(PlannedRole { plan, ladder, difference, status })
    }

    /// Finds the container that there has to be.
    fn container(&self, name: &str) -> Result<Container, String> {
        check(Some(name), &[])?;
        let lxcpath = lxcpath_of(self.arguments, &Caller::observe())?;
        Container::at(&lxcpath.join(name)).ok_or_else(|| {
            format!(
                "`--diff` looks into a container, and this program has made no `{}` in `{}`",
                shell::word(name),
                shown_path(&lxcpath)
            )
        })
    }

    fn status(
        &self,
        prepared: &Prepared,
        ladder: &Ladder,
        plan: &Plan,
        difference: Option<&RoleDifference>,
    ) -> u8 {
        let ends = |act: &CacheAct| matches!(act, CacheAct::Refuse { .. });
        match pin_holds(plan) {
            _ if prepared.is_untrusted || ladder.distrusts() => status::TRUST,
            false => status::UPSTREAM,
            // A role that is held to its lock and cannot be had is no plan.
            true if (self.arguments.exit_code || self.arguments.storage.lock.locked)
                && ladder.acts.iter().any(|planned| ends(&planned.act)) =>
            {
                status::STORE
            }
            true if !self.arguments.exit_code => 0,
            true => {
                let differs = difference.is_some_and(|difference| !difference.is_empty());
                if differs || !RolePlan::is_current(plan) { FINDINGS } else { 0 }
            }
        }
    }
}

/// Says that a run would find the container there already.
fn tell_of_existing(plan: &Plan) {
    let path = &plan.container.path;
    if path.join("config").exists() {
        let (name, path) = (shell::one_line(&plan.container.name), shell::word(path));
        output::say(&format!("note: container `{name}` exists already: {path}"));
    }
}

/// Says so, where a container was made with other values than it is planned with.
fn tell_of_values(manifest: &Path, record: &Record, plan: &Plan) {
    let call = &record.call;
    if *call == Record::of(plan, Outcome::default()).call {
        return;
    }
    let files = call.vars_files.iter().map(|file| format!("--vars-file={file}"));
    let set = call.set.iter().map(|set| format!("--set={set}"));
    let dashes = (!call.args.is_empty()).then(|| "--".to_owned());
    let words = files.chain(set).chain(dashes).chain(call.args.iter().cloned());
    let words = match shell::command(words) {
        none if none.is_empty() => "no values of its own".to_owned(),
        words => format!("`{words}`"),
    };
    let name = shell::word(&record.name);
    output::say(&format!(
        "note: `{name}` was made with {words}; `layered-template diff {name} {}` compares with that",
        shell::word(manifest)
    ));
}

fn lxcpath_of(arguments: &PlanArguments, caller: &Caller) -> Result<std::path::PathBuf, String> {
    let lxcpath = match &arguments.lxcpath {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        None => lxcpath::default(caller),
    };
    check_lxcpath(&lxcpath)?;
    Ok(lxcpath)
}

/// Returns what is asked for: a new container, or a new run for one that there is.
fn request(
    arguments: &PlanArguments,
    manifest: &Path,
    name: &str,
    of: Option<(&Container, &Record)>,
) -> Result<Result<Request, u8>, String> {
    check(Some(name), &arguments.args)?;
    let caller = Caller::observe();
    let path = lxcpath_of(arguments, &caller)?.join(name);
    let own_config = of.map(|(container, _)| container.path.join("config"));
    if let Some(status) = InitialConfig::refused(arguments.config.as_deref()) {
        return Ok(Err(status));
    }
    let start = match &own_config {
        Some(own) if arguments.config.is_none() => InitialConfig::of_container(own, &caller)?,
        _ => InitialConfig::read(arguments.config.as_deref(), &caller)?,
    };
    let target = target(name, &path, start.mapping.mapped(), arguments.args.clone());
    let mode = match of {
        Some((_, record)) => record.storage(),
        None => arguments.storage.storage.into(),
    };
    let mut wanted = wanted(mode, arguments.storage.rebuild);
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
        manifest: manifest.to_path_buf(),
        values: arguments.values.clone(),
        trust: Trust::observe(Policy::Warn.unless(arguments.allow_untrusted)),
        config: match of {
            Some((container, _)) => container.given_config(&target.rootfs),
            None => start.config(&target.rootfs),
        },
        ids: start.ids(&caller),
        wanted,
        remote,
        lock: LockUse::Tell.unless(arguments.storage.lock.locked),
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
