//! Manifests as people write them: each file of `manifests/` is read as the program reads it, and
//! what it says is compared with the text beside it.
//!
//! `UPDATE_EXPECT=1` writes the texts anew. A comment on the first lines of a file may hold
//! `--set name=value`, `--vars-file FILE` and `--lxc 4.0`, as the caller would give them.

#[path = "manifests/config_values.rs"]
mod config_values;
#[path = "manifests/corpus.rs"]
mod corpus;
#[path = "manifests/folder.rs"]
mod folder;
#[path = "manifests/limits.rs"]
mod limits;
#[path = "manifests/mutation.rs"]
mod mutation;
#[path = "manifests/schema.rs"]
mod schema;
#[path = "manifests/secrets.rs"]
mod secrets;
#[path = "manifests/values.rs"]
mod values;

use folder::{Case, cases, judge};

#[test]
fn sound_manifests_pass_without_a_word() {
    for case in cases("valid") {
        let (chain, report) = judge(&case);
        assert!(report.is_empty(), "{}", report.to_text(false));
        assert!(chain.is_some(), "{}", case.name);
    }
}

#[test]
fn faulty_manifests_are_refused_as_expected() {
    for case in cases("invalid") {
        let (chain, report) = judge(&case);
        assert!(chain.is_none() && report.has_errors(), "{} passes", case.name);
        case.expect(&report.to_text(false));
    }
}

#[test]
fn dubious_manifests_are_warned_of_as_expected() {
    for case in cases("dubious") {
        let (chain, report) = judge(&case);
        assert!(chain.is_some() && !report.is_empty(), "{}", report.to_text(false));
        case.expect(&report.to_text(false));
    }
}

/// Whatever a file holds, each rendering of its faults is printable.
#[test]
fn no_rendering_holds_a_control_byte() {
    for case in ["invalid", "dubious"].into_iter().flat_map(cases) {
        let (_, report) = judge(&case);
        for text in [report.to_text(false), report.to_github()] {
            folder::assert_printable(&text, &case.name);
        }
        serde_json::to_string(&report.to_json()).unwrap();
    }
}

/// A text that no file needs any more is a test that nobody runs.
#[test]
fn every_expected_text_has_its_manifest() {
    for folder in ["invalid", "dubious"] {
        let names: Vec<_> = cases(folder).into_iter().map(|case: Case| case.name).collect();
        for path in folder::files(folder, "stderr") {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(names.contains(&format!("{folder}/{stem}")), "{}", path.display());
        }
    }
}
