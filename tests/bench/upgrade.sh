#!/bin/sh
# Measures how long a container does not run for its upgrade, from when lxc-stop has ended to when lxc-start begins.
set -eu

program=$1
if [ "$(id -u)" != 0 ] || ! command -v lxc-create >/dev/null; then
    echo "skipped: it needs root, and LXC"
    exit 0
fi
place=$(mktemp -d -p /dev/shm layered-upgrade.XXXXXX)
container=
end() {
    test -z "$container" || lxc-stop -k -P "$place/lxc" -n c >/dev/null 2>&1 || true
    rm -rf "$place"
}
trap end EXIT
trap 'exit 130' INT TERM HUP
export LAYERED_TEMPLATE_STATE="$place/state" LAYERED_TEMPLATE_STORE="$place/store" LC_ALL=C
cd "$place"
mkdir lxc bin
echo 'lxc.net.0.type = empty' >conf
cp "$program" lxc-layered-template

# LXC's own programs, which note when they end and begin.
stop=$(command -v lxc-stop)
start=$(command -v lxc-start)
cat >bin/lxc-stop <<STOP
#!/bin/sh
ended=0
$stop "\$@" || ended=\$?
date +%s%N >$place/stopped
exit \$ended
STOP
cat >bin/lxc-start <<START
#!/bin/sh
date +%s%N >$place/started
exec $start "\$@"
START
chmod 755 bin/*

role() {
    cat >role.toml <<ROLE
manifest = 1

[[layer]]
name = "os"
template = "builtin:busybox"

[[layer]]
name = "many"
post = { in = "rootfs", run = """
mkdir -p /usr/share/many
cd /usr/share/many
for a in \$(seq 570); do
    mkdir \$a
    for b in \$(seq 100); do echo \$a \$b >\$a/\$b; done
done
""" }

[[layer]]
name = "site"
file = [{ path = "/etc/site", content = "$1" }]
ROLE
}

printf '\n### Downtime of an upgrade of one changed file over 57,000 entries, by overlay\n\n'
role 0
lxc-create -P "$place/lxc" -n c -f conf -t "$place/lxc-layered-template" -- role.toml --storage=overlay \
    >log 2>&1
container=c
"$start" -P "$place/lxc" -n c
for change in 1 2 3 4 5 6 7 8 9 10; do
    role "$change"
    PATH="$place/bin:$PATH" "$program" upgrade -P "$place/lxc" c >>log 2>&1
    echo $((($(cat started) - $(cat stopped)) / 1000000))
done | sort -n | awk '{ took[NR] = $1 } END {
    printf "  %d ms at the median of %d, from %d to %d\n", took[int((NR + 1) / 2)], NR, took[1], took[NR] }'
