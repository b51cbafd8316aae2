//! The values of config keys, judged as LXC judges them.
//!
//! `config-values/measured.tsv` has what three releases of LXC said of each; `measure.py` beside it
//! wrote it. The LXC of this host is asked anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use layered_template::chain::BindContext;
use layered_template::lxc::{LxcVersion, config};
use layered_template::source::Source;

use crate::folder::{bare_context, judge_with};

/// Lines of a config, in order.
type Lines = Vec<(String, String)>;

/// The measured versions, and each config with a verdict for each version.
fn measured() -> (Vec<LxcVersion>, Vec<(String, Lines)>) {
    let text = include_str!("config-values/measured.tsv");
    let mut versions = Vec::new();
    let mut cases = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            versions = comment.split(' ').filter_map(LxcVersion::parse).collect();
            continue;
        }
        let mut words = line.split('\t');
        let verdicts = words.next().unwrap().to_owned();
        let mut lines = Vec::new();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            lines.push((key.to_owned(), expand(value)));
        }
        cases.push((verdicts, lines));
    }
    assert_eq!(versions.len(), 3);
    assert!(cases.len() > 1500, "{} cases", cases.len());
    (versions, cases)
}

/// Writes `<a*3>` out.
fn expand(value: &str) -> String {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some((before, (repeated, times, after))) = rest.split_once('<').and_then(|(b, r)| {
        let (inside, after) = r.split_once('>')?;
        let (repeated, times) = inside.split_once('*')?;
        Some((b, (repeated, times.parse::<usize>().ok()?, after)))
    }) {
        expanded.push_str(before);
        expanded.push_str(&repeated.repeat(times));
        rest = after;
    }
    expanded + rest
}

/// Tells whether a manifest with these lines passes; what LXC loads and does not start passes too.
fn passes(lines: &Lines, lxc: Option<LxcVersion>) -> Result<(), String> {
    let mut text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n".to_owned();
    for (number, (key, value)) in lines.iter().enumerate() {
        let value = serde_json::to_string(value).unwrap();
        let _ = writeln!(text, "[[layer]]\nname = \"l{number}\"\nconfig.\"{key}\" = {value}");
    }
    let source = Arc::new(Source::new("m.toml", "/m", text));
    let (_, report) = judge_with(&source, &BindContext { lxc: Some(&lxc), ..bare_context("c") });
    let shown = report.to_text(false);
    let starts = shown.lines().filter(|line| line.starts_with("error: LXC does not start")).count();
    let errors = shown.lines().filter(|line| line.starts_with("error: ")).count();
    if errors > starts { Err(shown) } else { Ok(()) }
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} are judged wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn disagreement(lines: &Lines, lxc: Option<LxcVersion>, loads: bool) -> Option<String> {
    let judged = passes(lines, lxc);
    let shown = format!("{lines:?}");
    let lines = shown.get(..200).unwrap_or(&shown);
    match (judged, loads) {
        (Ok(()), false) => Some(format!("{lxc:?} refuses {lines}")),
        (Err(report), true) => Some(format!("{lxc:?} takes {lines}\n{report}")),
        _ => None,
    }
}

#[test]
fn values_are_judged_as_each_lxc_judges_them() {
    let (versions, cases) = measured();
    let mut wrong = Vec::new();
    for (verdicts, lines) in &cases {
        for (version, verdict) in versions.iter().zip(verdicts.chars()) {
            wrong.extend(disagreement(lines, Some(*version), verdict == '+'));
        }
        // What one of them takes may be right on a host whose LXC is not known.
        wrong.extend(disagreement(lines, None, verdicts.contains('+')));
    }
    assert_none(&wrong);
}

#[test]
fn values_are_judged_as_the_lxc_of_this_host_judges_them() {
    let Some(version) = installed() else { return };
    let top = tempfile::tempdir().unwrap();
    fs::create_dir(top.path().join("c")).unwrap();
    let mut wrong = Vec::new();
    for (_, lines) in measured().1 {
        wrong.extend(disagreement(&lines, Some(version), loads(top.path(), &lines)));
    }
    assert_none(&wrong);
}

/// Returns the version of the LXC of this host.
#[expect(clippy::print_stderr, reason = "the test's own output says why it proves nothing")]
fn installed() -> Option<LxcVersion> {
    match Command::new("lxc-info").arg("--version").output() {
        Ok(said) => LxcVersion::parse(&String::from_utf8_lossy(&said.stdout)),
        Err(error) => {
            eprintln!("skipped: lxc-info: {error}");
            None
        }
    }
}

/// Tells whether the LXC of this host loads a config of these lines.
fn loads(top: &Path, lines: &Lines) -> bool {
    let lines = lines.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    fs::write(top.join("c/config"), config::append(b"", "l", lines)).unwrap();
    let mut info = Command::new("lxc-info");
    info.arg("-P").arg(top).args(["-n", "c", "--config", "lxc.uts.name"]);
    // A variable of the environment could stand for one of the config.
    info.env_clear().stdout(Stdio::null()).stderr(Stdio::null());
    info.status().unwrap().success()
}
