#!/bin/sh
# What takes long: whole distributions, the oldest Rust, a static program, the packages, the book, LXC's own
# tests, Incus, fuzzing, and LXC 6.
#
# LT_DEADLINE, in seconds since 1970, is when all must be over; LT_SKIPPED is the file that notes what
# there is no time, or no means, for.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

# Nobody can demand time, or a toolchain.
note() { LT_REQUIRE_E2E='' sh tests/skip.sh "$@"; }

# Runs a command where there is time for it: part MINUTES TITLE COMMAND...
part() {
    minutes=$1 title=$2; shift 2
    echo "== $title"
    if [ -n "${LT_DEADLINE:-}" ] && [ $((LT_DEADLINE - $(date +%s))) -lt $((minutes * 60)) ]; then
        note "$title: less than $minutes minutes are left"
        return
    fi
    "$@"
}

# A toolchain is not to be had everywhere. Clippy knows which of the standard library is too new.
oldest_rust() {
    if ! command -v rustup >/dev/null; then
        note "Rust $oldest: there is no rustup to install it"
    elif ! rustup run "$oldest" rustc --version >/dev/null 2>&1 &&
        ! timeout 300 rustup --quiet toolchain install "$oldest" --profile minimal --no-self-update; then
        note "Rust $oldest: rustup cannot install it"
    else
        rustup run "$oldest" cargo check --locked --target-dir target/oldest
    fi
}

# Only the program itself is linked otherwise: macros are libraries, which cannot be static.
static_program() {
    built=${CARGO_TARGET_DIR:-target}
    "$cargo" rustc --locked --bin layered-template -- -C target-feature=+crt-static
    cp "$built/debug/layered-template" "$built/static-program"
    LT_STATIC=$(realpath "$built/static-program") "$cargo" test --locked --test e2e static_program
}

oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
part 20 "whole distributions" env LT_NETWORK=1 "$cargo" test --locked --test e2e distributions::
part 5 "Rust $oldest" oldest_rust
part 5 "a static program" static_program
part 12 "the packages" sh tests/packages.sh
part 5 "the book" sh tests/book.sh
part 15 "LXC's own tests" env LT_SLOW=1 "$cargo" test --locked --test e2e lxc_tests
part 5 "Incus" env LT_SLOW=1 "$cargo" test --locked --test e2e engines::incus
part 15 "fuzzing" "${MAKE:-make}" --no-print-directory fuzz
part 12 "LXC 6" sh tests/lxc.sh trixie
