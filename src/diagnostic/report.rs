//! All the diagnostics of a manifest.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use annotate_snippets::{Renderer, renderer::DecorStyle};

use super::{Diagnostic, Severity};
use crate::shell;

/// How many errors, and how many warnings, are kept: nobody reads more, and a file made of faults
/// must not cost more than a sound one.
const MOST: usize = 100;

/// All the diagnostics of a manifest.
#[derive(Debug, Clone, Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    /// How many errors were found, those that were not kept among them.
    errors: usize,
    /// How many warnings were found.
    warnings: usize,
    /// Whether others could have written a file.
    has_untrusted: bool,
}

impl Report {
    /// Adds a diagnostic.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let found = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *found += 1;
        self.has_untrusted |= diagnostic.untrusted.is_some();
        if *found <= MOST {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Adds an error, made only where it would be kept.
    pub(crate) fn push_error(&mut self, error: impl FnOnce() -> Diagnostic) {
        self.push_error_below(MOST, error);
    }

    /// Adds an error where there are fewer than `most`, and counts it otherwise.
    pub(crate) fn push_error_below(&mut self, most: usize, error: impl FnOnce() -> Diagnostic) {
        if self.errors < most {
            self.push(error());
        } else {
            self.errors += 1;
        }
    }

    /// Adds all of another report.
    pub fn extend(&mut self, other: Report) {
        let (errors, warnings) = (self.errors + other.errors, self.warnings + other.warnings);
        self.has_untrusted |= other.has_untrusted;
        other.diagnostics.into_iter().for_each(|diagnostic| self.push(diagnostic));
        (self.errors, self.warnings) = (errors, warnings);
    }

    /// Adds to each diagnostic how its file came to be read.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        for diagnostic in &mut self.diagnostics {
            diagnostic.notes.push(note.to_owned());
        }
        self
    }

    /// Makes warnings of its errors.
    #[must_use]
    pub fn as_warnings(mut self) -> Self {
        for diagnostic in &mut self.diagnostics {
            diagnostic.severity = Severity::Warning;
        }
        (self.errors, self.warnings) = (0, self.errors + self.warnings);
        self
    }

    /// Tells whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Tells whether others than those who are trusted could have written a file.
    pub(crate) fn has_untrusted(&self) -> bool {
        self.has_untrusted
    }

    /// Tells whether no more errors would be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.errors >= MOST
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
        // One warning for all that is in a directory; an error says what is to be mended for each.
        let mut told = BTreeSet::new();
        sorted.retain(|diagnostic| match &diagnostic.untrusted {
            Some(path) if diagnostic.severity == Severity::Warning => told.insert(path),
            _ => true,
        });
        sorted
    }

    /// Returns the first error in the order of the files' text.
    pub(crate) fn first_error(&self) -> Option<&Diagnostic> {
        self.sorted().into_iter().find(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Returns how many of a kind were found: what is shown, and what was not kept.
    pub fn count(&self, severity: Severity) -> usize {
        let shown = self.sorted().iter().filter(|shown| shown.severity == severity).count();
        shown + self.not_kept(severity)
    }

    fn not_kept(&self, severity: Severity) -> usize {
        let found = match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
        };
        found - self.diagnostics.iter().filter(|kept| kept.severity == severity).count()
    }

    /// Renders all diagnostics for a person, with colours when `styled`.
    pub fn to_text(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for diagnostic in self.sorted() {
            for line in diagnostic.render(&renderer).trim_end().lines() {
                let _ = writeln!(text, "{}", line.trim_end());
            }
            text.push('\n');
        }
        for (severity, what) in [(Severity::Error, "errors"), (Severity::Warning, "warnings")] {
            let hidden = self.not_kept(severity);
            if hidden > 0 {
                let _ = writeln!(text, "{hidden} more {what} are not shown");
            }
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
                    "notes": diagnostic.notes,
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
            let mut message = format!("{}{}", diagnostic.message, help.unwrap_or_default());
            for note in &diagnostic.notes {
                let _ = write!(message, "\nnote: {note}");
            }
            let _ = writeln!(text, "::{}", data(&message));
        }
        text
    }
}

impl From<Diagnostic> for Report {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut report = Self::default();
        report.push(diagnostic);
        report
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
    use crate::source::{At, Source};

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let at = At { source: Arc::new(Source::new("m.toml", "/", "a = 1")), span: 0..1 };
        let mut report = Report::default();
        for number in 0..250 {
            report.push_error(|| Diagnostic::error(&at, format!("fault {number}")));
        }
        report.push(Diagnostic::warning(&at, "a warning is not drowned"));
        assert_eq!(report.sorted().len(), 101);
        let text = report.to_text(false);
        assert!(text.ends_with("150 more errors are not shown\n"), "{text}");
        assert!(text.contains("a warning is not drowned"));
    }

    #[test]
    fn github_annotations_cannot_be_broken_out_of() {
        let at = At { source: Arc::new(Source::new("m.toml", "/", "a = 1")), span: 0..1 };
        let report: Report = Diagnostic::error(&at, "x\n::error::y%").into();
        assert_eq!(report.to_github(), "::error file=m.toml,line=1,col=1::x%0A::error::y%25\n");
    }
}
