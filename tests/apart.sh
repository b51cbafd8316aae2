#!/bin/sh
# Runs a command where nobody else is: with mounts, processes and cgroups of its own. What it changes
# of them goes when it ends.
#
# usage: apart.sh NAME COMMAND [WORD]...
# NAME is what its cgroups are called.
set -eu
name=$1; shift

hierarchies() { awk '$3 ~ /^cgroup/ && $2 ~ "^/sys/fs/cgroup" { print $2 }' /proc/self/mounts; }

remove() {
    for hierarchy in $(hierarchies); do
        find "$hierarchy/$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ ! -e "$hierarchy/$name" ] || return 1
    done
}

# What is being killed leaves its cgroup when it has gone.
leave() {
    status=$?
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        remove && exit "$status"
        sleep 0.2
    done
    echo "a cgroup of $name is left" >&2
    exit 125
}

if [ -z "${APART:-}" ]; then
    trap leave EXIT
    trap 'exit 130' HUP INT TERM
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
    APART=moved unshare --mount --propagation private --pid --ipc --uts --fork --kill-child \
        --mount-proc -- sh "$0" "$name" "$@" || status=$?
    exit "$status"
fi

if [ "$APART" = moved ]; then
    for hierarchy in $(hierarchies); do echo 0 >"$hierarchy/$name/cgroup.procs"; done
    APART=rooted exec unshare --cgroup -- sh "$0" "$name" "$@"
fi

# The cgroups of others are out of sight.
mount -t tmpfs apart /mnt
for hierarchy in $(hierarchies); do
    mkdir -p "/mnt$hierarchy"
    mount --bind "$hierarchy/$name" "/mnt$hierarchy"
    # In cgroup2 only one without processes gives controllers to those in it. LXC does not count what
    # has this name.
    if [ -e "$hierarchy/cgroup.controllers" ]; then
        mkdir "$hierarchy/$name/init.scope"
        echo 0 >"$hierarchy/$name/init.scope/cgroup.procs"
    fi
done
mount --rbind /mnt/sys/fs/cgroup /sys/fs/cgroup
umount -l /mnt
unset APART
exec "$@"
