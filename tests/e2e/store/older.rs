//! A store that an older program has filled.

use std::fs;
use std::path::{Path, PathBuf};

use layered_template::digest::Digest;

use super::{as_both, create_directly, seen, shelf};
use crate::call::Outcome;
use crate::caller::Caller;
use crate::lab::Lab;

/// A role of three layers; `mark` makes it another.
pub(super) fn role(lab: &Lab, mark: &str) -> PathBuf {
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
         [[layer]]\nname = \"base\"\n\
         post = {{ in = \"rootfs\", run = \"echo 'base {mark}' >/etc/base; hostname >/etc/mailname\" }}\n\
         [[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/etc/app\"\ncontent = \"app {mark}\\n\"\n"
    );
    lab.write(format!("work/role{mark}.toml"), &text)
}

/// Names of what is in a directory.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Writes a document with the digest that it needs.
pub(super) fn document(path: &Path, text: &[u8]) {
    let mut bytes = format!("{}\n", Digest::of(text)).into_bytes();
    bytes.extend_from_slice(text);
    fs::write(path, bytes).expect("root writes");
}

/// What is in each tree that must never come into a container.
pub(super) const POISON: &str = "etc/poison";

/// Makes all that is stored that of another version, so many before or behind the one that is there, and
/// returns its names.
fn aged(lab: &Lab, distance: i64) -> Vec<String> {
    let entries = shelf::meta(lab).join("entries");
    let all = names(&entries);
    for id in &all {
        let path = entries.join(id);
        let text = fs::read(&path).expect("root reads all");
        let start = text.iter().position(|byte| *byte == b'\n').expect("a digest stands first");
        let mut entry: serde_json::Value = serde_json::from_slice(&text[start + 1..]).unwrap();
        let format = entry["format"].as_i64().expect("a document tells its format");
        entry["format"] = (format + distance).into();
        document(&path, &serde_json::to_vec(&entry).unwrap());
        fs::write(shelf::tree(lab, id).join(POISON), "poison\n").expect("root writes");
    }
    all
}

/// Lines of a run that say that something stored is another version's.
fn told(outcome: &Outcome) -> usize {
    outcome.stderr.lines().filter(|line| line.contains("another version of the program")).count()
}

#[track_caller]
fn assert_made(lab: &Lab, name: &str, mark: &str) {
    let tree = seen::listing(lab, name);
    assert_eq!(tree.text("etc/base"), format!("base {mark}\n"));
    assert_eq!(tree.text("etc/app"), format!("app {mark}\n"));
    assert_eq!(tree.text("etc/mailname"), format!("{name}\n"));
    assert!(!tree.has(POISON), "something old was taken");
    lab.destroy(name);
}

#[test]
fn nothing_of_another_version_s_store_is_taken() {
    as_both(|lab| {
        let manifest = role(lab, "");
        let name = lab.name("old");
        create_directly(lab, &name, &manifest, &[]).outcome().success();
        lab.destroy(&name);
        for (distance, storage) in
            [(-1, "--storage=copy"), (-4, "--storage=overlay"), (1, "--storage=copy")]
        {
            let old = aged(lab, distance);
            assert_eq!(old.len(), 3);
            let planned = super::planned::standings(&super::named::plan(lab, &name, &manifest));
            assert!(
                planned.values().all(|standing| standing != "stored"),
                "{distance}: {planned:?}"
            );

            shelf::store(lab, &["list"]).outcome().success();
            let verified = shelf::store(lab, &["verify"]).outcome();
            assert!(!verified.stdout.contains("sound"), "{distance}: {verified}");

            let outcome = create_directly(lab, &name, &manifest, &[storage]).outcome().success();
            assert_eq!(told(&outcome), 1, "{distance}: {outcome}");
            assert_made(lab, &name, "");
            for again in ["--storage=copy", "--storage=overlay"] {
                let outcome = create_directly(lab, &name, &manifest, &[again]).outcome().success();
                assert_eq!(told(&outcome), 0, "{distance}: {outcome}");
                assert!(!outcome.stderr.contains("os: template"), "{distance}: {outcome}");
                assert_made(lab, &name, "");
            }
            let kept: Vec<_> = names(&shelf::meta(lab).join("entries"));
            assert_eq!(kept.len(), 6, "{distance}");

            shelf::store(lab, &["gc", "--forget"]).outcome().success();
            let left = names(&shelf::meta(lab).join("entries"));
            assert!(old.iter().all(|id| !left.contains(id)), "{distance}: {left:?}");
            shelf::assert_tidy(lab);
            shelf::assert_sound(lab);
            create_directly(lab, &name, &manifest, &[]).outcome().success();
            assert_made(lab, &name, "");
        }
    });
}

#[test]
fn a_run_says_once_that_a_store_is_another_version_s() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let [one, other] = ["", "-b"].map(|mark| role(&lab, mark));
    let own = super::named::upstream(&lab, "upstream", "echo own >etc/own");
    let text = fs::read_to_string(&one).unwrap().replace("template = \"builtin:busybox\"", &own);
    let manifests = [one, other, lab.write("work/own.toml", &text)];
    let build = || {
        let call = lab.call([lab.program()]).arg("build").args(&manifests);
        call.arg("-f").arg(lab.path("default.conf")).outcome().success()
    };
    build();
    assert_eq!(aged(&lab, -1).len(), 8);
    // Two of the roles share what they have; the third finds its own.
    let outcome = build();
    assert_eq!(told(&outcome), 2, "{outcome}");
    let outcome = build();
    assert_eq!(told(&outcome), 0, "{outcome}");
}

#[test]
fn what_stands_on_another_version_s_entry_keeps_it() {
    as_both(|lab| {
        let manifest = role(lab, "");
        let (standing, name) = (lab.name("standing"), lab.name("old"));
        create_directly(lab, &standing, &manifest, &["--storage=overlay"]).outcome().success();
        let old = aged(lab, -1);
        create_directly(lab, &name, &manifest, &["--storage=overlay"]).outcome().success();
        assert_made(lab, &name, "");
        let outcome = shelf::store(lab, &["gc"]).outcome().success();
        // The container has its tree still, and `gc` says nothing else.
        let tree = seen::listing(lab, &standing);
        assert_eq!(tree.text("etc/app"), "app \n", "{outcome}");
        lab.destroy(&standing);
        shelf::store(lab, &["gc", "--forget"]).outcome().success();
        let left = names(&shelf::meta(lab).join("entries"));
        assert!(old.iter().all(|id| !left.contains(id)), "{left:?}");
        shelf::assert_tidy(lab);
    });
}

/// As programs before the first release had it, and as others may have it.
#[test]
fn directories_of_another_layout_are_in_nobody_s_way() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let manifest = role(&lab, "");
    let name = lab.name("old");
    let store = lab.path("store");
    for directory in [
        "v1/trees/x/rootfs/etc",
        "host/entries/x",
        "host/rootfs",
        "host.meta/keys",
        "u0-1-g0-1.meta",
        "trees",
        "x.meta",
    ] {
        fs::create_dir_all(store.join(directory)).expect("root makes directories");
        fs::write(store.join(directory).join("file"), "x").expect("root writes");
    }
    for storage in ["--storage=copy", "--storage=overlay"] {
        create_directly(&lab, &name, &manifest, &[storage]).outcome().success();
        assert_made(&lab, &name, "");
        shelf::store(&lab, &["list"]).outcome().success();
        shelf::store(&lab, &["verify"]).outcome().success();
        shelf::store(&lab, &["gc"]).outcome().success();
    }
}
