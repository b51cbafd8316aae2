//! Tells people of a failure.

use std::fmt::Write;
use std::path::Path;

use super::output;
use crate::execute::{Cause, Doing, Failure, status};
use crate::manifest::Phase;
use crate::plan::Plan;
use crate::shell;

/// The longest command that is shown whole, in characters.
const LONGEST: usize = 160;

/// Returns what failed, where, why, and what there is to look at.
///
/// `keeps` tells whether the rootfs of a failed run was to be kept.
pub(super) fn text(
    failure: &Failure,
    plan: &Plan,
    (under_lxc, keeps): (bool, bool),
    styled: bool,
) -> String {
    let mut text = output::fault(&failure.to_string(), styled);
    if let Some(at) = &failure.at {
        let _ = writeln!(text, "  --> {at}");
    }
    if failure.tail.is_empty() && failure.command.is_some() && failure.cause == Cause::Ended {
        text.push_str("  it printed nothing\n");
    }
    if !failure.tail.is_empty() {
        let _ = writeln!(text, "  it printed last:");
        for line in failure.tail.lines() {
            let _ = writeln!(text, "    | {line}");
        }
    }
    if let Some(command) = &failure.command {
        let _ = writeln!(text, "  command: {}", cut(command));
    }
    if let Some(stored) = &failure.stands_on {
        let _ = writeln!(text, "  built on: {stored}; `--rebuild` rebuilds it");
    }
    if let Some(rootfs) = &failure.rootfs {
        let _ = writeln!(text, "  rootfs: {}", shell::word(rootfs));
    }
    if let Some(log) = &failure.log {
        let _ = writeln!(text, "  log: {}", shell::word(log));
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "\nhint: {}", shell::printable(hint));
    }
    if let Some(rootfs) = &failure.rootfs {
        let _ = writeln!(text, "\nhint: to look around: {}", enter(rootfs));
    } else if !keeps && leaves_something(failure) {
        text.push_str("\nhint: with `--keep-failed` the rootfs stays, for `layered-template shell` to enter it\n");
    }
    if under_lxc && failure.signal().is_some() {
        let _ = writeln!(
            text,
            "\nhint: if lxc-create is gone too, a half-made container stays; `{}` removes it",
            lxc_destroy(&plan.container.path)
        );
    }
    text
}

/// Tells whether something has failed on whose rootfs it can be seen why.
fn leaves_something(failure: &Failure) -> bool {
    let doing = failure.subject.as_ref().map(|subject| &subject.doing);
    // Before a layer's `pre` there is nothing of what it wraps.
    failure.cause != Cause::Interrupted
        && matches!(doing, Some(Doing::Step { phase, .. }) if *phase != Phase::Pre)
}

/// Returns the same as one JSON object.
pub(super) fn json(failure: &Failure, plan: &Plan, under_lxc: bool) -> String {
    let value = serde_json::json!({
        "event": "failed",
        "status": failure.status,
        "cause": failure.cause,
        "message": failure.to_string(),
        "layer": failure.subject.as_ref().map(|subject| subject.layer.as_str()),
        "at": failure.at,
        "command": failure.command,
        "tail": failure.tail,
        "hint": failure.hint,
        "stands_on": failure.stands_on,
        "log": failure.log.as_deref().map(Path::to_string_lossy),
        "rootfs": failure.rootfs.as_deref().map(Path::to_string_lossy),
        "enter": failure.rootfs.as_deref().map(enter),
        "cleanup": (under_lxc && failure.status > status::SIGNAL).then(|| format!("`{}`", lxc_destroy(&plan.container.path))),
    });
    output::event(value)
}

fn cut(command: &str) -> String {
    match command.char_indices().nth(LONGEST) {
        None => command.to_owned(),
        Some((index, _)) => format!("{}...", &command[..index]),
    }
}

/// Returns the command that enters a kept rootfs, as steps inside it are run.
fn enter(rootfs: &Path) -> String {
    let run = rootfs.parent().unwrap_or(rootfs);
    format!("`layered-template shell {}`", shell::word(run))
}

/// Returns the command by which LXC removes a container.
pub(super) fn lxc_destroy(path: &Path) -> String {
    let name = shell::word(path.file_name().unwrap_or_default());
    match path.parent() {
        Some(lxcpath) if lxcpath != Path::new("/var/lib/lxc") => {
            format!("lxc-destroy -n {name} -P {}", shell::word(lxcpath))
        }
        _ => format!("lxc-destroy -n {name}"),
    }
}
