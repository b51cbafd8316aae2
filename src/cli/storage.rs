//! How the command line lets a plan use the layer store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::arguments::StorageMode;
use super::load::Loaded;
use crate::chain::Chain;
use crate::digest::Stamp;
use crate::host::caller::Caller;
use crate::observe::ground;
use crate::plan::{self, Facts, Mode, PLACEHOLDER, Plan, Storage};
use crate::store::{self, Store};

/// What a run wants of the layer store.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// How the container comes to what is stored.
    pub(super) mode: Mode,
    /// Whether all is made anew.
    pub(super) rebuild: bool,
    /// What was made before this time is made anew, since 1970.
    pub(super) since: Option<Duration>,
    /// What LXC starts the container's config with.
    pub(super) config: Vec<u8>,
    /// The name of the id map that the run works in; nothing, where it has several pieces.
    pub(super) map: Option<String>,
}

impl Wanted {
    /// Returns what is wanted from now on.
    pub(super) fn new(mode: Mode, rebuild: bool, config: Vec<u8>, map: Option<String>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { mode, rebuild, since: rebuild.then_some(now), config, map }
    }

    /// Returns that of a plan which is not run.
    pub(super) fn nothing() -> Self {
        Self::new(Mode::None, false, Vec::new(), None)
    }

    /// Lets a plan use the store.
    pub(super) fn apply(&self, plan: Plan, loaded: &Loaded, chain: &Chain, facts: &Facts) -> Plan {
        let (mode, rebuild) = (self.mode, self.rebuild);
        if mode == Mode::None {
            return plan;
        }
        let since = self.since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let wanted = Storage { mode, rebuild, since, ..Storage::default() };
        let Some(map) = &self.map else {
            let unused = Some("the container's ids are mapped in several pieces".to_owned());
            return Plan { storage: Storage { unused, ..wanted }, ..plan };
        };
        // Its faults are those of the container's own, which are told already.
        let (Some(shadow), _) = loaded.bind(PLACEHOLDER, None) else {
            let unused = Some("it cannot be bound for a container of another name".to_owned());
            return Plan { storage: Storage { unused, ..wanted }, ..plan };
        };
        let store = store::directory(&Caller::observe()).map(|top| Store::new(&top, map));
        // What is made anew is no reason to trust what was known.
        let recalling = store.as_ref().filter(|_| !rebuild);
        let recall = |stamp: &Stamp| recalling.and_then(|store| store.recall(stamp));
        let (ground, readings) = ground::observe((chain, &plan), facts, &recall);
        let wanted = Storage { readings, ..wanted };
        let slots = |plan: &Plan| -> Vec<String> {
            let pattern = plan.storage.pattern.iter();
            pattern.flat_map(|pattern| pattern.stored.iter().map(plan::Storable::slot)).collect()
        };
        let manifest = plan.manifest.absolute.clone();
        let plan = plan::store(plan, chain, &shadow, facts, wanted, ground);
        let Some(store) = store else {
            let unused = Some("no directory for it is known: there is no home".to_owned());
            return Plan { storage: Storage { unused, ..plan.storage }, ..plan };
        };
        if let Err(error) = store.check() {
            let unused = Some(format!("`{}`: {error}", store.top().display()));
            return Plan { storage: Storage { unused, pattern: None, ..plan.storage }, ..plan };
        }
        let Ok(mut stock) = store.stock(&manifest, &slots(&plan)) else {
            return plan::settle(plan, None);
        };
        loop {
            let settled = plan::settle(plan.clone(), Some(&stock));
            // What is damaged is made anew by a run.
            let damaged = settled.entries().into_iter().find(|id| store.fault(*id).is_some());
            match damaged {
                None => return settled,
                Some(id) => stock.entries.remove(&id.key),
            };
        }
    }
}

impl From<StorageMode> for Mode {
    fn from(mode: StorageMode) -> Self {
        match mode {
            StorageMode::Copy => Self::Copy,
            StorageMode::Overlay => Self::Overlay,
            StorageMode::None => Self::None,
        }
    }
}
