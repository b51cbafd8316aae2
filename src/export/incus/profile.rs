//! What of LXC's config Incus takes, in a profile.
//!
//! Source: the documentation of Incus 6.0 on instance options, and what incusd 6.0 and 7.0 said of each line.

use std::collections::BTreeMap;

use super::yaml::Yaml;
use crate::export::warnings::Warnings;
use crate::lxc;

/// The lines that `raw.lxc` takes as they are. One that ends with a dot stands for all that begin so.
const RAW: [&str; 14] = [
    "lxc.cap.drop",
    "lxc.cap.keep",
    "lxc.hook.start",
    "lxc.init.cmd",
    "lxc.mount.auto",
    "lxc.mount.entry",
    "lxc.no_new_privs",
    "lxc.pty.max",
    "lxc.signal.halt",
    "lxc.signal.reboot",
    "lxc.signal.stop",
    "lxc.sysctl.",
    "lxc.tty.max",
    "lxc.tty.dir",
];

/// What Incus has a key of its own for, with the same values.
const NATIVE: [(&str, &str); 3] = [
    ("lxc.cgroup2.pids.max", "limits.processes"),
    ("lxc.start.delay", "boot.autostart.delay"),
    ("lxc.cgroup2.memory.max", "limits.memory"),
];

/// Where LXC has the lines that all containers of a system share.
const BASE: &str = "/usr/share/lxc/config/";

const RESOURCE: &str = "lxc.prlimit.";

/// What of LXC's config Incus takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    config: BTreeMap<String, String>,
    /// The lines that it hands to LXC.
    raw: Vec<String>,
}

impl Profile {
    /// Takes what it can of the lines of a config, and warns of the others.
    pub(super) fn of(config: &str, warnings: &mut Warnings) -> Self {
        let mut profile = Self::default();
        for (key, value) in config.lines().filter_map(lxc::config::pair) {
            if !profile.take(key, value) {
                let line = format!("{key} = {value}");
                warnings.add_words("Incus takes no such lines of the config:", &line);
            } else if key == "lxc.mount.entry" && value.starts_with('/') {
                let source = value.split_whitespace().next().unwrap_or_default();
                warnings
                    .add_words("the profile mounts what must be on each host of Incus:", source);
            }
        }
        profile
    }

    /// Takes a line, if it can.
    fn take(&mut self, key: &str, value: &str) -> bool {
        match (key, value) {
            // Incus has its own in their place; and the last is no limit.
            ("lxc.arch" | "lxc.uts.name", _)
            | ("lxc.cgroup2.memory.max" | "lxc.cgroup2.pids.max", "max") => true,
            ("lxc.include", path) if path.starts_with(BASE) => true,
            // What stood before is gone.
            ("lxc.environment", "") => {
                self.config.retain(|key, _| !key.starts_with("environment."));
                true
            }
            ("lxc.environment", value) => match value.split_once('=') {
                Some((name, value)) => self.set(format!("environment.{name}"), value),
                // Of whoever starts it.
                None => false,
            },
            ("lxc.start.auto", value) => {
                self.set("boot.autostart".to_owned(), if value == "1" { "true" } else { "false" })
            }
            ("lxc.apparmor.allow_nesting", value) => {
                self.set("security.nesting".to_owned(), if value == "1" { "true" } else { "false" })
            }
            _ => {
                let native = NATIVE.iter().find(|(lxc, _)| *lxc == key);
                if let Some((_, native)) = native {
                    return self.set((*native).to_owned(), &amount(native, value));
                }
                if let Some(resource) = key.strip_prefix(RESOURCE) {
                    return self.set(format!("limits.kernel.{resource}"), value);
                }
                let is_raw = RAW.iter().any(|raw| match raw.ends_with('.') {
                    true => key.starts_with(raw),
                    false => key == *raw,
                });
                if is_raw {
                    self.raw.push(format!("{key} = {value}"));
                }
                is_raw
            }
        }
    }

    fn set(&mut self, key: String, value: &str) -> bool {
        self.config.insert(key, value.to_owned());
        true
    }

    /// Returns the profile as `incus profile create` reads it.
    pub(super) fn to_yaml(&self) -> String {
        let mut yaml = Yaml::default();
        yaml.pair("description", "The config of a role");
        yaml.map("config", |yaml| {
            for (key, value) in &self.config {
                yaml.pair(key, value);
            }
            if !self.raw.is_empty() {
                yaml.block("raw.lxc", &self.raw);
            }
        });
        yaml.map("devices", |_| {});
        yaml.into_text()
    }
}

/// Returns an amount of memory with the letters that Incus wants: the kernel's `K` is of 1024 bytes.
fn amount(key: &str, value: &str) -> String {
    let unit = value.chars().last().map(|unit| unit.to_ascii_uppercase());
    match unit.filter(|_| key == "limits.memory") {
        Some(unit @ ('K' | 'M' | 'G' | 'T')) => {
            format!("{}{unit}iB", &value[..value.len() - 1])
        }
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_goes_where_incus_has_it() {
        let config = "\
            # lxc.tty.max = 9\n\
            lxc.environment = STAGE=a = \"b\"\nlxc.environment = TERM\nlxc.tty.max = 2\n\
            lxc.hook.start = /sbin/provision\nlxc.hook.pre-start = /usr/bin/x\n\
            lxc.start.auto = 1\nlxc.prlimit.nofile = 10:20\nlxc.cgroup2.memory.max = 64M\n\
            lxc.cgroup2.pids.max = max\nlxc.cgroup2.cpu.weight = 7\nlxc.idmap = u 0 1 2\n\
            lxc.mount.entry = /srv srv none bind 0 0\nlxc.arch = x86_64\n\
            lxc.uts.name = localhost\nlxc.include = /usr/share/lxc/config/common.conf\n\
            lxc.sysctl.net.ipv4.ip_forward = 1\n";
        let mut warnings = Warnings::default();
        let profile = Profile::of(config, &mut warnings);
        let expected = "\
            description: \"The config of a role\"\nconfig:\n  boot.autostart: \"true\"\n  \
            environment.STAGE: \"a = \\\"b\\\"\"\n  limits.kernel.nofile: \"10:20\"\n  \
            limits.memory: \"64MiB\"\n  raw.lxc: |\n    lxc.tty.max = 2\n    \
            lxc.hook.start = /sbin/provision\n    lxc.mount.entry = /srv srv none bind 0 0\n    \
            lxc.sysctl.net.ipv4.ip_forward = 1\ndevices: {}\n";
        assert_eq!(profile.to_yaml(), expected);
        assert_eq!(
            warnings.to_string(),
            "Incus takes no such lines of the config: `lxc.environment = TERM`, \
             `lxc.hook.pre-start = /usr/bin/x`, `lxc.cgroup2.cpu.weight = 7`, `lxc.idmap = u 0 1 2`\n\
             the profile mounts what must be on each host of Incus: `/srv`\n"
        );
    }
}
