#!/bin/sh
# Makes a container from hello.toml with the real lxc-create, starts it, shows that /sbin/provision
# has run, and removes it. Where LXC is not to be had, the program makes the container by itself.
set -eu

program=$1
name=hello-$$

say() { printf '\n==> %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

lxcpath=$(mktemp -d)
chmod 0755 "$lxcpath"
# Root takes no manifest that somebody else could have written, as in another's checkout.
here=$lxcpath/role
mkdir "$here"
cp "$(dirname "$0")"/* "$here"
# shellcheck disable=SC2317 # called by the trap
clean() {
    if [ -e "$lxcpath/$name" ] && command -v lxc-destroy >/dev/null; then
        lxc-destroy -f -n "$name" -P "$lxcpath" >/dev/null 2>&1 || :
    fi
    rm -rf "$lxcpath"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP

say "what would be done"
show "$program" plan "$here/hello.toml" --name "$name" --lxcpath "$lxcpath"

if ! command -v lxc-create >/dev/null || [ "$(id -u)" != 0 ]; then
    say "without LXC, or without root: the program makes the container by itself"
    show "$program" create "$here/hello.toml" --name "$name" --lxcpath "$lxcpath" \
        --config "$here/lxc.conf"
    show cat "$lxcpath/$name/config"
    show ls -l "$lxcpath/$name/rootfs/sbin/provision"
    say "install lxc, and call this as root, to see the container start"
    exit 0
fi

say "lxc-create calls the program as its template"
show lxc-create -t layered-template -n "$name" -P "$lxcpath" -f "$here/lxc.conf" -- \
    --manifest "$here/hello.toml"
say "the container starts, and the hook runs"
show lxc-start -n "$name" -P "$lxcpath"
show lxc-wait -n "$name" -P "$lxcpath" -s RUNNING -t 20
show lxc-attach -n "$name" -P "$lxcpath" -- cat /var/log/provision.log
say "it is removed"
show lxc-stop -k -n "$name" -P "$lxcpath"
show lxc-destroy -n "$name" -P "$lxcpath"
