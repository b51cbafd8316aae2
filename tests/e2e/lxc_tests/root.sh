#!/bin/sh
# Runs a command on a root of its own: the host's files with a layer of memory over them, and a network
# that nobody else has. What it changes goes when it ends, where ../../apart.sh runs it.
#
# usage: unshare --net root.sh DIRECTORY COMMAND [WORD]...
# DIRECTORY has what is there besides: `packages`, unpacked over the root, and `here`, as /here.
set -eu
directory=$1; shift

root=$directory/root
mkdir -p "$root"
mount -t tmpfs apart "$root"
mkdir "$root/over" "$root/work" "$root/all"
mount -t overlay -o "lowerdir=/,upperdir=$root/over,workdir=$root/work" apart "$root/all"
cd "$root/all"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount --rbind /sys/fs/cgroup sys/fs/cgroup
for covered in tmp run home var/lib/lxc var/lib/layered-template var/cache/lxc; do
    mkdir -p "$covered"
    mount -t tmpfs -o mode=0755 apart "$covered"
done
chmod 1777 tmp
mkdir -m 1777 run/lock
for package in "$directory"/packages/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink
done
mkdir here
mount --bind "$directory/here" here
mkdir host
pivot_root . host
umount -l host
cd /

ip link set lo up
ip link add lxcbr0 type bridge
ip link set lxcbr0 up
exec "$@"
