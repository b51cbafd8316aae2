//! What a run would make otherwise now than the one that a record tells of.

use std::collections::BTreeMap;

use super::{File, Layer, Record};
use crate::digest::Digest;

/// Something of a role that is another one than when a container was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleChange {
    /// The layer that it is of; nothing, where it is of none alone.
    pub layer: Option<String>,
    /// The path of the drop that it is of, where it is of one.
    pub path: Option<String>,
    /// What it is, in words that name the layer.
    pub text: String,
}

impl Record {
    /// Says what has changed since, layer by layer and field by field; nothing, where a new run would do the
    /// same.
    pub(crate) fn changes_to(&self, now: &Self) -> Vec<RoleChange> {
        let innermost = now.layers.first().map(|layer| layer.name.as_str()).unwrap_or_default();
        let template = format!("template of layer {innermost}");
        let mut changes = Changes { layer: Some(innermost.to_owned()), ..Changes::default() };
        if self.upstream.template != now.upstream.template {
            let (before, now) = (&self.upstream.template, &now.upstream.template);
            changes.push(format!("{template}: {before} → {now}"));
        } else if let (Some(before), Some(now)) = (self.upstream.digest, now.upstream.digest) {
            changed(&template, "digest", before, now, &mut changes);
        }
        let (before, after) = (own(&self.upstream.args), own(&now.upstream.args));
        if before != after {
            let words = |args: &[&String]| crate::shell::command(args);
            let (before, now) = (words(&before), words(&after));
            changes.push(format!("{template}: arguments {before} → {now}"));
        }
        for layer in &now.layers {
            changes.layer = Some(layer.name.clone());
            match self.layers.iter().find(|before| before.name == layer.name) {
                None => changes.push(format!("layer {} is new", layer.name)),
                Some(before) => changes_of(before, layer, &mut changes),
            }
        }
        let is_gone = |layer: &&Layer| now.layers.iter().all(|now| now.name != layer.name);
        for layer in self.layers.iter().filter(is_gone) {
            changes.layer = Some(layer.name.clone());
            changes.push(format!("layer {} is gone", layer.name));
        }
        let order = |record: &Self| -> Vec<String> {
            record.layers.iter().map(|layer| layer.name.clone()).collect()
        };
        if changes.list.is_empty() && order(self) != order(now) {
            changes.layer = None;
            changes.push("the order of the layers has changed".to_owned());
        }
        changes.list
    }
}

/// What was found, and what the next is of.
#[derive(Default)]
struct Changes {
    layer: Option<String>,
    path: Option<String>,
    list: Vec<RoleChange>,
}

impl Changes {
    fn push(&mut self, text: String) {
        let (layer, path) = (self.layer.clone(), self.path.clone());
        self.list.push(RoleChange { layer, path, text });
    }
}

/// Returns the arguments of a template besides those that LXC gives: a container may be moved or copied.
fn own(args: &[String]) -> Vec<&String> {
    let given = ["--path=", "--name=", "--rootfs="];
    let is_given = |word: &String| given.iter().any(|given| word.starts_with(given));
    args.iter().filter(|word| !is_given(word)).collect()
}

fn changes_of(before: &Layer, now: &Layer, changes: &mut Changes) {
    let label = format!("layer {}", now.name);
    steps(&label, before, now, changes);
    let by_path = |layer: &Layer| -> BTreeMap<String, File> {
        layer.files.iter().map(|file| (file.path.clone(), file.clone())).collect()
    };
    let (old, new) = (by_path(before), by_path(now));
    for (path, file) in &new {
        let label = format!("{label}: {}", crate::shell::word(path));
        changes.path = Some(path.clone());
        match old.get(path) {
            None => changes.push(format!("{label} is new")),
            Some(before) => file_changes(&label, before, file, changes),
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        changes.path = Some(path.clone());
        changes.push(format!("{label}: {} is gone", crate::shell::word(path)));
    }
    changes.path = None;
    for line in now.config.iter().filter(|line| !before.config.contains(line)) {
        changes.push(format!("{label}: config {line} is new"));
    }
    for line in before.config.iter().filter(|line| !now.config.contains(line)) {
        changes.push(format!("{label}: config {line} is gone"));
    }
}

fn steps(label: &str, before: &Layer, now: &Layer, changes: &mut Changes) {
    for phase in ["pre", "post", "check", "finally"] {
        let of = |layer: &Layer| -> Vec<Digest> {
            let steps = layer.steps.iter().filter(|step| step.phase == phase);
            steps.map(|step| step.digest).collect()
        };
        let (old, new) = (of(before), of(now));
        for (number, now) in new.iter().enumerate() {
            let label = format!("{label}: {phase} {}", number + 1);
            match old.get(number) {
                None => changes.push(format!("{label} is new")),
                Some(before) => changed(&label, "digest", *before, *now, changes),
            }
        }
        for number in new.len()..old.len() {
            changes.push(format!("{label}: {phase} {} is gone", number + 1));
        }
    }
}

fn file_changes(label: &str, before: &File, now: &File, changes: &mut Changes) {
    if before.kind != now.kind {
        changes.push(format!("{label}: {} → {}", before.kind, now.kind));
        return;
    }
    let texts = [
        ("mode", &before.mode, &now.mode),
        ("owner", &before.owner, &now.owner),
        ("target", &before.target, &now.target),
    ];
    for (what, before, now) in texts {
        if before != now {
            let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
            changes.push(format!("{label}: {what} {} → {}", shown(before), shown(now)));
        }
    }
    if let (Some(before), Some(now)) = (before.digest, now.digest) {
        changed(label, "digest", before, now, changes);
    }
}

fn changed(label: &str, what: &str, before: Digest, now: Digest, changes: &mut Changes) {
    if before != now {
        changes.push(format!("{label}: {what} {}… → {}…", before.short(), now.short()));
    }
}
