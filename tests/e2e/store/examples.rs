//! The examples have one key on every host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use layered_template::observe::probe;

use super::{as_each, create, keys};
use crate::lab::Lab;
use crate::roles;

/// Copies the examples, and returns the place of one.
pub(super) fn example(lab: &Lab, name: &str) -> PathBuf {
    let copy = lab.path("work/examples");
    if !copy.exists() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        lab.call_as_root(["cp", "-r"]).arg(from).arg(&copy).outcome().success();
        lab.call_as_root(["chmod", "-R", "a+rX"]).arg(&copy).outcome().success();
    }
    copy.join(format!("{name}.toml"))
}

pub(super) const EXAMPLES: [&str; 7] = [
    "hello/hello",
    "roles/base",
    "roles/web",
    "roles/database",
    "fleet/app",
    "fleet/jobs",
    "unprivileged/web",
];

/// Gives the lab a template under Debian's name. Whoever calls it need not be able to write beside it.
pub(super) fn stand_in(lab: &Lab) {
    let (_, rest) = roles::STAND_IN.split_once("/called\"\n").expect("it says so first");
    lab.script("templates/lxc-debian", &format!("#!/bin/sh\nset -eu\n{rest}"));
}

/// What hosts start the config of a container with.
const CONFIGS: [&str; 4] = [
    "lxc.net.0.type = empty\n",
    "# ours\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n",
    "lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\n",
    "",
];

/// The keys that a plan shows, by what they are of.
fn planned(lab: &Lab, manifest: &Path, name: &str) -> BTreeMap<String, String> {
    let call = lab.call([lab.program()]).arg("plan").arg(manifest).args(["--format", "json"]);
    let call = call.args(["--name", name, "--lxcpath"]).arg(lab.lxcpath());
    let call = call.arg("-f").arg(lab.path("default.conf"));
    let text = call.outcome().success().stdout;
    let plan: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut keys = BTreeMap::new();
    let mut open = vec![(String::new(), &plan)];
    while let Some((path, value)) = open.pop() {
        if let Some(standing) = value.get("standing") {
            let key = standing["key"].as_str().or(standing["entry"].as_str()).unwrap_or_default();
            // A generation is the time of making.
            let key = key.split('.').next().unwrap_or_default();
            if !key.is_empty() {
                keys.insert(path.clone(), key.to_owned());
            }
        }
        match value {
            serde_json::Value::Object(all) => {
                open.extend(all.iter().map(|(name, value)| (format!("{path}/{name}"), value)));
            }
            serde_json::Value::Array(all) => {
                open.extend(
                    all.iter().enumerate().map(|(at, value)| (format!("{path}/{at}"), value)),
                );
            }
            _ => {}
        }
    }
    keys
}

#[test]
fn the_first_key_of_an_example_is_the_same_for_every_caller_and_config() {
    let mut first: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    as_each(&[], |lab| {
        for lines in CONFIGS {
            lab.default_config(lines);
            for example in EXAMPLES {
                let manifest = self::example(lab, example);
                for name in ["web-1", "db-7"] {
                    let keys = planned(lab, &manifest, name);
                    let what = format!("{:?}, {example}, {name}, {lines:?}", lab.caller);
                    assert_eq!(keys.len(), 1, "{what}: {keys:?}");
                    let known = first.entry(example).or_insert_with(|| keys.clone());
                    assert_eq!(*known, keys, "{what}");
                }
            }
        }
    });
}

#[test]
fn every_document_of_an_example_is_the_same_for_every_caller_and_config() {
    let mut first: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    as_each(&[], |lab| {
        stand_in(lab);
        let data = format!("data={}", lab.directory("work/data").display());
        for lines in &CONFIGS[..2] {
            lab.default_config(lines);
            for example in EXAMPLES {
                let manifest = self::example(lab, example);
                let name = lab.name("example");
                let words: &[&str] =
                    if example.ends_with("database") { &["--set", &data] } else { &[] };
                create(lab, &name, &manifest, words).outcome().success();
                lab.destroy(&name);
                let mut documents = keys::documents(lab);
                if lab.path("store").exists() {
                    std::fs::remove_dir_all(lab.path("store")).expect("root removes all");
                    lab.directory("store");
                }
                // Where the data is says each host itself.
                let shown = lab.path("").display().to_string();
                documents =
                    documents.into_iter().map(|text| text.replace(&shown, "LAB/")).collect();
                let what = format!("{:?}, {example}, {lines:?}", lab.caller);
                assert!(documents.len() > 1, "{what}");
                let known = first.entry(example).or_insert_with(|| documents.clone());
                assert_eq!(*known, documents, "{what}");
                assert_eq!(as_text(&documents), expected(example), "{what}");
            }
        }
    });
}

/// Documents as the files of `tests/layers/keys` show them.
fn as_text(documents: &BTreeSet<String>) -> BTreeSet<String> {
    let text_of = |document: &String| {
        let fields: Vec<serde_json::Value> = serde_json::from_str(document).expect("it is JSON");
        let mut text = String::new();
        for field in &fields {
            let what = field["what"].as_str().expect("a field has a name");
            let _ = writeln!(text, "    {what}");
            for (name, value) in field["values"].as_object().expect("a field has values") {
                let value = value.as_str().expect("a value is a text");
                let value = match (what, name.as_str()) {
                    ("template", _) => "TEMPLATE".to_owned(),
                    ("arguments" | "host", _) => value.replace(probe::arch(), "amd64"),
                    (_, "mode" | "mode of its top") if what.contains("tree /") => "MODE".to_owned(),
                    _ => value
                        .replace("LAB/work/examples/", "/srv/examples/")
                        .replace("LAB/work/data", "/srv/database"),
                };
                let value = value.trim_end().replace('\n', "\n            | ");
                let _ = writeln!(text, "        {name} = {value}");
            }
        }
        text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
    };
    documents.iter().map(text_of).collect()
}

/// What a plan makes of them without any run.
fn expected(example: &str) -> BTreeSet<String> {
    let name = example.replace('/', "-");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/layers/keys/{name}.txt"));
    let text = std::fs::read_to_string(path).expect("it is there");
    let text = text.replace("    layer inside\n        entry = INSIDE\n", "");
    let mut layers: Vec<String> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match layers.last_mut() {
            Some(layer) if line.starts_with(' ') => {
                layer.extend([line, "\n"]);
                if line == "    template" {
                    lines.next();
                    layer.push_str("        digest = TEMPLATE\n");
                }
            }
            _ => layers.push(String::new()),
        }
    }
    layers.into_iter().collect()
}
