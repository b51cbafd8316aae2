#!/bin/sh
# Measures what the program costs beside what it is compared with, side by side, on a tmpfs.
set -eu

program=$1
here=$(cd "$(dirname "$0")" && pwd)
place=$(mktemp -d -p /dev/shm layered-bench.XXXXXX)
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM HUP
export LAYERED_TEMPLATE_STATE="$place/state" LAYERED_TEMPLATE_STORE="$place/store" LC_ALL=C
cd "$place"

measure() { hyperfine --shell=none --warmup 3 --style basic --export-json "$place/last.json" "$@"; }
title() { printf '\n### %s\n\n' "$*"; }

# An upstream that makes one file.
cat >upstream <<'UPSTREAM'
#!/bin/sh
for word; do case $word in --rootfs=*) : >"${word#*=}/made" ;; esac; done
UPSTREAM
# A wrapper by hand that drops a file, adds a line, and calls what it wraps.
cat >wrapper <<'WRAPPER'
#!/bin/sh
set -eu
for word; do
    case $word in
        --path=*) path=${word#*=} ;;
        --rootfs=*) rootfs=${word#*=} ;;
        --depth=*) depth=${word#*=} ;;
    esac
done
if [ "$depth" -gt 1 ]; then
    "$0" --path="$path" --name=c --rootfs="$rootfs" --depth=$((depth - 1))
else
    "${0%/*}/upstream" --path="$path" --name=c --rootfs="$rootfs"
fi
mkdir -p "$rootfs/etc"
cat >"$rootfs/etc/file$depth" <<'FILE'
text
FILE
chmod 0644 "$rootfs/etc/file$depth"
echo "lxc.environment = LAYER=$depth" >>"$path/config"
WRAPPER
chmod 755 upstream wrapper

# Writes a manifest of so many layers, a drop and a line each, with so many steps in the outermost.
manifest() {
    printf 'manifest = 1\n[[layer]]\nname = "os"\ntemplate = "%s/upstream"\n' "$place"
    layer=1
    while [ "$layer" -lt "$1" ]; do
        printf '[[layer]]\nname = "l%s"\n' "$layer"
        if [ "$layer" = $(($1 - 1)) ] && [ "$2" -gt 0 ]; then
            printf 'post = ['
            step=0
            while [ "$step" -lt "$2" ]; do printf '":",'; step=$((step + 1)); done
            printf ']\n'
        fi
        printf '[layer.config]\nlxc.environment = "LAYER=%s"\n' "$layer"
        printf '[[layer.file]]\npath = "/etc/file%s"\ncontent = "text\\n"\n' "$layer"
        layer=$((layer + 1))
    done
}
manifest 3 0 >three.toml
manifest 10 0 >ten.toml
manifest 2 0 >none.toml
manifest 2 100 >hundred.toml

fresh="sh -c 'rm -rf $place/c && mkdir -p $place/c/rootfs && : >$place/c/config'"
# Every layer is made anew: what the store saves is measured by itself.
call="--path=$place/c --name=c --rootfs=$place/c/rootfs --storage=none"

title "A chain over an upstream that makes one file"
measure --prepare "$fresh" \
    -n "upstream alone" "$place/upstream $call" \
    -n "3 layers" "$program $call three.toml" \
    -n "10 layers" "$program $call ten.toml" \
    -n "3 shell wrappers" "$place/wrapper $call --depth=3" \
    -n "10 shell wrappers" "$place/wrapper $call --depth=10"

title "A hundred steps, and a hundred times dash -c :"
measure --prepare "$fresh" \
    -n "no step" "$program $call none.toml" \
    -n "100 steps" "$program $call hundred.toml" \
    -n "100 dash -c :" "dash -c 'i=0; while [ \$i -lt 100 ]; do dash -c :; i=\$((i + 1)); done'"

# The builtin upstream has a static shell, which root or a user namespace can enter.
inside() {
    printf 'manifest = 1\n[[layer]]\nname = "os"\ntemplate = "builtin:busybox"\n[[layer]]\nname = "in"\npost = ['
    step=0
    while [ "$step" -lt "$1" ]; do printf "%s,\n" "$2"; step=$((step + 1)); done
    printf ']\n'
}
inside 0 "" >in-none.toml
inside 100 '{ in = "rootfs", run = "/bin/true" }' >in-hundred.toml
inside 100 '{ in = "rootfs", network = true, run = "/bin/true" }' >in-network.toml
inside 100 "'chroot \"\$LXC_ROOTFS\" /bin/true'" >chroot-hundred.toml
title "A hundred steps inside the rootfs, and a hundred times chroot /bin/true on the host"
if [ "$(id -u)" = 0 ]; then
    measure --prepare "$fresh" \
        -n "no step" "$program $call in-none.toml" \
        -n "100 steps inside" "$program $call in-hundred.toml" \
        -n "100 steps inside, network" "$program $call in-network.toml" \
        -n "100 steps with chroot" "$program $call chroot-hundred.toml"
else
    echo "skipped: not root"
fi

# What masking costs: the same output of a layer with a secret and of one without.
seq 1 12000000 | sed 's/^/what a log says, line by line: /' | head -c 268435456 >text
printing() {
    printf 'manifest = 1\n%s\n[[layer]]\nname = "os"\ntemplate = "%s/upstream"\n%s\npost = "cat %s/text"\n' \
        "$1" "$place" "$2" "$place"
}
printing '' '' >unmasked.toml
printing '[vars]
token = { secret = true, env = "TOKEN" }' 'secrets = ["token"]' >masked.toml
title "256 MiB of output, and the same where a secret is masked"
TOKEN=log-of-the-line measure --prepare "$fresh" \
    -n "no secret" "$program $call unmasked.toml" \
    -n "a secret" "$program $call masked.toml"
rm text

title "plan of 3 layers, and /bin/true"
measure -n "plan" "$program plan three.toml" -n "/bin/true" /bin/true

title "plan of 1000 layers with 10000 inline files"
awk 'BEGIN {
    print "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"'"$place"'/upstream\""
    for (l = 1; l < 1000; l++) {
        print "[[layer]]\nname = \"l" l "\""
        for (f = 0; f < 10; f++) print "[[layer.file]]\npath = \"/etc/d" l "/f" f "\"\ncontent = \"text " f "\""
    }
}' >large.toml
wc -c large.toml
measure -n "plan" "$program plan large.toml"
python3 - "$program" <<'PYTHON'
import os, resource, subprocess, sys
subprocess.run([sys.argv[1], "plan", "large.toml"], stdout=subprocess.DEVNULL, check=True)
print("peak memory:", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, "MiB")
PYTHON

title "10000 files of 1 KiB"
mkdir tree
awk 'BEGIN { for (i = 0; i < 10000; i++) { f = "tree/f" i; for (j = 0; j < 64; j++) printf "%015d\n", i > f; close(f) } }'
printf 'manifest = 1\n[[layer]]\nname = "os"\ntemplate = "%s/upstream"\n[[layer.file]]\npath = "/tree"\nsource = "tree"\n' "$place" >tree.toml
rustc -O -o loop "$here/loop.rs"
measure --prepare "$fresh" \
    -n "drop" "$program $call tree.toml" \
    -n "open-write loop" "$place/loop $place/tree $place/c/rootfs/tree" \
    -n "cp -a" "cp -a $place/tree $place/c/rootfs/tree"
