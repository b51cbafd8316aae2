//! What is in a lab's store.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::listing::Listing;
use crate::call::{Call, Outcome};
use crate::lab::Lab;

/// An entry, as `store list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: String,
    /// `template of layer os`, `layer app`.
    pub(super) what: String,
    pub(super) users: Vec<String>,
}

/// A command of the store's.
pub(super) fn store<'lab>(lab: &'lab Lab, words: &[&str]) -> Call<'lab> {
    lab.call([lab.program()]).arg("store").args(words)
}

/// The entries, the oldest first.
#[track_caller]
pub(super) fn stored(lab: &Lab) -> Vec<Stored> {
    let outcome = store(lab, &["list", "--format", "json"]).outcome().success();
    let entries = outcome.stdout.lines().map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        Stored {
            id: text(&entry["entry"]),
            what: text(&entry["layer"]),
            users: entry["users"].as_array().expect("a list").iter().map(text).collect(),
        }
    });
    entries.collect()
}

/// What the entries are of, the oldest first.
#[track_caller]
pub(super) fn kinds(lab: &Lab) -> Vec<String> {
    stored(lab).into_iter().map(|entry| entry.what).collect()
}

/// The directory of one id map.
fn of_map(lab: &Lab) -> Option<PathBuf> {
    let maps = fs::read_dir(lab.path("store")).expect("the store is there").flatten();
    let is_other = |path: &PathBuf| {
        path.ends_with("roots") || path.extension().is_some_and(|extension| extension == "meta")
    };
    maps.map(|entry| entry.path()).find(|path| !is_other(path))
}

/// The rootfs of an entry.
pub(super) fn tree(lab: &Lab, id: &str) -> PathBuf {
    of_map(lab).expect("something is stored").join("trees").join(id).join("rootfs")
}

/// Where the documents and listings are.
pub(super) fn meta(lab: &Lab) -> PathBuf {
    of_map(lab).expect("something is stored").with_extension("meta")
}

/// All trees.
pub(super) fn trees(lab: &Lab) -> BTreeMap<PathBuf, Listing> {
    let Some(map) = of_map(lab) else { return BTreeMap::new() };
    let trees = fs::read_dir(map.join("trees")).expect("a store has trees").flatten();
    trees.map(|entry| (entry.path(), Listing::of(&entry.path()))).collect()
}

/// Sees that nothing is left where layers are made.
#[track_caller]
pub(super) fn assert_tidy(lab: &Lab) {
    let Some(map) = of_map(lab) else { return };
    let left: Vec<_> = fs::read_dir(map.join("work")).expect("a store has it").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let trees: Vec<_> = fs::read_dir(map.join("trees")).expect("a store has trees").collect();
    assert_eq!(trees.len(), stored(lab).len(), "a tree without an entry: {trees:?}");
}

/// Sees that all that is stored is as it was.
#[track_caller]
pub(super) fn assert_sound(lab: &Lab) {
    let outcome = store(lab, &["verify"]).outcome().success();
    assert!(outcome.stdout.lines().all(|line| line.ends_with("  sound")), "{outcome}");
}

/// Cleans the store of all that no container uses, and returns what was said, and how many entries went.
#[track_caller]
pub(super) fn gc(lab: &Lab, words: &[&str]) -> (usize, Outcome) {
    let before = stored(lab).len();
    let outcome = store(lab, &["gc", "--keep=0"]).args(words).outcome().success();
    let after = stored(lab).len();
    (before - after, outcome)
}
