//! The layers that are part of the program, and the roles of `examples/`: what they say, and what
//! becomes of them.
//!
//! `UPDATE_EXPECT=1` writes the pages of `docs/layers`, and the plans and keys of `tests/layers`, anew.

mod keys;
mod ladder;
mod page;
mod pages;
mod plans;
mod roles;
mod scripts;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layered_template::layers;
use layered_template::manifest::{self, LayerFile};
use layered_template::source::Source;

/// A path in the repository.
fn top(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// All layers, read.
fn all() -> impl Iterator<Item = (&'static str, LayerFile)> {
    layers::ALL.iter().map(|(name, text)| {
        let source = Arc::new(Source::compiled_in(format!("<{name}>"), *text));
        let (file, report) = manifest::parse_layer(&source);
        assert!(report.is_empty(), "{}", report.to_text(false));
        (*name, file.expect("a layer without a fault"))
    })
}

/// Compares a text with a file of the repository.
fn expect(path: &str, found: &str) {
    let path = top(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let hint = "UPDATE_EXPECT=1 cargo test --test layers";
    assert_eq!(found, expected, "{} has changed; {hint}", path.display());
}

/// A file that nobody lists would be shown on the web and be missing from the program.
#[test]
fn every_file_of_the_directory_is_compiled_in() {
    let entries = fs::read_dir(top("layers")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = names.collect();
    found.sort();
    let listed: Vec<_> = layers::ALL.iter().map(|(name, _)| format!("{name}.toml")).collect();
    assert_eq!(found, listed);
    for (name, text) in layers::ALL {
        assert_eq!(*text, fs::read_to_string(top(&format!("layers/{name}.toml"))).unwrap());
    }
}
