//! The lines of a config that was just made: those of the role, and those that the container was made with.

use std::collections::{BTreeMap, BTreeSet};

use super::alignment::align;
use crate::lxc::config::{pair, unquoted};
use crate::lxc::keys::{Shape, shape};

/// A line of a config that was just made, or a comment in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MadeLine {
    /// The line, without blanks around it.
    pub text: String,
    /// Whether it is none of the role's: the container was made with it.
    pub is_given: bool,
}

/// What LXC reads of a line; of a comment the text, and no key.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) is_given: bool,
}

impl Line {
    /// Reads one; `None` for what is none of anybody's who makes a config.
    pub(super) fn read(text: &str, is_given: bool) -> Option<Self> {
        let text = text.trim();
        let (key, value) = match pair(text) {
            _ if text.is_empty() => return None,
            Some((key, value)) if !text.starts_with('#') => (key, unquoted(value)),
            _ => ("", text),
        };
        let is_foreign = key.starts_with("lxc.rootfs.")
            || key == "lxc.idmap"
            || !key.is_empty() && value.contains("--clone-hook");
        let [text, key, value] = [text, key, value].map(str::to_owned);
        (!is_foreign).then_some(Self { text, key, value, is_given })
    }

    pub(super) fn pair(&self) -> (&str, &str) {
        (&self.key, &self.value)
    }

    pub(super) fn is_comment(&self) -> bool {
        self.key.is_empty()
    }

    pub(super) fn is_clear(&self) -> bool {
        self.value.is_empty() && shape(&self.key) == Shape::List
    }

    /// Returns what a line of a key with several is about: one thing that has one value, or nothing.
    pub(super) fn thing(&self) -> &str {
        let (key, value) = self.pair();
        let is_limit = ["lxc.cgroup.", "lxc.cgroup2."].iter().any(|group| key.starts_with(group));
        let thing = match key {
            _ if shape(key) == Shape::Scalar => None,
            "lxc.mount.entry" => value.split_whitespace().nth(1),
            _ if key.starts_with("lxc.environment") => value.split('=').next(),
            _ if is_limit && !key.contains(".devices.") => Some(key),
            _ => None,
        };
        thing.unwrap_or_default()
    }

    /// Returns the key and the thing.
    pub(super) fn subject(&self) -> (&str, &str) {
        (&self.key, self.thing())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

/// Returns the lines that a container was made with, of those that it had just when it was made: its role puts its own
/// around them, as it does in `made`, whatever it was given there.
pub(crate) fn given(lines: &[String], made: &[MadeLine]) -> Vec<String> {
    let lines: Vec<Line> = lines.iter().filter_map(|line| Line::read(line, false)).collect();
    let made = made.iter().filter_map(|line| Line::read(&line.text, line.is_given));
    let made: Vec<Line> = made.filter(|line| line.is_given || !line.is_comment()).collect();
    if !made.iter().any(|line| line.is_given) {
        return Vec::new();
    }
    let given = match between(&lines, &made) {
        Some(given) => given,
        // It was put together by another version.
        None => {
            let [lines, made] = [&lines, &made].map(|lines| {
                lines.iter().map(|line| (line.pair(), line.is_given)).collect::<Vec<_>>()
            });
            let known: BTreeSet<usize> =
                align(&lines, &made).into_iter().map(|(at, _)| at).collect();
            (0..lines.len()).filter(|at| !known.contains(at)).collect()
        }
    };
    given.into_iter().map(|at| lines[at].text.clone()).collect()
}

/// Returns the lines of a config that was just made, with those of its `lines` that are not among them and that are
/// its role's as well: what steps have written is nowhere else.
pub(crate) fn completed(
    made: Vec<MadeLine>,
    lines: &[String],
    mut is_role_s: impl FnMut(&str) -> bool,
) -> Vec<MadeLine> {
    let read = |text: &String| Line::read(text, false).filter(|line| !line.is_comment());
    let lines: Vec<Line> = lines.iter().filter_map(read).collect();
    let known: Vec<(usize, Line)> = made
        .iter()
        .enumerate()
        .filter_map(|(at, line)| Some((at, Line::read(&line.text, false)?)))
        .filter(|(_, line)| !line.is_comment())
        .collect();
    let pairs = align(
        &known.iter().map(|(_, line)| line.pair()).collect::<Vec<_>>(),
        &lines.iter().map(Line::pair).collect::<Vec<_>>(),
    );
    let mut next: BTreeMap<usize, usize> =
        pairs.into_iter().map(|(at, line)| (line, known[at].0)).collect();
    let mut at = made.len();
    let mut added: BTreeMap<usize, Vec<MadeLine>> = BTreeMap::new();
    for (number, line) in lines.iter().enumerate().rev() {
        if let Some(place) = next.remove(&number) {
            at = place;
            while at > 0 && made[at - 1].text.starts_with('#') {
                at -= 1;
            }
        } else if is_role_s(&line.text) {
            let line = MadeLine { text: line.text.clone(), is_given: false };
            added.entry(at).or_default().insert(0, line);
        }
    }
    let mut all = Vec::new();
    for (at, line) in made.into_iter().map(Some).chain([None]).enumerate() {
        all.extend(added.remove(&at).unwrap_or_default());
        all.extend(line);
    }
    all
}

/// Returns the places of the lines that are between the role's; `None`, where those are not all there as the role has
/// them.
fn between(lines: &[Line], made: &[Line]) -> Option<Vec<usize>> {
    let mut parts: Vec<&[Line]> = made.split(|line| line.is_given).collect();
    let (first, last) = (parts.remove(0), parts.pop()?);
    parts.retain(|part| !part.is_empty());
    let is_there = |at: usize, part: &[Line]| {
        let there = lines.get(at..at + part.len());
        there.is_some_and(|there| there.iter().zip(part).all(|(one, other)| one.is_same(other)))
    };
    let end = lines.len().checked_sub(last.len()).filter(|end| *end >= first.len())?;
    if !is_there(0, first) || !is_there(end, last) {
        return None;
    }
    let (mut given, mut at) = (Vec::new(), first.len());
    for part in parts {
        let found = (at..=end.checked_sub(part.len())?).find(|at| is_there(*at, part))?;
        given.extend(at..found);
        at = found + part.len();
    }
    given.extend(at..end);
    Some(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_lines_of_a_role_was_given() {
        let table = [
            // What the container had, what its role makes around what is given, and what that was.
            ("g h", "_", "g h"),
            ("g a b", "_ a b", "g"),
            ("a g a", "_ a", "a g"),
            ("a g a", "a _ a", "g"),
            ("a a", "_ a", "a"),
            ("a", "_ a", ""),
            ("p k n a", "p _ _ a", "k n"),
            ("p k q n a", "p _ q _ a", "k n"),
            ("a g b", "_ a b", "g"),
            ("b g", "_ a b", "g"),
            ("a", "a", ""),
        ];
        for (lines, made, expected) in table {
            let line = |word: &str| format!("lxc.hook.start = {word}");
            let lines: Vec<_> = lines.split_whitespace().map(line).collect();
            let made = made.split_whitespace();
            let made = made.map(|word| MadeLine { text: line(word), is_given: word == "_" });
            let found = given(&lines, &made.collect::<Vec<_>>());
            let expected: Vec<_> = expected.split_whitespace().map(line).collect();
            assert_eq!(found, expected, "{lines:?}");
        }
    }
}
