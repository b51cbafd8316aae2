//! The distribution mirror that this host installs its own packages from.

use std::fs;
use std::path::PathBuf;

/// The first address in apt's sources that serves a suite.
pub(crate) fn of(suite: &str) -> Option<String> {
    files().into_iter().filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| {
        stanza(&text, suite).or_else(|| text.lines().find_map(|line| one_line(line, suite)))
    })
}

fn files() -> Vec<PathBuf> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut files: Vec<_> = parts.filter_map(|part| Some(part.ok()?.path())).collect();
    files.push("/etc/apt/sources.list".into());
    files
}

/// `URIs:` of a stanza whose `Suites:` has the suite.
fn stanza(text: &str, suite: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.split_whitespace()))
        };
        field("Suites:")?.find(|other| *other == suite)?;
        Some(field("URIs:")?.next()?.to_owned())
    })
}

/// `deb [options] ADDRESS SUITE ...`
fn one_line(line: &str, suite: &str) -> Option<String> {
    let words = line.strip_prefix("deb ")?;
    let words = words.rsplit_once(']').map_or(words, |(_, rest)| rest);
    let mut words = words.split_whitespace();
    let address = words.next()?;
    (words.next()? == suite).then(|| address.to_owned())
}
