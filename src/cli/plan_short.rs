//! `plan --short`: a plan on one screen.

use std::io::{self, Write};

use super::output::columns;
use super::wrap;
use crate::cache::Ladder;
use crate::plan::{Act, Detail, Layer, Plan, standing};
use crate::shell;

/// How many lines a screen has for it: the last one of 24 is the caller's.
const LINES: usize = 23;

/// The widest column of names.
const WIDEST: usize = 24;

/// Writes the layers of a plan, the outermost first, each in a line that fits the terminal.
pub(super) fn write(plan: &Plan, ladder: &Ladder, to: &mut dyn Write) -> io::Result<()> {
    let columns = columns();
    let mut rest = Vec::new();
    ladder.text(Detail::Lines, &mut rest)?;
    let rest = String::from_utf8_lossy(&rest);
    let (head, layers, rest) = (head(plan), layers(plan), rest.lines().collect::<Vec<_>>());
    let room = LINES.saturating_sub(head.len() + rest.len()).max(1);
    let (shown, left) = match layers.len() > room {
        true => layers.split_at(room - 1),
        false => (&layers[..], &[][..]),
    };
    let more = (!left.is_empty()).then(|| format!("  ... and {} more", left.len()));
    let lines = head.iter().chain(shown).chain(&more).map(String::as_str).chain(rest);
    lines.map(|line| wrap::cut(line, columns)).try_for_each(|line| writeln!(to, "{line}"))
}

fn head(plan: &Plan) -> Vec<String> {
    let role = plan.manifest.description.as_deref().unwrap_or("a container");
    let name = shell::one_line(&plan.container.name);
    let mut lines = vec![
        format!("{name}: {}", shell::one_line(role)),
        format!("  manifest {}", shell::one_line(&plan.manifest.path.to_string_lossy())),
        format!("  rootfs   {}", shell::one_line(&plan.container.rootfs.to_string_lossy())),
    ];
    if let Some(why) = &plan.storage.unused {
        lines.push(format!("  store    not used: {}", shell::one_line(why)));
    }
    lines.push(String::new());
    lines
}

fn layers(plan: &Plan) -> Vec<String> {
    let names = plan.layers().map(|layer| wrap::width(layer.name.as_str()));
    let width = names.max().unwrap_or_default().min(WIDEST);
    let mut lines: Vec<_> = plan
        .layers()
        .map(|layer| {
            let standing = standing(layer.standing.as_ref());
            let line =
                format!("  {:width$}{standing:14}  {}", layer.name.as_str(), contents(layer));
            line.trim_end().to_owned()
        })
        .collect();
    let upstream = plan.upstream();
    let template = format!("template {}", shell::one_line(&upstream.template));
    lines.push(format!("  {template}{}", standing(upstream.standing.as_ref())));
    lines
}

/// Returns how many things there are in a layer.
fn contents(layer: &Layer) -> String {
    let (mut steps, mut files, mut config) = (layer.before.len() + layer.finally.len(), 0, 0);
    for act in &layer.after {
        match act {
            Act::Step(_) => steps += 1,
            Act::Drop(_) => files += 1,
            Act::Config(lines) => config += lines.len(),
        }
    }
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let counted = [counted(steps, "step"), counted(files, "file"), counted(config, "config line")];
    counted.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
