//! The reusable layers that are part of the program: the files of `layers/`.

/// A reusable layer: its name, and its text.
pub type Compiled = (&'static str, &'static str);

/// All of them, sorted by name.
pub const ALL: &[Compiled] = &[
    ("apk-packages", include_str!("../layers/apk-packages.toml")),
    ("apt-packages", include_str!("../layers/apt-packages.toml")),
    ("autostart", include_str!("../layers/autostart.toml")),
    ("bind-mount", include_str!("../layers/bind-mount.toml")),
    ("cron-job", include_str!("../layers/cron-job.toml")),
    ("dnf-packages", include_str!("../layers/dnf-packages.toml")),
    ("environment", include_str!("../layers/environment.toml")),
    ("file-tree", include_str!("../layers/file-tree.toml")),
    ("hostname-and-hosts", include_str!("../layers/hostname-and-hosts.toml")),
    ("limits", include_str!("../layers/limits.toml")),
    ("locale-and-timezone", include_str!("../layers/locale-and-timezone.toml")),
    ("nesting", include_str!("../layers/nesting.toml")),
    ("network-dhcp", include_str!("../layers/network-dhcp.toml")),
    ("network-static", include_str!("../layers/network-static.toml")),
    ("provision-on-start", include_str!("../layers/provision-on-start.toml")),
    ("resolver", include_str!("../layers/resolver.toml")),
    ("ssh-server", include_str!("../layers/ssh-server.toml")),
    ("systemd-unit", include_str!("../layers/systemd-unit.toml")),
    ("user", include_str!("../layers/user.toml")),
];

/// Returns the text of a layer that is compiled in.
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}
