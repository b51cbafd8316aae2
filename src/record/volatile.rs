//! What every running system writes: no change that anybody made.

/// Directories whose contents come and go, and files, each without a slash in front.
///
/// Source: file-hierarchy(7), hier(7), and what Debian, Alpine and Fedora write at a boot.
const PATHS: [&str; 43] = [
    "dev",
    "etc/.pwd.lock",
    "etc/.updated",
    "etc/adjtime",
    "etc/ld.so.cache",
    "etc/machine-id",
    "etc/mtab",
    "etc/resolv.conf",
    "etc/resolv.conf.bak",
    "lib/apk/exec",
    "proc",
    "root/.ash_history",
    "root/.bash_history",
    "root/.cache",
    "root/.lesshst",
    "root/.viminfo",
    "run",
    "sys",
    "tmp",
    "var/.updated",
    "var/backups",
    "var/cache",
    "var/lib/apt/lists",
    "var/lib/apt/periodic",
    "var/lib/dbus/machine-id",
    "var/lib/dhcp",
    "var/lib/dhcpcd",
    "var/lib/logrotate",
    "var/lib/systemd/backlight",
    "var/lib/systemd/catalog",
    "var/lib/systemd/coredump",
    "var/lib/systemd/ephemeral-trees",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/rfkill",
    "var/lib/systemd/timers",
    "var/lib/systemd/timesync",
    "var/log",
    "var/run",
    "var/spool/anacron",
    "var/spool/exim4",
    "var/spool/postfix",
    "var/spool/rsyslog",
    "var/tmp",
];

/// Tells whether every running system writes what is at a path, which has no slash in front.
pub(crate) fn is_volatile(path: &[u8]) -> bool {
    PATHS.iter().any(|volatile| {
        let rest = path.strip_prefix(volatile.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_compared() {
        assert!(PATHS.is_sorted());
        for (path, expected) in [
            ("var/log", true),
            ("var/log/syslog", true),
            ("var/logs", false),
            ("var", false),
            ("etc/machine-id", true),
            ("etc/passwd", false),
            ("", false),
        ] {
            assert_eq!(is_volatile(path.as_bytes()), expected, "{path}");
        }
    }
}
