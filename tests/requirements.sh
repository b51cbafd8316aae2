#!/bin/sh
# Installs what `make demo` or `make test` needs, as far as it is missing, with apt: as root, or by a
# sudo that asks for nothing. Where neither is there it says what is missing, and goes on. With
# `names` as a second word it prints all the packages, with commas, and does nothing.
set -eu

# Each line: a command that shows whether the package is there, and the package.
demo="lxc-create lxc
busybox busybox-static"
lxc="$demo
newuidmap uidmap
lxc-busybox lxc-templates
setpriv util-linux
mount mount
useradd passwd
tar tar
xz xz-utils
zstd zstd
wget wget
openssl openssl
python3 python3
skopeo skopeo
docker-registry docker-registry
ssh-keygen openssh-client
update-ca-certificates ca-certificates
umoci umoci
jq jq
strace strace
script bsdutils
cc gcc
libc libc6-dev
zsh zsh
fish fish
mandoc mandoc
man man-db
rsync rsync
debootstrap debootstrap
setfattr attr
getfacl acl
mkfs.ext4 e2fsprogs
mkfs.xfs xfsprogs
mkfs.btrfs btrfs-progs"
test="$lxc
pip python3-pip
runc runc
shellcheck shellcheck
podman podman
containerd containerd"
network="$test
debian-distro-info distro-info
mmdebstrap mmdebstrap"
deb="dpkg-shlibdeps dpkg-dev
git git"
slow="$network
$deb
lintian lintian
mmdebstrap mmdebstrap
ip iproute2
g++ g++"
bench="$test
hyperfine hyperfine
mkfs.ext4 e2fsprogs
mkfs.xfs xfsprogs
buildah buildah
pigz pigz"

case ${1:-} in
    demo) wanted=$demo ;;
    lxc) wanted=$lxc ;;
    test) wanted=$test ;;
    network) wanted=$network ;;
    slow) wanted=$slow ;;
    bench) wanted=$bench ;;
    deb) wanted=$deb ;;
    *) echo "usage: $0 demo|lxc|test|network|slow|bench|deb [names]" >&2; exit 2 ;;
esac

if [ "${2:-}" = names ]; then
    printf '%s\n' "$wanted" | cut -d ' ' -f 2 | paste -s -d ,
    exit
fi

there() {
    case $1 in
        lxc-busybox) [ -e /usr/share/lxc/templates/lxc-debian ] ;;
        # The other busybox of Debian is not static, and no rootfs can be made of it.
        busybox) [ -e /usr/share/doc/busybox-static ] ;;
        libc) [ -e /usr/include/errno.h ] ;;
        pip) python3 -m pip --version >/dev/null 2>&1 ;;
        *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

missing=$(printf '%s\n' "$wanted" | while read -r command package; do
    there "$command" || printf '%s ' "$package"
done)
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing, and there is no apt-get to install it: $missing" >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    root="sudo -n"
else
    echo "missing, and only root can install it: $missing" >&2
    exit 0
fi
echo "installing: $missing" >&2
# Words are wanted here.
# shellcheck disable=SC2086
{
    $root env DEBIAN_FRONTEND=noninteractive apt-get -qq update </dev/null
    $root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        $missing </dev/null >/dev/null
}
