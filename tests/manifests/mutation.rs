//! Good manifests, spoiled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use layered_template::source::Source;

use super::folder::{assert_printable, bare_context, cases, judge_with};

/// What is put into a manifest: what structures TOML, what drives a terminal, and what a program
/// could take for something else.
const PIECES: [&str; 24] = [
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "{{",
    "}}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\u{1b}[2J",
    "\u{9b}",
    "\u{202e}",
    "\0",
    "é",
    "\\u0000",
    "99999999999999999999",
    "true",
    "layer",
];

/// A small generator of numbers, so that a failure shows again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}

/// Returns a place in `text` where a character begins.
fn place(text: &str, dice: &mut Dice) -> usize {
    at_most(text, dice.below(text.len() + 1))
}

/// Returns the last place up to this one where a character begins.
fn at_most(text: &str, mut place: usize) -> usize {
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

fn spoil(text: &str, dice: &mut Dice) -> String {
    let mut spoiled = text.to_owned();
    for _ in 0..=dice.below(3) {
        let (a, b) = (place(&spoiled, dice), place(&spoiled, dice));
        let (start, end) = (a.min(b), a.max(b));
        match dice.below(6) {
            0 => spoiled.truncate(start),
            1 => spoiled.insert_str(start, PIECES[dice.below(PIECES.len())]),
            2 => spoiled.replace_range(start..at_most(&spoiled, end.min(start + 12)), ""),
            3 => {
                let copy = spoiled[start..end].to_owned();
                spoiled.insert_str(start, &copy);
            }
            4 => {
                let mut lines: Vec<_> = spoiled.lines().collect();
                let (first, second) = (dice.below(lines.len()), dice.below(lines.len()));
                if !lines.is_empty() {
                    lines.swap(first, second);
                }
                spoiled = lines.join("\n");
            }
            _ => {
                let end = at_most(&spoiled, end.min(start + 1));
                spoiled.replace_range(start..end, PIECES[dice.below(PIECES.len())]);
            }
        }
        if spoiled.is_empty() {
            spoiled.push('=');
        }
    }
    spoiled
}

#[test]
fn spoiled_manifests_are_judged_without_a_panic() {
    let context = bare_context("web1");
    for (number, case) in cases("valid").into_iter().enumerate() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ number as u64);
        for round in 0..300 {
            let text = spoil(&case.source.text, &mut dice);
            let started = Instant::now();
            let source = Arc::new(Source::new(&case.source.path, &case.source.dir, text.as_str()));
            let (chain, report) = judge_with(&source, &context);
            assert_eq!(chain.is_some(), !report.has_errors(), "{}, {round}: {text}", case.name);
            assert_printable(&report.to_text(false), &text);
            assert_printable(&report.to_github(), &text);
            let taken = started.elapsed();
            assert!(taken < Duration::from_secs(1), "{taken:?} for {text}");
        }
    }
}
