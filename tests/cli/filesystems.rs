//! The layer store on the filesystems that hosts have.

use crate::requirement::{root, skip};
use crate::sandbox::Sandbox;

/// Makes a filesystem, and on it containers of one role: cold, warm, as an overlay, and without the
/// store. The first three arguments are the filesystem's type, and where store and containers are.
const SCRIPT: &str = r#"
fs=$1 store=$2 containers=$3 options=$4
mkdir ../mnt
case $fs in
    tmpfs) mount -t tmpfs tmpfs ../mnt || exit 77 ;;
    *)
        PATH=$PATH:/usr/sbin:/sbin
        command -v "mkfs.$fs" >/dev/null || exit 77
        truncate -s 512M ../image && "mkfs.$fs" -q $options ../image >/dev/null 2>&1 || exit 77
        mount -o loop ../image ../mnt 2>/dev/null || exit 77
        ;;
esac
here=$(cd .. && pwd)
mkdir -p "../$store" "../$containers"
export LAYERED_TEMPLATE_STORE="$here/$store/store"
for name in cold copy overlay none; do
    storage=$name
    [ "$name" != cold ] || storage=copy
    "$0" create m.toml --quiet --name c --lxcpath "../$containers" --storage="$storage" || exit 9
    # As the container sees it.
    at=../$containers/c/rootfs
    if [ "$name" = overlay ]; then
        lower=$(sed -n 's/^lxc.rootfs.path = overlay:\(.*\):.*/\1/p' "../$containers/c/config")
        mkdir "../$containers/c/w"
        mount -t overlay overlay -o "lowerdir=$lower,upperdir=../$containers/c/delta,workdir=../$containers/c/w" "$at" || exit 8
    fi
    (cd "$at" && find . -printf '%P %y %m %U:%G %s %l\n' | grep -v ' d ' | sort
        find . -type f -exec sha256sum {} + | sort
        getfattr -R -h -d -m 'user|capability' . 2>/dev/null | sort) >"seen-$name"
    [ "$name" != overlay ] || umount "$at"
    rm -rf "../$containers/c"
done
for name in copy overlay none; do diff seen-cold "seen-$name" || exit 7; done
"$0" store verify >/dev/null || exit 6
"$0" store gc --forget --keep 0
wc -l <seen-cold
"#;

#[test]
fn every_filesystem_holds_store_and_containers() {
    if !root() {
        return;
    }
    let upstream = "mkdir -p \"$rootfs/etc\" \"$rootfs/usr/lib\"; echo \"$name\" >\"$rootfs/etc/hostname\"; \
                    echo x >\"$rootfs/usr/lib/a\"; ln \"$rootfs/usr/lib/a\" \"$rootfs/usr/lib/b\"; \
                    setfattr -n user.x -v 1 \"$rootfs/usr/lib/a\"; mkfifo \"$rootfs/usr/fifo\"; \
                    truncate -s 3M \"$rootfs/usr/hole\"; chmod 4755 \"$rootfs/usr/hole\"; \
                    ln -s hostname \"$rootfs/etc/link\"";
    let layers = "\n[[layer]]\nname = \"app\"\nstore = true\n\
                  post = 'echo y >>\"$LXC_ROOTFS/etc/hostname\"; rm -r \"$LXC_ROOTFS/usr/fifo\"'\n\
                  [[layer.file]]\npath = \"/etc/app\"\ncontent = \"{{ lxc.name }}\"\nrender = true\n\
                  [[layer]]\nname = \"first\"\nstore = true\n\
                  post = 'echo AAAA >\"$LXC_ROOTFS/usr/lib/c\"'\n\
                  [[layer]]\nname = \"second\"\nstore = true\n\
                  post = 'echo BBBB >\"$LXC_ROOTFS/usr/lib/c\"'\n";
    // With small inodes ext4 has times of whole seconds, and a change within one does not show in them.
    let filesystems = [("tmpfs", ""), ("ext4", ""), ("ext4", "-I 128"), ("xfs", ""), ("btrfs", "")];
    for (filesystem, options) in filesystems {
        // Together, and apart.
        for (store, containers) in [("mnt", "mnt"), ("mnt", "lxc"), ("other", "mnt")] {
            let sandbox = Sandbox::new().upstream(upstream).layers(layers);
            let mut command = sandbox.command("unshare");
            command.args(["--mount", "--", "/bin/sh", "-c", SCRIPT]).arg(sandbox.program_path());
            command.args([filesystem, store, containers, options]);
            let ran = sandbox.ran(command);
            if ran.output.status.code() == Some(77) {
                skip(&format!("{filesystem} cannot be made here"));
                break;
            }
            ran.exits(0);
            let printed = ran.stdout();
            assert!(printed.starts_with("removed 4 entries"), "{filesystem}: {printed}");
        }
    }
}

/// A disk whose own storage is full: what was written to it is lost when it is to be kept. Somebody
/// else is told of that first; afterwards all goes well again.
const LOSSY: &str = r#"
set -eu
cd "$(dirname "$PWD")"
mkdir small mnt
mount -t tmpfs -o size=24m none small
truncate -s 64M small/image
mkfs.ext4 -q -m 0 -O ^has_journal small/image || exit 77
mount -o loop small/image mnt || exit 77
mkdir mnt/store mnt/lxc
sync -f mnt
head -c "$(df --block-size=1 --output=avail small | tail -n 1)" /dev/zero >small/filler || :
truncate -s -4M small/filler
cd role
LAYERED_TEMPLATE_STORE=$PWD/../mnt/store exec "$1" create m.toml --name lossy --lxcpath ../lxc
"#;

#[test]
fn what_the_disk_did_not_take_is_not_stored() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream(
            "head -c 9M /dev/urandom >\"$rootfs/blob\"; sync -f \"$rootfs\" || echo lost; \
             rm \"$PWD/../small/filler\"; sync -f \"$rootfs\" && echo kept",
        )
        .layers("");
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", LOSSY, "sh"]).arg(sandbox.program_path());
    let ran = sandbox.ran(command);
    if ran.output.status.code() == Some(77) {
        return skip("no ext4 can be made here");
    }
    ran.exits(8).mentions("error: layer `os` could not be stored in `[DIR]/");
}
