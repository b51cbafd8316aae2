#!/bin/sh
# Runs the end-to-end tests with the LXC of a suite of Debian, on a root of its own.
#
# usage: lxc.sh SUITE [WORD]...
# The words are for the tests: a filter, or options of the harness.
set -eu
cd "$(dirname "$0")/.."
suite=$1; shift
cargo=${CARGO:-cargo}

# Nobody can demand a mirror.
note() { LT_REQUIRE_E2E='' sh tests/skip.sh "$@"; }

if [ "$(id -u)" != 0 ]; then
    note "the LXC of $suite: not root"
    exit
fi
"$cargo" test --locked --no-run --test e2e
program=$("$cargo" test --quiet --locked --no-run --test e2e --message-format=json |
    jq -r 'select(.target.name == "e2e" and .executable).executable')
built=$(dirname "$(dirname "$program")")

# LXC 7 starts nothing where the first cgroup hierarchies are mounted.
cgroups=true
[ "$suite" != sid ] || cgroups="mount -t cgroup2 none /sys/fs/cgroup"
status=0
# Distributions are not installed in here.
LT_NETWORK='' LT_SKIPPED='' LT_REQUIRE_E2E=1 sh tests/apart.sh "layered-$suite-$$" \
    sh tests/debian.sh "$suite" "$(sh tests/requirements.sh lxc names)" "$PWD" "$built" -- \
    sh -c "$cgroups"' && echo "== LXC $(lxc-create --version)" && exec "$@"' lxc "$program" --skip engines:: "$@" ||
    status=$?
case $status in
    77) note "the LXC of $suite: there is no root for it" ;;
    *) exit "$status" ;;
esac
