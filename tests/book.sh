#!/bin/sh
# Makes the manual a book, on a Debian of its own that has mdBook, and sees that no link in it leads nowhere.
set -eu

# In such a root: book.sh inside REPOSITORY
if [ "${1:-}" = inside ]; then
    cd "$2"
    mdbook build --dest-dir /tmp/book
    exec python3 "$2/tests/book.py" /tmp/book "$2/docs"
fi

cd "$(dirname "$0")/.."

# Nobody can demand a mirror.
note() { LT_REQUIRE_E2E='' sh tests/skip.sh "$@"; }

if [ "$(id -u)" != 0 ]; then
    note "the book: not root"
    exit
fi
# What is built is no page, and large.
directory=$(mktemp -d "${TMPDIR:-/tmp}/layered-book-XXXXXX")
trap 'rm -rf "$directory"' EXIT
git archive HEAD | tar --extract --directory "$directory"
status=0
sh tests/apart.sh "layered-book-$$" \
    sh tests/debian.sh trixie mdbook,python3 "$directory" -- \
    sh "$directory/tests/book.sh" inside "$directory" || status=$?
case $status in
    77) note "the book: there is no root with mdBook" ;;
    *) exit "$status" ;;
esac
