//! What `store list` shows can be given to the other commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::shelf::{self, store};
use super::{as_each, make, role};
use crate::caller::Caller;
use crate::lab::Lab;

/// The lines of `store list`, without the header: the name, and all of it.
#[track_caller]
fn listed(lab: &Lab) -> Vec<(String, String)> {
    let text = store(lab, &["list"]).outcome().success().stdout;
    let mut lines = text.lines();
    let header = lines.next().expect("there is a header");
    assert!(header.starts_with("ENTRY ") && header.contains("  MAP"), "{text}");
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.map(|line| (name(line), line.to_owned())).collect()
}

/// A role of three layers, made and made anew.
fn twice(lab: &Lab) {
    let manifest = role::three_layers(lab, "template = \"builtin:busybox\"");
    make_twice(lab, &manifest);
}

fn make_twice(lab: &Lab, manifest: &Path) {
    for words in [&[][..], &["--rebuild"]] {
        let name = lab.name("tended");
        make(lab, &name, manifest, words);
        lab.destroy(&name);
    }
}

#[test]
fn every_name_of_the_list_is_that_of_one_entry() {
    as_each(&[], |lab| {
        twice(lab);
        let lines = listed(lab);
        let names: BTreeSet<_> = lines.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!((lines.len(), names.len()), (8, 8), "{lines:#?}");
        // The upstream has two generations of one key; what stands on them has two keys.
        let old: Vec<_> = lines.iter().map(|(_, line)| line.contains("superseded")).collect();
        assert_eq!(old, [true, true, true, true, false, false, false, false], "{lines:#?}");
        let map = match lab.first_ids() {
            None => "  host  ".to_owned(),
            Some((users, _)) => format!("  u{users}  "),
        };
        assert!(lines.iter().all(|(_, line)| line.contains(&map)), "{lines:#?}");
        for (name, _) in &lines {
            let outcome = store(lab, &["verify", name]).outcome().success();
            assert_eq!(outcome.stdout, format!("{name}  sound\n"));
        }
        let stored = shelf::stored(lab);
        store(lab, &["remove", &lines[0].0]).outcome().success();
        let left: Vec<_> = shelf::stored(lab).into_iter().map(|entry| entry.id).collect();
        let expected: Vec<_> = stored[1..].iter().map(|entry| entry.id.clone()).collect();
        assert_eq!(left, expected);
        // Whole names go as well.
        store(lab, &["remove", &left[3]]).outcome().success();
        assert_eq!(shelf::stored(lab).len(), 6);
    });
}

#[test]
fn a_name_of_two_generations_is_told_with_both() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    twice(&lab);
    let lines = listed(&lab);
    let (key, _) = lines[0].0.split_once('.').expect("it has two generations");
    let outcome = store(&lab, &["remove", key]).outcome().code(2);
    assert!(outcome.stderr.contains("2 entries"), "{outcome}");
    for name in [&lines[0].0, &lines[4].0] {
        assert!(outcome.stderr.contains(name.as_str()), "{outcome}");
    }
}

#[test]
fn what_is_of_ids_that_are_gone_is_named_and_can_be_cleared() {
    let Some(lab) = Lab::open(Caller::User, &[]) else { return };
    twice(&lab);
    // As if the range had been another when all that was stored.
    let tree = shelf::tree(&lab, &shelf::stored(&lab)[0].id);
    let map = tree.ancestors().nth(3).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let moved = "u4200000000-65536-g4200000000-65536".to_owned();
    for end in ["", ".meta"] {
        let at = |map: &str| lab.path("store").join(format!("{map}{end}"));
        fs::rename(at(&map), at(&moved)).unwrap();
    }
    let directory = lab.path("store").join(&moved).display().to_string();
    let outcome = store(&lab, &["list"]).outcome().success();
    assert_eq!(outcome.stdout.lines().count(), 9, "{outcome}");
    for command in ["list", "verify", "gc"] {
        let outcome = store(&lab, &[command]).outcome();
        let status = outcome.status.code();
        assert_eq!(status, Some(if command == "list" { 0 } else { 8 }), "{outcome}");
        for part in [moved.as_str(), &directory, "store gc --forget", "/etc/subuid"] {
            assert!(outcome.stderr.contains(part), "{command}, {part}: {outcome}");
        }
        assert!(!outcome.stderr.contains("newuidmap"), "{outcome}");
    }
    let entry = shelf::stored(&lab)[0].id.clone();
    let outcome = store(&lab, &["remove", &entry]).outcome().code(8);
    assert!(outcome.stderr.contains(&directory), "{outcome}");

    // What is of this range goes on.
    let manifest = lab.path("work/role.toml");
    make_twice(&lab, &manifest);
    assert_eq!(shelf::stored(&lab).len(), 16);
    let outcome = store(&lab, &["gc", "--forget"]).outcome().success();
    assert!(outcome.stderr.contains(&format!("rm -r {directory}")), "{outcome}");
    for command in ["list", "verify", "gc"] {
        let outcome = store(&lab, &[command]).outcome().success();
        assert!(outcome.stderr.is_empty(), "{outcome}");
    }
    make_twice(&lab, &manifest);
    shelf::assert_sound(&lab);
}
