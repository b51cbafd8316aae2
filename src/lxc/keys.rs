//! The keys of LXC's container config, of LXC 4.0 to 7.
//!
//! Source: `config_jump_table` of `confile.c`, and `lxc.container.conf(5)`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What can be said of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    /// LXC knows it.
    Known(Shape),
    /// LXC knows it, but a manifest may not set it, for this reason.
    Refused(&'static str),
    /// LXC knew it before 2.1, and refuses it since; this is its name now.
    Legacy(&'static str),
    /// Nobody knows it.
    Unknown,
}

/// How several lines with one key add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The last line counts.
    Scalar,
    /// Every line counts.
    List,
}

use Shape::{List, Scalar};

/// The keys. A `*` stands for one name or more, `#` for a number.
const KEYS: &[(&str, Shape)] = &[
    ("lxc.apparmor.allow_incomplete", Scalar),
    ("lxc.apparmor.allow_nesting", Scalar),
    ("lxc.apparmor.profile", Scalar),
    ("lxc.apparmor.raw", List),
    ("lxc.arch", Scalar),
    ("lxc.autodev", Scalar),
    ("lxc.autodev.tmpfs.size", Scalar),
    ("lxc.cap.drop", List),
    ("lxc.cap.keep", List),
    ("lxc.cgroup.dir", Scalar),
    ("lxc.cgroup.dir.container", Scalar),
    ("lxc.cgroup.dir.container.inner", Scalar),
    ("lxc.cgroup.dir.monitor", Scalar),
    ("lxc.cgroup.dir.monitor.pivot", Scalar),
    ("lxc.cgroup.relative", Scalar),
    ("lxc.cgroup.*", List),
    ("lxc.cgroup2.*", List),
    ("lxc.console.buffer.size", Scalar),
    ("lxc.console.logfile", Scalar),
    ("lxc.console.path", Scalar),
    ("lxc.console.rotate", Scalar),
    ("lxc.console.size", Scalar),
    ("lxc.environment", List),
    ("lxc.environment.hooks", List),
    ("lxc.environment.runtime", List),
    ("lxc.ephemeral", Scalar),
    ("lxc.execute.cmd", Scalar),
    ("lxc.group", List),
    ("lxc.hook.autodev", List),
    ("lxc.hook.clone", List),
    ("lxc.hook.destroy", List),
    ("lxc.hook.mount", List),
    ("lxc.hook.post-stop", List),
    ("lxc.hook.pre-mount", List),
    ("lxc.hook.pre-start", List),
    ("lxc.hook.start", List),
    ("lxc.hook.start-host", List),
    ("lxc.hook.stop", List),
    ("lxc.hook.version", Scalar),
    ("lxc.include", List),
    ("lxc.init.cmd", Scalar),
    ("lxc.init.cwd", Scalar),
    ("lxc.init.gid", Scalar),
    ("lxc.init.groups", List),
    ("lxc.init.uid", Scalar),
    ("lxc.keyring.session", Scalar),
    ("lxc.log.file", Scalar),
    ("lxc.log.level", Scalar),
    ("lxc.log.syslog", Scalar),
    ("lxc.monitor.signal.pdeath", Scalar),
    ("lxc.monitor.unshare", Scalar),
    ("lxc.mount.auto", List),
    ("lxc.mount.entry", List),
    ("lxc.mount.fstab", Scalar),
    ("lxc.namespace.clone", Scalar),
    ("lxc.namespace.keep", Scalar),
    ("lxc.namespace.share.*", Scalar),
    ("lxc.net.#.flags", Scalar),
    ("lxc.net.#.hwaddr", Scalar),
    ("lxc.net.#.ipv4.address", List),
    ("lxc.net.#.ipv4.gateway", Scalar),
    ("lxc.net.#.ipv6.address", List),
    ("lxc.net.#.ipv6.gateway", Scalar),
    ("lxc.net.#.ipvlan.isolation", Scalar),
    ("lxc.net.#.ipvlan.mode", Scalar),
    ("lxc.net.#.l2proxy", Scalar),
    ("lxc.net.#.link", Scalar),
    ("lxc.net.#.macvlan.mode", Scalar),
    ("lxc.net.#.mtu", Scalar),
    ("lxc.net.#.name", Scalar),
    ("lxc.net.#.script.down", Scalar),
    ("lxc.net.#.script.up", Scalar),
    ("lxc.net.#.type", Scalar),
    ("lxc.net.#.veth.ipv4.route", List),
    ("lxc.net.#.veth.ipv6.route", List),
    ("lxc.net.#.veth.mode", Scalar),
    ("lxc.net.#.veth.n_rxqueues", Scalar),
    ("lxc.net.#.veth.n_txqueues", Scalar),
    ("lxc.net.#.veth.pair", Scalar),
    ("lxc.net.#.veth.vlan.id", Scalar),
    ("lxc.net.#.veth.vlan.tagged.id", List),
    ("lxc.net.#.vlan.id", Scalar),
    ("lxc.no_new_privs", Scalar),
    ("lxc.prlimit.*", Scalar),
    ("lxc.proc.*", Scalar),
    ("lxc.pty.max", Scalar),
    ("lxc.sched.core", Scalar),
    ("lxc.seccomp.allow_nesting", Scalar),
    ("lxc.seccomp.notify.cookie", Scalar),
    ("lxc.seccomp.notify.proxy", Scalar),
    ("lxc.seccomp.profile", Scalar),
    ("lxc.selinux.context", Scalar),
    ("lxc.selinux.context.keyring", Scalar),
    ("lxc.signal.halt", Scalar),
    ("lxc.signal.reboot", Scalar),
    ("lxc.signal.stop", Scalar),
    ("lxc.start.auto", Scalar),
    ("lxc.start.delay", Scalar),
    ("lxc.start.order", Scalar),
    ("lxc.sysctl.*", Scalar),
    ("lxc.time.offset.boot", Scalar),
    ("lxc.time.offset.monotonic", Scalar),
    ("lxc.tty.dir", Scalar),
    ("lxc.tty.max", Scalar),
    ("lxc.uts.name", Scalar),
];

/// The keys without a wildcard: a manifest may have tens of thousands of lines.
static EXACT: LazyLock<HashMap<&str, Shape>> =
    LazyLock::new(|| KEYS.iter().filter(|(key, _)| !key.contains(['*', '#'])).copied().collect());

/// The keys with one.
static PATTERNS: LazyLock<Vec<(&str, Shape)>> =
    LazyLock::new(|| KEYS.iter().filter(|(key, _)| key.contains(['*', '#'])).copied().collect());

/// The keys that LXC 4.0 does not have, and the version that brought each.
const SINCE: &[(&str, (u32, u32))] = &[
    ("lxc.cgroup.dir.container", (5, 0)),
    ("lxc.cgroup.dir.container.inner", (5, 0)),
    ("lxc.cgroup.dir.monitor", (5, 0)),
    ("lxc.cgroup.dir.monitor.pivot", (5, 0)),
    ("lxc.environment.hooks", (7, 0)),
    ("lxc.environment.runtime", (7, 0)),
    ("lxc.init.groups", (5, 0)),
    ("lxc.net.#.veth.n_rxqueues", (5, 0)),
    ("lxc.net.#.veth.n_txqueues", (5, 0)),
    ("lxc.net.#.veth.vlan.id", (5, 0)),
    ("lxc.net.#.veth.vlan.tagged.id", (5, 0)),
    ("lxc.sched.core", (5, 0)),
    ("lxc.time.offset.boot", (5, 0)),
    ("lxc.time.offset.monotonic", (5, 0)),
];

/// The version that no longer has the keys of the first cgroup hierarchy.
const NO_CGROUP1: (u32, u32) = (7, 0);

/// The names that LXC 2.1 replaced; today's LXC fails on each.
const LEGACY: &[(&str, &str)] = &[
    ("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    ("lxc.aa_profile", "lxc.apparmor.profile"),
    ("lxc.console", "lxc.console.path"),
    ("lxc.console.logpath", "lxc.console.logfile"),
    ("lxc.devttydir", "lxc.tty.dir"),
    ("lxc.haltsignal", "lxc.signal.halt"),
    ("lxc.init_cmd", "lxc.init.cmd"),
    ("lxc.init_gid", "lxc.init.gid"),
    ("lxc.init_uid", "lxc.init.uid"),
    ("lxc.logfile", "lxc.log.file"),
    ("lxc.loglevel", "lxc.log.level"),
    ("lxc.mount", "lxc.mount.fstab"),
    ("lxc.pts", "lxc.pty.max"),
    ("lxc.rebootsignal", "lxc.signal.reboot"),
    ("lxc.se_context", "lxc.selinux.context"),
    ("lxc.seccomp", "lxc.seccomp.profile"),
    ("lxc.stopsignal", "lxc.signal.stop"),
    ("lxc.syslog", "lxc.log.syslog"),
    ("lxc.tty", "lxc.tty.max"),
    ("lxc.utsname", "lxc.uts.name"),
];

/// Judges a dotted key.
pub(crate) fn judge(key: &str) -> KeyStatus {
    if key == "lxc.rootfs" || key.starts_with("lxc.rootfs.") {
        return KeyStatus::Refused("lxc-create decides where the rootfs is, and how it is mounted");
    }
    if key == "lxc.idmap" || key == "lxc.id_map" {
        return KeyStatus::Refused(
            "the rootfs is made for the id map that lxc-create was given; set it in its `-f` file \
             or in default.conf",
        );
    }
    if let Some((_, now)) = LEGACY.iter().find(|(legacy, _)| *legacy == key) {
        return KeyStatus::Legacy(now);
    }
    if key == "lxc.limit" || key.starts_with("lxc.limit.") {
        return KeyStatus::Legacy("lxc.prlimit.*");
    }
    if key.starts_with("lxc.network") {
        return KeyStatus::Legacy("lxc.net.0.*");
    }
    if let Some(shape) = EXACT.get(key) {
        return KeyStatus::Known(*shape);
    }
    match PATTERNS.iter().find(|(pattern, _)| matches(pattern, key)) {
        Some((_, shape)) => KeyStatus::Known(*shape),
        None => KeyStatus::Unknown,
    }
}

/// Says why LXC of version `installed` does not know a key that others do.
pub(crate) fn mismatch(key: &str, installed: (u32, u32)) -> Option<String> {
    let (major, minor) = installed;
    let since = SINCE.iter().find(|(pattern, _)| matches(pattern, key)).map(|(_, since)| *since);
    if let Some((first, second)) = since.filter(|since| installed < *since) {
        return Some(format!(
            "`{key}` is a key of LXC {first}.{second} and later, and {major}.{minor} is installed"
        ));
    }
    let old = key.starts_with("lxc.cgroup.")
        && !key.starts_with("lxc.cgroup.dir")
        && key != "lxc.cgroup.relative";
    (old && installed >= NO_CGROUP1).then(|| {
        format!("`{key}` is gone since LXC 7.0, and {major}.{minor} is installed: it has cgroup2")
    })
}

/// Returns the shape of a key; that of an unknown one is a list, since then no line is lost.
pub(crate) fn shape(key: &str) -> Shape {
    match judge(key) {
        KeyStatus::Known(shape) => shape,
        _ => List,
    }
}

/// Returns the known key that `key` is most likely a slip of.
pub(crate) fn nearest(key: &str) -> Option<String> {
    let number = key.split('.').find(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let candidates: Vec<String> = KEYS
        .iter()
        .filter(|(pattern, _)| !pattern.contains('*'))
        .map(|(pattern, _)| pattern.replace('#', number.unwrap_or("0")))
        .collect();
    crate::diagnostic::nearest(key, candidates.iter().map(String::as_str)).map(str::to_owned)
}

fn matches(pattern: &str, key: &str) -> bool {
    if let Some(prefix) = pattern.strip_suffix('*') {
        return key.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    }
    let mut names = key.split('.');
    let matched = pattern.split('.').all(|wanted| match (wanted, names.next()) {
        ("#", Some(name)) => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()),
        (wanted, name) => name == Some(wanted),
    });
    matched && names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_judged() {
        let table = [
            ("lxc.start.auto", KeyStatus::Known(Scalar)),
            ("lxc.hook.start", KeyStatus::Known(List)),
            ("lxc.net.0.type", KeyStatus::Known(Scalar)),
            ("lxc.net.12.veth.pair", KeyStatus::Known(Scalar)),
            ("lxc.cgroup2.memory.max", KeyStatus::Known(List)),
            ("lxc.cgroup.dir", KeyStatus::Known(Scalar)),
            ("lxc.sysctl.net.ipv4.ip_forward", KeyStatus::Known(Scalar)),
            ("lxc.utsname", KeyStatus::Legacy("lxc.uts.name")),
            ("lxc.network.type", KeyStatus::Legacy("lxc.net.0.*")),
            ("lxc.net.x.type", KeyStatus::Unknown),
            ("lxc.net.0", KeyStatus::Unknown),
            ("lxc.cgroup.", KeyStatus::Unknown),
            ("lxc.hook.begin", KeyStatus::Unknown),
            ("", KeyStatus::Unknown),
        ];
        for (key, status) in table {
            assert_eq!(judge(key), status, "{key}");
        }
        assert!(matches!(judge("lxc.rootfs.path"), KeyStatus::Refused(_)));
        assert!(matches!(judge("lxc.idmap"), KeyStatus::Refused(_)));
    }

    #[test]
    fn keys_come_and_go_with_versions() {
        let table = [
            ("lxc.sched.core", (4, 0), true),
            ("lxc.sched.core", (5, 0), false),
            ("lxc.net.3.veth.vlan.id", (4, 9), true),
            ("lxc.environment.runtime", (6, 0), true),
            ("lxc.environment.runtime", (7, 0), false),
            ("lxc.environment", (4, 0), false),
            ("lxc.cgroup.memory.limit_in_bytes", (6, 0), false),
            ("lxc.cgroup.memory.limit_in_bytes", (7, 0), true),
            ("lxc.cgroup.dir", (7, 0), false),
            ("lxc.cgroup.relative", (7, 0), false),
        ];
        for (key, installed, warned) in table {
            assert_eq!(mismatch(key, installed).is_some(), warned, "{key} {installed:?}");
        }
        for (pattern, _) in SINCE {
            assert!(KEYS.iter().any(|(known, _)| known == pattern), "{pattern}");
        }
    }

    #[test]
    fn slips_of_keys_are_recognised() {
        assert_eq!(nearest("lxc.start.outo").as_deref(), Some("lxc.start.auto"));
        assert_eq!(nearest("lxc.net.1.tipe").as_deref(), Some("lxc.net.1.type"));
    }
}
