#!/bin/sh
# Runs a command on a root of its own: the host's files with a layer of memory over them, and process
# ids, networks and cgroups that nobody else has. What it changes goes when it ends.
#
# usage: apart.sh NAME DIRECTORY COMMAND [WORD]...
# DIRECTORY has what is there besides: `packages`, unpacked over the root, and `here`, as /here.
set -eu
name=$1 directory=$2; shift 2

hierarchies() { awk '$3 ~ /^cgroup/ { print $2 }' /proc/self/mounts; }

remove() {
    for hierarchy in $(hierarchies); do
        find "$hierarchy/$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ ! -e "$hierarchy/$name" ] || return 1
    done
}

if [ "${APART:-}" != 1 ]; then
    for hierarchy in $(hierarchies); do
        mkdir "$hierarchy/$name"
        # The first hierarchies take no process until they are told where it may run.
        for file in cpuset.mems cpuset.cpus; do
            if [ -e "$hierarchy/$file" ] && [ ! -e "$hierarchy/cgroup.controllers" ]; then
                cat "$hierarchy/$file" >"$hierarchy/$name/$file"
            fi
        done
    done
    status=0
    (
        for hierarchy in $(hierarchies); do
            # The process of these parentheses.
            sh -c "echo \$PPID >$hierarchy/$name/cgroup.procs" || exit 125
        done
        APART=1 exec unshare --mount --propagation private --pid --net --ipc --uts --cgroup \
            --fork --kill-child -- "$0" "$name" "$directory" "$@"
    ) || status=$?
    # What is being killed leaves its cgroup when it has gone.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        remove && exit "$status"
        sleep 0.2
    done
    echo "a cgroup of $name is left" >&2
    exit 125
fi

root=$directory/root
mkdir -p "$root"
mount -t tmpfs apart "$root"
mkdir "$root/over" "$root/work" "$root/all"
mount -t overlay -o "lowerdir=/,upperdir=$root/over,workdir=$root/work" apart "$root/all"
cd "$root/all"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs apart sys/fs/cgroup
for hierarchy in $(hierarchies); do
    case $hierarchy in "$root"/*) continue ;; esac
    mkdir -p ".$hierarchy"
    mount --bind "$hierarchy/$name" ".$hierarchy"
done
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
unset APART
exec "$@"
