//! An upgrade where the disk is full at some point: the container is as it was.

use super::sidecars::leave;
use super::{change, role};
use crate::requirement::root;

/// Upgrades a container with more and more room, until that is enough, and prints how each ended.
const SCRIPT: &str = r#"
set -eu
program=$1 storage=$2 kind=$3
mount -t tmpfs -o size=4m,nr_inodes=400 tmpfs ../lxc
"$program" create m.toml --name web1 --lxcpath ../lxc --storage="$storage" >/dev/null 2>&1
cd ../lxc
tree=web1/rootfs
[ "$storage" = copy ] || tree=web1/delta
mkdir -p "$tree/srv/data"
head -c 200k /dev/zero | tr '\0' x >"$tree/srv/data/mine"
seen() {
    find web1 -mindepth 1 -path web1/upgrade -prune -o -printf '%P %y %m %U:%G %s %l\n' | sort
    find "$tree" -printf '%P %T@\n' | sort
    find web1 -mindepth 1 -path web1/upgrade -prune -o -type f -exec sha256sum {} + | sort
}
sleep 0.05
mv ../role/new.toml ../role/m.toml
mv ../templates/new ../templates/lxc-fake
fill() {
    mkdir filler
    if [ "$kind" = bytes ]; then
        head -c "$(($(stat -f -c %f .) * 4 - $1))k" /dev/zero >filler/bytes || :
    else
        count=$(($(stat -f -c %d .) - $1))
        (cd filler && seq "$count" | xargs -r touch)
    fi
}
rooms='0 4 8 16 24 32 48 64 96 128 192 256 320 384 512 768 1024'
[ "$kind" = bytes ] || rooms=$(seq 0 3 120)
for room in $rooms; do
    rm -rf filler
    before=$(seen)
    fill "$room"
    status=0
    said=$("$program" upgrade "$PWD/web1" 2>&1) || status=$?
    rm -r filler
    if [ "$status" = 0 ]; then
        echo done
        [ "$before" != "$(seen)" ] || echo 'nothing was done'
        grep -q PAGE=two web1/config || echo 'another config'
        "$program" rollback "$PWD/web1" >/dev/null 2>&1
        [ "$before" = "$(seen)" ] || { echo 'rolled back it is another one'; diff <(echo "$before") <(seen) || :; }
        exit
    fi
    echo "$status"
    case $said in *'No space left on device'* | *'disk is full'*) ;; *) echo "$said" ;; esac
    [ "$before" = "$(seen)" ] || { echo 'it is another one'; diff <(echo "$before") <(seen) || :; }
    left=$(ls web1/upgrade 2>/dev/null || :)
    [ -z "$left" ] || echo "left: $left"
done
"#;

#[test]
fn a_disk_that_is_full_leaves_the_container_as_it_was() {
    if !root() {
        return;
    }
    for (storage, kind) in
        ["copy", "overlay"].into_iter().flat_map(|is| [(is, "bytes"), (is, "inodes")])
    {
        let sandbox = role();
        leave(&sandbox, "one", &["hook", "keys/a", "gone"]);
        sandbox.run(["build", "m.toml"]).exits(0);
        let template = sandbox.path("templates/lxc-fake");
        let old_template = std::fs::read(&template).unwrap();
        leave(&sandbox, "two", &["hook", "keys/a", "keys/b", "more"]);
        // What the role makes now is stored before.
        let old = std::fs::read(sandbox.role().join("m.toml")).unwrap();
        change(&sandbox, "two", 4, "true");
        sandbox.run(["build", "m.toml"]).exits(0);
        std::fs::rename(sandbox.role().join("m.toml"), sandbox.role().join("new.toml")).unwrap();
        std::fs::write(sandbox.role().join("m.toml"), old).unwrap();
        std::fs::copy(&template, sandbox.path("templates/new")).unwrap();
        std::fs::write(&template, old_template).unwrap();
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--", "/bin/bash", "-c", SCRIPT, "sh"]);
        command.arg(sandbox.program_path()).args([storage, kind]);
        let ran = sandbox.ran(command);
        ran.exits(0);
        let printed = ran.stdout();
        let mut lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines.pop(), Some("done"), "{storage} {kind}\n{printed}{}", ran.stderr());
        assert!(
            lines.len() > 3 && lines.iter().all(|line| *line == "5"),
            "{storage} {kind}\n{printed}"
        );
    }
}
