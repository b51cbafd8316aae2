//! Hostile sizes: whatever a mebibyte holds, it is judged within a second and 64 MiB.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use layered_template::chain::{Container, Given};
use layered_template::manifest::LARGEST;
use layered_template::source::Source;

use super::folder::{assert_printable, judge_with};

const HEAD: &str = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n";

/// Builds are not optimised here, and machines differ; the bound for the built program is one
/// second.
const BOUND: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// Returns `head` and as many pieces as a mebibyte holds.
fn fill(head: &str, piece: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let piece = piece(number);
        if text.len() + piece.len() + tail.len() > LARGEST {
            break;
        }
        text.push_str(&piece);
    }
    text + tail
}

fn hostile() -> Vec<(&'static str, String)> {
    let same = |piece: &'static str| move |_| piece.to_owned();
    let mut vars = String::from("manifest = 1\n[vars]\n");
    (0..40_000).for_each(|n| writeln!(vars, "v{n}=1").unwrap());
    vec![
        ("unknown keys", fill(HEAD, |n| format!("k{n}=1\n"), "")),
        ("unknown keys on one line", fill("x={", |n| format!("k{n}=1,"), "z=1}")),
        ("layers", fill(HEAD, same("[[layer]]\n"), "")),
        ("named layers", fill(HEAD, |n| format!("[[layer]]\nname='l{n}'\n"), "")),
        ("uses", fill(HEAD, |n| format!("[[layer]]\nuse='l{n}'\n"), "")),
        ("files", fill(HEAD, same("[[layer.file]]\n"), "")),
        (
            "sound files",
            fill(HEAD, |n| format!("[[layer.file]]\npath='/{n}'\ncontent='{n}'\n"), ""),
        ),
        (
            "rendered files",
            fill(
                HEAD,
                |n| format!("[[layer.file]]\npath='/{n}'\ncontent='{n}'\nrender=true\n"),
                "",
            ),
        ),
        ("wrong variables", fill("manifest=1\n[vars]\n", |n| format!("v{n}=1.5\n"), "")),
        ("unused variables", fill("manifest=1\n[vars]\n", |n| format!("v{n}=1\n"), &HEAD[13..])),
        (
            "variable tables",
            fill("manifest=1\n[vars]\n", |n| format!("v{n}={{from='x'}}\n"), &HEAD[13..]),
        ),
        ("unbound names", fill(&format!("{HEAD}args=['"), same("{{x}}"), "']")),
        (
            "unbound names among many",
            fill(&format!("{vars}{}args=['", &HEAD[13..]), same("{{w1}}"), "']"),
        ),
        ("arguments", fill(&format!("{HEAD}args=["), same("1,"), "]")),
        ("sound arguments", fill(&format!("{HEAD}args=["), same("'',"), "]")),
        ("config keys", fill(&format!("{HEAD}[layer.config]\n"), |n| format!("lxc.k{n}=1\n"), "")),
        (
            "sound config keys",
            fill(&format!("{HEAD}[layer.config]\n"), |n| format!("lxc.net.{n}.type=1\n"), ""),
        ),
        ("hooks", fill(&format!("{HEAD}[layer.config]\nlxc.hook.stop=["), same("'x',"), "]")),
        ("steps", fill(&format!("{HEAD}post=["), same("'x',"), "]")),
        ("empty steps", fill(&format!("{HEAD}post=["), same("{},"), "]")),
        ("nested lists", fill("x=", same("["), "")),
        ("nested tables", fill("x=", same("{a="), "")),
        ("a deep key", fill("", same("a."), "a=1")),
        ("a deep header", fill("[", same("a."), "a]")),
        ("deep headers", fill("", |n| format!("[a{n}{}]\n", ".a".repeat(40)), "")),
        ("one long line", fill("x=\"", same("a"), "\"")),
        ("one long key", fill("", same("a"), "=1")),
        ("one long comment", fill(&format!("{HEAD}x=1#"), same("a"), "")),
        ("an open text", fill("x=\"", same("a"), "")),
        ("equals signs", fill("", same("="), "")),
        ("brackets", fill("", same("["), "")),
        ("lines of nothing", fill("", same("\n"), "")),
        ("lines of faults", fill("", same("=\n"), "")),
        ("doubled keys", fill("", same("a=1\n"), "")),
        ("a prefix key", fill("lxc.a=1\n", same("lxc.a.b=1\n"), "")),
        ("quotes", fill("", same("'"), "")),
        ("commas", fill("x=[", same(","), "]")),
        ("control characters", fill("", same("\u{7}"), "")),
        ("wide characters", fill("x = '", same("\u{1f600}"), "'")),
        (
            "a rendered loop",
            fill(
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='"),
                same("{{ 1 }}"),
                "'",
            ),
        ),
        (
            "a rendered nest",
            fill(
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='{{{{"),
                same("("),
                "'",
            ),
        ),
        (
            "a rendered sum",
            fill(
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='{{{{1"),
                same("+1"),
                "}}'",
            ),
        ),
        (
            "rendered blocks",
            fill(
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='"),
                same("{%if 1%}"),
                "'",
            ),
        ),
        (
            "a long path",
            fill(&format!("{HEAD}[[layer.file]]\ncontent=''\npath='"), same("/a"), "'"),
        ),
        ("a long name", fill("manifest=1\n[[layer]]\nname='", same("a"), "'")),
    ]
}

/// Returns the largest size that this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn a_mebibyte_is_judged_at_once() {
    let given = Given::new(Container { name: "web1", arch: "amd64" });
    for (name, text) in hostile() {
        let source = Arc::new(Source::new("m.toml", "/", text));
        let (before, started) = (peak(), Instant::now());
        let (_, report) = judge_with(&source, &given);
        let shown = report.to_text(false);
        let taken = started.elapsed();
        if std::env::var_os("SHOW_LIMITS").is_some() {
            eprintln!("{name}: {taken:?}, {} KiB, then {} KiB", before, peak());
        }
        assert!(taken < BOUND, "{name}: {taken:?}");
        assert_printable(&shown, name);
        assert!(shown.len() < 1024 * 1024, "{name}: {} bytes", shown.len());
    }
}
