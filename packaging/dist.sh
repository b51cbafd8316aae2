#!/bin/sh
# Packs a program, with all that belongs to it, into an archive below target/dist: the same byte for byte
# each time.
#
# usage: dist.sh PROGRAM
# SOURCE_DATE_EPOCH dates the files; without it the last commit does.
set -eu
program=$(realpath "$1")
cd "$(dirname "$0")/.."
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$("$program" --version | awk '{ print $2 }')
name=layered-template-$version-$(uname -m)-linux
dist=target/dist

umask 022
rm -rf "$dist"
mkdir -p "$dist/$name/man" "$dist/$name/completions" "$dist/$name/layers"
cd "$dist/$name"
install -m 0755 "$program" layered-template
./layered-template man --output man
./layered-template completions bash >completions/layered-template.bash
./layered-template completions zsh >completions/_layered-template
./layered-template completions fish >completions/layered-template.fish
install -m 0644 ../../../layers/*.toml layers
install -m 0644 ../../../README.md ../../../CHANGELOG.md ../../../LICENSE* .
cd ..
tar --create --format=gnu --sort=name --mtime="@$date" --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX "$name" | gzip -9 --no-name >"$name.tar.gz"
rm -r "$name"
sha256sum "$name.tar.gz" >SHA256SUMS
echo "$dist/$name.tar.gz"
