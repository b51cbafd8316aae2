//! Hostile sizes: whatever a mebibyte holds, it is judged within a second and 64 MiB.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use layered_template::manifest::LARGEST;
use layered_template::source::Source;

use super::folder::{assert_printable, bare_context, judge_with};

const HEAD: &str = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n";

/// Builds are not optimised here, and machines differ; the bound for the built program is one
/// second.
const BOUND: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// Returns `head` and as many pieces as `size` bytes hold.
fn fill(size: usize, head: &str, piece: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let piece = piece(number);
        if text.len() + piece.len() + tail.len() > size {
            break;
        }
        text.push_str(&piece);
    }
    text + tail
}

fn many_variables(size: usize) -> String {
    fill(size, "manifest = 1\n[vars]\n", |number| format!("v{number}=1\n"), "")
}

/// A name, and what makes a text of at most so many bytes.
type Case = (&'static str, Box<dyn Fn(usize) -> String>);

fn case(name: &'static str, text: impl Fn(usize) -> String + 'static) -> Case {
    (name, Box::new(text))
}

/// The cases, each by its name and what makes its text.
fn hostile() -> Vec<Case> {
    let same = |piece: &'static str| move |_| piece.to_owned();
    vec![
        case("unknown keys", move |size| fill(size, HEAD, |n| format!("k{n}=1\n"), "")),
        case("unknown keys on one line", move |size| {
            fill(size, "x={", |n| format!("k{n}=1,"), "z=1}")
        }),
        case("layers", move |size| fill(size, HEAD, same("[[layer]]\n"), "")),
        case("named layers", move |size| {
            fill(size, HEAD, |n| format!("[[layer]]\nname='l{n}'\n"), "")
        }),
        case("uses", move |size| fill(size, HEAD, |n| format!("[[layer]]\nuse='l{n}'\n"), "")),
        case("files", move |size| fill(size, HEAD, same("[[layer.file]]\n"), "")),
        case("sound files", move |size| {
            fill(size, HEAD, |n| format!("[[layer.file]]\npath='/{n}'\ncontent='{n}'\n"), "")
        }),
        case("rendered files", move |size| {
            fill(
                size,
                HEAD,
                |n| format!("[[layer.file]]\npath='/{n}'\ncontent='{n}'\nrender=true\n"),
                "",
            )
        }),
        case("wrong variables", move |size| {
            fill(size, "manifest=1\n[vars]\n", |n| format!("v{n}=1.5\n"), "")
        }),
        case("unused variables", move |size| {
            fill(size, "manifest=1\n[vars]\n", |n| format!("v{n}=1\n"), &HEAD[13..])
        }),
        case("variable tables", move |size| {
            fill(size, "manifest=1\n[vars]\n", |n| format!("v{n}={{from='x'}}\n"), &HEAD[13..])
        }),
        case("unbound names", move |size| {
            fill(size, &format!("{HEAD}args=['"), same("{{x}}"), "']")
        }),
        case("unbound names among many", move |size| {
            fill(
                size,
                &format!("{}{}args=['", many_variables(size / 3), &HEAD[13..]),
                same("{{w1}}"),
                "']",
            )
        }),
        case("arguments", move |size| fill(size, &format!("{HEAD}args=["), same("1,"), "]")),
        case("sound arguments", move |size| fill(size, &format!("{HEAD}args=["), same("'',"), "]")),
        case("config keys", move |size| {
            fill(size, &format!("{HEAD}[layer.config]\n"), |n| format!("lxc.k{n}=1\n"), "")
        }),
        case("sound config keys", move |size| {
            fill(size, &format!("{HEAD}[layer.config]\n"), |n| format!("lxc.net.{n}.type=1\n"), "")
        }),
        case("hooks", move |size| {
            fill(size, &format!("{HEAD}[layer.config]\nlxc.hook.stop=["), same("'x',"), "]")
        }),
        case("steps", move |size| fill(size, &format!("{HEAD}post=["), same("'x',"), "]")),
        case("empty steps", move |size| fill(size, &format!("{HEAD}post=["), same("{},"), "]")),
        case("nested lists", move |size| fill(size, "x=", same("["), "")),
        case("nested tables", move |size| fill(size, "x=", same("{a="), "")),
        case("a deep key", move |size| fill(size, "", same("a."), "a=1")),
        case("a deep header", move |size| fill(size, "[", same("a."), "a]")),
        case("deep headers", move |size| {
            fill(size, "", |n| format!("[a{n}{}]\n", ".a".repeat(40)), "")
        }),
        case("one long line", move |size| fill(size, "x=\"", same("a"), "\"")),
        case("one long key", move |size| fill(size, "", same("a"), "=1")),
        case("one long comment", move |size| fill(size, &format!("{HEAD}x=1#"), same("a"), "")),
        case("an open text", move |size| fill(size, "x=\"", same("a"), "")),
        case("equals signs", move |size| fill(size, "", same("="), "")),
        case("brackets", move |size| fill(size, "", same("["), "")),
        case("lines of nothing", move |size| fill(size, "", same("\n"), "")),
        case("lines of faults", move |size| fill(size, "", same("=\n"), "")),
        case("doubled keys", move |size| fill(size, "", same("a=1\n"), "")),
        case("a prefix key", move |size| fill(size, "lxc.a=1\n", same("lxc.a.b=1\n"), "")),
        case("quotes", move |size| fill(size, "", same("'"), "")),
        case("commas", move |size| fill(size, "x=[", same(","), "]")),
        case("control characters", move |size| fill(size, "", same("\u{7}"), "")),
        case("wide characters", move |size| fill(size, "x = '", same("\u{1f600}"), "'")),
        case("a rendered loop", move |size| {
            fill(
                size,
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='"),
                same("{{ 1 }}"),
                "'",
            )
        }),
        case("rendered loops", move |size| {
            fill(
                size,
                HEAD,
                |n| {
                    format!(
                        "[[layer.file]]\npath='/{n}'\nrender=true\ncontent='{{%for i in range(9999)%}}{{%endfor%}}'\n"
                    )
                },
                "",
            )
        }),
        case("long rendered texts", move |size| {
            fill(
                size,
                HEAD,
                |n| {
                    format!(
                        "[[layer.file]]\npath='/{n}'\nrender=true\ncontent='{{{{\"x\"*1000000}}}}'\n"
                    )
                },
                "",
            )
        }),
        case("rendered names", move |size| {
            let head = format!("{}{}", many_variables(size / 4), &HEAD[13..]);
            fill(
                size,
                &head,
                |n| format!("[[layer.file]]\npath='/{n}'\nrender=true\ncontent='{{{{w{n}}}}}'\n"),
                "",
            )
        }),
        case("a rendered nest", move |size| {
            fill(
                size,
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='{{{{"),
                same("("),
                "'",
            )
        }),
        case("a rendered sum", move |size| {
            fill(
                size,
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='{{{{1"),
                same("+1"),
                "}}'",
            )
        }),
        case("rendered elifs", move |size| {
            let head = format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='{{%if 1%}}");
            fill(size, &head, same("{%elif 1%}"), "{%endif%}'")
        }),
        case("rendered blocks", move |size| {
            fill(
                size,
                &format!("{HEAD}[[layer.file]]\npath='/a'\nrender=true\ncontent='"),
                same("{%if 1%}"),
                "'",
            )
        }),
        case("a long path", move |size| {
            fill(size, &format!("{HEAD}[[layer.file]]\ncontent=''\npath='"), same("/a"), "'")
        }),
        case("a long name", move |size| {
            fill(size, "manifest=1\n[[layer]]\nname='", same("a"), "'")
        }),
    ]
}

/// The variable that says which case a child of the test judges.
const CASE: &str = "LAYERED_TEMPLATE_LIMITS_CASE";

/// Returns the largest size that this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap()
}

/// Judges each text in a process of its own, whose memory can be told.
#[test]
fn a_mebibyte_is_judged_at_once() {
    for number in 0..2 * hostile().len() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "limits::one_mebibyte", "--nocapture"])
            .env(CASE, number.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        let failed = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{} {said} {failed}", hostile()[number / 2].0);
    }
}

#[test]
fn one_mebibyte() {
    let number = std::env::var(CASE).ok().and_then(|number| number.parse::<usize>().ok());
    let Some(number) = number else {
        return;
    };
    // What says too much is refused at once; a third of it may be worth a look.
    let size = if number % 2 == 0 { LARGEST } else { LARGEST / 3 };
    let (name, text) = hostile().swap_remove(number / 2);
    let text = text(size);
    let context = bare_context("web1");
    // What the texts themselves took is given back before the measure is taken.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, started) = (peak(), Instant::now());
    let (_, report) = judge_with(&Arc::new(Source::new("m.toml", "/", text)), &context);
    let shown = report.to_text(false);
    let (taken, used) = (started.elapsed(), peak() - before);
    assert_printable(&shown, name);
    assert!(shown.len() < 1024 * 1024, "{name}: {} bytes", shown.len());
    assert!(taken < BOUND, "{name}: {taken:?}");
    assert!(used < 64 * 1024, "{name}: {used} KiB");
}
