//! Faults of a manifest: many at once, each pointing at the value that is wrong.

mod excerpt;
mod report;

use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

pub use report::Report;

use excerpt::Excerpt;

use crate::shell;
use crate::source::At;

/// How many characters of a message or a help are kept: a value may be part of it.
const LONGEST: usize = 600;

/// How many names are looked through for one that a slip was meant to be.
const MOST_NAMES: usize = 1000;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The manifest cannot be used.
    Error,
    /// The manifest can be used, but hardly means what it says.
    Warning,
}

/// One fault, where it is, and what to write instead.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// What the caret points at; `None` for a file that could not be read.
    pub at: Option<At>,
    /// The file, where there is no place in it to point at.
    pub file: PathBuf,
    /// A word at the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// How the file came to be read, where another file names it.
    pub notes: Vec<String>,
    /// What others could have written, where it is about that and not about what is in the file.
    pub untrusted: Option<PathBuf>,
}

impl Diagnostic {
    /// Creates an error at `at`.
    pub fn error(at: &At, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: excerpt::cut(&shell::reason(&message.into()), LONGEST),
            at: Some(at.clone()),
            file: at.source.path.clone(),
            label: None,
            help: None,
            notes: Vec::new(),
            untrusted: None,
        }
    }

    /// Creates a warning at `at`.
    pub fn warning(at: &At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    /// Creates an error about a whole file.
    pub fn of_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: excerpt::cut(&shell::reason(&message.into()), LONGEST),
            at: None,
            file: file.into(),
            label: None,
            help: None,
            notes: Vec::new(),
            untrusted: None,
        }
    }

    /// Adds a word at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(excerpt::cut(&help.into(), LONGEST));
        self
    }

    /// Adds "did you mean", where one of `known` is near `word`.
    #[must_use]
    pub fn did_you_mean<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// Renders the diagnostic in the look of rustc.
    pub(super) fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = shell::one_line(&self.file.to_string_lossy());
        let message = shell::printable(&self.message).into_owned();
        let excerpt = self.at.as_ref().map(Excerpt::of);
        let mut group = match &excerpt {
            Some(excerpt) => {
                let label = self.label.as_deref().map(|label| shell::printable(label).into_owned());
                let annotation = AnnotationKind::Primary.span(excerpt.span.clone()).label(label);
                let snippet = Snippet::source(&excerpt.text).line_start(excerpt.line);
                level.primary_title(message).element(snippet.path(&path).annotation(annotation))
            }
            None => Group::with_title(level.primary_title(format!("{path}: {message}"))),
        };
        for note in &self.notes {
            group = group.element(Level::NOTE.message(shell::printable(note).into_owned()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(shell::printable(help).into_owned()));
        }
        let rendered = renderer.render(&[group]);
        match (&self.at, excerpt) {
            (Some(at), Some(excerpt)) => {
                // The excerpt may be cut or escaped, so that columns are counted in the file.
                let (line, column) = at.source.position(at.span.start);
                let shown = format!("{path}:{line}:{}", excerpt.column());
                replace_below_title(&rendered, &shown, &format!("{path}:{line}:{column}"))
            }
            // A gutter without a line of a file beside it is only ink.
            _ => {
                let lines = rendered.split_inclusive('\n').filter(|line| !is_empty_gutter(line));
                lines.collect()
            }
        }
    }

    pub(super) fn sort_key(&self) -> (&PathBuf, usize, Severity) {
        (&self.file, self.at.as_ref().map_or(0, |at| at.span.start), self.severity)
    }
}

/// Tells whether a rendered line is nothing but the bar at the left.
fn is_empty_gutter(line: &str) -> bool {
    let line = line.trim_end().trim_end_matches("\u{1b}[0m").trim_end();
    line.strip_suffix('|').is_some_and(|before| {
        let before = before.trim();
        before.is_empty() || (before.starts_with('\u{1b}') && before.ends_with('m'))
    })
}

/// Replaces the first `from` below the first line.
fn replace_below_title(text: &str, from: &str, to: &str) -> String {
    let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
    format!("{title}\n{}", rest.replacen(from, to, 1))
}

/// Returns the word of `known` that `word` is most likely a slip of.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances are quadratic in length: nothing that long is a slip of a key.
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).max(1);
    let near = |candidate: &&str| candidate.len().abs_diff(word.len()) <= 3 * allowed;
    known
        .into_iter()
        .take(MOST_NAMES)
        .filter(near)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.cmp(y)))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::Source;

    fn at(text: &str, span: std::ops::Range<usize>) -> At {
        At { source: Arc::new(Source::new("m.toml", "/", text)), span }
    }

    #[test]
    fn text_points_at_the_value() {
        let report: Report = Diagnostic::error(&at("a = 1\nb = \"x\"\r\n", 10..13), "wrong type")
            .label("a string")
            .help("write a number")
            .into();
        let text = report.to_text(false);
        assert!(text.contains("error: wrong type"), "{text}");
        assert!(text.contains("m.toml:2:5"), "{text}");
        assert!(text.contains("^^^ a string"), "{text}");
        assert!(text.contains("help: write a number"), "{text}");
    }

    #[test]
    fn nothing_of_the_file_drives_the_terminal() {
        let text = format!("a = \"\u{1b}[2J{}\u{7}\"", "x".repeat(5000));
        let report: Report = Diagnostic::error(&at(&text, 4..text.len()), "bad \u{1b}[31m").into();
        let report = report.note("brought by \u{1b}");
        let shown = report.to_text(false);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(!shown.contains('\u{7}'), "{shown}");
        assert!(shown.len() < 2000, "{}", shown.len());
    }

    #[test]
    fn columns_are_those_of_the_file() {
        let text = format!("a = [\"{}\", \"\u{1b}\", 1]", "x".repeat(500));
        let place = text.len() - 2..text.len() - 1;
        let shown = Report::from(Diagnostic::error(&at(&text, place), "bad")).to_text(false);
        assert!(shown.contains("m.toml:1:515\n"), "{shown}");
    }

    #[test]
    fn slips_are_recognised() {
        assert_eq!(nearest("templat", ["template", "timeout"]), Some("template"));
        assert_eq!(nearest("psot", ["pre", "post"]), Some("post"));
        assert_eq!(nearest("frobnicate", ["pre", "post"]), None);
    }
}
