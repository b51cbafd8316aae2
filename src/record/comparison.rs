//! What a run would make otherwise now than the one that a record tells of.

use std::collections::BTreeMap;

use super::{File, Layer, Record};
use crate::digest::Digest;

impl Record {
    /// Says what has changed since, layer by layer and field by field; nothing, where a new run would do the
    /// same.
    pub(crate) fn changes_to(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let innermost = now.layers.first().map(|layer| layer.name.as_str()).unwrap_or_default();
        let template = format!("template of layer {innermost}");
        if self.upstream.template != now.upstream.template {
            let (before, now) = (&self.upstream.template, &now.upstream.template);
            lines.push(format!("{template}: {before} → {now}"));
        } else if let (Some(before), Some(now)) = (self.upstream.digest, now.upstream.digest) {
            changed(&template, "digest", before, now, &mut lines);
        }
        let (before, after) = (own(&self.upstream.args), own(&now.upstream.args));
        if before != after {
            let words = |args: &[&String]| crate::shell::command(args);
            let (before, now) = (words(&before), words(&after));
            lines.push(format!("{template}: arguments {before} → {now}"));
        }
        for layer in &now.layers {
            match self.layers.iter().find(|before| before.name == layer.name) {
                None => lines.push(format!("layer {} is new", layer.name)),
                Some(before) => changes_of(before, layer, &mut lines),
            }
        }
        let is_gone = |layer: &&Layer| now.layers.iter().all(|now| now.name != layer.name);
        lines.extend(
            self.layers.iter().filter(is_gone).map(|layer| format!("layer {} is gone", layer.name)),
        );
        let order = |record: &Self| -> Vec<String> {
            record.layers.iter().map(|layer| layer.name.clone()).collect()
        };
        if lines.is_empty() && order(self) != order(now) {
            lines.push("the order of the layers has changed".to_owned());
        }
        lines
    }
}

/// Returns the arguments of a template besides those that LXC gives: a container may be moved or copied.
fn own(args: &[String]) -> Vec<&String> {
    let given = ["--path=", "--name=", "--rootfs="];
    let is_given = |word: &String| given.iter().any(|given| word.starts_with(given));
    args.iter().filter(|word| !is_given(word)).collect()
}

fn changes_of(before: &Layer, now: &Layer, lines: &mut Vec<String>) {
    let label = format!("layer {}", now.name);
    steps(&label, before, now, lines);
    let by_path = |layer: &Layer| -> BTreeMap<String, File> {
        layer.files.iter().map(|file| (file.path.clone(), file.clone())).collect()
    };
    let (old, new) = (by_path(before), by_path(now));
    for (path, file) in &new {
        let label = format!("{label}: {}", crate::shell::word(path));
        match old.get(path) {
            None => lines.push(format!("{label} is new")),
            Some(before) => file_changes(&label, before, file, lines),
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        lines.push(format!("{label}: {} is gone", crate::shell::word(path)));
    }
    for line in now.config.iter().filter(|line| !before.config.contains(line)) {
        lines.push(format!("{label}: config {line} is new"));
    }
    for line in before.config.iter().filter(|line| !now.config.contains(line)) {
        lines.push(format!("{label}: config {line} is gone"));
    }
}

fn steps(label: &str, before: &Layer, now: &Layer, lines: &mut Vec<String>) {
    for phase in ["pre", "post", "check", "finally"] {
        let of = |layer: &Layer| -> Vec<Digest> {
            let steps = layer.steps.iter().filter(|step| step.phase == phase);
            steps.map(|step| step.digest).collect()
        };
        let (old, new) = (of(before), of(now));
        for (number, now) in new.iter().enumerate() {
            let label = format!("{label}: {phase} {}", number + 1);
            match old.get(number) {
                None => lines.push(format!("{label} is new")),
                Some(before) => changed(&label, "digest", *before, *now, lines),
            }
        }
        for number in new.len()..old.len() {
            lines.push(format!("{label}: {phase} {} is gone", number + 1));
        }
    }
}

fn file_changes(label: &str, before: &File, now: &File, lines: &mut Vec<String>) {
    if before.kind != now.kind {
        lines.push(format!("{label}: {} → {}", before.kind, now.kind));
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
            lines.push(format!("{label}: {what} {} → {}", shown(before), shown(now)));
        }
    }
    if let (Some(before), Some(now)) = (before.digest, now.digest) {
        changed(label, "digest", before, now, lines);
    }
}

fn changed(label: &str, what: &str, before: Digest, now: Digest, lines: &mut Vec<String>) {
    if before != now {
        lines.push(format!("{label}: {what} {}… → {}…", before.short(), now.short()));
    }
}
