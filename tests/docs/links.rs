//! Links between pages, and from them to files of the repository.

use std::path::Path;

use crate::Faults;

pub(crate) fn judge(path: &Path) -> Faults {
    match std::fs::read_to_string(path) {
        Ok(text) => of_text(path, &text),
        Err(error) => vec![format!("{}: {error}", path.display())],
    }
}

/// Judges the links in the text of a page.
pub(crate) fn of_text(path: &Path, text: &str) -> Faults {
    let links = prose(text).into_iter().flat_map(|(number, line)| {
        targets(&line).into_iter().map(move |target| (number, target)).collect::<Vec<_>>()
    });
    links
        .filter_map(|(number, target)| {
            let reason = fault(path, text, &target)?;
            Some(format!("{}:{number}: the link to `{target}`: {reason}", path.display()))
        })
        .collect()
}

/// Returns the lines of a page without its code.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            let pieces = line.split('`').step_by(2);
            lines.push((index + 1, pieces.collect::<Vec<_>>().join("code")));
        }
    }
    lines
}

/// Returns where the links of a line lead.
pub(crate) fn targets(line: &str) -> Vec<String> {
    let ends = line.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// Returns what is wrong with a link. Pages of the web are not asked for.
fn fault(page: &Path, text: &str, target: &str) -> Option<String> {
    if target.starts_with("https://") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = page.parent()?.join(file);
    if !file.is_empty() && !path.exists() {
        return Some(format!("there is no {}", path.display()));
    }
    if heading.is_empty() {
        return None;
    }
    let other =
        if file.is_empty() { text.to_owned() } else { std::fs::read_to_string(path).ok()? };
    let has = other.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == heading);
    (!has).then(|| format!("there is no heading `{heading}`"))
}

/// Returns the name that a heading is linked by, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
