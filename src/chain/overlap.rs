//! What several layers of a chain do to one thing.

use std::collections::{HashMap, HashSet};

use super::resolve::brought;
use super::{Dropped, Layer};
use crate::diagnostic::{Diagnostic, Report};
use crate::lxc::keys;
use crate::manifest::RootfsPath;

/// Warns where the outer of two layers wins, and where a hook would run twice.
pub(super) fn warn(layers: &[Layer], report: &mut Report) {
    let mut scalars: HashMap<&str, &Layer> = HashMap::new();
    let mut hooks: HashSet<(&str, &str)> = HashSet::new();
    let mut paths: HashMap<&RootfsPath, &Layer> = HashMap::new();
    for layer in layers {
        let mut found = Report::default();
        for line in &layer.config {
            if keys::shape(&line.key) == keys::Shape::Scalar {
                if let Some(inner) = scalars.insert(&line.key, layer)
                    && inner.name != layer.name
                {
                    let message = format!("layer `{}` sets `{}` too", inner.name, line.key);
                    found.push(Diagnostic::warning(&line.at, message).help(wins(layer)));
                }
            } else if line.key.starts_with("lxc.hook.")
                && !line.value.is_empty()
                && !hooks.insert((&line.key, &line.value))
            {
                let message = format!("`{}` stands twice, and runs twice", line.key);
                found.push(Diagnostic::warning(&line.at, message));
            }
        }
        for file in &layer.files {
            let merges = matches!(file.content, Dropped::Source { .. } | Dropped::Directory);
            if let Some(inner) = paths.insert(&file.path, layer)
                && inner.name != layer.name
                && !merges
            {
                let message = format!("layer `{}` drops `{}` too", inner.name, file.path);
                found.push(Diagnostic::warning(&file.at, message).help(wins(layer)));
            }
        }
        report.extend(match &layer.used {
            Some(at) => found.note(&brought(&layer.name, at)),
            None => found,
        });
    }
}

fn wins(outer: &Layer) -> String {
    format!("the outer layer wins: `{}`", outer.name)
}
