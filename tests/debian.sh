#!/bin/sh
# Runs a command on a Debian of its own, with no network but its own loopback, where apart.sh runs
# this. The kernel removes all of it when the command ends.
#
# usage: debian.sh SUITE PACKAGES [DIRECTORY]... -- COMMAND [WORD]...
# The packages, with commas, are those of the mirror that this host's apt uses. A directory is there
# too, read-only, under its own path. The status is 77 where this Debian is not to be had.
set -eu
if [ "$1" = enter ]; then
    root=$2; shift 2
    cd "$root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount --rbind /sys/fs/cgroup sys/fs/cgroup
    mount --rbind /dev dev
    for covered in dev/shm run; do mount -t tmpfs apart "$covered"; done
    chmod 1777 dev/shm
    mkdir -m 1777 run/lock
    while [ "$1" != -- ]; do
        mkdir -p ".$1"
        mount --bind "$1" ".$1"
        mount -o remount,bind,ro ".$1"
        shift
    done
    shift
    mkdir host
    pivot_root . host
    busybox umount -l host
    cd /
    rmdir host
    busybox ip link set lo up
    unset TMPDIR
    export HOME=/root
    exec "$@"
fi

suite=$1 packages=$2; shift 2
# What is in quotes is for apt.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
if [ -z "$mirror" ]; then
    echo "apt has no mirror of Debian here" >&2
    exit 77
fi
image=$(mktemp "${TMPDIR:-/tmp}/layered-debian-XXXXXX")
trap 'rm -f "$image"' EXIT
truncate -s 10G "$image"
mkfs.ext4 -q -O ^has_journal "$image"
# It is there as long as it is mounted, and the loop device too.
mount -o loop "$image" /mnt
rm "$image"
# A mirror may be a snapshot, whose signature of an unstable suite has expired.
mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="busybox-static,$packages" "$suite" /mnt "$mirror" || exit 77
# The ids of users that are made in here are nobody's on the host: tests end what runs under an id.
[ ! -e /mnt/etc/login.defs ] || sed -E -i -e 's/^#?([UG]ID_MIN)[[:space:]].*/\1 30000/' \
    -e 's/^#?(SUB_[UG]ID_MIN)[[:space:]].*/\1 300000000/' /mnt/etc/login.defs
exec unshare --net -- sh "$0" enter /mnt "$@"
