#!/bin/sh
# Runs each fuzz target for so many seconds, two at a time. Inputs that are new are kept below
# `target/fuzz`; what fails is in `fuzz/artifacts`.
set -eu
seconds=$1
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
cargo=${CARGO:-cargo}
# The code is safe, and nothing else of a sanitizer is worth a nightly toolchain.
options="--sanitizer none --target-dir target/fuzz"

# Words are wanted here.
# shellcheck disable=SC2086
"$cargo" fuzz build $options

# What is fed to it first: what it read before, what is kept of that, and what others have.
# shellcheck disable=SC2086
target() {
    mkdir -p "target/fuzz/corpus/$1"
    set -- "$1" "target/fuzz/corpus/$1" "fuzz/corpus/$1"
    [ "$1" != manifest ] || set -- "$@" tests/manifests/valid tests/manifests/invalid layers
    log=target/fuzz/$1.log
    "$cargo" fuzz run $options "$@" -- \
        "-max_total_time=$seconds" -timeout=20 -rss_limit_mb=4096 >"$log" 2>&1 ||
        { tail -n 60 "$log"; exit 1; }
    echo "$1: $(sed -n 's/^Done //p' "$log")"
}

failed=
"$cargo" fuzz list >target/fuzz/targets
while read -r one; do
    target "$one" </dev/null & first=$!
    if read -r other; then target "$other" </dev/null || failed=yes; fi
    wait "$first" || failed=yes
done <target/fuzz/targets
[ -z "$failed" ]
