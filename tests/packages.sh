#!/bin/sh
# Makes the packages and tries them: the archive in an empty root, and the one for Debian in roots of
# Debian 12 and 13, where it is installed, used and removed.
set -eu

# In such a root: packages.sh inside PACKAGE ROLE
if [ "${1:-}" = inside ]; then
    package=$2 role=$3
    there() { find / -xdev \( -path /tmp -o -path /var/log \) -prune -o -print | sort; }
    there >/tmp/before
    dpkg --install "$package"
    [ "$(readlink -f /usr/share/lxc/templates/lxc-layered-template)" = /usr/bin/layered-template ]
    [ -s /usr/share/man/man1/layered-template.1.gz ]
    mkdir /tmp/used
    cp "$role" /tmp/used/role.toml
    export HOME=/tmp/used
    for kept in STORE STATE CACHE; do export "LAYERED_TEMPLATE_$kept=/tmp/used/$kept"; done
    layered-template layer show hostname-and-hosts | grep -q /usr/share/layered-template/layers/
    layered-template create /tmp/used/role.toml --name alone --lxcpath /tmp/used/containers
    lxc-create -t layered-template -n within -P /tmp/used/containers -- /tmp/used/role.toml
    for name in alone within; do
        [ "$(cat /tmp/used/containers/$name/rootfs/etc/packed)" = "by $name" ]
        [ "$(cat /tmp/used/containers/$name/rootfs/etc/hostname)" = "$name" ]
    done
    dpkg --purge layered-template
    there >/tmp/after
    diff /tmp/before /tmp/after
    exit
fi

cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

# Nobody can demand a mirror.
note() { LT_REQUIRE_E2E='' sh tests/skip.sh "$@"; }

directory=$(mktemp -d "${TMPDIR:-/tmp}/layered-packages-XXXXXX")
trap 'rm -rf "$directory"' EXIT

make_all() {
    "${MAKE:-make}" --no-print-directory deb dist
    cp target/debian/*.deb target/dist/*.tar.gz target/dist/SHA256SUMS "$1"
}
# The name is nobody's.
export DEBFULLNAME="layered-template's tests" DEBEMAIL=tests@example.org
mkdir "$directory/first" "$directory/second"
make_all "$directory/first"
make_all "$directory/second"
diff -r "$directory/first" "$directory/second"
package=$(echo "$directory"/first/*.deb)
lintian --fail-on error "$package"

(cd "$directory/first" && sha256sum --check --quiet SHA256SUMS)
tar --extract --gzip --directory "$directory" --strip-components 1 --file "$directory"/first/*.tar.gz
LT_STATIC=$directory/layered-template "$cargo" test --locked --test e2e static_program

if [ "$(id -u)" != 0 ]; then
    note "the package for Debian: not root"
    exit
fi
cat >"$directory/role.toml" <<'END'
manifest = 1

[[layer]]
name = "os"
template = "builtin:busybox"

[[layer]]
use = "hostname-and-hosts"

[[layer]]
name = "app"

[[layer.file]]
path = "/etc/packed"
content = "by {{ lxc.name }}\n"
render = true
END
for suite in bookworm trixie; do
    status=0
    sh tests/apart.sh "layered-package-$suite-$$" \
        sh tests/debian.sh "$suite" lxc "$PWD/tests" "$directory" -- \
        sh "$PWD/tests/packages.sh" inside "$package" "$directory/role.toml" || status=$?
    case $status in
        0) ;;
        77) note "the package for Debian on $suite: there is no root for it" ;;
        *) exit "$status" ;;
    esac
done
