#!/bin/sh
# Measures images, registries, and what is told of containers, beside the programs that others use, on a tmpfs.
set -eu

program=$1
if [ "$(id -u)" != 0 ]; then
    echo "skipped: it needs root"
    exit 0
fi
for command in hyperfine debootstrap pigz zstd skopeo umoci docker-registry; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || {
        echo "skipped: no $command"
        exit 0
    }
done
place=$(mktemp -d -p /dev/shm layered-fleet.XXXXXX)
registry=
end() {
    if [ -n "$registry" ]; then kill "$registry" 2>/dev/null || true; fi
    rm -rf "$place"
}
trap end EXIT
trap 'exit 130' INT TERM HUP
export LAYERED_TEMPLATE_STATE="$place/state" LAYERED_TEMPLATE_STORE="$place/store" LC_ALL=C
export XDG_CONFIG_HOME="$place/config" HOME="$place"
cd "$place"

measure() { hyperfine --shell=none --warmup 1 --style basic "$@"; }
title() { printf '\n### %s\n\n' "$*"; }

# Shows the most memory that a program, or one that it calls, has at a time.
peak() {
    python3 - "$@" <<'PYTHON'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print("peak memory:", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, "MiB")
PYTHON
}

# A minimal Debian, as the template of a role: it is unpacked from an archive.
mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
    awk '$1 == "URIs:" { print $2; exit } $1 == "deb" && $2 ~ /:/ { print $2; exit }')
debootstrap --variant=minbase bookworm tree "$mirror" >/dev/null 2>&1 || {
    echo "skipped: no Debian can be had"
    exit 0
}
rm -rf tree/dev && mkdir tree/dev
tar -C tree -cf tree.tar .
cat >unpack <<'UNPACK'
#!/bin/sh
for word; do case $word in --rootfs=*) tar -C "${word#*=}" -xpf "${0%/*}/tree.tar" ;; esac; done
UNPACK
chmod 755 unpack
role() {
    printf 'manifest = 1\n[[layer]]\nname = "os"\ntemplate = "%s/unpack"\n' "$place"
    printf '[[layer]]\nname = "app"\n[[layer.file]]\npath = "/etc/app"\ncontent = "%s"\n' "$1"
}
role one >role.toml
"$program" build -q role.toml >/dev/null

title "An image of a role whose layers were never written, beside tar through zstd and pigz"
fresh="rm -rf $place/image $place/store/host.meta/blobs"
measure --runs 5 --prepare "$fresh" \
    -n "build --output oci:, by gzip" "$program build -q role.toml -o oci:image:web" \
    -n "build --output oci:, by zstd" "$program build -q role.toml -o oci:image:web --compression=zstd" \
    -n "tar c | pigz -p2 -6" "sh -c 'tar -C tree -c . | pigz -p2 -6 >image.tar.gz'" \
    -n "tar c | zstd -T2 -3" "sh -c 'tar -C tree -c . | zstd -q -f -T2 -3 -o image.tar.zst'"

for compression in gzip zstd; do
    $fresh
    peak "$program" build -q role.toml -o oci:image:web --compression=$compression
done

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >registry.yml <<REGISTRY
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $place/registry}}
http: {addr: "127.0.0.1:$port"}
REGISTRY
docker-registry serve registry.yml >/dev/null 2>&1 &
registry=$!
repository=127.0.0.1:$port/web
until "$program" push -q role.toml "$repository" >/dev/null 2>&1; do sleep 0.2; done

title "A push of an unchanged role"
measure --runs 20 -n "push" "$program push -q role.toml $repository"

title "Pulled and made on another host, beside skopeo and umoci"
create="$program create -q role.toml --name c --lxcpath lxc --from $repository --only-pull --allow-untrusted"
measure --runs 5 --prepare "rm -rf $place/lxc $place/other $place/layout $place/bundle" \
    -n "create --from, a copy" "env LAYERED_TEMPLATE_STORE=$place/other $create" \
    -n "create --from, an overlay" "env LAYERED_TEMPLATE_STORE=$place/other $create --storage=overlay" \
    -n "skopeo copy, umoci unpack" "sh -c 'skopeo copy -q --src-tls-verify=false \
        docker://$repository:latest oci:layout:web && umoci unpack --image layout:web bundle'"

title "The same after a change of the outermost layer"
role two >role.toml
"$program" push -q role.toml "$repository" >/dev/null
rm -rf lxc other
role one >before.toml
env LAYERED_TEMPLATE_STORE="$place/other" "$program" pull -q before.toml --from "$repository" \
    --allow-untrusted >/dev/null
cp -a other before
measure --runs 10 --prepare "sh -c 'rm -rf $place/lxc $place/other && cp -a $place/before $place/other'" \
    -n "create --from, an overlay" "env LAYERED_TEMPLATE_STORE=$place/other $create --storage=overlay"

title "The status of fifty containers"
for number in $(seq 50); do
    "$program" create -q role.toml --name "c$number" --lxcpath fifty --storage=overlay
done
measure --runs 20 -n "status" "$program status -P fifty"

title "What has changed in a container of 57,000 entries, a hundred files"
mkdir -p many/etc many/share
python3 - <<'PYTHON'
import os
for directory in range(560):
    os.mkdir(f"many/share/{directory}")
    for file in range(100):
        with open(f"many/share/{directory}/{file}", "w") as to:
            to.write(f"{directory} {file}\n" * 20)
PYTHON
tar -C many -cf many.tar .
sed 's/tree.tar/many.tar/' unpack >unpack-many
chmod 755 unpack-many
role one | sed 's:/unpack":/unpack-many":' >many.toml
"$program" create -q many.toml --name copy --lxcpath drift
"$program" create -q many.toml --name overlay --lxcpath drift --storage=overlay
sleep 0.1
for number in $(seq 100); do
    echo "$number" >"drift/copy/rootfs/etc/new$number"
    echo "$number" >"drift/overlay/delta/new$number"
done
measure --runs 20 --ignore-failure \
    -n "diff, an overlay" "$program diff drift/overlay" \
    -n "plan --diff, an overlay" "$program plan many.toml --diff --name overlay --lxcpath drift" \
    -n "diff, a copy" "$program diff drift/copy" \
    -n "find -ls of the copy" "find drift/copy/rootfs -ls"

title "The status of both, with what has changed in them"
measure --runs 20 -n "status --drift" "$program status --drift -P drift overlay copy"

title "An upgrade of the overlay by one changed file, with all that comes before its switch"
for version in one two; do
    role "$version" | sed 's:/unpack":/unpack-many":' >"$version.toml"
    "$program" build -q "$version.toml"
done
cat >toggle <<'TOGGLE'
#!/bin/sh
cd "${0%/*}"
if cmp -s one.toml many.toml; then cp two.toml many.toml; else cp one.toml many.toml; fi
TOGGLE
chmod 755 toggle
measure --runs 15 --prepare ./toggle -n "upgrade" "$program upgrade -q drift/overlay"
