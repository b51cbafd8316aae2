//! What a plan shows of a ladder: where each layer comes from.

use std::collections::BTreeMap;

use super::act::{CacheAct, Planned};
use super::ladder::Ladder;
use super::plan::{Cache, SlotKind, label};
use crate::plan::{CacheStatus, Inner, Plan, Storage};

impl Ladder {
    /// Returns the plan as it is shown: it says of the upstream and of each layer where it comes from,
    /// and has the arguments with which the upstream is called.
    #[must_use]
    pub fn annotate(&self, plan: &Plan, cache: &Cache) -> Plan {
        let mut plan = plan.clone();
        let Some(wanted) = cache.wanted() else { return plan };
        let unused = self.acts.iter().find_map(|planned| match &planned.act {
            CacheAct::Without { why } => Some(why.clone()),
            CacheAct::Refuse { why, .. } | CacheAct::Distrust { why, .. } => {
                Some(format!("{why}; the run would end here"))
            }
            _ => None,
        });
        plan.storage = Storage { mode: wanted.mode, rebuild: wanted.rebuild, unused };
        let Cache::Usable(cache) = cache else { return plan };
        let mut statuses = self.statuses();
        let refuses = matches!(
            self.acts.last(),
            Some(Planned { act: CacheAct::Refuse { .. } | CacheAct::Distrust { .. }, .. })
        );
        // What a run that only fills the store leaves out is made where a container is.
        let always = || CacheStatus::Always { why: cache.end.clone().unwrap_or_default() };
        let mut layer = &mut plan.layer;
        loop {
            let own = label(&layer.name, SlotKind::Layer);
            layer.standing = match statuses.remove(&own) {
                Some(status) => Some(status),
                None if layer.leaves_nothing() => Some(CacheStatus::Nothing),
                None => (!refuses).then(always),
            };
            match &mut layer.inner {
                Inner::Layer(inner) => layer = inner,
                Inner::Upstream(call) => {
                    let status = statuses.remove(&label(&layer.name, SlotKind::Upstream));
                    if status.as_ref().is_some_and(CacheStatus::is_stored) {
                        call.args.clone_from(&cache.upstream().args);
                    }
                    call.standing = status.or_else(|| (!refuses).then(always));
                    return plan;
                }
            }
        }
    }

    /// Returns where each part of a layer comes from, by what a person calls it.
    fn statuses(&self) -> BTreeMap<String, CacheStatus> {
        let status = |act: &CacheAct| match act {
            CacheAct::Take { what, entry } => {
                Some((what.clone(), CacheStatus::Stored { entry: *entry }))
            }
            CacheAct::Pull { what, entry, size, .. } => {
                Some((what.clone(), CacheStatus::Pulled { entry: *entry, size: *size }))
            }
            CacheAct::Build { what, decided_by: Some(by), .. } => {
                Some((what.clone(), CacheStatus::Decided { by: by.clone() }))
            }
            CacheAct::Build { what, key, why, .. } => {
                Some((what.clone(), CacheStatus::Built { key: *key, why: why.clone() }))
            }
            CacheAct::Leave { what, why } => {
                Some((what.clone(), CacheStatus::Always { why: why.clone() }))
            }
            CacheAct::Make { what, why } => {
                let why = why.clone().unwrap_or_default();
                Some((what.clone(), CacheStatus::Always { why }))
            }
            _ => None,
        };
        self.acts.iter().filter_map(|planned| status(&planned.act)).collect()
    }
}
