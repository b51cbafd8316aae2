//! The line that a diagnostic shows.

use std::ops::Range;

use crate::shell;
use crate::source::At;

/// How many characters are shown of each of: what stands before a value, the value, what stands
/// behind it.
const WIDEST: usize = 80;

/// One line of a file, printable and cut to a bearable width.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The text.
    pub(super) text: String,
    /// The number of the line.
    pub(super) line: usize,
    /// The value within the text.
    pub(super) span: Range<usize>,
}

impl Excerpt {
    /// Returns the line at `at`; a value over several lines is shown by its first alone.
    pub(super) fn of(at: &At) -> Self {
        let (lines, line) = at.source.lines_of(&at.span);
        let text = &at.source.text[lines.clone()];
        // Not to walk through a whole mebibyte for its first line.
        let text = text.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let start = (at.span.start - lines.start).min(text.len());
        let end = (at.span.end.max(at.span.start) - lines.start).clamp(start, text.len());
        let before = shell::one_line(&cut_front(&text[..start]));
        let value = shell::one_line(&cut(&text[start..end], WIDEST));
        let after = shell::one_line(&cut(&text[end..], WIDEST));
        let span = before.len()..before.len() + value.len();
        Self { text: format!("{before}{value}{after}"), line, span }
    }

    /// Returns the column of the value within the text.
    pub(super) fn column(&self) -> usize {
        self.text[..self.span.start].chars().count() + 1
    }
}

/// Returns the first `most` characters of `text`.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((index, _)) => format!("{}…", &text[..index]),
        None => text.to_owned(),
    }
}

fn cut_front(text: &str) -> String {
    match text.char_indices().rev().nth(WIDEST) {
        Some((index, dropped)) => format!("…{}", &text[index + dropped.len_utf8()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_on_both_sides() {
        let long = "é".repeat(100);
        assert_eq!(cut(&long, 80), format!("{}…", "é".repeat(80)));
        assert_eq!(cut_front(&long), format!("…{}", "é".repeat(80)));
        assert_eq!(cut_front("é"), "é");
    }
}
