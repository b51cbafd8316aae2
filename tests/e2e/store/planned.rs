//! A plan says what the next run takes from the store, and what it makes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::shelf::{self, stored};
use super::{as_both, role};
use crate::call::Call;
use crate::lab::Lab;

/// Where each thing of a plan comes from, by what the store calls it: `layer app` to `to build`.
pub(super) type Planned = BTreeMap<String, String>;

const TEMPLATE: &str = "template of layer os";

/// What the role is made of; a change of any is to be told.
#[derive(Clone, Copy)]
struct Role {
    release: u32,
    step: &'static str,
    port: u32,
    /// Keys of the layer `app`, and what it hands inward.
    app: &'static str,
    handed: &'static str,
}

impl Default for Role {
    fn default() -> Self {
        Self { release: 1, step: "echo libs >/libs", port: 8080, app: "", handed: "" }
    }
}

impl Role {
    fn write(self, lab: &Lab) -> PathBuf {
        let Self { release, step, port, app, handed } = self;
        if !lab.path("work/files").exists() {
            lab.directory("work/files");
            lab.write("work/files/app.conf", "mode = 1\n");
        }
        let upstream = role::counting(lab);
        let text = format!(
            r#"manifest = 1
[vars]
port = {port}
{handed}

[[layer]]
name = "os"
{upstream}
args = {{ release = {release} }}

[[layer]]
name = "libs"
post = {{ in = "rootfs", run = "{step}" }}

[[layer]]
name = "quiet"
pre = "true"

[[layer]]
name = "site"

[[layer.file]]
path = "/etc/app.conf"
source = "files/app.conf"

[[layer.file]]
path = "/etc/port"
content = "{{{{ port }}}}"
render = true

[[layer]]
name = "app"
post = {{ in = "rootfs", run = "echo app >/etc/app" }}
{app}

[[layer]]
name = "register"
post = "test -z \"${{FAIL:-}}\""
"#
        );
        lab.write("work/role.toml", &text)
    }
}

/// A plan reads the host's own default config, and so does this.
fn create<'lab>(lab: &'lab Lab, name: &str, manifest: &Path) -> Call<'lab> {
    lab.lxc("lxc-create", name)
        .arg("-t")
        .arg(lab.template())
        .arg("--")
        .arg("--manifest")
        .arg(manifest)
}

fn plan(lab: &Lab, manifest: &Path, words: &[&str]) -> String {
    let call = lab.call([lab.program()]).arg("plan").arg(manifest).args(words);
    call.arg("--lxcpath").arg(lab.lxcpath()).outcome().success().stdout
}

/// Reads the standings off a plan.
pub(super) fn standings(plan: &str) -> Planned {
    let mut planned = Planned::new();
    let mut layer = String::new();
    for line in plan.lines() {
        let line = line.trim_start_matches("| ");
        let standing = line.split_once("  [").and_then(|(_, rest)| Some(rest.split_once(']')?.0));
        let name = line.split_whitespace().nth(1).unwrap_or_default();
        let what = match line.split_whitespace().next() {
            Some("layer") => {
                name.clone_into(&mut layer);
                format!("layer {name}")
            }
            Some("template") => format!("template of layer {layer}"),
            _ => continue,
        };
        planned.insert(what, standing.unwrap_or_default().to_owned());
    }
    planned
}

/// Plans, runs, and sees that the run has made what the plan says that it would. Returns the plan.
#[track_caller]
fn kept_promise(lab: &Lab, manifest: &Path) -> Planned {
    let planned = standings(&plan(lab, manifest, &[]));
    let before = if lab.path("store/roots").exists() { stored(lab) } else { Vec::new() };
    let calls = role::calls(lab);
    let name = lab.name("box");
    let outcome = create(lab, &name, manifest).outcome().success();
    lab.destroy(&name);
    let made: Vec<_> = stored(lab)
        .into_iter()
        .filter(|entry| before.iter().all(|other| other.id != entry.id))
        .map(|entry| entry.what)
        .collect();
    for (what, standing) in &planned {
        let is_made = made.contains(what);
        match standing.as_str() {
            "to build" => assert!(is_made, "{what} was not made: {made:?} {outcome}"),
            "stored" | "always runs" | "" => assert!(!is_made, "{what} was made: {outcome}"),
            decided => assert_eq!(decided, "decided by pre of app"),
        }
    }
    let called = role::calls(lab) > calls;
    assert_eq!(planned[TEMPLATE] == "to build", called);
    planned
}

fn expect(of: &[(&str, &str)]) -> Planned {
    of.iter().map(|(what, standing)| ((*what).to_owned(), (*standing).to_owned())).collect()
}

/// The standings of template, `libs`, `site` and `app`, with those of the others.
fn all([template, libs, site, app]: [&str; 4]) -> Planned {
    expect(&[
        (TEMPLATE, template),
        ("layer os", ""),
        ("layer libs", libs),
        ("layer quiet", ""),
        ("layer site", site),
        ("layer app", app),
        ("layer register", "always runs"),
    ])
}

const BUILD: &str = "to build";
const STORED: &str = "stored";

#[test]
fn a_plan_says_what_is_stored_and_what_is_made() {
    as_both(|lab| {
        let role = Role::default();
        let manifest = role.write(lab);
        assert_eq!(kept_promise(lab, &manifest), all([BUILD; 4]));
        assert_eq!(kept_promise(lab, &manifest), all([STORED; 4]));
        lab.write("work/files/app.conf", "mode = 2\n");
        assert_eq!(kept_promise(lab, &manifest), all([STORED, STORED, BUILD, BUILD]));
        Role { release: 2, ..role }.write(lab);
        assert_eq!(kept_promise(lab, &manifest), all([BUILD; 4]));
        // What is asked for on the command line is planned too.
        let rebuilt = standings(&plan(lab, &manifest, &["--rebuild"]));
        assert_eq!(rebuilt, all([BUILD; 4]));
        let without = standings(&plan(lab, &manifest, &["--storage=none"]));
        assert!(without.values().all(String::is_empty), "{without:?}");
        // Nothing was made by that.
        assert_eq!(kept_promise(lab, &manifest), all([STORED; 4]));
    });
}

#[test]
fn a_plan_says_what_a_pre_step_decides() {
    const DECIDED: &str = "decided by pre of app";
    as_both(|lab| {
        let app = "pre = \"echo build=1 >>\\\"$LAYER_ENV\\\"\"";
        let manifest = Role { app, handed: "build = { from = \"app\" }", ..Role::default() };
        let manifest = manifest.write(lab);
        // What stands on something new is made whatever is decided.
        assert_eq!(kept_promise(lab, &manifest), all([BUILD; 4]));
        assert_eq!(kept_promise(lab, &manifest), all([STORED, DECIDED, DECIDED, DECIDED]));
    });
}

#[test]
fn a_plan_says_that_a_layer_is_too_old() {
    as_both(|lab| {
        let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
                    [[layer]]\nname = \"old\"\nrefresh = \"1s\"\n\
                    [[layer.file]]\npath = \"/a\"\ncontent = \"\"\n\
                    [[layer]]\nname = \"outside\"\n[[layer.file]]\npath = \"/b\"\ncontent = \"\"\n";
        let manifest = lab.write("work/role.toml", text);
        let name = lab.name("box");
        create(lab, &name, &manifest).outcome().success();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let shown = plan(lab, &manifest, &["-v"]);
        let expected = expect(&[
            (TEMPLATE, "stored"),
            ("layer os", ""),
            ("layer old", "to build"),
            ("layer outside", "to build"),
        ]);
        assert_eq!(standings(&shown), expected);
        assert!(shown.contains("misses   what is stored is older than 1s\n"), "{shown}");
        assert!(shown.contains("misses   layer `old` inside it is rebuilt\n"), "{shown}");
    });
}

#[test]
fn a_plan_and_the_log_of_a_run_name_what_has_changed() {
    as_both(|lab| {
        let role = Role::default();
        let manifest = role.write(lab);
        let name = lab.name("box");
        create(lab, &name, &manifest).outcome().success();
        lab.destroy(&name);

        lab.write("work/files/app.conf", "mode = 2\n");
        let told = assert_told(lab, &manifest, "layer `site`", &["file files/app.conf: digest "]);
        let (old, new) = told[0].split_once(" → ").expect("an arrow");
        assert!(old.ends_with('…') && new.ends_with('…') && !old.ends_with(new), "{told:?}");

        let role = Role { port: 9090, ..role };
        role.write(lab);
        // Every step of the manifest's layers gets the variable.
        let variable = "variables and environment: port 8080 → 9090";
        assert_told(lab, &manifest, "layer `libs`", &[variable]);

        let role = Role { step: "echo other >/libs", ..role };
        role.write(lab);
        let step = "post 1: run echo libs >/libs → echo other >/libs";
        assert_told(lab, &manifest, "layer `libs`", &[step]);

        Role { release: 2, ..role }.write(lab);
        let arguments = ["arguments: --release=2 is new", "arguments: --release=1 is gone"];
        assert_told(lab, &manifest, "template of layer `os`", &arguments);
        shelf::assert_tidy(lab);
    });
}

/// Sees that a plan and the log of a run that fails later say why something misses, in lines that
/// start like these, and returns them.
#[track_caller]
fn assert_told(lab: &Lab, manifest: &Path, what: &str, expected: &[&str]) -> Vec<String> {
    let shown = plan(lab, manifest, &["-v"]);
    let planned: Vec<_> = shown
        .lines()
        .filter_map(|line| line.trim_start_matches("| ").strip_prefix("misses   "))
        .filter(|line| !line.ends_with(" inside it is rebuilt"))
        .map(str::to_owned)
        .collect();
    let like = planned.iter().zip(expected).all(|(line, start)| line.starts_with(start));
    assert!(planned.len() == expected.len() && like, "{planned:?} in\n{shown}");

    let name = lab.name("failed");
    let outcome = create(lab, &name, manifest).env("FAIL", "1").outcome().code(1);
    let runs = lab.left();
    let [run] = &runs[..] else { panic!("one run has failed: {runs:?} {outcome}") };
    let log = lab.read(run.join("log"));
    for line in &planned {
        let told = format!("{what}: misses: {line}\n");
        assert!(log.contains(&told), "{told} is missing in\n{log}");
    }
    fs::remove_dir_all(run).expect("root removes all");
    planned
}
