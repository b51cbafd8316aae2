//! What `build --output` writes, run by the engines that take images.

use std::time::Duration;

use crate::call::Outcome;
use crate::caller::Caller;
use crate::lab::Lab;
use crate::requirement;

const APART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apart.sh");
const DEBIAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/debian.sh");

const ROLE: &str = r#"manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "app"
config = { "lxc.environment" = ["STAGE=test"] }
post = { in = "rootfs", run = "echo built >/etc/built; chown 7:8 /etc/built" }
"#;

/// What a container of the role says, for [`SAID`].
const ASK: &str = r#"cat /etc/built; stat -c %u:%g /etc/built; echo "$STAGE""#;
const SAID: &str = "built\n7:8\ntest\n";

const PODMAN: &str = r#"set -eu
mount -t tmpfs apart /run
# It calls an image by its path, and takes no capitals in it.
cd "$1/.."
exec podman --root "$PWD/root" --runroot /run/containers --storage-driver vfs \
    --runtime runc --cgroup-manager cgroupfs --events-backend none run --rm --network none \
    --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 oci:image:web /bin/sh -c "$2"
"#;

const CONTAINERD: &str = r#"set -eu
mount -t tmpfs apart /run
cat >config.toml <<END
version = 2
root = "$PWD/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
END
containerd --config config.toml >&2 &
for i in $(seq 100); do
    ! ctr version >/dev/null 2>&1 || break
    sleep 0.1
done
tar -C "$1" -cf image.tar oci-layout index.json blobs
ctr image import --snapshotter native --base-name web image.tar >&2
exec ctr run --rm --snapshotter native web:web one /bin/sh -c "$2"
"#;

/// What Incus needs besides itself.
const PACKAGES: &str = "incus,incus-client,attr,mount,rsync,squashfs-tools,uidmap,xz-utils";

/// On a Debian of its own: it keeps what it has in places of the host.
const INCUS: &str = r#"set -eu
mount -t cgroup2 none /sys/fs/cgroup
for file in /etc/subuid /etc/subgid; do
    grep -q ^root: "$file" || echo root:1000000:65536 >>"$file"
done
mkdir -p /var/lib/incus /var/log/incus /run/incus
PATH=/usr/libexec/incus:$PATH
incusd --group root >&2 &
incus admin waitready --timeout 60
incus admin init --preseed <<END
storage_pools:
- {name: default, driver: dir}
profiles:
- {name: default, devices: {root: {type: disk, path: /, pool: default}}}
END
cd "$1"
incus image import incus.tar.xz rootfs.tar.xz --alias web >&2
incus profile create web >&2
incus profile edit web <profile.yaml
incus launch web one --profile default --profile web >&2
incus exec one -- sh -c "$2"
incus exec one -- sh -c 'tr "\\0" "\\n" </proc/1/environ; hostname' >&2
"#;

/// Builds an image of the role, its place called `OUT`, and lets a script run a container of it.
fn run(target: &str, commands: &[&str], within: &[&str], script: &str) -> Option<(Lab, Outcome)> {
    let lab = Lab::open(Caller::Root, &[&["unshare", "awk"], commands].concat())?;
    let manifest = lab.write("work/role.toml", ROLE);
    let out = lab.directory("work/out");
    let output = target.replace("OUT", &out.display().to_string());
    let build = lab.call([lab.program()]).arg("build").arg(&manifest);
    build.args(["--output", &output]).outcome().success();
    let name = lab.name("engine");
    let call = lab.call(["sh", APART, &name]).args(within);
    let call = if within.is_empty() { call } else { call.arg(&out).arg("--") };
    let call = call.args(["sh", "-c", script, "engine"]).arg(out.join("image")).arg(ASK);
    let outcome = call.limit(Duration::from_secs(900)).outcome();
    lab.assert_quiet(Duration::from_secs(5));
    Some((lab, outcome))
}

#[test]
fn podman_runs_an_image() {
    let Some((_lab, outcome)) = run("oci:OUT/image:web", &["podman", "runc"], &[], PODMAN) else {
        return;
    };
    assert_eq!(outcome.success().stdout, SAID);
}

#[test]
fn containerd_runs_an_image() {
    let Some((_lab, outcome)) =
        run("oci:OUT/image:web", &["containerd", "ctr", "runc"], &[], CONTAINERD)
    else {
        return;
    };
    assert_eq!(outcome.success().stdout, SAID);
}

/// Debian has Incus since its version 13.
#[test]
fn incus_launches_an_image() {
    if !requirement::slow() {
        return;
    }
    let needed = ["mmdebstrap", "mkfs.ext4"];
    let Some((_lab, outcome)) =
        run("incus:OUT/image", &needed, &["sh", DEBIAN, "trixie", PACKAGES], INCUS)
    else {
        return;
    };
    if outcome.status.code() == Some(77) {
        return requirement::say(&format!("there is no Debian 13 for Incus: {outcome}"));
    }
    assert_eq!(outcome.success().stdout, SAID);
}
