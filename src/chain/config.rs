//! The lines that layers add to the container's config, judged as LXC will read them.

use super::resolve::brought;
use super::{ConfigLine, Layer};
use crate::diagnostic::{Diagnostic, Report};
use crate::lxc::InstalledLxc;
use crate::lxc::lines::Lines;

/// Reports what LXC will refuse: all its work done, `lxc-create` would throw the container away.
pub(super) fn judge(layers: &[Layer], lxc: &dyn InstalledLxc, report: &mut Report) {
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
                "lxc.include" => found.extend(include(line)),
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

/// Checks a file that LXC reads in the place of the line.
fn include(line: &ConfigLine) -> Report {
    let mut report = Report::default();
    if !line.value.is_empty() && !line.value.starts_with('/') {
        let help = "LXC takes it relative to where lxc-create happens to be called; write an \
                    absolute path";
        report.push(Diagnostic::error(&line.at, "a relative `lxc.include`").help(help));
    }
    report
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
