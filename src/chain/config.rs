//! The lines that layers add to the container's config, judged as LXC will read them.

use std::sync::Arc;

use super::resolve::brought;
use super::{ConfigLine, Layer};
use crate::diagnostic::{Diagnostic, Report};
use crate::lxc::keys::{self, KeyStatus};
use crate::lxc::lines::Lines;
use crate::lxc::{InstalledLxc, config};
use crate::manifest::{Action, Place, refused_key};
use crate::source::{At, Source};

/// Reports what LXC will refuse: all its work done, `lxc-create` would throw the container away.
/// `name` is the container's.
pub(super) fn judge(layers: &[Layer], name: &str, lxc: &dyn InstalledLxc, report: &mut Report) {
    let mut lines = Lines::new(lxc);
    let mut hooked = false;
    for layer in layers {
        let mut found = Report::default();
        for line in &layer.config {
            if let Err(fault) = lines.judge(&line.key, &line.value) {
                let diagnostic = match fault.is_warning() {
                    true => Diagnostic::warning(&line.at, fault.to_string()),
                    false => Diagnostic::error(&line.at, fault.to_string()),
                };
                found.push(match fault.help() {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                });
            }
            match line.key.as_str() {
                "lxc.include" => {
                    let is_made = || is_made(&line.value, name, layers);
                    found.extend(include(line, lxc, &is_made));
                }
                "lxc.hook.start" if !hooked => {
                    hooked = true;
                    found.extend(first_hook(line));
                }
                _ => {}
            }
        }
        report.extend(match &layer.used {
            Some(at) => found.note(&brought(&layer.name, at)),
            None => found,
        });
    }
}

/// Judges a config that a container is to start with, as somebody has written it: the lines that LXC does not take.
pub(crate) fn judge_file(source: &Arc<Source>, lxc: &dyn InstalledLxc) -> Report {
    let mut report = Report::default();
    let mut lines = Lines::new(lxc);
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let at = start + line.len() - line.trim_start().len();
        start += line.len();
        let line = line.trim();
        // LXC passes over all other lines.
        if !line.starts_with("lxc.") {
            continue;
        }
        let at = At { source: Arc::clone(source), span: at..at + line.len() };
        let Some((key, value)) = config::pair(line) else {
            let message = "LXC does not load a config with a line without `=`";
            report.push(Diagnostic::error(&at, message));
            continue;
        };
        let status = keys::judge(key);
        if matches!(status, KeyStatus::Unknown | KeyStatus::Legacy(_)) {
            let at = At { span: at.span.start..at.span.start + key.len(), ..at };
            report.push(refused_key(key, &at, status));
            continue;
        }
        if let Err(fault) = lines.judge(key, config::unquoted(value))
            && !fault.is_warning()
        {
            let diagnostic = Diagnostic::error(&at, fault.to_string());
            report.push(match fault.help() {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
        }
    }
    report
}

/// Checks a file that LXC reads in the place of the line.
///
/// `is_made` tells whether that may be made by the time when it is read.
fn include(line: &ConfigLine, lxc: &dyn InstalledLxc, is_made: &dyn Fn() -> bool) -> Report {
    let mut report = Report::default();
    if line.value.starts_with('/') && !lxc.finds(&line.value) && !is_made() {
        let message = format!("`lxc.include` names `{}`, which is not there", line.value);
        let help = "LXC does not load a config that includes what is missing";
        report.push(Diagnostic::error(&line.at, message).help(help));
    } else if !line.value.is_empty() && !line.value.starts_with('/') {
        let help = "LXC takes it relative to where lxc-create happens to be called; write an \
                    absolute path";
        report.push(Diagnostic::error(&line.at, "a relative `lxc.include`").help(help));
    }
    report
}

/// Tells whether a file may be made while the container is: in its own directory, by its name, or by a step on the
/// host that names the file, or that nobody has read.
fn is_made(path: &str, name: &str, layers: &[Layer]) -> bool {
    let file = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let mut steps = layers.iter().flat_map(|layer| layer.pre.iter().chain(&layer.post));
    has_word(path, name)
        || steps.any(|step| match &step.action {
            _ if !matches!(step.place, Place::Host) => false,
            Action::Run(text) => text.contains(file),
            Action::Script(_) => true,
        })
}

/// Tells whether a path has a name that is no part of a longer word.
fn has_word(path: &str, name: &str) -> bool {
    let is_free = |next: Option<char>| next.is_none_or(|next| !next.is_alphanumeric());
    path.match_indices(name).any(|(at, _)| {
        is_free(path[..at].chars().next_back()) && is_free(path[at + name.len()..].chars().next())
    })
}

/// Checks the first `lxc.hook.start`: LXC takes its whole value for the path of a program.
fn first_hook(line: &ConfigLine) -> Report {
    let mut report = Report::default();
    if line.value.trim().contains([' ', '\t']) {
        let help = "LXC looks for a file of that whole name and refuses to start; drop a script \
                    without arguments and name that";
        let message = "the first `lxc.hook.start` has arguments";
        report.push(Diagnostic::error(&line.at, message).help(help));
    }
    report
}
