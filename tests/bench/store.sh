#!/bin/sh
# Measures the layer store beside what it is compared with, side by side, on filesystems of its own:
# an ext4 and an xfs in files, which hold containers, store and the template's cache.
set -eu

program=$1
skip() { echo "the layer store is not measured: $1" >&2; exit 0; }

if [ "${2:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || skip "not root"
    for command in lxc-create debootstrap mkfs.ext4 mkfs.xfs buildah hyperfine; do
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
# A template that is interrupted removes what it thinks is its own by name.
if [ -d /var/lib/lxc ]; then mount -t tmpfs none /var/lib/lxc; fi

# Mounts a new filesystem: its type, where, and how large it may grow.
filesystem() {
    truncate -s "$3" "$place/$1.image"
    "mkfs.$1" -q "$place/$1.image"
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

role() {
    cat <<'ROLE'
manifest = 1
[[layer]]
name = "os"
template = "debian"
args = { release = "bookworm", arch = "amd64" }
env = { MIRROR = { pass = true } }
[[layer]]
name = "libs"
ROLE
    printf 'post = %s\n' "$1"
    for file in one two three; do
        printf '[[layer.file]]\npath = "/etc/libs/%s"\ncontent = "%s\\n"\n' "$file" "$file"
    done
    printf '[[layer]]\nname = "app"\n[[layer.file]]\npath = "/etc/app.conf"\nsource = "app.conf"\n'
}
echo text >app.conf
role '{ in = "rootfs", run = "useradd --system app && ldconfig" }' >role.toml
role '{ in = "rootfs", network = true, cache = "/var/cache/apt/archives", run = "sed -i /security/d /etc/apt/sources.list; apt-get -q update && apt-get -qy install --no-install-recommends python3 nginx-light" }' >packages.toml

# A container of a role: the directory of containers, its name, and more words.
create() { lxcpath=$1 name=$2; shift 2; lxc-create -P "$lxcpath" -n "$name" -t "$template" -- "$@" >"$place/log" 2>&1 || { cat "$place/log"; exit 1; }; }
creates() { echo "lxc-create -P $1 -n $2 -t $template -- $3"; }
debian="lxc-create -P $disk/lxc -n plain -t debian -- -r bookworm -a amd64"

title "Filling the template's cache"
$debian >"$place/log" 2>&1 || { cat "$place/log"; exit 1; }
rm -rf lxc/plain
create "$disk/lxc" base --manifest role.toml --storage=overlay
create "$disk/lxc" own --manifest role.toml --storage=copy
du -sh lxc/own/rootfs
echo "$(find lxc/own/rootfs | wc -l) entries"

title "An unchanged role as an overlay, beside lxc-copy -s of its container"
measure --prepare "$disk/fresh lxc/c" \
    -n "unchanged, overlay" "$(creates "$disk/lxc" c 'role.toml --storage=overlay')" \
    -n "lxc-copy -s -B overlay" "lxc-copy -P $disk/lxc -p $disk/lxc -n base -N c -s -B overlay"
medians

title "The same where ssh-keygen is not installed: lxc-copy makes no keys either"
role '{ in = "rootfs", run = "rm /usr/bin/ssh-keygen" }' >nokeys.toml
create "$disk/lxc" nokeys --manifest nokeys.toml --storage=overlay
measure --prepare "$disk/fresh lxc/c" \
    -n "unchanged, overlay" "$(creates "$disk/lxc" c 'nokeys.toml --storage=overlay')" \
    -n "lxc-copy -s -B overlay" "lxc-copy -P $disk/lxc -p $disk/lxc -n nokeys -N c -s -B overlay"
medians

title "An unchanged role as a copy, beside cp -a of its rootfs"
measure --prepare "$disk/fresh lxc/c copied" \
    -n "unchanged, copy" "$(creates "$disk/lxc" c 'role.toml --storage=copy')" \
    -n "unchanged, copy, no ssh-keygen" "$(creates "$disk/lxc" c 'nokeys.toml --storage=copy')" \
    -n "cp -a" "cp -a $disk/lxc/own/rootfs $disk/copied"
medians

title "The same work by the template alone, from its cache"
runs=3 measure --prepare "$disk/fresh lxc/plain" -n "lxc-create -t debian" "$debian"
medians
rm -rf lxc/plain

title "buildah's rebuild of the same tree, where nothing has changed"
mkdir image
tar --numeric-owner --exclude=./dev -C lxc/own/rootfs -cf image/tree.tar .
cp app.conf image
cat >image/Containerfile <<'CONTAINERFILE'
FROM scratch
ADD tree.tar /
RUN useradd --system app2 && ldconfig
COPY app.conf /etc/app.conf
CONTAINERFILE
echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' >policy.json
buildah="buildah --root $disk/images --runroot $disk/running --storage-driver overlay"
rebuild="$buildah build --layers --isolation chroot --signature-policy $disk/policy.json --tag role image"
if $rebuild >"$place/log" 2>&1; then
    measure --prepare "$disk/fresh" -n "buildah, unchanged" "$rebuild"
    medians
else
    tail -n 3 "$place/log"
    echo "skipped: buildah does not run here"
fi

title "One changed file in the outermost layer; without ssh-keygen, whose time is chance"
# Every run finds a new one.
printf '#!/bin/sh\n%s/fresh lxc/c\ndate +%%s.%%N >%s/app.conf\n' "$disk" "$disk" >changed
chmod 755 changed
trees() { find store/host/trees -mindepth 1 -maxdepth 1 | wc -l; }
before=$(kib store) entries=$(trees)
measure --prepare "$disk/fresh lxc/c" --prepare "$disk/changed" \
    -n "unchanged, overlay" "$(creates "$disk/lxc" c 'nokeys.toml --storage=overlay')" \
    -n "changed, overlay" "$(creates "$disk/lxc" c 'nokeys.toml --storage=overlay')"
medians
echo "the store has grown by $((($(kib store) - before) / ($(trees) - entries))) KiB at each change"

title "Fifty containers of a role"
count=0
while [ "$count" -lt 49 ]; do
    count=$((count + 1))
    create "$disk/lxc" "many$count" role.toml --storage=overlay
done
measure --prepare "$disk/fresh lxc/c" \
    -n "the fiftieth, no ssh-keygen" "$(creates "$disk/lxc" c 'nokeys.toml --storage=overlay')"
medians
echo "each takes $(($(kib lxc/many*) / 49)) KiB; without keys $(kib lxc/c) KiB"

title "A cold store, beside none"
runs=3 measure --prepare "$disk/fresh lxc/c store2" \
    -n "none" "$(creates "$disk/lxc" c 'role.toml --storage=none')" \
    -n "cold, copy" "env LAYERED_TEMPLATE_STORE=$disk/store2 $(creates "$disk/lxc" c 'role.toml --storage=copy')" \
    -n "cold, overlay" "env LAYERED_TEMPLATE_STORE=$disk/store2 $(creates "$disk/lxc" c 'role.toml --storage=overlay')"
medians
title "The same with a layer that installs packages"
runs=3 measure --prepare "$disk/fresh lxc/c store2" \
    -n "none" "$(creates "$disk/lxc" c 'packages.toml --storage=none')" \
    -n "cold, copy" "env LAYERED_TEMPLATE_STORE=$disk/store2 $(creates "$disk/lxc" c 'packages.toml --storage=copy')" \
    -n "cold, overlay" "env LAYERED_TEMPLATE_STORE=$disk/store2 $(creates "$disk/lxc" c 'packages.toml --storage=overlay')"
medians

title "An unchanged role as a copy, where files share their bytes"
disk2=$place/xfs
filesystem xfs "$disk2" 6G
cd "$disk2"
cp "$disk/fresh" "$disk/role.toml" "$disk/nokeys.toml" "$disk/app.conf" .
export LAYERED_TEMPLATE_STORE="$disk2/store"
create "$disk2/lxc" own --manifest role.toml --storage=copy
create "$disk2/lxc" nokeys --manifest nokeys.toml --storage=copy
measure --prepare "$disk2/fresh lxc/c copied" \
    -n "unchanged, copy" "$(creates "$disk2/lxc" c 'role.toml --storage=copy')" \
    -n "unchanged, copy, no ssh-keygen" "$(creates "$disk2/lxc" c 'nokeys.toml --storage=copy')" \
    -n "cp -a --reflink=always" "cp -a --reflink=always $disk2/lxc/own/rootfs $disk2/copied"
medians
