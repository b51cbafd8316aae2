#!/bin/sh
# Prints the ten pages that were asked for most often, for the journal.
set -eu
cut -d '"' -f 2 /var/log/nginx/access.log | cut -d ' ' -f 2 | sort | uniq -c | sort -rn | head -n 10
