//! Power cuts: what is on the disk at a moment, as an image of it shows that is taken then.
//!
//! The disk is a filesystem of the test's own in a file. What the kernel holds back is not in that file,
//! so that a copy of it is what a cut would leave; mounted, its journal is replayed.

use crate::requirement::{root, skip};
use crate::sandbox::Sandbox;

/// Makes a container in each way, and cuts the power in the middle of that, right behind its success,
/// and once any other program has brought a file of its own to the disk. Prints what is wrong then.
const SCRIPT: &str = r#"
set -eu
fs=$1 program=$2
here=$(cd .. && pwd)
PATH=$PATH:/usr/sbin:/sbin
mkdir ../disk ../mnt ../seen
mount -t tmpfs tmpfs ../disk
command -v "mkfs.$fs" >/dev/null || exit 77
truncate -s 512M ../disk/image
"mkfs.$fs" -q ../disk/image >/dev/null 2>&1 || exit 77
mount -o loop ../disk/image ../mnt 2>/dev/null || exit 77
mkdir -p ../mnt/lxc
export LAYERED_TEMPLATE_STORE="$here/mnt/store"

seen() {
    (cd "$1" && find . -printf '%P %y %m %U:%G %s %l %T@\n' | sort
        find . -type f -exec sha256sum {} + | sort)
}
cut() {
    cp --sparse=always ../disk/image "../disk/$1"
}
make() {
    case $1 in
        template-*)
            # As LXC leaves it to a template, which has no part in `partial`.
            mkdir -p "../mnt/lxc/$1/rootfs"
            echo "lxc.rootfs.path = dir:$here/mnt/lxc/$1/rootfs" >"../mnt/lxc/$1/config"
            "$program" --path="$here/mnt/lxc/$1" --name="$1" --rootfs="$here/mnt/lxc/$1/rootfs" \
                m.toml --storage="$2" ;;
        *) "$program" create m.toml --quiet --name "$1" --lxcpath ../mnt/lxc --storage="$2" $3 ;;
    esac
}
while read -r name storage how; do
    sync -f ../mnt
    export CUT="$here/disk/$name.middle"
    make "$name" "$storage" "$how" 2>../said || { cat ../said; exit 9; }
    cut "$name.end"
    echo x >../mnt/other
    sync ../mnt/other
    cut "$name.later"
    seen "../mnt/lxc/$name" >"../seen/$name"
done <<END
none none
copy-cold copy --rebuild
copy-warm copy
overlay-cold overlay --rebuild
overlay-warm overlay
template-none none
template-copy copy
template-overlay overlay
END
umount ../mnt

for image in ../disk/*.*; do
    moment=${image##*.} name=${image##*/}
    name=${name%.*}
    # One that was never unmounted has the name of the one that it is an image of.
    options=loop
    [ "$fs" != xfs ] || options=loop,nouuid
    mount -o "$options" "$image" ../mnt || { echo "$name: $moment: no filesystem"; continue; }
    at=../mnt/lxc/$name
    case $moment:$name in
        middle:template-*) ;;
        middle:*)
            [ ! -e "$at" ] || [ -e "$at/partial" ] || [ -z "$(ls -A "$at")" ] ||
                echo "$name: it shows as finished in the middle" ;;
        *)
            [ ! -e "$at/partial" ] || echo "$name: $moment: it shows as unfinished"
            seen "$at" >../is 2>&1 || :
            diff "../seen/$name" ../is >../differs ||
                { echo "$name: $moment: it is not on the disk"; head -n 5 ../differs; } ;;
    esac
    for lower in $(sed -n 's/^lxc.rootfs.path = overlay:\([^:]*\):.*/\1/p' "$at/config" 2>/dev/null); do
        [ -d "$lower" ] || echo "$name: $moment: what it stands on is gone"
    done
    "$program" store verify >../said 2>&1 || { echo "$name: $moment: the store"; cat ../said; }
    "$program" create m.toml --quiet --name next --lxcpath ../mnt/lxc || echo "$name: $moment: next"
    umount ../mnt
    rm "$image"
done
"#;

#[test]
fn what_was_reported_as_made_is_on_the_disk() {
    if !root() {
        return;
    }
    let upstream = "mkdir -p \"$rootfs/etc\" \"$rootfs/usr/lib\"; echo \"$name\" >\"$rootfs/etc/hostname\"; \
                    for i in $(seq 100); do echo \"$i\" >\"$rootfs/usr/lib/$i\"; done; \
                    head -c 300000 /dev/urandom >\"$rootfs/usr/lib/large\"; ln -s hostname \"$rootfs/etc/link\"";
    let layers = "\n[[layer]]\nname = \"app\"\n\
                  post = '[ -z \"${CUT-}\" ] || cp --sparse=always \"${CUT%/*}/image\" \"$CUT\"'\n\
                  [layer.config]\nlxc.start.auto = 1\n\
                  [[layer.file]]\npath = \"/etc/app\"\ncontent = \"{{ lxc.name }}\"\nrender = true\n";
    for filesystem in ["ext4", "xfs", "btrfs"] {
        let sandbox = Sandbox::new().upstream(upstream).layers(layers);
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", SCRIPT, "sh", filesystem]);
        let ran = sandbox.ran({
            command.arg(sandbox.program_path());
            command
        });
        if ran.output.status.code() == Some(77) {
            skip(&format!("{filesystem} cannot be made here"));
            continue;
        }
        ran.exits(0).prints("");
    }
}

/// A filesystem whose image lies on another that clones a file at one moment, and `during`, which cuts the power at
/// random moments meanwhile.
const AT_RANDOM: &str = r#"
set -eu
program=$1
here=$(cd .. && pwd)
PATH=$PATH:/usr/sbin:/sbin
mkdir ../disk ../outer ../mnt ../seen
mount -t tmpfs tmpfs ../disk
command -v mkfs.xfs >/dev/null && command -v mkfs.ext4 >/dev/null || exit 77
truncate -s 4G ../disk/outer
mkfs.xfs -q ../disk/outer >/dev/null 2>&1 || exit 77
mount -o loop ../disk/outer ../outer 2>/dev/null || exit 77
truncate -s 256M ../outer/image
mkfs.ext4 -q ../outer/image
cp --reflink=always ../outer/image ../outer/clone 2>/dev/null || exit 77
rm ../outer/clone
mount -o loop ../outer/image ../mnt
mkdir -p ../mnt/lxc
sync -f ../mnt
export LAYERED_TEMPLATE_STORE="$here/mnt/store"

seen() {
    (cd "$1" && find . -printf '%P %y %m %U:%G %s %l %T@\n' | sort
        find . -type f -exec sha256sum {} + | sort)
}
cuts() {
    number=0
    while :; do
        sleep "0.0$(printf %02d "$(($(od -An -N1 -tu1 /dev/urandom) % 50))")"
        cp --reflink=always ../outer/image "../outer/$1.$number.cut"
        number=$((number + 1))
        [ ! -e ../done ] || break
    done
}
# Does something, and cuts the power meanwhile.
during() {
    name=$1
    shift
    cuts "$name" & cutter=$!
    "$@" >../said 2>&1 || { cat ../said; touch ../done; exit 9; }
    touch ../done
    wait "$cutter"
    rm ../done
}
# Calls a function, with its name, for each of the images, mounted.
look() {
    umount ../mnt
    for image in ../outer/*.cut; do
        moment=${image##*/}
        mount -o loop "$image" ../mnt || { echo "$moment: no filesystem"; continue; }
        "$1" "$moment"
        umount ../mnt
        rm "$image"
        echo "$moment" >>../cut
    done
    [ "$(wc -l <../cut)" -ge 4 ] || echo "no more than $(wc -l <../cut) moments"
}
"#;

/// Makes containers, and then lets gc go on. Prints what is wrong.
const MAKING: &str = r#"
make() {
    during "$1" "$program" create m.toml --quiet --name "$@" --lxcpath ../mnt/lxc
    seen "../mnt/lxc/$1" >"../seen/$1"
}
judge() {
    for name in overlay copy rebuilt; do
        at=../mnt/lxc/$name
        [ -e "$at" ] && [ ! -e "$at/partial" ] && [ -n "$(ls -A "$at")" ] || continue
        seen "$at" >../is
        diff "../seen/$name" ../is >../differs ||
            { echo "$1: $name shows as finished"; head -n 5 ../differs; }
        for lower in $(sed -n 's/^lxc.rootfs.path = overlay:\([^:]*\):.*/\1/p' "$at/config"); do
            [ -e "$lower/etc/hostname" ] || echo "$1: what $name stands on is gone"
        done
    done
    if [ -e ../mnt/store ]; then
        "$program" store verify >../said 2>&1 || { echo "$1: the store"; cat ../said; }
        "$program" store gc --keep=0 --forget >../said 2>&1 || { echo "$1: gc"; cat ../said; }
    fi
    "$program" create m.toml --quiet --name next --lxcpath ../mnt/lxc || echo "$1: next"
}
make overlay --storage=overlay
make copy --storage=copy
make rebuilt --storage=overlay --rebuild
during gc "$program" store gc --keep=0
look judge
"#;

/// Pulls a role, from the repository that is named. Prints what is wrong.
const PULLING: &str = r#"
from=$2
pull() {
    "$program" pull m.toml --quiet --allow-untrusted --from "$from"
}
judge() {
    if [ -e ../mnt/store ]; then
        "$program" store verify >../said 2>&1 || { echo "$1: the store"; cat ../said; }
    fi
    pull >../said 2>&1 || { echo "$1: the next pull"; cat ../said; }
    "$program" create m.toml --quiet --name next --storage=copy --lxcpath ../mnt/lxc || echo "$1: next"
    seen ../mnt/lxc/next/rootfs | grep -v ' d ' >../is
    diff ../seen/next ../is >../differs || { echo "$1: next differs"; head -n 5 ../differs; }
}
# What it is when nothing happens.
LAYERED_TEMPLATE_STORE="$here/store" pull
LAYERED_TEMPLATE_STORE="$here/store" "$program" create m.toml --quiet --name next --storage=copy \
    --lxcpath ../seen
seen ../seen/next/rootfs | grep -v ' d ' >../seen/found
rm -r ../seen/next
mv ../seen/found ../seen/next
during pull pull
look judge
"#;

/// Runs a script that cuts the power at random moments; what it prints is wrong.
pub(crate) fn cut_at_random(sandbox: &Sandbox, script: &str, words: &[&str]) {
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", &format!("{AT_RANDOM}{script}"), "sh"]);
    command.arg(sandbox.program_path()).args(words);
    let ran = sandbox.ran(command);
    if ran.output.status.code() == Some(77) {
        return skip("no filesystem that clones files can be made here");
    }
    ran.exits(0).prints("");
}

#[test]
fn a_cut_at_any_moment_leaves_whole_containers_and_a_whole_store() {
    if !root() {
        return;
    }
    let upstream = "mkdir -p \"$rootfs/etc\" \"$rootfs/usr/lib\"; echo \"$name\" >\"$rootfs/etc/hostname\"; \
                    for i in $(seq 50); do echo \"$i\" >\"$rootfs/usr/lib/$i\"; done";
    let layers = "\n[[layer]]\nname = \"app\"\n\
                  [[layer.file]]\npath = \"/etc/app\"\ncontent = \"{{ lxc.name }}\"\nrender = true\n";
    let sandbox = Sandbox::new().upstream(upstream).layers(layers);
    cut_at_random(&sandbox, MAKING, &[]);
}

#[test]
fn a_cut_while_a_role_is_pulled_lets_the_next_pull_have_it() {
    let Some(registry) = crate::registry::start() else { return };
    let upstream = "mkdir -p \"$rootfs/etc\" \"$rootfs/usr/lib\"; \
                    for i in $(seq 200); do head -c 100000 /dev/urandom >\"$rootfs/usr/lib/$i\"; done";
    let layers = "\n[[layer]]\nname = \"app\"\n\
                  [[layer.file]]\npath = \"/etc/app\"\ncontent = \"app\"\n";
    let sandbox = Sandbox::new().upstream(upstream).layers(layers);
    let repository = registry.repository("web");
    sandbox.run(["push", "m.toml", &repository]).exits(0);
    let host = Sandbox::new().upstream(upstream).layers(layers);
    cut_at_random(&host, PULLING, &[&repository]);
}
