//! The lines of a config, judged from top to bottom as LXC reads them.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::keys;
use super::values::{Kind, Verdict, words};
use super::{InstalledLxc, LxcVersion};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum LineFault {
    #[error("`{key}` is a key of LXC {since} and later, and {installed} is installed")]
    NotYet { key: String, since: LxcVersion, installed: LxcVersion },
    #[error("`{key}` is gone since LXC {since}, and {installed} is installed")]
    Gone { key: String, since: LxcVersion, installed: LxcVersion },
    #[error("LXC does not take `{value}` for `{key}`")]
    Refused { key: String, value: String, kind: Kind },
    #[error("LXC does not start a container with `{value}` for `{key}`")]
    NotStarted { key: String, value: String, kind: Kind },
    #[error("LXC takes `{value}` for `{key}` as if it were not there")]
    Overlooked { key: String, value: String, kind: Kind },
    #[error("`{key}` wants a value for `{variable}`")]
    NoVariable { key: String, variable: String },
    #[error(
        "`{key}` takes `{variable}` from the environment of each command that reads the config"
    )]
    Variable { key: String, variable: String },
    #[error("LXC does not {act} with `{key}` beside `{other}`")]
    Together { act: &'static str, key: String, other: &'static str },
    #[error("`{key}` is for a network of type `{wants}`, and this one is `{found}`")]
    NetworkType { key: String, wants: &'static str, found: String },
    #[error("LXC has no network of this number: `{key}`")]
    NetworkNumber { key: String },
    #[error("`{key}` clears what is said of this network before it")]
    Cleared { key: String },
}

impl LineFault {
    /// Tells whether LXC lives with the line.
    pub(crate) fn is_warning(&self) -> bool {
        matches!(self, Self::Overlooked { .. } | Self::Variable { .. } | Self::Cleared { .. })
    }

    /// Returns what to write instead.
    pub(crate) fn help(&self) -> Option<String> {
        let help = match self {
            Self::Refused { kind, .. }
            | Self::NotStarted { kind, .. }
            | Self::Overlooked { kind, .. } => return Some(kind.wants()),
            Self::NotYet { .. } => return None,
            Self::Gone { .. } => "it has the keys of `lxc.cgroup2` alone",
            Self::NoVariable { variable, .. } => {
                return Some(format!(
                    "write `{variable}=VALUE`: without `=`, LXC takes the value from the \
                     environment, and refuses the config where it has none"
                ));
            }
            Self::Variable { .. } => {
                "LXC refuses the config where it is not set, as at a start by the system; write \
                 `NAME=VALUE`"
            }
            Self::Together { other, .. } => {
                return Some(format!("leave one out, or clear the other first: `{other} = \"\"`"));
            }
            Self::NetworkType { .. } => "leave it out, or set the type that it is for before it",
            Self::NetworkNumber { .. } => "networks are numbered from 0",
            Self::Cleared { .. } => "set the type first",
        };
        Some(help.to_owned())
    }
}

/// Keys that exclude each other, and what LXC does not do where both have a value.
const EXCLUSIVE: &[(&str, &str, &str)] = &[
    ("lxc.cap.drop", "lxc.cap.keep", "load a config"),
    ("lxc.namespace.clone", "lxc.namespace.keep", "load a config"),
    ("lxc.cgroup.dir", "lxc.cgroup.dir.container", "start a container"),
    ("lxc.cgroup.dir", "lxc.cgroup.dir.container.inner", "start a container"),
    ("lxc.cgroup.dir", "lxc.cgroup.dir.monitor", "start a container"),
];

/// Keys of a network that LXC takes for one type alone, by how they begin.
const OF_ONE_TYPE: &[(&str, &str)] =
    &[("veth.", "veth"), ("macvlan.", "macvlan"), ("ipvlan.", "ipvlan"), ("vlan.", "vlan")];

/// What is known of a network.
#[derive(Debug, Default)]
struct Network {
    /// Its type; `None` where other lines than those that are judged may have set it.
    kind: Option<String>,
    /// Whether a line says more of it than its type.
    described: bool,
}

/// What the lines so far amount to. Others may stand before the first: those of the host, and of the
/// template.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    lxc: &'a dyn InstalledLxc,
    /// Those of the exclusive keys that have a value.
    held: BTreeSet<&'static str>,
    networks: BTreeMap<u32, Network>,
}

impl<'a> Lines<'a> {
    /// Returns none, for this LXC.
    pub(crate) fn new(lxc: &'a dyn InstalledLxc) -> Self {
        Self { lxc, held: BTreeSet::new(), networks: BTreeMap::new() }
    }

    /// Judges the next line.
    pub(crate) fn judge(&mut self, key: &str, value: &str) -> Result<(), LineFault> {
        if key == "lxc.include" {
            // What it says of the others is not known.
            self.held.clear();
            self.networks.clear();
        }
        let network = match key.strip_prefix("lxc.net.").and_then(|rest| rest.split_once('.')) {
            Some((number, sub)) => self.network(key, number, sub, value),
            None => Ok(()),
        };
        self.version(key)?;
        self.value(key, value)?;
        self.exclusive(key, value)?;
        network
    }

    /// Judges whether this LXC has the key.
    fn version(&self, key: &str) -> Result<(), LineFault> {
        let installed = |bound| Some((bound, self.lxc.version()?));
        if let Some((since, installed)) = keys::since(key).and_then(installed)
            && installed < since
        {
            return Err(LineFault::NotYet { key: key.to_owned(), since, installed });
        }
        match keys::gone(key).and_then(installed) {
            Some((since, installed)) if installed >= since => {
                Err(LineFault::Gone { key: key.to_owned(), since, installed })
            }
            _ => Ok(()),
        }
    }

    /// Judges a value by itself.
    fn value(&self, key: &str, value: &str) -> Result<(), LineFault> {
        let kind = keys::kind(key);
        let verdict = kind.judge(key, value, self.lxc);
        let bare = kind == Kind::Environment && !value.is_empty() && !value.contains('=');
        if verdict == Verdict::Taken && !bare {
            return Ok(());
        }
        let (key, value) = (key.to_owned(), value.to_owned());
        Err(match verdict {
            Verdict::Refused => LineFault::Refused { key, value, kind },
            Verdict::NotStarted => LineFault::NotStarted { key, value, kind },
            Verdict::Overlooked => LineFault::Overlooked { key, value, kind },
            Verdict::Taken if self.lxc.has_variable(&value) => {
                LineFault::Variable { key, variable: value }
            }
            Verdict::Taken => LineFault::NoVariable { key, variable: value },
        })
    }

    /// Judges a line beside those before it.
    fn exclusive(&mut self, key: &str, value: &str) -> Result<(), LineFault> {
        for (one, other, act) in EXCLUSIVE {
            let (own, other) = match key {
                _ if key == *one => (one, other),
                _ if key == *other => (other, one),
                _ => continue,
            };
            if value.is_empty() {
                self.held.remove(own);
                if *own == "lxc.cap.drop" || *own == "lxc.cap.keep" {
                    self.held.remove(other);
                }
            } else if self.held.contains(other) {
                return Err(LineFault::Together { act, key: key.to_owned(), other });
            } else if *own == "lxc.cap.keep" || words(value).next().is_some() {
                self.held.insert(own);
            }
        }
        Ok(())
    }

    /// Judges a line of a network.
    fn network(
        &mut self,
        key: &str,
        number: &str,
        sub: &str,
        value: &str,
    ) -> Result<(), LineFault> {
        let number = number.parse().ok().filter(|number| *number < i32::MAX as u32);
        let Some(number) = number else {
            return Err(LineFault::NetworkNumber { key: key.to_owned() });
        };
        let network = self.networks.entry(number).or_default();
        if sub == "type" {
            let cleared = network.described;
            *network = Network { kind: Some(value.to_owned()), described: false };
            return if cleared { Err(LineFault::Cleared { key: key.to_owned() }) } else { Ok(()) };
        }
        network.described = true;
        let (Some(found), false) = (&network.kind, value.is_empty()) else { return Ok(()) };
        let wants = OF_ONE_TYPE.iter().find(|(begin, _)| sub.starts_with(begin));
        if let Some((_, wants)) = wants.filter(|(_, wants)| wants != found) {
            let (key, found) = (key.to_owned(), found.clone());
            return Err(LineFault::NetworkType { key, wants, found });
        }
        let kind = keys::kind(key);
        if OF_ONE_TYPE.iter().any(|(_, made)| made == found) && !kind.starts(value, self.lxc) {
            let (key, value) = (key.to_owned(), value.to_owned());
            return Err(LineFault::NotStarted { key, value, kind });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(lxc: &dyn InstalledLxc, lines: &[(&str, &str)]) -> Vec<String> {
        let mut judged = Lines::new(lxc);
        let faults = lines.iter().filter_map(|(key, value)| judged.judge(key, value).err());
        faults.map(|fault| fault.to_string()).collect()
    }

    /// The lines of the host and of the template come first, and are not judged.
    #[test]
    fn what_other_lines_may_have_said_is_not_refused() {
        let lines = [
            ("lxc.net.0.veth.pair", "x"),
            ("lxc.net.0.macvlan.mode", "bridge"),
            ("lxc.net.0.hwaddr", "zz"),
            ("lxc.net.1.link", ""),
            ("lxc.cap.keep", "chown"),
            ("lxc.namespace.keep", "net"),
            ("lxc.cgroup.dir.monitor", "x"),
        ];
        assert_eq!(faults(&None, &lines), [""; 0]);
    }

    #[test]
    fn what_an_included_config_may_have_said_is_not_refused() {
        let lines = |between| {
            let before = [("lxc.net.0.type", "empty"), ("lxc.cap.drop", "mknod")];
            let after = [("lxc.net.0.veth.pair", "x"), ("lxc.cap.keep", "chown")];
            [&before[..], between, &after].concat()
        };
        assert_eq!(faults(&None, &lines(&[])).len(), 2);
        assert_eq!(faults(&None, &lines(&[("lxc.include", "/i")])), [""; 0]);
    }

    #[test]
    fn a_type_clears_its_network_and_no_other() {
        let lines = [
            ("lxc.net.0.link", "br0"),
            ("lxc.net.1.type", "veth"),
            ("lxc.net.1.veth.pair", "x"),
            ("lxc.net.0.type", "empty"),
            ("lxc.net.0.type", "phys"),
        ];
        let expected = ["`lxc.net.0.type` clears what is said of this network before it"];
        assert_eq!(faults(&None, &lines), expected);
    }

    #[test]
    fn keys_come_and_go_with_versions() {
        let version = |major, minor, patch| Some(LxcVersion::new(major, minor, patch));
        let table = [
            ("lxc.sched.core", version(4, 0, 10), 1),
            ("lxc.sched.core", version(4, 0, 11), 0),
            ("lxc.sched.core", None, 0),
            ("lxc.cgroup.freezer.state", version(6, 0, 4), 0),
            ("lxc.cgroup.freezer.state", version(7, 0, 0), 1),
            ("lxc.cgroup.freezer.state", None, 0),
        ];
        for (key, lxc, expected) in table {
            assert_eq!(faults(&lxc, &[(key, "1")]).len(), expected, "{key} {lxc:?}");
        }
    }

    #[derive(Debug)]
    struct WithHome;

    impl InstalledLxc for WithHome {
        fn version(&self) -> Option<LxcVersion> {
            None
        }

        fn has_variable(&self, name: &str) -> bool {
            name == "HOME"
        }

        fn finds(&self, _: &str) -> bool {
            true
        }
    }

    #[test]
    fn a_name_alone_stands_for_a_variable_that_is_set() {
        let judge = |value| Lines::new(&WithHome).judge("lxc.environment", value);
        assert_eq!(judge("HOME=/"), Ok(()));
        assert!(judge("HOME").is_err_and(|fault| fault.is_warning()));
        assert!(judge("FOO").is_err_and(|fault| !fault.is_warning()));
    }
}
