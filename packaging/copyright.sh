#!/bin/sh
# Prints the copyright file of the Debian package: what LICENSE says, in Debian's form.
set -eu
cd "$(dirname "$0")/.."

# A paragraph of such a field: blanks in front, and a dot for an empty line.
field() { sed 's/^$/./; s/^/ /'; }

cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: layered-template

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE-MIT)
License: Expat or Apache-2.0

License: Expat
$(sed '1,/^Copyright/d' LICENSE-MIT | sed '1{/^$/d}' | field)

License: Apache-2.0
 On Debian systems, the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
END
