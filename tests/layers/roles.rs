//! The roles of `examples/roles`: sound without a warning, and planned as expected.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use layered_template::observe::probe;
use tempfile::TempDir;

use crate::{expect, top};

const ROLES: [&str; 3] = ["base", "database", "web"];

/// Copies a directory: whose the checkout is says nothing of the roles.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Runs the program where the template of the roles is there.
fn run(words: &[&str]) -> Output {
    let place = TempDir::new().unwrap();
    copy(&top("examples/roles"), &place.path().join("examples/roles"));
    let templates = TempDir::new().unwrap();
    let template = templates.path().join("lxc-debian");
    fs::write(&template, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&template, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_layered-template"));
    command.args(words).env("UPSTREAM_TEMPLATE_DIR", templates.path()).current_dir(place.path());
    let mut output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(&format!("{}/", templates.path().display()), "/templates/");
    let text = text.replace(&format!("{}/", place.path().display()), "/srv/");
    let text = text.replace(&format!("--arch={}", probe::arch()), "--arch=ARCH");
    output.stdout = text.into_bytes();
    output
}

fn success(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn roles_are_sound() {
    let paths = ROLES.map(|role| format!("examples/roles/{role}.toml"));
    let words: Vec<_> = ["validate"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let output = run(&words);
    success(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), "3 manifests: 0 errors, 0 warnings");
}

#[test]
fn roles_are_planned_as_expected() {
    for role in ROLES {
        let manifest = format!("examples/roles/{role}.toml");
        let words = ["plan", &manifest, "--name", "host1", "--lxcpath", "/var/lib/lxc"];
        let text = success(&run(&words));
        expect(&format!("tests/layers/roles/{role}.plan"), &text);
    }
}

#[test]
fn every_example_is_a_role_that_is_tested() {
    for entry in fs::read_dir(top("examples/roles")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(ROLES.contains(&stem.as_str()), "{stem}");
        }
    }
}
