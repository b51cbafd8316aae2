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
    /// Empty for a file that is compiled in.
    pub dir: PathBuf,
    /// The whole text, without a byte order mark and with line feeds alone at the ends of lines.
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

    /// Creates the source of a file that is compiled in: it has no directory.
    pub fn compiled_in(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self::new(path, PathBuf::new(), text)
    }

    /// Tells whether relative paths in the text mean anything.
    pub fn has_dir(&self) -> bool {
        !self.dir.as_os_str().is_empty()
    }

    /// Returns where a path that this file names lies: as messages show it, and absolute.
    pub fn sibling(&self, path: impl AsRef<Path>) -> (PathBuf, PathBuf) {
        let beside = self.path.parent().unwrap_or_else(|| Path::new(""));
        (beside.join(path.as_ref()), self.dir.join(path))
    }

    /// Returns the line and the column of the byte at `offset`, both counted from 1, the column in
    /// characters.
    ///
    /// The column costs a walk through the line.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let before = self.text.get(self.lines[line - 1]..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// Returns the line of the byte at `offset`, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// Returns the range of bytes from the start of the first line that `span` touches to the end
    /// of the last, and the number of the first line.
    pub fn lines_of(&self, span: &Range<usize>) -> (Range<usize>, usize) {
        let first = self.line(span.start);
        let last = self.line(span.end.max(span.start + 1) - 1);
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
        self.source.line(self.span.start)
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
