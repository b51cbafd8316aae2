//! The roles of the examples: sound without a warning, and planned as expected.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use layered_template::observe::probe;
use tempfile::TempDir;

use crate::{expect, top};

const ROLES: [&str; 8] = [
    "fleet/app",
    "fleet/jobs",
    "fleet/os",
    "fleet/proxy",
    "roles/base",
    "roles/database",
    "roles/web",
    "unprivileged/web",
];

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

/// A copy of the examples, where the template of the roles is there.
struct Copy {
    place: TempDir,
    templates: TempDir,
}

impl Copy {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        copy(&top("examples"), &place.path().join("examples"));
        let templates = TempDir::new().unwrap();
        let template = templates.path().join("lxc-debian");
        fs::write(&template, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&template, fs::Permissions::from_mode(0o755)).unwrap();
        Self { place, templates }
    }

    /// Runs a program that finds this one by its name.
    fn run(&self, words: &[&str]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_layered-template"));
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", program.parent().unwrap().display());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("PATH", path).current_dir(self.place.path());
        command.env("UPSTREAM_TEMPLATE_DIR", self.templates.path());
        command.env("LAYERED_TEMPLATE_STORE", self.place.path().join("store"));
        command.output().unwrap()
    }
}

/// Runs the program in a copy of the examples, and shows what it says as on any host.
fn run(words: &[&str]) -> Output {
    let copy = Copy::new();
    let mut output = copy.run(&[&["layered-template"], words].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(&format!("{}/", copy.templates.path().display()), "/templates/");
    let text = text.replace(&format!("{}/", copy.place.path().display()), "/srv/");
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
    let paths = ROLES.map(|role| format!("examples/{role}.toml"));
    let words: Vec<_> = ["validate"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let output = run(&words);
    success(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), "8 manifests: 0 errors, 0 warnings");
}

#[test]
fn roles_are_planned_as_expected() {
    for role in ROLES {
        let manifest = format!("examples/{role}.toml");
        let words = ["plan", &manifest, "--name", "host1", "--lxcpath", "/var/lib/lxc"];
        let text = success(&run(&words));
        expect(&format!("tests/layers/roles/{}.plan", role.replace('/', "-")), &text);
    }
}

#[test]
fn every_example_is_a_role_that_is_tested() {
    for directory in ["fleet", "roles", "unprivileged"] {
        for entry in fs::read_dir(top("examples").join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let role = format!("{directory}/{}", path.file_stem().unwrap().display());
                assert!(ROLES.contains(&role.as_str()), "{role}");
            }
        }
    }
}

/// What CI runs on a pull request: no lock, a lock, and a role that is not that of its lock.
#[test]
fn a_fleet_is_checked_against_its_locks() {
    let copy = Copy::new();
    let check = || copy.run(&["examples/fleet/ci/check.sh"]);
    let missing = check();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no `proxy.toml.lock`"));
    let roles = ["proxy", "app", "jobs"].map(|role| format!("examples/fleet/{role}.toml"));
    let words = ["layered-template", "lock"].into_iter().chain(roles.iter().map(String::as_str));
    success(&copy.run(&words.collect::<Vec<_>>()));
    success(&check());
    let table = fs::read_to_string(copy.place.path().join("examples/fleet/plan.md")).unwrap();
    assert!(["proxy", "app", "jobs"].iter().all(|role| table.contains(role)), "{table}");
    let unit = copy.place.path().join("examples/fleet/files/app.service");
    fs::write(unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    let output = check();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("app.service"), "{said}");
}
