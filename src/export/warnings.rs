//! What of a role an image cannot carry, to be told.

use std::collections::BTreeMap;
use std::fmt;

use crate::shell;

/// What could not be written, by kinds.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    paths: BTreeMap<String, Vec<Vec<u8>>>,
    words: BTreeMap<&'static str, Vec<String>>,
    lines: Vec<String>,
}

impl Warnings {
    /// Returns the paths by kinds.
    pub(super) fn by_kind(self) -> BTreeMap<String, Vec<Vec<u8>>> {
        self.paths
    }

    /// Adds all paths of each kind.
    pub(super) fn add_all(&mut self, of_kinds: &BTreeMap<String, Vec<Vec<u8>>>) {
        for (kind, paths) in of_kinds {
            for path in paths {
                self.add(kind, path);
            }
        }
    }

    /// Adds a path to those of a kind.
    pub(super) fn add(&mut self, kind: &str, path: &[u8]) {
        let paths = self.paths.entry(kind.to_owned()).or_default();
        if !paths.iter().any(|known| known == path) {
            paths.push(path.to_vec());
        }
    }

    /// Adds what is no path to that of a kind. All of it is shown.
    pub(super) fn add_words(&mut self, kind: &'static str, words: &str) {
        self.words.entry(kind).or_default().push(format!("`{words}`"));
    }

    /// Adds a line as it is, once.
    pub(super) fn tell(&mut self, line: &str) {
        if !self.lines.iter().any(|known| known == line) {
            self.lines.push(line.to_owned());
        }
    }
}

/// How many paths of a kind are shown.
const MOST: usize = 4;

/// One line a kind.
impl fmt::Display for Warnings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, paths) in &self.paths {
            let shown = paths.iter().take(MOST).map(|path| {
                let path = String::from_utf8_lossy(path);
                shell::word(format!("/{}", path.trim_start_matches("../")))
            });
            let shown = shown.collect::<Vec<_>>().join(", ");
            let more = match paths.len().saturating_sub(MOST) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            writeln!(formatter, "{kind} {shown}{more}")?;
        }
        for (kind, words) in &self.words {
            writeln!(formatter, "{kind} {}", words.join(", "))?;
        }
        self.lines.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}
