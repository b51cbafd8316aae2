//! The messages that `docs/troubleshooting.md` explains are messages of the program.

use std::path::{Path, PathBuf};

use crate::{Faults, console::ANYTHING};

/// What a heading that quotes a message begins with.
const HEADING: &str = "### ``";

/// Judges the headings of a page by the sources of the program.
pub(crate) fn judge(page: &Path, sources: &Path) -> Faults {
    let text = std::fs::read_to_string(page).expect("the page can be read");
    let mut sources_text = String::new();
    gather(sources, &mut sources_text);
    of_text(&text, &sources_text)
}

/// Returns the quoted messages that no line of the sources says.
pub(crate) fn of_text(page: &str, sources: &str) -> Faults {
    let sources = literals(sources);
    quoted(page)
        .filter(|message| !sources.lines().any(|line| says(line, message)))
        .map(|message| format!("nothing says `{message}`"))
        .collect()
}

/// The messages that headings quote, without the blank that keeps a backtick from the end of a code span.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter_map(|line| Some(line.strip_prefix(HEADING)?.strip_suffix("``")?.trim()))
}

/// Makes each string of a source stand in one line, as the compiler reads it.
fn literals(sources: &str) -> String {
    let mut lines = String::new();
    for line in sources.lines() {
        match line.strip_suffix('\\') {
            Some(begun) => {
                lines.push_str(if lines.ends_with('\n') { begun } else { begun.trim_start() });
            }
            None if lines.ends_with('\n') || lines.is_empty() => lines.extend([line, "\n"]),
            None => lines.extend([line.trim_start(), "\n"]),
        }
    }
    lines.replace("\\\"", "\"").replace("{{", "{").replace("}}", "}")
}

/// Tells whether a line has the parts of a message one behind the other.
fn says(line: &str, message: &str) -> bool {
    let mut rest = line;
    message.split(ANYTHING).all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

fn gather(directory: &Path, text: &mut String) {
    let entries = std::fs::read_dir(directory).expect("the sources are there");
    for path in entries.map(|entry| -> PathBuf { entry.expect("it can be read").path() }) {
        if path.is_dir() {
            gather(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &std::fs::read_to_string(&path).expect("a source can be read");
        }
    }
}
