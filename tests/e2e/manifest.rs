//! The manifest of three layers that most tests wrap an upstream with.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config;
use crate::lab::Lab;
use crate::tree::Entry;

const LAYERS: &str = r#"
[[layer]]
name = "base"
pre = "echo pre base >>\"$TRACE\""
post = [
  "test -f \"$LXC_ROOTFS/etc/role/base.conf\"",
  { run = "echo post base >>\"$TRACE\"", in = "host" },
]
check = "test -d \"$LXC_ROOTFS/opt/tree\""

[layer.config]
lxc.environment = ["ROLE=base", "BASE=1"]

[[layer.file]]
path = "/etc/role/base.conf"
content = "written by base\n"

[[layer.file]]
path = "/opt/tree"
source = "files/tree"

[[layer]]
name = "libs"
post = { script = "libs.sh" }

[layer.config]
lxc.environment = "ROLE=libs"
lxc.start.order = 7

[[layer.file]]
path = "/etc/role/libs.conf"
source = "files/libs.conf"
mode = "0640"
owner = "7:9"

[[layer.file]]
path = "/etc/role/link"
symlink = "libs.conf"

[[layer]]
name = "app"
post = "rm \"$LXC_ROOTFS/opt/tree/deep/discarded\""
finally = "echo finally app $LAYER_STATUS >>\"$TRACE\""

[layer.config]
lxc.environment = "ROLE=app"

[[layer.file]]
path = "/srv/app"
directory = true
mode = "0750"

[[layer.file]]
path = "/opt/tree/removed"
remove = true
"#;

/// Every file of the three layers' config, outer ones last.
const LINES: &[&str] = &[
    "lxc.environment = ROLE=base",
    "lxc.environment = BASE=1",
    "lxc.environment = ROLE=libs",
    "lxc.start.order = 7",
    "lxc.environment = ROLE=app",
];

/// Writes the manifest, with these keys for the upstream, and all that it names.
pub(crate) fn three_layers(lab: &Lab, upstream: &str) -> PathBuf {
    lab.directory("work/role");
    lab.directory("work/role/files");
    lab.directory("work/role/files/tree");
    lab.directory("work/role/files/tree/deep");
    lab.script("work/role/files/tree/deep/run", "#!/bin/sh\nexec true\n");
    lab.write("work/role/files/tree/deep/discarded", "");
    lab.write("work/role/files/tree/removed", "");
    lab.write("work/role/files/libs.conf", "written by libs\n");
    lab.script("work/role/libs.sh", "#!/bin/sh -eu\necho post \"$LAYER_NAME\" >>\"$TRACE\"\n");
    let text = format!("manifest = 1\n\n[[layer]]\nname = \"os\"\n{upstream}\n{LAYERS}");
    lab.write("work/role/role.toml", &text)
}

/// Sees that a container has all that the three layers make.
#[track_caller]
pub(crate) fn assert_three_layers(lab: &Lab, name: &str) {
    assert_eq!(lab.read("work/trace"), "pre base\npost base\npost libs\nfinally app 0\n");
    let config = lab.read(lab.container(name, "config"));
    config::assert_in_order(&config, LINES);
    config::assert_under_comment(&config, "base", &LINES[..2]);
    config::assert_under_comment(&config, "libs", &LINES[2..4]);
    config::assert_under_comment(&config, "app", &LINES[4..]);
    let all: Vec<_> = config.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(all.last(), LINES.last(), "layers' lines stand behind upstream's:\n{config}");

    let at = |path: &str| Entry::of(&lab.container(name, "rootfs").join(path));
    assert_entry(lab, &at("etc/role"), 0o040_755, (0, 0), "");
    assert_entry(lab, &at("etc/role/base.conf"), 0o100_644, (0, 0), "written by base\n");
    assert_entry(lab, &at("etc/role/libs.conf"), 0o100_640, (7, 9), "written by libs\n");
    assert_entry(lab, &at("etc/role/link"), 0o120_777, (0, 0), "libs.conf");
    assert_entry(lab, &at("opt/tree/deep"), 0o040_755, (0, 0), "");
    assert_entry(lab, &at("opt/tree/deep/run"), 0o100_755, (0, 0), "#!/bin/sh\nexec true\n");
    assert_entry(lab, &at("srv/app"), 0o040_750, (0, 0), "");
    assert!(!lab.container(name, "rootfs/opt/tree/removed").exists());
    assert!(!lab.container(name, "rootfs/opt/tree/deep/discarded").exists());
    assert_held_by_lxc(lab, &lab.container(name, "config"));
}

#[track_caller]
fn assert_entry(lab: &Lab, entry: &Entry, mode: u32, (user, group): (u32, u32), content: &str) {
    let found = (entry.mode, entry.uid, entry.gid, String::from_utf8_lossy(&entry.content));
    let group = lab.user.as_ref().map_or(group, |user| user.first_gid + group);
    assert_eq!(found, (mode, lab.id(user), group, content.into()), "{entry:?}");
}

/// Sees that the caller can load the config later: rewritten in a user namespace, it would be the
/// mapped root's.
#[track_caller]
fn assert_held_by_lxc(lab: &Lab, config: &Path) {
    let metadata = std::fs::metadata(config).expect("a container has a config");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    let (uid, gid) = lab.user.as_ref().map_or((0, 0), |user| (user.uid, user.gid));
    let found = Entry::of(config);
    assert_eq!((found.uid, found.gid), (uid, gid));
}
