//! Blocks of commands and what they print.

use rustix::process::geteuid;

use crate::page::Block;
use crate::place::{self, Place};

/// Commands that are run, and their output compared.
const RUN: [&str; 8] = ["layered-template", "cat", "chmod", "find", "ls", "sed", "stat", "tar"];

/// Commands that are only parsed: they change the host, and `tests/e2e` runs what they stand for.
const PARSED: [&str; 9] = [
    "sudo",
    "make",
    "cargo",
    "lxc-create",
    "lxc-start",
    "lxc-stop",
    "lxc-attach",
    "lxc-destroy",
    "git",
];

/// The command of the program that is only parsed: it writes to the host's own directories.
const INSTALLS: &str = "layered-template install-template";

/// Stands for anything: in a line for a part of it, alone in a line for any number of lines.
pub(crate) const ANYTHING: &str = "...";

struct Call {
    line: String,
    output: Vec<String>,
}

pub(crate) fn judge(block: &Block, place: &Place) -> Result<(), String> {
    let calls = calls(&block.text)?;
    if !block.needs.is_empty() {
        place.call_templates();
    }
    if let Some(missing) = block.needs.iter().find(|name| !place::has(name)) {
        place.skipping.set(true);
        place::skip(&format!("line {}: `{missing}` is not installed", block.line));
    }
    let mut calls = calls.iter().peekable();
    while let Some(call) = calls.next() {
        if call.line == "echo $?" {
            if !place.skipping.get() {
                compare(call, &format!("{}\n", place.status.get()))?;
            }
            continue;
        }
        place::parses(&call.line)?;
        let name = call.line.split_whitespace().next().unwrap_or_default();
        if PARSED.contains(&name) {
            continue;
        }
        if call.line.starts_with(INSTALLS) {
            continue;
        }
        if !RUN.contains(&name) {
            return Err(format!("no rule says whether `{name}` is run"));
        }
        if let Some(reason) = cannot_run(&call.line) {
            place.skipping.set(true);
            place::skip(&format!("`{}`: {reason}", call.line));
        }
        if place.skipping.get() {
            continue;
        }
        let (status, output) = place.shell(&call.line);
        place.status.set(status);
        compare(call, &output)?;
        if status != 0 && calls.peek().is_none_or(|next| next.line != "echo $?") {
            return Err(format!("`{}` ends with {status}; show it by `$ echo $?`", call.line));
        }
    }
    Ok(())
}

/// Judges a diagram: it is the one of a manifest's plan.
pub(crate) fn draws(block: &Block, manifest: &str, place: &Place) -> Result<(), String> {
    let line = format!("layered-template plan {manifest} --format mermaid");
    if let Some(reason) = cannot_run(&line) {
        place::skip(&format!("`{line}`: {reason}"));
        return Ok(());
    }
    let (_, output) = place.shell(&line);
    compare(&Call { line, output: block.text.lines().map(str::to_owned).collect() }, &output)
}

/// Splits a block into command lines, each with its output.
fn calls(text: &str) -> Result<Vec<Call>, String> {
    let mut calls: Vec<Call> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match (line.strip_prefix("$ "), calls.last_mut()) {
            (Some(command), _) => {
                let mut command = command.to_owned();
                while command.ends_with('\\') {
                    let more =
                        lines.next().ok_or("a command line goes on, and there is no more")?;
                    command.extend(["\n", more]);
                }
                calls.push(Call { line: command, output: Vec::new() });
            }
            (None, Some(call)) => call.output.push(line.to_owned()),
            (None, None) => return Err("there is output before the first `$ `".to_owned()),
        }
    }
    Ok(calls)
}

/// Returns why a command cannot be run on this host.
fn cannot_run(line: &str) -> Option<&'static str> {
    let makes = line.starts_with("layered-template create");
    if makes && !geteuid().is_root() {
        return Some("a page shows it as root");
    }
    let shows = line.starts_with("layered-template plan");
    ((makes || shows) && layered_template::observe::probe::busybox().is_none())
        .then_some("there is no static busybox")
}

fn compare(call: &Call, output: &str) -> Result<(), String> {
    let found: Vec<&str> = output.lines().filter(|line| !tells_time(line)).collect();
    let expected: Vec<&str> = call.output.iter().map(String::as_str).collect();
    // Empty lines at the end of a block separate it from the next command.
    let found = without_empty_end(&found);
    let expected = without_empty_end(&expected);
    if lines_match(expected, found) {
        return Ok(());
    }
    let (expected, found) = (expected.join("\n"), found.join("\n"));
    Err(format!("`{}`\nexpected:\n{expected}\nfound:\n{found}", call.line))
}

/// Tells whether a line is there only because this machine is slow or busy.
fn tells_time(line: &str) -> bool {
    let time = line.split_once(" done after ").and_then(|(_, rest)| rest.split_once(" s"));
    time.is_some_and(|(time, rest)| {
        time.parse::<f64>().is_ok() && (rest.is_empty() || rest.starts_with(": "))
    })
}

fn without_empty_end<'a, 'b>(lines: &'a [&'b str]) -> &'a [&'b str] {
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |index| index + 1);
    &lines[..end]
}

fn lines_match(expected: &[&str], found: &[&str]) -> bool {
    match (expected.split_first(), found.split_first()) {
        (None, None) => true,
        (Some((&ANYTHING, rest)), _) => {
            (0..=found.len()).any(|skipped| lines_match(rest, &found[skipped..]))
        }
        (Some((line, expected)), Some((is, found))) => {
            line_matches(line, is) && lines_match(expected, found)
        }
        _ => false,
    }
}

fn line_matches(expected: &str, found: &str) -> bool {
    let Some((start, rest)) = expected.split_once(ANYTHING) else { return expected == found };
    let Some(found) = found.strip_prefix(start) else { return false };
    let ends = found.char_indices().map(|(index, _)| index).chain([found.len()]);
    ends.into_iter().any(|index| line_matches(rest, &found[index..]))
}

#[test]
fn a_slow_machine_is_no_fault() {
    let call = Call { line: String::new(), output: vec!["os: template x".to_owned()] };
    assert!(compare(&call, "os: template x\nos: template x done after 1.3 s\n").is_ok());
    assert!(compare(&call, "os: template x\nos: post done after 1.3 s: sleep 1\n").is_ok());
    assert!(compare(&call, "os: template x\nos: template x is done after all\n").is_err());
}

#[test]
fn dots_stand_for_anything() {
    let table = [
        ("a\nb", "a\nb", true),
        ("a\n...\nc", "a\nb\nb\nc", true),
        ("...", "", true),
        ("a ... c ...", "a b c d", true),
        ("a ... c", "a b", false),
        ("a", "a\nb", false),
        ("a\nb", "a", false),
        ("a b", "a  b", false),
    ];
    for (expected, found, same) in table {
        let (a, b): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
        assert_eq!(lines_match(&a, &b), same, "{expected} / {found}");
    }
}
