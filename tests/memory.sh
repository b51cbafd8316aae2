#!/bin/sh
# Runs a command whose temporary files are in memory, on a filesystem of its own that goes when it ends. A disk takes
# its time for the thousands of small files that tests make and remove.
#
# usage: memory.sh COMMAND [WORD]...
# Without root, or with little memory, they go where TMPDIR says.
set -eu
least=8 # GiB
available=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
if [ "$(id -u)" = 0 ] && [ "$available" -ge "$least" ] && unshare --mount true 2>/dev/null; then
    exec unshare --mount --propagation private sh -ec '
        mount -t tmpfs -o mode=1777 layered-tests /dev/shm
        TMPDIR=/dev/shm exec "$@"' memory "$@"
fi
exec "$@"
