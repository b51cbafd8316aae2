//! Hooks of a container that run what the role drops.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::chain::{Chain, Dropped, FileDrop};
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::Action;
use crate::plan::SourceFact;

/// The keys whose value is a file of the rootfs that LXC runs in the container.
const RUNS: [&str; 2] = ["lxc.hook.start", "lxc.init.cmd"];

/// Warns where such a file gets no run bit: the container would not start.
pub(super) fn warn(chain: &Chain, sources: &BTreeMap<PathBuf, SourceFact>) -> Report {
    let mut report = Report::default();
    let mut steps = chain.layers.iter().flat_map(|layer| layer.post.iter());
    let changes_modes = |action: &Action| match action {
        Action::Run(text) => text.contains("chmod") || text.contains("install "),
        Action::Script(_) => true,
    };
    if steps.any(|step| changes_modes(&step.action)) {
        return report;
    }
    // The outermost of two drops on one path is what is there in the end.
    let files: BTreeMap<String, &FileDrop> = chain
        .layers
        .iter()
        .flat_map(|layer| &layer.files)
        .map(|file| (file.path.to_string(), file))
        .collect();
    for line in chain.layers.iter().flat_map(|layer| &layer.config) {
        if !RUNS.contains(&line.key.as_str()) {
            continue;
        }
        let Some(program) = line.value.split_whitespace().next() else { continue };
        let Some(file) = files.get(program).filter(|file| !can_run(file, sources)) else {
            continue;
        };
        let message =
            format!("`{}` runs `{program}`, which is dropped without a run bit", line.key);
        let help = format!("write `mode = \"0755\"` at {}", file.at);
        report.push(Diagnostic::warning(&line.at, message).help(help));
    }
    report
}

/// Tells whether a drop may be run. Of what is not known it may.
fn can_run(file: &FileDrop, sources: &BTreeMap<PathBuf, SourceFact>) -> bool {
    if let Some(mode) = file.mode {
        return mode.bits() & 0o111 != 0;
    }
    match &file.content {
        Dropped::Inline(_) | Dropped::Secret { .. } | Dropped::Url { .. } => false,
        Dropped::Source { path, .. } => match sources.get(path) {
            Some(SourceFact::File(fact)) => fact.executable,
            Some(SourceFact::Tree { .. }) | None => true,
        },
        Dropped::Symlink(_) | Dropped::Directory | Dropped::Remove => true,
    }
}
