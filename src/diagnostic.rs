//! Faults of a manifest: many at once, each pointing at the value that is wrong.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use serde::Serialize;

use crate::shell;
use crate::source::At;

/// A value longer than this many characters is cut when a diagnostic shows its line.
const WIDEST: usize = 160;

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
    /// What the caret points at; nothing for a file that could not be read.
    pub at: Option<At>,
    /// The file, where there is no place in it to point at.
    pub file: PathBuf,
    /// A word at the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Creates an error at `at`.
    pub fn error(at: &At, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            at: Some(at.clone()),
            file: at.source.path.clone(),
            label: None,
            help: None,
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
            message: message.into(),
            at: None,
            file: file.into(),
            label: None,
            help: None,
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
        self.help = Some(help.into());
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
    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = shell::printable(&self.message);
        let help = self.help.as_deref().map(shell::printable);
        let path = shell::one_line(&self.file.to_string_lossy());
        let mut group = level.primary_title(message.as_ref());
        let title_only;
        let excerpt = self.at.as_ref().map(excerpt);
        let rendered = match &excerpt {
            Some((text, line, span)) => {
                let primary = AnnotationKind::Primary.span(span.clone());
                let label = self.label.as_deref().map(shell::printable);
                let annotation = primary.label(label.as_deref().map(str::to_owned));
                let snippet = Snippet::source(text.as_str())
                    .line_start(*line)
                    .path(path.as_str())
                    .annotation(annotation);
                let mut element = group.element(snippet);
                if let Some(help) = &help {
                    element = element.element(Level::HELP.message(help.as_ref()));
                }
                renderer.render(&[element])
            }
            None => {
                title_only = format!("{path}: {message}");
                group = match self.severity {
                    Severity::Error => Level::ERROR,
                    Severity::Warning => Level::WARNING,
                }
                .primary_title(title_only.as_str());
                let mut element = annotate_snippets::Group::with_title(group);
                if let Some(help) = &help {
                    element = element.element(Level::HELP.message(help.as_ref()));
                }
                renderer.render(&[element])
            }
        };
        rendered
    }

    fn sort_key(&self) -> (&PathBuf, usize, Severity) {
        (&self.file, self.at.as_ref().map_or(0, |at| at.span.start), self.severity)
    }
}

/// Returns the lines to show for a place, printable and cut to a bearable width, the number of the
/// first, and the span within them.
fn excerpt(at: &At) -> (String, usize, std::ops::Range<usize>) {
    let (lines, first) = at.source.lines_of(&at.span);
    // A value over several lines is shown by its first alone.
    let line = at.source.text[lines.clone()].split('\n').next().unwrap_or_default();
    let line = line.trim_end_matches('\r');
    let start = (at.span.start - lines.start).min(line.len());
    let end = (at.span.end.max(at.span.start) - lines.start).clamp(start, line.len());
    let (before, value, after) = (&line[..start], &line[start..end], &line[end..]);
    let before = cut_front(&shell::one_line(before));
    let value = cut_back(&shell::one_line(value));
    let after = cut_back(&shell::one_line(after));
    let span = before.len()..before.len() + value.len();
    (format!("{before}{value}{after}"), first, span)
}

fn cut_back(text: &str) -> String {
    match text.char_indices().nth(WIDEST / 2) {
        Some((index, _)) => format!("{}…", &text[..index]),
        None => text.to_owned(),
    }
}

fn cut_front(text: &str) -> String {
    let count = text.chars().count();
    if count <= WIDEST / 2 {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(count - WIDEST / 2).collect();
    format!("…{kept}")
}

/// Returns the word of `known` that `word` is most likely a slip of.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances are quadratic in length: nothing that long is a slip of a key.
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.cmp(y)))
        .map(|(_, candidate)| candidate)
}

/// All the diagnostics of a manifest.
#[derive(Debug, Clone, Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Adds a diagnostic.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Adds all of another report.
    pub fn extend(&mut self, other: Report) {
        self.diagnostics.extend(other.diagnostics);
    }

    /// Tells whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Returns the diagnostics in the order of the files' text.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<_> = self.diagnostics.iter().collect();
        sorted.sort_by(|a, b| match a.sort_key().cmp(&b.sort_key()) {
            Ordering::Equal => a.message.cmp(&b.message),
            other => other,
        });
        sorted.dedup_by(|a, b| a.sort_key() == b.sort_key() && a.message == b.message);
        sorted
    }

    /// Renders all diagnostics for a person, with colours when `styled`.
    pub fn to_text(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for diagnostic in self.sorted() {
            let _ = writeln!(text, "{}\n", diagnostic.render(&renderer).trim_end());
        }
        text
    }

    /// Returns all diagnostics as one JSON array.
    pub fn to_json(&self) -> serde_json::Value {
        self.sorted()
            .into_iter()
            .map(|diagnostic| {
                let place = diagnostic.at.as_ref().map(|at| {
                    let (line, column) = at.source.position(at.span.start);
                    let (end_line, end_column) = at.source.position(at.span.end);
                    serde_json::json!({
                        "line": line,
                        "column": column,
                        "end_line": end_line,
                        "end_column": end_column,
                    })
                });
                serde_json::json!({
                    "severity": diagnostic.severity,
                    "file": diagnostic.file.to_string_lossy(),
                    "at": place,
                    "message": diagnostic.message,
                    "label": diagnostic.label,
                    "help": diagnostic.help,
                })
            })
            .collect()
    }

    /// Renders all diagnostics as workflow commands that annotate a pull request on GitHub.
    pub fn to_github(&self) -> String {
        let mut text = String::new();
        for diagnostic in self.sorted() {
            let kind = match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let _ = write!(text, "::{kind} file={}", property(&diagnostic.file.to_string_lossy()));
            if let Some(at) = &diagnostic.at {
                let (line, column) = at.source.position(at.span.start);
                let _ = write!(text, ",line={line},col={column}");
            }
            let help = diagnostic.help.as_ref().map(|help| format!("\nhelp: {help}"));
            let message = format!("{}{}", diagnostic.message, help.unwrap_or_default());
            let _ = writeln!(text, "::{}", data(&message));
        }
        text
    }
}

impl From<Diagnostic> for Report {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic] }
    }
}

/// Escapes the data of a workflow command.
fn data(text: &str) -> String {
    shell::printable(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
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
        let shown = report.to_text(false);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(!shown.contains('\u{7}'), "{shown}");
        assert!(shown.len() < 2000, "{}", shown.len());
    }

    #[test]
    fn slips_are_recognised() {
        assert_eq!(nearest("templat", ["template", "timeout"]), Some("template"));
        assert_eq!(nearest("psot", ["pre", "post"]), Some("post"));
        assert_eq!(nearest("frobnicate", ["pre", "post"]), None);
    }

    #[test]
    fn github_annotations_cannot_be_broken_out_of() {
        let report: Report = Diagnostic::error(&at("a = 1", 0..1), "x\n::error::y%").into();
        assert_eq!(report.to_github(), "::error file=m.toml,line=1,col=1::x%0A::error::y%25\n");
    }
}
