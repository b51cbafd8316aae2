//! What a role hardly means: steps that work on the host where the container is meant, and drops that no step
//! can see.

use super::resolve::brought;
use super::{Dropped, Layer};
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{Action, Place, Step};

/// Commands that change the system on which they run, and those that look at it in their place.
const OF_A_SYSTEM: [&str; 30] = [
    "addgroup",
    "adduser",
    "apk",
    "apt",
    "apt-get",
    "chgrp",
    "chown",
    "delgroup",
    "deluser",
    "dnf",
    "dpkg",
    "dpkg-reconfigure",
    "gpasswd",
    "groupadd",
    "groupdel",
    "groupmod",
    "pacman",
    "passwd",
    "rc-service",
    "rc-update",
    "rpm",
    "service",
    "systemctl",
    "update-alternatives",
    "update-rc.d",
    "useradd",
    "userdel",
    "usermod",
    "yum",
    "zypper",
];

/// Words behind which a command may stand.
const BEFORE_COMMANDS: [&str; 14] = [
    "!", "do", "elif", "else", "env", "exec", "if", "nice", "nohup", "sudo", "then", "time",
    "until", "while",
];

/// Words that say that a text knows where it works.
const AWARE: [&str; 5] = ["LXC_ROOTFS", "LXC_PATH", "chroot", "lxc-attach", "lxc-usernsexec"];

/// What a step inside the rootfs has of its own in the place of what is there.
const COVERED: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];

/// Warns of them, layer by layer; the innermost stands first.
pub(super) fn warn(layers: &[Layer], report: &mut Report) {
    let is_inside = |step: &Step| matches!(step.place, Place::Rootfs(_));
    let inside = layers.iter().rposition(|layer| steps(layer).any(is_inside));
    for (index, layer) in layers.iter().enumerate() {
        let mut found = Report::default();
        for step in steps(layer) {
            if let (Place::Host, Action::Run(text)) = (&step.place, &step.action)
                && let Some(command) = of_the_host(text)
            {
                found.push(on_the_host(&step.at, command));
            }
        }
        if inside.is_some_and(|inside| index <= inside) {
            found.extend(covered(layer));
        }
        report.extend(match &layer.used {
            Some(at) => found.note(&brought(&layer.name, at)),
            None => found,
        });
    }
}

/// Returns what is said of a command that a step on the host runs.
pub(crate) fn on_the_host(at: &crate::source::At, command: &str) -> Diagnostic {
    let message = format!("`{command}` works on the host here, and not in the container");
    let help = format!(
        "write `in = \"rootfs\"` to run the step inside; where the host is meant, call the command by its path, \
         as in `/usr/bin/{command}`"
    );
    Diagnostic::warning(at, message).help(help)
}

fn steps(layer: &Layer) -> impl Iterator<Item = &Step> {
    [&layer.pre, &layer.post, &layer.check, &layer.finally].into_iter().flatten()
}

/// Warns of drops that steps inside the rootfs do not see.
fn covered(layer: &Layer) -> Report {
    let mut report = Report::default();
    for file in layer.files.iter().filter(|file| !matches!(file.content, Dropped::Remove)) {
        let path = file.path.to_string();
        let over = COVERED.iter().find(|top| {
            path.strip_prefix(**top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if let Some(top) = over {
            let message = format!("no step inside the rootfs sees `{path}`");
            let help = format!(
                "there, `{top}` is the step's own; drop the file elsewhere, such as below /root"
            );
            report.push(Diagnostic::warning(&file.at, message).help(help));
        }
    }
    report
}

/// Finds a command in a shell text that works on the system of whoever runs it, unless the text shows that it
/// knows of the container.
pub(crate) fn of_the_host(text: &str) -> Option<&'static str> {
    if AWARE.iter().any(|word| text.contains(word)) {
        return None;
    }
    let bare = without_quoted(text);
    let commands = bare.split(['\n', ';', '&', '|', '(', ')', '{', '}', '`']);
    commands.filter_map(command).find_map(|(name, first)| {
        let asks_nothing = ["--print-architecture", "--compare-versions", "--version", "--help"];
        let known = OF_A_SYSTEM.iter().find(|known| **known == name)?;
        (!asks_nothing.contains(&first)).then_some(*known)
    })
}

/// Returns the name of a command, and its first word.
fn command(text: &str) -> Option<(&str, &str)> {
    let is_before = |word: &&str| BEFORE_COMMANDS.contains(word) || word.contains('=');
    let mut words = text.split_whitespace().skip_while(is_before);
    Some((words.next()?, words.next().unwrap_or_default()))
}

/// Returns a shell text without what stands in quotes, and without comments.
fn without_quoted(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '#') if bare.is_empty() || bare.ends_with(char::is_whitespace) => {
                if letters.by_ref().any(|letter| letter == '\n') {
                    bare.push('\n');
                }
            }
            (None, '\'' | '"') => {
                quote = Some(letter);
                // So that what is quoted is still a word.
                bare.push(letter);
            }
            (None, '\\') => {
                // A line that goes on is one.
                if letters.next() == Some('\n') {
                    bare.push(' ');
                }
            }
            (None, _) => bare.push(letter),
            (Some('"'), '\\') => {
                letters.next();
            }
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_the_host_is_found_where_it_is_one() {
        let table = [
            ("apt-get update && apt-get install -y x", Some("apt-get")),
            ("set -e\n  systemctl enable app", Some("systemctl")),
            ("DEBIAN_FRONTEND=noninteractive sudo apt install x", Some("apt")),
            ("if ! dpkg -s libpq5; then exit 1; fi", Some("dpkg")),
            ("cd / && (useradd app)", Some("useradd")),
            ("x=$(rpm -q y)", Some("rpm")),
            ("true \\\n  && chown app: /srv", Some("chown")),
            ("chown -R 0:0 \"$LXC_ROOTFS/srv\"", None),
            ("chroot \"$root\" apt-get install x", None),
            ("/usr/bin/systemctl reload nginx", None),
            ("command -v apt-get", None),
            ("echo 'first; apt-get install x'", None),
            ("echo \"a \\\" ; apk add x\"", None),
            ("# apt-get install x\necho", None),
            ("arch=$(dpkg --print-architecture)", None),
            ("echo systemctl", None),
            ("", None),
            ("\\", None),
            ("'", None),
        ];
        for (text, expected) in table {
            assert_eq!(of_the_host(text), expected, "{text}");
        }
    }
}
