//! The keys of LXC's container config, of LXC 4.0 to 7.
//!
//! Source: `config_jump_table` of `confile.c`, and `lxc.container.conf(5)`.

use std::sync::LazyLock;

use super::LxcVersion;
use super::values::Kind;
use crate::shell;

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

/// The keys: how their lines add up, and what values they have. A `*` stands for one name or more,
/// `#` for a number. Sorted.
const KEYS: &[(&str, Shape, Kind)] = &[
    ("lxc.apparmor.allow_incomplete", Scalar, Kind::Flag),
    ("lxc.apparmor.allow_nesting", Scalar, Kind::Flag),
    ("lxc.apparmor.profile", Scalar, Kind::Text),
    ("lxc.apparmor.raw", List, Kind::Text),
    ("lxc.arch", Scalar, Kind::Architecture),
    ("lxc.autodev", Scalar, Kind::Flag),
    ("lxc.autodev.tmpfs.size", Scalar, Kind::DevSize),
    ("lxc.cap.drop", List, Kind::Dropped),
    ("lxc.cap.keep", List, Kind::Kept),
    ("lxc.cgroup.*", List, Kind::Text),
    ("lxc.cgroup.dir", Scalar, Kind::CgroupPath),
    ("lxc.cgroup.dir.container", Scalar, Kind::CgroupPath),
    ("lxc.cgroup.dir.container.inner", Scalar, Kind::CgroupName),
    ("lxc.cgroup.dir.monitor", Scalar, Kind::CgroupPath),
    ("lxc.cgroup.dir.monitor.pivot", Scalar, Kind::CgroupPath),
    ("lxc.cgroup.relative", Scalar, Kind::Flag),
    ("lxc.cgroup2.*", List, Kind::Text),
    ("lxc.console.buffer.size", Scalar, Kind::ByteSize),
    ("lxc.console.logfile", Scalar, Kind::Path),
    ("lxc.console.path", Scalar, Kind::Path),
    ("lxc.console.rotate", Scalar, Kind::Flag),
    ("lxc.console.size", Scalar, Kind::ByteSize),
    ("lxc.environment", List, Kind::Environment),
    ("lxc.environment.hooks", List, Kind::Environment),
    ("lxc.environment.runtime", List, Kind::Environment),
    ("lxc.ephemeral", Scalar, Kind::Flag),
    ("lxc.execute.cmd", Scalar, Kind::Text),
    ("lxc.group", List, Kind::Text),
    ("lxc.hook.autodev", List, Kind::Text),
    ("lxc.hook.clone", List, Kind::Text),
    ("lxc.hook.destroy", List, Kind::Text),
    ("lxc.hook.mount", List, Kind::Text),
    ("lxc.hook.post-stop", List, Kind::Text),
    ("lxc.hook.pre-mount", List, Kind::Text),
    ("lxc.hook.pre-start", List, Kind::Text),
    ("lxc.hook.start", List, Kind::Text),
    ("lxc.hook.start-host", List, Kind::Text),
    ("lxc.hook.stop", List, Kind::Text),
    ("lxc.hook.version", Scalar, Kind::LaxFlag),
    ("lxc.include", List, Kind::Text),
    ("lxc.init.cmd", Scalar, Kind::Text),
    ("lxc.init.cwd", Scalar, Kind::Path),
    ("lxc.init.gid", Scalar, Kind::LaxUnsigned),
    ("lxc.init.groups", List, Kind::Groups),
    ("lxc.init.uid", Scalar, Kind::LaxUnsigned),
    ("lxc.keyring.session", Scalar, Kind::Flag),
    ("lxc.log.file", Scalar, Kind::Path),
    ("lxc.log.level", Scalar, Kind::LogLevel),
    ("lxc.log.syslog", Scalar, Kind::Facility),
    ("lxc.monitor.signal.pdeath", Scalar, Kind::Signal),
    ("lxc.monitor.unshare", Scalar, Kind::Unsigned),
    ("lxc.mount.auto", List, Kind::AutoMounts),
    ("lxc.mount.entry", List, Kind::MountEntry),
    ("lxc.mount.fstab", Scalar, Kind::Fstab),
    ("lxc.namespace.clone", Scalar, Kind::Namespaces),
    ("lxc.namespace.keep", Scalar, Kind::Namespaces),
    ("lxc.namespace.share.*", Scalar, Kind::SharedNamespace),
    ("lxc.net.#.flags", Scalar, Kind::Text),
    ("lxc.net.#.hwaddr", Scalar, Kind::HardwareAddress),
    ("lxc.net.#.ipv4.address", List, Kind::Ipv4Address),
    ("lxc.net.#.ipv4.gateway", Scalar, Kind::Ipv4Gateway),
    ("lxc.net.#.ipv6.address", List, Kind::Ipv6Address),
    ("lxc.net.#.ipv6.gateway", Scalar, Kind::Ipv6Gateway),
    ("lxc.net.#.ipvlan.isolation", Scalar, Kind::OneOf("bridge private vepa")),
    ("lxc.net.#.ipvlan.mode", Scalar, Kind::OneOf("l3 l3s l2")),
    ("lxc.net.#.l2proxy", Scalar, Kind::Flag),
    ("lxc.net.#.link", Scalar, Kind::Text),
    ("lxc.net.#.macvlan.mode", Scalar, Kind::OneOf("private vepa bridge passthru")),
    ("lxc.net.#.mtu", Scalar, Kind::Mtu),
    ("lxc.net.#.name", Scalar, Kind::Text),
    ("lxc.net.#.script.down", Scalar, Kind::Text),
    ("lxc.net.#.script.up", Scalar, Kind::Text),
    ("lxc.net.#.type", Scalar, Kind::OneOf("veth macvlan ipvlan vlan phys empty none")),
    ("lxc.net.#.veth.ipv4.route", List, Kind::Ipv4Route),
    ("lxc.net.#.veth.ipv6.route", List, Kind::Ipv6Route),
    ("lxc.net.#.veth.mode", Scalar, Kind::OneOf("bridge router")),
    ("lxc.net.#.veth.n_rxqueues", Scalar, Kind::Queues),
    ("lxc.net.#.veth.n_txqueues", Scalar, Kind::Queues),
    ("lxc.net.#.veth.pair", Scalar, Kind::Text),
    ("lxc.net.#.veth.vlan.id", Scalar, Kind::BridgeVlanOrNone),
    ("lxc.net.#.veth.vlan.tagged.id", List, Kind::BridgeVlan),
    ("lxc.net.#.vlan.id", Scalar, Kind::Vlan),
    ("lxc.no_new_privs", Scalar, Kind::Flag),
    ("lxc.prlimit.*", Scalar, Kind::Limit),
    ("lxc.proc.*", Scalar, Kind::Text),
    ("lxc.pty.max", Scalar, Kind::Unsigned),
    ("lxc.sched.core", Scalar, Kind::Flag),
    ("lxc.seccomp.allow_nesting", Scalar, Kind::LaxFlag),
    ("lxc.seccomp.notify.cookie", Scalar, Kind::Text),
    ("lxc.seccomp.notify.proxy", Scalar, Kind::Socket),
    ("lxc.seccomp.profile", Scalar, Kind::Path),
    ("lxc.selinux.context", Scalar, Kind::Text),
    ("lxc.selinux.context.keyring", Scalar, Kind::Text),
    ("lxc.signal.halt", Scalar, Kind::Signal),
    ("lxc.signal.reboot", Scalar, Kind::Signal),
    ("lxc.signal.stop", Scalar, Kind::Signal),
    ("lxc.start.auto", Scalar, Kind::Flag),
    ("lxc.start.delay", Scalar, Kind::Unsigned),
    ("lxc.start.order", Scalar, Kind::Signed),
    ("lxc.sysctl.*", Scalar, Kind::Text),
    ("lxc.time.offset.boot", Scalar, Kind::TimeOffset),
    ("lxc.time.offset.monotonic", Scalar, Kind::TimeOffset),
    ("lxc.tty.dir", Scalar, Kind::Directory),
    ("lxc.tty.max", Scalar, Kind::Unsigned),
    ("lxc.uts.name", Scalar, Kind::HostName),
];

/// The keys with a wildcard.
static PATTERNS: LazyLock<Vec<(&str, (Shape, Kind))>> = LazyLock::new(|| {
    let patterns = KEYS.iter().filter(|(key, ..)| key.contains(['*', '#']));
    patterns.map(|(key, shape, kind)| (*key, (*shape, *kind))).collect()
});

/// The keys that LXC 4.0.0 does not have, and the version that brought each.
const SINCE: &[(&str, LxcVersion)] = &[
    ("lxc.cgroup.dir.container", LxcVersion::new(5, 0, 0)),
    ("lxc.cgroup.dir.container.inner", LxcVersion::new(5, 0, 0)),
    ("lxc.cgroup.dir.monitor", LxcVersion::new(5, 0, 0)),
    ("lxc.cgroup.dir.monitor.pivot", LxcVersion::new(5, 0, 0)),
    ("lxc.environment.hooks", LxcVersion::new(7, 0, 0)),
    ("lxc.environment.runtime", LxcVersion::new(7, 0, 0)),
    ("lxc.init.groups", LxcVersion::new(4, 0, 10)),
    ("lxc.net.#.veth.n_rxqueues", LxcVersion::new(5, 0, 0)),
    ("lxc.net.#.veth.n_txqueues", LxcVersion::new(5, 0, 0)),
    ("lxc.net.#.veth.vlan.id", LxcVersion::new(5, 0, 0)),
    ("lxc.net.#.veth.vlan.tagged.id", LxcVersion::new(5, 0, 0)),
    ("lxc.sched.core", LxcVersion::new(4, 0, 11)),
    ("lxc.time.offset.boot", LxcVersion::new(5, 0, 0)),
    ("lxc.time.offset.monotonic", LxcVersion::new(5, 0, 0)),
];

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
    match known(key) {
        Some((shape, _)) => KeyStatus::Known(shape),
        None => KeyStatus::Unknown,
    }
}

/// Returns what is known of a key.
fn known(key: &str) -> Option<(Shape, Kind)> {
    if !key.contains(['*', '#'])
        && let Ok(at) = KEYS.binary_search_by(|(known, ..)| (*known).cmp(key))
    {
        let (_, shape, kind) = KEYS[at];
        return Some((shape, kind));
    }
    PATTERNS.iter().find(|(pattern, _)| matches(pattern, key)).map(|(_, known)| *known)
}

/// Returns the version that brought a key, where LXC 4.0.0 does not have it.
pub(super) fn since(key: &str) -> Option<LxcVersion> {
    SINCE.iter().find(|(pattern, _)| matches(pattern, key)).map(|(_, since)| *since)
}

/// Returns the version that took a key away.
pub(super) fn gone(key: &str) -> Option<LxcVersion> {
    let old = key.starts_with("lxc.cgroup.")
        && !key.starts_with("lxc.cgroup.dir")
        && key != "lxc.cgroup.relative";
    old.then_some(LxcVersion::NO_CGROUP1)
}

/// Returns the kind of value that a key has; that of an unknown one is any text.
pub(crate) fn kind(key: &str) -> Kind {
    known(key).map_or(Kind::Text, |(_, kind)| kind)
}

/// Returns the shape of a key; that of an unknown one is a list, since then no line is lost.
pub(crate) fn shape(key: &str) -> Shape {
    known(key).map_or(List, |(shape, _)| shape)
}

/// Returns the known key that `key` is most likely a slip of.
pub(crate) fn nearest(key: &str) -> Option<String> {
    let number = key.split('.').find(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let candidates: Vec<String> = KEYS
        .iter()
        .filter(|(pattern, ..)| !pattern.contains('*'))
        .map(|(pattern, ..)| pattern.replace('#', number.unwrap_or("0")))
        .collect();
    crate::diagnostic::nearest(key, candidates.iter().map(String::as_str)).map(str::to_owned)
}

fn matches(pattern: &str, key: &str) -> bool {
    if let Some(prefix) = pattern.strip_suffix('*') {
        return key.strip_prefix(prefix).is_some_and(is_written_as_it_is);
    }
    let mut names = key.split('.');
    let matched = pattern.split('.').all(|wanted| match (wanted, names.next()) {
        ("#", Some(name)) => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()),
        (wanted, name) => name == Some(wanted),
    });
    matched && names.next().is_none()
}

/// Tells whether LXC reads the end of a key as it is written: the key ends at the first `=`, and the
/// line at a line feed.
fn is_written_as_it_is(end: &str) -> bool {
    !end.is_empty() && end.trim() == end && !end.contains('=') && !shell::has_control(end)
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
            ("lxc.sysctl.a=b", KeyStatus::Unknown),
            ("lxc.sysctl.a ", KeyStatus::Unknown),
            ("lxc.sysctl.a\nlxc.rootfs.path", KeyStatus::Unknown),
            ("lxc.hook.begin", KeyStatus::Unknown),
            ("", KeyStatus::Unknown),
        ];
        for (key, status) in table {
            assert_eq!(judge(key), status, "{key}");
        }
        assert!(KEYS.is_sorted_by_key(|(key, ..)| *key));
        assert!(matches!(judge("lxc.rootfs.path"), KeyStatus::Refused(_)));
        assert!(matches!(judge("lxc.idmap"), KeyStatus::Refused(_)));
    }

    #[test]
    fn keys_come_and_go_with_versions() {
        let table = [
            ("lxc.sched.core", Some(LxcVersion::new(4, 0, 11)), None),
            ("lxc.net.3.veth.vlan.id", Some(LxcVersion::new(5, 0, 0)), None),
            ("lxc.environment.runtime", Some(LxcVersion::new(7, 0, 0)), None),
            ("lxc.environment", None, None),
            ("lxc.cgroup.memory.limit_in_bytes", None, Some(LxcVersion::new(7, 0, 0))),
            ("lxc.cgroup.dir", None, None),
            ("lxc.cgroup.relative", None, None),
        ];
        for (key, came, went) in table {
            assert_eq!((since(key), gone(key)), (came, went), "{key}");
        }
        for (pattern, _) in SINCE {
            assert!(KEYS.iter().any(|(known, ..)| known == pattern), "{pattern}");
        }
    }

    #[test]
    fn slips_of_keys_are_recognised() {
        assert_eq!(nearest("lxc.start.outo").as_deref(), Some("lxc.start.auto"));
        assert_eq!(nearest("lxc.net.1.tipe").as_deref(), Some("lxc.net.1.type"));
    }
}
