#!/bin/sh
# Reads CHANGELOG.md and prints the versions in it as the changelog of a Debian package.
#
# usage: changelog.sh MAINTAINER <CHANGELOG.md
# What is unreleased is left out.
set -eu
maintainer=$1
awk -v maintainer="$maintainer" '
    function item(    words, count, line, i) {
        gsub(/\*\*/, "", text)
        while (match(text, /\[[^]]*\]\([^)]*\)/)) {
            link = substr(text, RSTART + 1, RLENGTH - 1)
            sub(/\].*/, "", link)
            text = substr(text, 1, RSTART - 1) link substr(text, RSTART + RLENGTH)
        }
        count = split(text, words, " ")
        line = "  *"
        for (i = 1; i <= count; i++) {
            if (length(line " " words[i]) > 78) { print line; line = "   " }
            line = line " " words[i]
        }
        if (count) print line
        text = ""
    }
    function close_version() {
        if (version != "") printf "\n -- %s  %s\n", maintainer, day
        version = ""
    }
    /^## / {
        item()
        close_version()
        if ($2 !~ /^[0-9]/) next
        if (versions++) print ""
        version = $2
        command = "LC_ALL=C date --utc --rfc-email --date=" $4
        command | getline day
        close(command)
        printf "layered-template (%s-1) unstable; urgency=medium\n", version
        next
    }
    version == "" { next }
    /^### / { item(); printf "\n  [ %s ]\n", $2; next }
    /^- / { item(); text = substr($0, 3); next }
    { text = text " " $0 }
    END { item(); close_version() }
'
