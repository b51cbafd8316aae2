//! Lines of a report that a terminal has no room for: they go on below the text that they break, and not at the edge.

use super::wrap::{width, words};

/// The least room for words that is worth a break, in columns.
const LEAST: usize = 20;

/// How wide the column of kinds is in a plan and in what is shown of a container, with the space behind it.
const KIND: usize = 9;

/// What stands for a level of a nest.
const BAR: &str = "| ";

/// Where the lines of a report go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hang {
    /// Behind the bars and the kind of a line of a nest.
    Nest,
    /// In a column.
    Column(usize),
    /// Below what is said of a row of a table; its rows stay whole.
    Reasons,
}

impl Hang {
    /// Returns what the next lines of a broken one begin with; `None` for one that stays whole.
    fn prefix(self, line: &str) -> Option<String> {
        match self {
            Self::Nest => Some(in_nest(line)),
            Self::Column(column) => Some(" ".repeat(match line.get(..column) {
                Some(before) if before.ends_with(' ') => column,
                _ => leading(line) + 2,
            })),
            Self::Reasons if line.starts_with(BAR) || has_kind(line) => Some(in_nest(line)),
            Self::Reasons => line.starts_with("  ").then(|| " ".repeat(4)),
        }
    }

    /// Breaks the lines of a text for so many columns.
    pub(super) fn broken(self, text: &str, columns: usize) -> String {
        text.split_inclusive('\n').map(|line| self.line(line, columns)).collect()
    }

    fn line(self, line: &str, columns: usize) -> String {
        let whole = line.trim_end();
        let prefix = if width(whole) > columns { self.prefix(whole) } else { None };
        let Some(prefix) = prefix.filter(|prefix| prefix.len() + LEAST <= columns) else {
            return line.to_owned();
        };
        let (mut broken, mut column) = (String::new(), 0);
        for (index, word) in with_brackets(whole).iter().enumerate() {
            let wide = width(word);
            let is_full = column > prefix.len() && column + 1 + wide > columns;
            if is_full && !word.is_empty() {
                broken.truncate(broken.trim_end().len());
                broken.extend(["\n", &prefix, word]);
                column = prefix.len() + wide;
                continue;
            }
            let space = if index > 0 { " " } else { "" };
            broken.extend([space, word]);
            column += space.len() + wide;
        }
        broken + &line[whole.len()..]
    }
}

/// Splits a line at its spaces, but for those in brackets that are closed in it, and in backquotes.
fn with_brackets(line: &str) -> Vec<String> {
    let mut split: Vec<String> = Vec::new();
    let mut rest = line;
    for word in words(line) {
        let is_within =
            split.last().is_some_and(|open| open.starts_with('[') && !open.contains(']'));
        match split.last_mut() {
            Some(open) if is_within && rest.contains(']') => open.extend([" ", word]),
            _ => split.push(word.to_owned()),
        }
        rest = rest.get(word.len() + 1..).unwrap_or_default();
    }
    split
}

/// Returns what a line of a nest goes on with: its bars, and blanks to the column of texts.
fn in_nest(line: &str) -> String {
    let bars = line.len() - line.trim_start_matches(BAR).len();
    let (bars, rest) = line.split_at(bars);
    let is_of_head = || rest.strip_prefix("  ").is_some_and(has_kind);
    let indent = match has_kind(rest) {
        true => KIND,
        false if is_of_head() => 2 + KIND,
        false => leading(rest) + 2,
    };
    format!("{bars}{}", " ".repeat(indent))
}

/// Tells whether a line begins with a kind in its column, or with the blanks of one.
fn has_kind(line: &str) -> bool {
    let Some((kind, text)) = line.split_at_checked(KIND) else { return false };
    let kind = kind.strip_suffix(' ').map(str::trim_end);
    kind.is_some_and(|kind| !kind.contains(' ') && !kind.ends_with(':')) && !text.starts_with(' ')
}

fn leading(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_below_its_text() {
        for (hang, line, expected) in [
            (
                Hang::Nest,
                "web1: A container that is provisioned at every start",
                "web1: A container that is\n  provisioned at every start",
            ),
            (
                Hang::Nest,
                "  manifest /srv/a/long/path /and/another",
                "  manifest /srv/a/long/path\n           /and/another",
            ),
            (
                Hang::Nest,
                "| | file     /sbin/provision  0755 root:root 202 B",
                "| | file     /sbin/provision  0755\n| |          root:root 202 B",
            ),
            (
                Hang::Nest,
                "|          a small rootfs of /bin/busybox",
                "|          a small rootfs of\n|          /bin/busybox",
            ),
            (
                Hang::Nest,
                "| config   lxc.mount.entry = `a b c` in `d e f`",
                "| config   lxc.mount.entry =\n|          `a b c` in `d e f`",
            ),
            (
                Hang::Column(13),
                "warn subject one two three four five",
                "warn subject one two three four\n             five",
            ),
            (Hang::Reasons, "web1  A container  copy  1 day  current", ""),
            (
                Hang::Reasons,
                "  its manifest `/srv/x.toml` is gone",
                "  its manifest `/srv/x.toml` is\n    gone",
            ),
            (
                Hang::Nest,
                "layer    a-long-name  [from the store: 1.2]  (m.toml:1)",
                "layer    a-long-name\n         [from the store: 1.2]\n         (m.toml:1)",
            ),
            (Hang::Nest, "short", ""),
        ] {
            let expected = if expected.is_empty() { line } else { expected };
            let line = format!("{line}\n");
            assert_eq!(hang.broken(&line, 34), format!("{expected}\n"));
        }
    }

    #[test]
    fn a_word_that_has_no_room_at_all_stays_whole() {
        let long = format!("| file     /{}  0644\n", "x".repeat(40));
        let expected = format!("| file     /{}\n|          0644\n", "x".repeat(40));
        assert_eq!(Hang::Nest.broken(&long, 32), expected);
        assert_eq!(
            Hang::Nest.broken("| | | | file     a b c d e f g h\n", 28),
            "| | | | file     a b c d e f g h\n"
        );
    }
}
