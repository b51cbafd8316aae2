//! `plan --short`: a plan on one screen.

use std::io::{self, Write};

use super::output::columns;
use super::wrap;
use crate::cache::Ladder;
use crate::plan::{Act, Detail, Layer, Plan, standing};
use crate::shell;

/// How many lines a screen has for it: the last one of 24 is the caller's.
const LINES: usize = 23;

/// The widest column that others are made as wide as.
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
    let mut rows: Vec<_> = plan
        .layers()
        .map(|layer| {
            let standing = standing(layer.standing.as_ref());
            [layer.name.as_str().to_owned(), standing, format!("  {}", contents(layer))]
        })
        .collect();
    let upstream = plan.upstream();
    let template = format!("template {}", shell::one_line(&upstream.template));
    rows.push([template, standing(upstream.standing.as_ref()), String::new()]);
    in_columns(&rows)
}

/// Returns the lines of rows, each cell as wide as the widest of its column.
fn in_columns(rows: &[[String; 3]]) -> Vec<String> {
    let widest = |column: usize| {
        let widths = rows.iter().map(|row| wrap::width(&row[column]));
        widths.max().unwrap_or_default().min(WIDEST)
    };
    let widths = [widest(0), widest(1), 0];
    let line = |row: &[String; 3]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let missing = width.saturating_sub(wrap::width(cell));
            format!("{cell}{}", " ".repeat(missing))
        });
        format!("  {}", cells.collect::<String>()).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_even() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [
            row(["own", "  [decided by pre of os]", "  1 step"]),
            row(["名前", "  [stored]", "  2 files"]),
            row(["a-name-that-is-longer-than-all-others", "", "  1 file"]),
            row(["template fake", "  [to build]", ""]),
        ];
        let expected = [
            "  own                       [decided by pre of os]  1 step",
            "  名前                      [stored]                2 files",
            "  a-name-that-is-longer-than-all-others                          1 file",
            "  template fake             [to build]",
        ];
        let lines = in_columns(&rows);
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(line, expected);
        }
        assert_eq!(lines.len(), expected.len());
    }
}
