//! What a new run of a container's role would do otherwise than the run that made the container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::amount::ago;
use super::arguments::ValueArguments;
use super::container_tree::ContainerTree;
use super::load::Loaded;
use super::prepare::Prepared;
use super::request::{LockUse, Request, target, wanted};
use super::role_difference::RoleDifference;
use super::start::InitialConfig;
use crate::cache::{CachePlan, Index, SlotKind};
use crate::diagnostic::Report;
use crate::host::caller::Caller;
use crate::host::trust::Trust;
use crate::manifest::LayerName;
use crate::observe::container::Container;
use crate::plan::EntryId;
use crate::record::{Outcome, Record};
use crate::shell;
use crate::store::{Entry, Store};

/// A manifest, the variables that are set, and the files that give values.
type RoleKey = (PathBuf, Vec<String>, Vec<PathBuf>);

/// Judges containers, and remembers what several of them have in common.
pub(super) struct Judge {
    caller: Caller,
    /// What was read of a role, by its manifest and what gives it values.
    roles: BTreeMap<RoleKey, Result<Loaded, String>>,
    /// What is stored, by the id map.
    indexes: BTreeMap<String, Index>,
}

impl Judge {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, roles: BTreeMap::new(), indexes: BTreeMap::new() }
    }

    /// Says what a new run of a manifest would do otherwise than what a container was made by.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub(super) fn changes(
        &mut self,
        container: &Container,
        record: &Record,
        manifest: &Path,
    ) -> Result<Vec<String>, String> {
        let prepared = self.prepare(container, record, manifest)?;
        let now = Record::of(&prepared.plan, Outcome::default());
        let changes = record.changes_to(&now);
        if changes.is_empty() {
            return Ok(self
                .superseded(record, &prepared)
                .map(|(_, lines)| lines)
                .unwrap_or_default());
        }
        Ok(changes.into_iter().map(|change| change.text).collect())
    }

    /// Prepares a new run of a manifest for a container, with the values that it was made with.
    ///
    /// # Errors
    ///
    /// Why that cannot be done.
    pub(super) fn prepare(
        &mut self,
        container: &Container,
        record: &Record,
        manifest: &Path,
    ) -> Result<Prepared, String> {
        let manifest = manifest.to_path_buf();
        if !manifest.exists() {
            return Err(match manifest == Path::new(&record.manifest.path) {
                true => format!("its manifest `{}` is gone", manifest.display()),
                false => format!("there is no such file `{}`", manifest.display()),
            });
        }
        let set = record.call.set.clone();
        let vars_files: Vec<PathBuf> = record.call.vars_files.iter().map(PathBuf::from).collect();
        let values = ValueArguments { set: set.clone(), vars_files: vars_files.clone() };
        let role = self.roles.entry((manifest.clone(), set, vars_files));
        let loaded = role.or_insert_with(|| {
            let (loaded, report) = Loaded::read(&manifest, &values, &Trust::default());
            loaded.filter(|_| !report.has_errors()).ok_or_else(|| first_of(&report))
        });
        let loaded = loaded.as_ref().map_err(Clone::clone)?;
        let config = container.path.join("config");
        let start = InitialConfig::of_container(&config, &self.caller)?;
        let mapped = start.mapping.mapped();
        let args = record.call.args.iter().map(Into::into).collect();
        let request = Request {
            manifest,
            values,
            trust: Trust::default(),
            target: target(&container.name, &container.path, mapped, args),
            wanted: wanted(record.storage(), false),
            ids: start.ids(&self.caller),
            config: container.config(),
            lock: LockUse::Ignore,
            remote: None,
        };
        request.look(loaded).map_err(|report| first_of(&report))
    }

    /// Says what a new run that is prepared would change in a container.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub(super) fn difference(
        &mut self,
        container: &Container,
        record: &Record,
        prepared: &Prepared,
    ) -> Result<RoleDifference, String> {
        let tree = ContainerTree::find(container, record, &self.caller)?;
        let superseded = self.superseded(record, prepared);
        RoleDifference::find(&tree, (record, &container.config()), &prepared.plan, superseded)
    }

    /// Finds the innermost layer that a container stands on and that would be another one now, with what is to be
    /// said of it.
    fn superseded(
        &mut self,
        record: &Record,
        prepared: &Prepared,
    ) -> Option<(LayerName, Vec<String>)> {
        let (Some(cache), Some(store)) = (prepared.cache.plan(), &prepared.store) else {
            return None;
        };
        let index = self.indexes.entry(store.map().to_owned());
        let index = index.or_insert_with(|| store.index().unwrap_or_default());
        superseded(record, cache, index, store)
    }
}

/// Returns the first of what is wrong, and where that is.
fn first_of(report: &Report) -> String {
    let first = report.first_error().map(|fault| {
        let place = fault.at.as_ref().map(ToString::to_string);
        let place = place.unwrap_or_else(|| shell::one_line(&fault.file.to_string_lossy()));
        format!("{} ({place})", fault.message)
    });
    let first = first.unwrap_or_else(|| "nobody knows why".to_owned());
    format!("its role cannot be planned: {first}")
}

fn superseded(
    record: &Record,
    cache: &CachePlan,
    index: &Index,
    store: &Store,
) -> Option<(LayerName, Vec<String>)> {
    let mut parent = None;
    for (number, slot) in cache.slots.iter().enumerate() {
        let supply = match slot.kind {
            SlotKind::Upstream => record.upstream.supply.as_ref(),
            SlotKind::Layer => {
                let layers = record.layers.iter();
                let mut own = layers.filter(|layer| layer.name == slot.layer.as_str());
                own.next().and_then(|layer| layer.supply.as_ref())
            }
        };
        let entry = supply.and_then(|supply| EntryId::parse(&supply.entry));
        let (None, Some(entry)) = (&slot.decided_by, entry) else { break };
        let (inputs, key) = cache.lookup(number, parent, &|_| Vec::new());
        let label = slot.label();
        if key != entry.key {
            let before = Entry::read(store, entry).map(|entry| entry.document);
            let changes = before.map(|before| inputs.changes_since(&before)).unwrap_or_default();
            let lines = match changes.as_slice() {
                [] => vec![format!("{label} is defined otherwise now")],
                changes => changes.iter().map(|change| format!("{label}: {change}")).collect(),
            };
            return Some((slot.layer.clone(), lines));
        }
        if index.entries.get(&key).is_some_and(|newest| *newest > entry.generation) {
            let age = index.age(key).map(|age| ago(age.as_secs())).unwrap_or_default();
            return Some((slot.layer.clone(), vec![format!("{label} was rebuilt{age}")]));
        }
        parent = Some(entry);
    }
    None
}
