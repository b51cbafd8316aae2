//! What a run does about the store, decided from what the store holds.

use layered_template::cache::{
    BadEntry, Cache, CachePlan, Fault, Index, Ladder, LadderContext, Limit, Progress, Refusal,
    StoredEntry,
};
use layered_template::plan::{EntryId, Plan, StorageMode};

use crate::keys::{Host, planned};

/// The innermost layers of `roles/database`, as slots: the template and eight layers.
const SLOTS: usize = 9;

fn role(mode: StorageMode) -> (Plan, CachePlan) {
    let host = Host {
        name: "db1",
        lxcpath: "/var/lib/lxc",
        mapped: None,
        config: "lxc.rootfs.path = dir:/var/lib/lxc/db1/rootfs\n",
        mode,
        environment: &[],
    };
    let (plan, cache) = planned("roles/database", &host);
    assert_eq!(cache.slots.len(), SLOTS);
    (plan, cache)
}

/// The entries of a full store, the innermost first.
fn entries(cache: &CachePlan) -> Vec<EntryId> {
    let mut entries: Vec<EntryId> = Vec::new();
    for slot in 0..cache.slots.len() {
        let (_, key) = cache.lookup(slot, entries.last().copied(), &|_| Vec::new());
        entries.push(EntryId { key, generation: 7 });
    }
    entries
}

/// A store that holds the innermost `count` slots.
fn holding(cache: &CachePlan, count: usize) -> Index {
    let mut index = Index { now: 8, ..Index::default() };
    for entry in entries(cache).into_iter().take(count) {
        index.entries.insert(entry.key, entry.generation);
        index.looked_at.insert(entry, StoredEntry::default());
    }
    index
}

/// The kinds of the acts, one after the other, each with how often it stands there in a row.
fn kinds(plan: &Plan, cache: &CachePlan, index: &Index, limit: Option<&Limit>) -> String {
    let cache = Cache::Usable(Box::new(cache.clone()));
    let config = b"lxc.rootfs.path = dir:/var/lib/lxc/db1/rootfs\n";
    let handed: &dyn Fn(&_) -> Vec<_> = &|_| Vec::new();
    let progress = Progress::default();
    let context = LadderContext { index, handed: Some(handed), progress, limit, config };
    let acts = serde_json::to_value(Ladder::of(plan, &cache, &context)).unwrap();
    let acts: Vec<_> =
        acts.as_array().unwrap().iter().map(|act| act["act"].as_str().unwrap()).collect();
    let rows = acts.chunk_by(|one, other| one == other);
    let shown = rows.map(|row| match row.len() {
        1 => row[0].to_owned(),
        several => format!("{several} {}", row[0]),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn what_is_stored_is_taken_and_the_rest_is_built_on_it() {
    let (plan, cache) = role(StorageMode::Copy);
    let table = [
        (0, "build, check, 8 build, install, personalise"),
        (1, "take, check, 8 build, install, personalise"),
        (8, "8 take, check, build, install, personalise"),
        (9, "9 take, install, write-config, check"),
    ];
    for (count, expected) in table {
        assert_eq!(kinds(&plan, &cache, &holding(&cache, count), None), expected, "{count}");
    }
    // Without what is inside it nothing is found.
    let mut index = holding(&cache, SLOTS);
    index.entries.remove(&entries(&cache)[0].key);
    let found = kinds(&plan, &cache, &index, None);
    assert_eq!(found, "build, check, 8 build, install, personalise");
}

#[test]
fn what_cannot_be_used_is_built() {
    let (plan, cache) = role(StorageMode::Copy);
    for fault in [Fault::Format, Fault::Damaged("it is damaged".to_owned())] {
        let mut index = holding(&cache, SLOTS);
        let what = cache.slots[3].label();
        index.faults.insert(entries(&cache)[3], BadEntry { what, fault });
        let expected = "3 take, check, 6 build, install, personalise";
        assert_eq!(kinds(&plan, &cache, &index, None), expected);
    }
}

#[test]
fn what_was_refused_is_made_in_the_container_with_all_outside_it() {
    let (plan, cache) = role(StorageMode::Copy);
    let table = [
        (0, "10 make"),
        (1, "take, install, write-config, check, 8 make"),
        (8, "8 take, install, write-config, check, make"),
    ];
    for (slot, expected) in table {
        let mut index = holding(&cache, slot);
        let refusal = Refusal { why: "leaves the name".to_owned(), at: 7 };
        index.refused.insert(entries(&cache)[slot].key, refusal);
        let found = kinds(&plan, &cache, &index, None);
        assert!(found == expected, "{slot}: {found}, not {expected}");
    }
}

#[test]
fn a_host_that_can_build_no_more_ends_the_store_or_the_run() {
    let limit = |slots| Limit { slots, why: "no overlay".to_owned(), can_show: true };
    let (plan, cache) = role(StorageMode::Copy);
    let index = holding(&cache, 2);
    let found = kinds(&plan, &cache, &index, Some(&limit(2)));
    assert!(found.starts_with("2 take, without, install, write-config, "), "{found}");
    let found = kinds(&plan, &cache, &Index::default(), Some(&limit(0)));
    assert!(found.starts_with("without, ") && found.ends_with(" make"), "{found}");
    for mode in [StorageMode::Overlay, StorageMode::Fill] {
        let (plan, cache) = role(mode);
        let found = kinds(&plan, &cache, &holding(&cache, 2), Some(&limit(2)));
        assert_eq!(found, "2 take, refuse");
        let found = kinds(&plan, &cache, &Index::default(), Some(&limit(0)));
        assert_eq!(found, "refuse");
    }
}

#[test]
fn a_store_that_is_only_filled_makes_no_container() {
    let (plan, cache) = role(StorageMode::Fill);
    assert_eq!(kinds(&plan, &cache, &holding(&cache, 0), None), "build, check, 8 build");
    assert_eq!(kinds(&plan, &cache, &holding(&cache, SLOTS), None), "9 take, check");
}
