//! What a plan says that a run does, and what the run says that it has done.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::create_directly;
use crate::call::{Call, Outcome};
use crate::lab::Lab;

/// Acts of a ladder that make a container that comes from the store itself.
const PERSONAL: [&str; 4] = ["write-name", "put-sidecar", "write-config", "make-keys"];

/// Something that a run says that it does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// An act of the ladder, as it was planned.
    Act(Value),
    /// Something of a layer.
    Begun { layer: String, what: String, at: String },
}

/// A manifest, and the words that plan and run have besides it.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) manifest: PathBuf,
    pub(super) words: Vec<String>,
}

impl Role {
    pub(super) fn new(manifest: PathBuf) -> Self {
        Self { manifest, words: Vec::new() }
    }

    /// Plans the role for a name.
    #[track_caller]
    pub(super) fn plan(&self, lab: &Lab, name: &str, more: &[&str]) -> Value {
        let call = lab.call([lab.program()]).arg("plan").arg(&self.manifest).args(&self.words);
        let call = call.args(more).args(["--format", "json", "--name", name, "--lxcpath"]);
        let call = call.arg(lab.lxcpath()).arg("--config").arg(lab.path("default.conf"));
        let outcome = traced(lab, call).outcome().success();
        serde_json::from_str(&outcome.stdout).expect("a plan is JSON")
    }

    /// Runs it.
    pub(super) fn run(&self, lab: &Lab, name: &str, more: &[&str]) -> Outcome {
        let call = create_directly(lab, name, &self.manifest, more).args(&self.words);
        call.args(["--log-format", "json"]).outcome()
    }
}

fn traced<'lab>(lab: &Lab, call: Call<'lab>) -> Call<'lab> {
    call.env("TRACE", lab.path("work/trace"))
}

/// Reads what a run has said. All that has begun has ended, and nothing within it.
#[track_caller]
pub(super) fn told<'text>(lines: impl Iterator<Item = &'text str>) -> Vec<Told> {
    let mut all = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in lines {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("{error}: {line}");
        });
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        match value["event"].as_str() {
            Some("act") => all.push(Told::Act(value["planned"].clone())),
            Some("begun") => {
                assert_eq!(open, None, "{line}");
                open = Some((text("layer"), text("what")));
                all.push(Told::Begun { layer: text("layer"), what: text("what"), at: text("at") });
            }
            Some("ended") => {
                assert_eq!(open.take(), Some((text("layer"), text("what"))), "{line}");
            }
            _ => {}
        }
    }
    assert_eq!(open, None, "it has not ended");
    all
}

/// The acts among what was told.
pub(super) fn acts(told: &[Told]) -> Vec<Value> {
    let acts = told.iter().filter_map(|told| match told {
        Told::Act(act) => Some(act.clone()),
        Told::Begun { .. } => None,
    });
    acts.collect()
}

/// The acts of a plan.
pub(super) fn ladder(plan: &Value) -> Vec<Value> {
    plan["ladder"].as_array().expect("a plan has a ladder").clone()
}

/// Where the acts of a run are not those of its plan, as far as that can be known before it.
pub(super) fn unlike(planned: &[Value], done: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut rest = done.iter().peekable();
    // What a pre step decides may turn out to be there: then it is taken in the place of the template,
    // and so is all that only waits for it.
    let mut is_early = false;
    for act in planned {
        if act["act"] == "personalise" {
            let is_personal = |act: &&Value| PERSONAL.iter().any(|name| act["act"] == *name);
            let mut found = Vec::new();
            while let Some(own) = rest.next_if(|act| is_personal(act)) {
                found.push(own["act"].as_str().unwrap_or_default());
                if own["layer"] != act["layer"] && !is_early {
                    wrong.push(format!("{own} is none of {act}"));
                }
            }
            if !found.contains(&"write-config") {
                wrong.push(format!("{act} has written no config, but {found:?}"));
            }
            continue;
        }
        match rest.next() {
            Some(done) if is_taken(act, done) => is_early = true,
            Some(done) if is_promise_kept(act, done, is_early) => {}
            Some(done) => wrong.push(format!("planned {act}\n  done    {done}")),
            None => wrong.push(format!("planned {act}\n  done    nothing")),
        }
    }
    wrong.extend(rest.map(|done| format!("planned nothing\n  done    {done}")));
    wrong
}

/// Whether an act takes what was planned to be built if a pre step says so.
fn is_taken(planned: &Value, done: &Value) -> bool {
    let is_open = planned["act"] == "build" && planned["key"].is_null();
    let is_decided = is_open && planned["decided_by"].is_string();
    is_decided && done["act"] == "take" && planned["what"] == done["what"]
}

/// Whether an act is the one that was planned, but for what cannot be known before.
fn is_promise_kept(planned: &Value, done: &Value, is_early: bool) -> bool {
    let alike = |open: &[&str]| {
        let without = |act: &Value| {
            let mut act = act.as_object().expect("an act is an object").clone();
            act.retain(|name, _| !open.contains(&name.as_str()));
            act
        };
        without(planned) == without(done)
    };
    match planned["act"].as_str() {
        // Why it misses is known with its key.
        Some("build") if planned["key"].is_null() => {
            done["key"].is_string() && alike(&["key", "decided_by", "why"])
        }
        // Where the tree lies is known with its entry.
        Some("install") if planned["entry"].is_null() => {
            let open =
                if is_early { &["entry", "lower", "after"][..] } else { &["entry", "lower"] };
            done["entry"].is_string() && alike(open)
        }
        _ => planned == done,
    }
}

/// All that a run tells of which a plan's layers and these acts are made.
#[track_caller]
pub(super) fn expanded(plan: &Value, acts: &[Value]) -> Vec<Told> {
    let mut layers = vec![&plan["layer"]];
    while let Some(inner) = layers[layers.len() - 1]["inner"].get("layer") {
        layers.push(inner);
    }
    let upstream = &layers[layers.len() - 1]["inner"]["upstream"];
    let mut all = Vec::new();
    for layer in &layers {
        all.extend(list(layer, "before").map(|step| of_step(layer, step)));
    }
    let mut rest = acts.iter().peekable();
    let mut installed = String::new();
    for layer in layers.iter().rev() {
        let innermost = layers[layers.len() - 1]["name"] == layer["name"];
        let is_here =
            |act: &&Value| act["after"] == layer["name"] || (innermost && act["after"].is_null());
        while let Some(act) = rest.next_if(is_here) {
            all.push(Told::Act(act.clone()));
            let kind = act["act"].as_str().unwrap_or_default();
            let is_of_upstream =
                act["what"].as_str().is_some_and(|what| what.starts_with("template "));
            match kind {
                "build" | "make" if is_of_upstream => {
                    all.push(begun(layer, "template", &upstream["at"]));
                }
                "build" => all.extend(after(layer, |step| !is_check_on_host(step))),
                "make" => all.extend(after(layer, |_| true)),
                "check" => all.extend(after(layer, is_check_on_host)),
                "install" | "make-keys" => {
                    if let Some(what) = act["what"].as_str() {
                        what.clone_into(&mut installed);
                    }
                    let name = installed.split('`').nth(1).expect("it is of a layer");
                    let of = layers.iter().find(|layer| layer["name"] == name);
                    let of = of.expect("it is of a layer of the plan");
                    all.push(begun(of, "store", &of["at"]));
                }
                _ => {}
            }
        }
        all.extend(list(layer, "finally").map(|step| of_step(layer, step)));
    }
    assert_eq!(rest.next(), None, "no layer of the plan has it there");
    all
}

/// Steps that run after what a layer wraps.
fn after(layer: &Value, is_wanted: impl Fn(&Value) -> bool) -> Vec<Told> {
    let steps = list(layer, "after").filter_map(|act| act.get("step"));
    steps.filter(|step| is_wanted(step)).map(|step| of_step(layer, step)).collect()
}

fn list<'plan>(value: &'plan Value, name: &str) -> impl Iterator<Item = &'plan Value> {
    value[name].as_array().into_iter().flatten()
}

fn is_check_on_host(step: &Value) -> bool {
    step["stop"] == "check" && step["place"] == "host"
}

fn of_step(layer: &Value, step: &Value) -> Told {
    begun(layer, step["stop"].as_str().expect("a step has a phase"), &step["at"])
}

fn begun(layer: &Value, what: &str, at: &Value) -> Told {
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    Told::Begun { layer: text(&layer["name"]), what: what.to_owned(), at: text(at) }
}

/// Where the config that a run has left is not the one that its last act says that it wrote.
pub(super) fn unwritten(acts: &[Value], config: &Path) -> Vec<String> {
    let last = acts.iter().rev().find(|act| act["act"] == "write-config" || act["act"] == "make");
    let Some(lines) = last.and_then(|act| act["lines"].as_array()) else { return Vec::new() };
    let text = std::fs::read_to_string(config).expect("a container has a config");
    let mut wrong = Vec::new();
    if lines.len() != text.lines().count() {
        wrong.push(format!("{} lines are written, not {}", text.lines().count(), lines.len()));
    }
    for (line, written) in lines.iter().zip(text.lines()) {
        let line = line.as_str().unwrap_or_default();
        let is_drawn = line.split('=').next().is_some_and(|key| key.trim().ends_with(".hwaddr"))
            && line.len() == written.len()
            && line.bytes().zip(written.bytes()).all(|(a, b)| a == b || a == b'x');
        if line != written && !is_drawn {
            wrong.push(format!("written {written}, not {line}"));
        }
    }
    wrong
}
