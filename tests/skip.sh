#!/bin/sh
# Says what is not run, and why, and notes it for the sum at the end. Where LT_REQUIRE_E2E=1 demands
# everything, it fails instead.
set -eu
if [ "${LT_REQUIRE_E2E:-}" = 1 ]; then
    echo "this host cannot do what LT_REQUIRE_E2E=1 demands: $*" >&2
    exit 1
fi
echo "skipped: $*" >&2
if [ -n "${LT_SKIPPED:-}" ]; then
    mkdir -p "$(dirname "$LT_SKIPPED")"
    echo "$*" >>"$LT_SKIPPED"
fi
