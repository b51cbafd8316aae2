#!/bin/sh
# Makes a package for Debian of the program that `make` has built, and prints its path.
#
# usage: deb.sh DIRECTORY
# The directory is where cargo-deb is, or will be. Who the package is from is in DEBFULLNAME and
# DEBEMAIL, or else in git's user.name and user.email. SOURCE_DATE_EPOCH dates the files; without it the
# last commit does.
set -eu
cd "$(dirname "$0")/.."
tools=$(realpath -m "$1")
cargo=${CARGO:-cargo}
# Rust of this project's age builds it.
version=3.8.0

name=${DEBFULLNAME:-$(git config user.name || true)}
mail=${DEBEMAIL:-$(git config user.email || true)}
case $mail in
    *" <"*@*">") maintainer=$mail ;;
    *@*) maintainer="$name <$mail>" ;;
    *) maintainer= ;;
esac
case $maintainer in
    "" | " "*)
        echo "the package has no maintainer: set DEBFULLNAME and DEBEMAIL, or git's user.name and user.email" >&2
        exit 1
        ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

if ! [ -x "$tools/bin/cargo-deb" ] ||
    [ "$("$tools/bin/cargo-deb" --version | awk '{ print $NF }')" != "$version" ]; then
    # It only packs: to optimise it takes longer than it saves.
    "$cargo" install --quiet --locked --debug --force --root "$tools" --version "$version" cargo-deb
fi

stage=target/stage
# One of another version is not to be taken for this.
rm -rf "$stage" target/debian
mkdir -p "$stage"
"${MAKE:-make}" --no-print-directory --silent install DESTDIR="$stage" PREFIX=/usr
sh packaging/changelog.sh "$maintainer" <CHANGELOG.md >"$stage/changelog"
sh packaging/copyright.sh >"$stage/copyright"
PATH="$tools/bin:$PATH" "$cargo" deb --quiet --no-build --locked --maintainer "$maintainer"
