//! A manifest's text, and places in it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The text of a manifest file and where it came from.
#[derive(Debug)]
pub struct Source {
    /// The path as it was given: what messages show.
    pub path: PathBuf,
    /// The absolute directory of the file: what relative sources and scripts are relative to.
    pub dir: PathBuf,
    /// The whole text, without a byte order mark.
    pub text: String,
    /// The byte offset of each line's start.
    lines: Vec<usize>,
}

impl Source {
    /// Creates a source of `text`, read from `path`, which lies in the absolute directory `dir`.
    pub fn new(path: impl Into<PathBuf>, dir: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(index, _)| index + 1)).collect();
        Self { path: path.into(), dir: dir.into(), text, lines }
    }

    /// Returns the line and the column of the byte at `offset`, both counted from 1, the column in
    /// characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let before = self.text.get(self.lines[line - 1]..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// Returns the range of bytes from the start of the first line that `span` touches to the end
    /// of the last, and the number of the first line.
    pub fn lines_of(&self, span: &Range<usize>) -> (Range<usize>, usize) {
        let (first, _) = self.position(span.start);
        let (last, _) = self.position(span.end.max(span.start + 1) - 1);
        let end = self.lines.get(last).map_or(self.text.len(), |next| next - 1);
        (self.lines[first - 1]..end, first)
    }
}

/// A place in a source: what a message points at.
#[derive(Clone)]
pub struct At {
    /// The file.
    pub source: Arc<Source>,
    /// The range of bytes in the file's text.
    pub span: Range<usize>,
}

impl At {
    /// Returns the directory that relative paths named at this place are relative to.
    pub fn dir(&self) -> &Path {
        &self.source.dir
    }

    /// Returns the line of the place, counted from 1.
    pub fn line(&self) -> usize {
        self.source.position(self.span.start).0
    }
}

/// Shows `file:line`.
impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = crate::shell::printable(&self.source.path.to_string_lossy()).into_owned();
        write!(formatter, "{path}:{}", self.line())
    }
}

impl fmt::Debug for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one_in_characters() {
        let source = Source::new("m.toml", "/", "é = 1\nb = 2\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(3), (1, 3));
        assert_eq!(source.position(7), (2, 1));
        assert_eq!(source.position(source.text.len()), (3, 1));
        assert_eq!(source.lines_of(&(7..8)), (7..12, 2));
        assert_eq!(source.lines_of(&(3..9)), (0..12, 1));
        assert_eq!(source.lines_of(&(13..13)), (13..13, 3));
    }
}
