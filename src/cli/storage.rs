//! How the command line lets a plan use the layer store.

use super::arguments::{StorageArguments, StorageMode};
use super::load::Loaded;
use crate::chain::Chain;
use crate::digest::Stamp;
use crate::host::caller::Caller;
use crate::host::ground;
use crate::plan::{self, Facts, Mode, PLACEHOLDER, Plan, Storage};
use crate::store::{self, Store};

/// What a run wants of the layer store.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// How the container comes to what is stored, and whether all is made anew.
    pub(super) storage: StorageArguments,
    /// What LXC starts the container's config with.
    pub(super) config: Vec<u8>,
    /// The name of the id map that the run works in; nothing, where it has several pieces.
    pub(super) map: Option<String>,
}

impl Wanted {
    /// Returns that of a plan which is not run.
    pub(super) fn nothing() -> Self {
        let storage = StorageArguments { storage: StorageMode::None, rebuild: false };
        Self { storage, ..Self::default() }
    }

    fn mode(&self) -> Mode {
        match self.storage.storage {
            StorageMode::Copy => Mode::Copy,
            StorageMode::Overlay => Mode::Overlay,
            StorageMode::None => Mode::None,
        }
    }

    /// Lets a plan use the store.
    pub(super) fn apply(&self, plan: Plan, loaded: &Loaded, chain: &Chain, facts: &Facts) -> Plan {
        let mode = self.mode();
        if mode == Mode::None {
            return plan;
        }
        let wanted = Storage { mode, rebuild: self.storage.rebuild, ..Storage::default() };
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
        let recalling = store.as_ref().filter(|_| !self.storage.rebuild);
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
