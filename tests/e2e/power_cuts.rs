//! Power cuts behind `lxc-create`: what is on the disk then, as an image of it shows.
//!
//! The template has brought all to the disk by its end, but LXC goes on: it writes the config's head, and
//! removes `partial`.

use crate::caller::Caller;
use crate::lab::Lab;
use crate::requirement::skip;

/// Makes containers on a disk in a file, and takes an image of that right behind each, and once another
/// program has brought a file of its own to the disk. Prints which is neither whole nor unfinished.
const SCRIPT: &str = r#"
set -eu
fs=$1 manifest=$2 here=$PWD
PATH=$PATH:/usr/sbin:/sbin
mkdir disk mnt seen
mount -t tmpfs tmpfs disk
truncate -s 512M disk/image
"mkfs.$fs" -q disk/image >/dev/null 2>&1 || exit 77
mount -o loop disk/image mnt 2>/dev/null || exit 77
mkdir mnt/lxc
export LAYERED_TEMPLATE_STORE="$here/mnt/store"
# The head of a config is comments, and empty lines.
seen() {
    (cd "$1" && find . ! -path . ! -path ./config -printf '%P %y %m %U:%G %s %l %T@\n' | sort
        find . -type f ! -path ./config -exec sha256sum {} + | sort
        grep '^[^#]' config)
}
for storage in none copy overlay; do
    sync -f mnt
    lxc-create -P "$here/mnt/lxc" -n "$storage" -t layered-template -- "$manifest" --storage="$storage" >&2
    cp --sparse=always disk/image "disk/$storage.end"
    echo x >mnt/other
    sync mnt/other
    cp --sparse=always disk/image "disk/$storage.later"
    seen "mnt/lxc/$storage" >"seen/$storage"
done
umount mnt
for image in disk/*.*; do
    name=${image##*/} options=loop
    name=${name%.*}
    [ "$fs" != xfs ] || options=loop,nouuid
    mount -o "$options" "$image" mnt
    if [ ! -e "mnt/lxc/$name/partial" ]; then
        seen "mnt/lxc/$name" >is 2>&1 || :
        diff "seen/$name" is >differs || { echo "$fs: $image"; head -n 5 differs; }
    fi
    umount mnt
done
"#;

#[test]
fn a_container_of_lxc_is_whole_or_unfinished() {
    for filesystem in ["ext4", "xfs", "btrfs"] {
        let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
        let manifest = lab.write(
            "work/power.toml",
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
             [layer.config]\nlxc.start.auto = 1\n\
             [[layer.file]]\npath = \"/etc/app\"\ncontent = \"{{ lxc.name }}\"\nrender = true\n",
        );
        let call = lab.call(["sh", "-c", SCRIPT, "sh", filesystem]).arg(&manifest);
        let outcome = call.outcome();
        if outcome.status.code() == Some(77) {
            skip(&format!("{filesystem} cannot be made here"));
            continue;
        }
        let outcome = outcome.success();
        assert_eq!(outcome.stdout, "", "{outcome}");
    }
}
