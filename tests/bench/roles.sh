#!/bin/sh
# Measures what roles cost that come from the store, by lxc-create, side by side, on a tmpfs.
set -eu

program=$1
if [ "$(id -u)" != 0 ] || ! command -v lxc-create >/dev/null; then
    echo "skipped: it needs root, and LXC"
    exit 0
fi
place=$(mktemp -d -p /dev/shm layered-roles.XXXXXX)
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM HUP
export LAYERED_TEMPLATE_STATE="$place/state" LAYERED_TEMPLATE_STORE="$place/store" LC_ALL=C
cd "$place"
mkdir lxc
cp "$program" lxc-layered-template
template=$place/lxc-layered-template
echo 'lxc.net.0.type = empty' >conf

measure() { hyperfine --shell=none --warmup 3 --style basic "$@"; }
title() { printf '\n### %s\n\n' "$*"; }
fresh='rm -rf lxc/c'
create="lxc-create -P $place/lxc -n c -f conf -t"

layer() {
    printf '[[layer]]\nname = "%s"\n[[layer.file]]\npath = "/etc/%s"\ncontent = "%s"\n' "$1" "$1" "$1"
}
role() {
    printf 'manifest = 1\n[[layer]]\nname = "os"\n%s\n' "$1"
    layer motd
    layer app
}

title "A role on busybox that is stored, by overlay, and lxc-create without a template"
role 'template = "builtin:busybox"' >busybox.toml
cp /bin/true lxc-true
measure --runs 60 --prepare "$fresh" \
    -n "overlay" "$create $template -- busybox.toml --storage=overlay" \
    -n "lxc-create -t none" "$create none" \
    -n "lxc-create -t /bin/true" "$create $place/lxc-true"

title "The same while another role is built and gc is at work, and alone"
cat >waits <<'WAITS'
#!/bin/sh
for word; do case $word in --rootfs=*) mkdir -p "${word#*=}/etc" ;; esac; done
while ! test -e "${0%/*}/go"; do sleep 0.1; done
WAITS
chmod +x waits
role "template = \"$place/waits\"" >waits.toml
"$program" build waits.toml -f conf >/dev/null 2>&1 &
building=$!
(while ! test -e go; do "$program" store gc >/dev/null 2>&1; sleep 0.2; done) &
measure --runs 60 --prepare "$fresh" -n "beside a build and gc" \
    "$create $template -- busybox.toml --storage=overlay"
touch go
wait "$building" || true
wait
measure --runs 60 --prepare "$fresh" -n "alone" "$create $template -- busybox.toml --storage=overlay"

title "The same role with a hole of 400 GB in a file, and without"
cat >plain <<'PLAIN'
#!/bin/sh
for word; do case $word in --rootfs=*) rootfs=${word#*=} ;; esac; done
mkdir -p "$rootfs/usr/lib" "$rootfs/var/log"
for n in $(seq 1 2000); do echo "$n" >"$rootfs/usr/lib/$n"; done
PLAIN
# shellcheck disable=SC2016
sed 's|^for n|truncate -s 400G "$rootfs/var/log/lastlog"\nfor n|' plain >hole
chmod +x plain hole
for kind in plain hole; do
    role "template = \"$place/$kind\"" >$kind.toml
    LAYERED_TEMPLATE_STORE=$place/$kind-store "$program" build $kind.toml -f conf >/dev/null
done
measure --prepare "$fresh" \
    -n "copy, hole" "env LAYERED_TEMPLATE_STORE=$place/hole-store $create $template -- hole.toml" \
    -n "copy, none" "env LAYERED_TEMPLATE_STORE=$place/plain-store $create $template -- plain.toml"
measure \
    -n "verify, hole" "env LAYERED_TEMPLATE_STORE=$place/hole-store $program store verify" \
    -n "verify, none" "env LAYERED_TEMPLATE_STORE=$place/plain-store $program store verify"

title "Twelve roles on one base, built at once, and one of them"
cat >slow <<'SLOW'
#!/bin/sh
sleep 1
exec "${0%/*}/plain" "$@"
SLOW
chmod +x slow
for n in $(seq 1 12); do
    { role "template = \"$place/slow\""; layer "own$n"; } >"role$n.toml"
done
roles=$(seq -f 'role%.0f.toml' 1 12 | tr '\n' ' ')
measure --runs 3 --prepare "rm -rf store" \
    -n "twelve roles" "$program build $roles -f conf" \
    -n "one role" "$program build role1.toml -f conf"
