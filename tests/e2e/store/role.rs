//! The manifests that the store is tried with.

use std::path::PathBuf;

use rustix::fs::{XattrFlags, setxattr};

use crate::lab::Lab;
use crate::requirement::TEMPLATES;

/// Three layers of everything that a stored layer can leave.
const LAYERS: &str = r#"
[[layer]]
name = "base"
pre = "echo pre base >>\"$TRACE\""
post = { in = "rootfs", run = "echo \"$(hostname)\" >/etc/mailname; mkdir -p /usr/lib/base; echo one >/usr/lib/base/one; ln /usr/lib/base/one /usr/lib/base/two; echo three >/usr/lib/base/three; mkfifo /usr/lib/base/fifo" }

[layer.config]
lxc.environment = ["NAME={{ lxc.name }}", "PORT={{ port }}"]

[[layer.file]]
path = "/etc/role/base.conf"
source = "files/base.conf"
render = true

[[layer.file]]
path = "/etc/hostname"
content = "{{ lxc.name }}\n"
render = true

[[layer.file]]
path = "/opt/tree"
source = "files/tree"

[[layer]]
name = "libs"
post = { in = "rootfs", run = "chown 7:9 /usr/lib/base/three; chmod 4750 /usr/lib/base/three; rm -r /opt/tree/gone; mkdir /opt/tree/gone; echo new >/opt/tree/gone/new; rm /opt/tree/to-be-a-directory; mkdir /opt/tree/to-be-a-directory; touch -d '2001-02-03 04:05:06' /opt/tree/old" }
check = { in = "rootfs", run = "test -e /opt/tree/gone/new" }

[[layer.file]]
path = "/etc/role/libs.conf"
content = "secretive\n"
mode = "0640"
owner = "7:9"

[[layer.file]]
path = "/etc/role/link"
symlink = "/srv/{{ lxc.name }}"

[[layer]]
name = "app"
finally = "echo finally app $LAYER_STATUS >>\"$TRACE\""

[layer.config]
lxc.hook.version = 1
lxc.mount.entry = "/dev/null srv/{{ lxc.name }}.null none bind,optional,create=file 0 0"

[[layer.file]]
path = "/srv/app"
directory = true
mode = "2750"

[[layer.file]]
path = "/opt/tree/removed"
remove = true

[[layer.file]]
path = "/opt/tree/removed-directory"
remove = true
"#;

/// Writes the manifest of three layers around an upstream, and all that it names.
pub(super) fn three_layers(lab: &Lab, upstream: &str) -> PathBuf {
    for directory in ["", "/tree", "/tree/gone", "/tree/removed-directory"] {
        lab.directory(format!("work/files{directory}"));
    }
    lab.write("work/files/base.conf", "name = {{ lxc.name }}\nport = {{ port }}\n");
    lab.script("work/files/tree/run", "#!/bin/sh\nexec true\n");
    for file in ["gone/old", "old", "removed", "removed-directory/deep", "to-be-a-directory"] {
        lab.write(format!("work/files/tree/{file}"), &format!("{file}\n"));
    }
    let run = lab.path("work/files/tree/run");
    setxattr(run, "user.comment", b"kept", XattrFlags::empty()).expect("it has attributes");
    let text = format!(
        "manifest = 1\ndescription = \"a role\"\n[vars]\nport = 8080\n\
         [[layer]]\nname = \"os\"\n{upstream}\n{LAYERS}"
    );
    lab.write("work/role.toml", &text)
}

/// Keys of a layer whose upstream makes a small rootfs, and counts its calls.
pub(super) fn counting(lab: &Lab) -> String {
    let text = format!(
        "#!/bin/sh\nfor word; do shift; case $word in --release=*) ;; *) set -- \"$@\" \"$word\" ;; \
         esac; done\necho called >>'{}'\nexec {TEMPLATES}/lxc-busybox \"$@\"\n",
        lab.path("work/calls").display()
    );
    let script = lab.script("work/upstream.sh", &text);
    format!("template = \"{}\"", script.display())
}

/// How often that upstream was called.
pub(super) fn calls(lab: &Lab) -> usize {
    lab.read("work/calls").lines().count()
}
