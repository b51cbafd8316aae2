#!/bin/sh
# Measures the layer store beside what it is compared with, side by side, on filesystems of its own:
# an ext4, an xfs and a btrfs, which hold containers, store and the template's cache. They are in memory
# where there is enough of it, since what a disk does is not the program's.
set -eu

program=$1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
skip() { echo "the layer store is not measured: $1" >&2; exit 0; }

if [ "${2:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || skip "not root"
    for command in lxc-create debootstrap mkfs.ext4 mkfs.xfs mkfs.btrfs buildah hyperfine; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || skip "no $command"
    done
    place=$(mktemp -d "${TMPDIR:-/var/tmp}/layered-bench.XXXXXX")
    trap 'rm -rf "$place"' EXIT
    trap 'exit 130' INT TERM HUP
    # Nothing that is mounted outlives this namespace, nor do the loop devices.
    unshare --mount --propagation private sh "$0" "$program" inside "$place"
    exit
fi

place=$3
if [ "$(awk '$1 == "MemAvailable:" { print int($2 / 1048576) }' /proc/meminfo)" -ge 16 ]; then
    mount -t tmpfs -o size=14G none "$place"
else
    echo "on the disk: less than 16 GiB of memory are free"
fi
# A template that is interrupted removes what it thinks is its own by name.
if [ -d /var/lib/lxc ]; then mount -t tmpfs none /var/lib/lxc; fi

# Mounts a new filesystem: its type, where, and how large it may grow.
filesystem() {
    truncate -s "$3" "$place/$1.image"
    "mkfs.$1" -q "$place/$1.image" 2>/dev/null
    mkdir "$2"
    mount -o loop "$place/$1.image" "$2"
    mkdir "$2/lxc"
}
disk=$place/ext4
filesystem ext4 "$disk" 12G
cd "$disk"

# An address from which this host installs the release.
mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
    awk '$1 == "URIs:" { print $2; exit } $1 == "deb" && $2 ~ /:/ { print $2; exit }')
export MIRROR="$mirror" LXC_CACHE_PATH="$disk/cache" LC_ALL=C
export LAYERED_TEMPLATE_STATE="$disk/state" LAYERED_TEMPLATE_CACHE="$disk/downloads"
export LAYERED_TEMPLATE_STORE="$disk/store"
mkdir cache
install -m 0755 "$program" lxc-layered-template
template=$disk/lxc-layered-template

runs=${BENCH_RUNS:-10}
measure() { hyperfine --shell=none --warmup 1 --runs "$runs" --style basic --export-json "$place/last.json" "$@"; }
title() { printf '\n### %s\n\n' "$*"; }
# Shows the medians, and how each stands to the first.
medians() {
    python3 - "$place/last.json" <<'PYTHON'
import json, sys
results = json.load(open(sys.argv[1]))["results"]
for result in results:
    ratio = result["median"] / results[0]["median"]
    print(f"{result['command']:32} {result['median'] * 1000:10.1f} ms {ratio:8.2f}")
PYTHON
}
# Takes containers away by their paths. What else has been written is on the disk before time counts.
cat >fresh <<'FRESH'
#!/bin/sh
rm -rf "$@"
sync -f .
FRESH
chmod 755 fresh
kib() { du -sk "$@" | awk '{ sum += $1 } END { print sum }'; }
size() { echo "$(du -sm "$1" | cut -f1) MiB, $(find "$1" | wc -l) entries"; }

# A role: the lines of its upstream, and the step of its second layer.
role() {
    printf 'manifest = 1\n[[layer]]\nname = "os"\n%s\n[[layer]]\nname = "libs"\npost = %s\n' "$1" "$2"
    for file in one two three; do
        printf '[[layer.file]]\npath = "/etc/libs/%s"\ncontent = "%s\\n"\n' "$file" "$file"
    done
    printf '[[layer]]\nname = "app"\n[[layer.file]]\npath = "/etc/app.conf"\nsource = "app.conf"\n'
}
echo text >app.conf
image="template = \"local\"
args = { metadata = \"$disk/meta.tar.xz\", fstree = \"$disk/rootfs.tar.xz\" }"
distribution='template = "debian"
args = { release = "bookworm", arch = "amd64" }
env = { MIRROR = { pass = true } }'
user='{ in = "rootfs", run = "useradd --system app && ldconfig" }'
packages='{ in = "rootfs", network = true, cache = "/var/cache/apt/archives", run = "sed -i /security/d /etc/apt/sources.list; apt-get -q update && apt-get -qy install --no-install-recommends python3 nginx-light" }'
role "$image" "$user" >minimal.toml
role "$distribution" "$user" >debian.toml
printf 'manifest = 1\n[[layer]]\nname = "os"\n%s\n' "$image" >image.toml
printf 'manifest = 1\n[[layer]]\nname = "os"\n%s\n[[layer]]\nname = "libs"\npost = %s\n' \
    "$distribution" "$packages" >packages.toml

# A container of a role: the directory of containers, its name, and more words.
create() { lxcpath=$1 name=$2; shift 2; lxc-create -P "$lxcpath" -n "$name" -t "$template" -- "$@" >"$place/log" 2>&1 || { cat "$place/log"; exit 1; }; }
creates() { echo "lxc-create -P $1 -n $2 -t $template -- $3"; }
debian="lxc-create -P $disk/lxc -n plain -t debian -- -r bookworm -a amd64"

title "Making a minimal Debian, its image, and the cache of the Debian template"
debootstrap --variant=minbase bookworm minbase "$mirror" >"$place/log" 2>&1 || { cat "$place/log"; exit 1; }
tar --numeric-owner -C minbase -cf - . | xz -T0 -3 >rootfs.tar.xz
mkdir meta
echo 'lxc.include = LXC_TEMPLATE_CONFIG/common.conf' | tee meta/config >meta/config-user
echo etc/hostname >meta/templates
echo 32503680000 >meta/expiry
touch meta/create-message meta/excludes-user
tar -C meta -cJf meta.tar.xz config config-user templates expiry create-message excludes-user
$debian >"$place/log" 2>&1 || { cat "$place/log"; exit 1; }
size minbase
size lxc/plain/rootfs
rm -rf lxc/plain
# What has changed in the last minute is read by every create.
sleep 60

title "An unchanged role as an overlay, beside lxc-copy -s of its container"
create "$disk/lxc" base --manifest minimal.toml --storage=overlay
measure --prepare "$disk/fresh lxc/c" \
    -n "unchanged, overlay" "$(creates "$disk/lxc" c 'minimal.toml --storage=overlay')" \
    -n "lxc-copy -s -B overlay" "lxc-copy -P $disk/lxc -p $disk/lxc -n base -N c -s -B overlay"
medians

title "An unchanged role as a copy, beside cp -a of its rootfs"
create "$disk/lxc" own --manifest minimal.toml --storage=copy
measure --prepare "$disk/fresh lxc/c copied" \
    -n "unchanged, copy" "$(creates "$disk/lxc" c 'minimal.toml --storage=copy')" \
    -n "cp -a" "cp -a $disk/lxc/own/rootfs $disk/copied"
medians

title "buildah's rebuild of the same tree, where nothing has changed"
mkdir context
tar --numeric-owner --exclude=./dev -C lxc/own/rootfs -cf context/tree.tar .
cp app.conf context
cat >context/Containerfile <<'CONTAINERFILE'
FROM scratch
ADD tree.tar /
RUN useradd --system app2 && ldconfig
COPY app.conf /etc/app.conf
CONTAINERFILE
echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' >policy.json
buildah="buildah --root $disk/images --runroot $disk/running --storage-driver overlay"
rebuild="$buildah build --layers --isolation chroot --signature-policy $disk/policy.json --tag role context"
if $rebuild >"$place/log" 2>&1; then
    measure --prepare "$disk/fresh" -n "buildah, unchanged" "$rebuild"
    medians
else
    tail -n 3 "$place/log"
    echo "skipped: buildah does not run here"
fi

title "One changed file in the outermost layer"
# Every run finds a new one.
printf '#!/bin/sh\n%s/fresh lxc/c\ndate +%%s.%%N >%s/app.conf\n' "$disk" "$disk" >changed
chmod 755 changed
trees() { find store/host/trees -mindepth 1 -maxdepth 1 | wc -l; }
before=$(kib store) entries=$(trees)
measure --prepare "$disk/fresh lxc/c" --prepare "$disk/changed" \
    -n "unchanged, overlay" "$(creates "$disk/lxc" c 'minimal.toml --storage=overlay')" \
    -n "changed, overlay" "$(creates "$disk/lxc" c 'minimal.toml --storage=overlay')"
medians
echo "the store has grown by $((($(kib store) - before) / ($(trees) - entries))) KiB at each change"

title "An image of an unchanged role, left alone for a minute"
"$program" build -q minimal.toml -o oci:image:web
sleep 62
measure -n "build --output oci:" "$program build -q minimal.toml -o oci:image:web"

title "Fifty containers of a role"
count=0
while [ "$count" -lt 49 ]; do
    count=$((count + 1))
    create "$disk/lxc" "many$count" minimal.toml --storage=overlay
done
measure --prepare "$disk/fresh lxc/c" \
    -n "the fiftieth" "$(creates "$disk/lxc" c 'minimal.toml --storage=overlay')"
medians
echo "each takes $(($(kib lxc/many*) / 49)) KiB"

# How long a role takes where nothing is stored, beside what it takes without a store.
cold() {
    runs=3 measure --prepare "$disk/fresh lxc/c store2" \
        -n "none" "$(creates "$disk/lxc" c "$1 --storage=none")" \
        -n "cold, copy" "env LAYERED_TEMPLATE_STORE=$disk/store2 $(creates "$disk/lxc" c "$1 --storage=copy")" \
        -n "cold, overlay" "env LAYERED_TEMPLATE_STORE=$disk/store2 $(creates "$disk/lxc" c "$1 --storage=overlay")"
    medians
}
# The parts of that: a role, and how it is stored.
phases() {
    # shellcheck disable=SC2046
    python3 "$here/phases.py" 5 "$disk/fresh lxc/c store2" env "LAYERED_TEMPLATE_STORE=$disk/store2" \
        $(creates "$disk/lxc" c "$1 --storage=$2 --log-format=json")
}
title "What an image leaves, stored, beside none"
cold image.toml
title "Three layers on an image, with nothing stored, beside none"
cold minimal.toml
phases minimal.toml overlay

title "The Debian template alone, from its cache"
runs=3 measure --prepare "$disk/fresh lxc/plain" -n "lxc-create -t debian" "$debian"
medians
rm -rf lxc/plain

# This rootfs has an SSH server. How long its keys take is chance.
title "What the Debian template leaves and a layer of packages, stored; and without a store"
cold packages.toml
phases packages.toml overlay
phases packages.toml none

title "An unchanged role with an SSH server, whose keys each container makes for itself"
create "$disk/lxc" keys --manifest debian.toml --storage=overlay
measure --prepare "$disk/fresh lxc/c copied" \
    -n "unchanged, overlay" "$(creates "$disk/lxc" c 'debian.toml --storage=overlay')" \
    -n "unchanged, copy" "$(creates "$disk/lxc" c 'debian.toml --storage=copy')" \
    -n "lxc-copy -s -B overlay" "lxc-copy -P $disk/lxc -p $disk/lxc -n keys -N c -s -B overlay"
medians

rustc --edition 2021 -O -o "$place/bare" "$here/bare.rs"
for type in xfs btrfs; do
    title "An unchanged role as a copy on $type, where files share their bytes"
    other=$place/$type
    filesystem "$type" "$other" 6G
    cp fresh minimal.toml app.conf "$other"
    (
        cd "$other"
        export LAYERED_TEMPLATE_STORE="$other/store"
        create "$other/lxc" own --manifest minimal.toml --storage=copy
        measure --prepare "$other/fresh lxc/c copied" \
            -n "unchanged, copy" "$(creates "$other/lxc" c 'minimal.toml --storage=copy')" \
            -n "cp -a --reflink=always" "cp -a --reflink=always $other/lxc/own/rootfs $other/copied" \
            -n "cp -a --reflink=never" "cp -a --reflink=never $other/lxc/own/rootfs $other/copied"
        medians
        for _ in 1 2 3 4 5 6 7; do
            ./fresh copied
            "$place/bare" lxc/own/rootfs copied
        done | sort -n | awk 'NR == 4 { print "nothing but making files that share bytes, two threads:", $1, "ms" }'
    )
done
