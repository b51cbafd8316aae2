//! A full disk: a clear failure, and nothing half-written.

use crate::requirement::root;
use crate::sandbox::{Ran, Sandbox};

/// Runs a chain whose container lies on a small tmpfs, in a mount namespace of its own, and returns
/// what was said and what the container holds then.
fn on_a_small_disk(sandbox: &Sandbox, size: &str, storage: &str) -> (Option<i32>, String, String) {
    sandbox.shell();
    let program = sandbox.program_path();
    let script = format!(
        "mount -t tmpfs -o size={size},nr_inodes=64 tmpfs ../lxc && mkdir -p ../lxc/web1/rootfs && \
         echo 'lxc.uts.name = x' >../lxc/web1/config || exit 99
         status=0; \"$0\" \"$@\" || status=$?
         find ../lxc -mindepth 1 | sort; cat ../lxc/web1/config; exit $status"
    );
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", &script]).arg(program);
    command.args(sandbox.three()).args(["m.toml", &format!("--storage={storage}")]);
    let ran = sandbox.ran(command);
    (ran.output.status.code(), ran.stderr(), ran.stdout())
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_what_was_there() {
    if !root() {
        return;
    }
    let file = "[[layer.file]]\npath = \"/etc/big\"\nsource = \"big\"\n";
    let tree = "[[layer.file]]\npath = \"/etc/tree\"\nsource = \"tree\"\n";
    let merged = "[[layer.file]]\npath = \"/etc\"\nsource = \"tree\"\n";
    for (lines, path) in [(file, "/etc/big"), (tree, "/etc/tree"), (merged, "/etc")] {
        let sandbox = Sandbox::new()
            .file("big", vec![b'x'; 1024 * 1024])
            .file("tree/big", vec![b'x'; 1024 * 1024])
            .upstream("mkdir \"$rootfs/etc\"; echo old >\"$rootfs/etc/big\"")
            .layers(lines);
        let (status, said, left) = on_a_small_disk(&sandbox, "256k", "none");
        assert_eq!(status, Some(5), "{said}");
        let expected = format!(
            "error: file `{path}` of layer `os` could not be dropped: No space left on device\n"
        );
        assert!(said.contains(&expected), "{said}");
        assert_eq!(
            left,
            "../lxc/web1\n../lxc/web1/config\n../lxc/web1/rootfs\n../lxc/web1/rootfs/etc\n\
             ../lxc/web1/rootfs/etc/big\nlxc.uts.name = x\n"
        );
    }
}

#[test]
fn a_config_that_does_not_fit_is_the_old_one() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream("head -c 1M /dev/zero >\"$rootfs/fill\" || :")
        .layers("[layer.config]\nlxc.start.auto = 1\n");
    let (status, said, left) = on_a_small_disk(&sandbox, "64k", "none");
    assert_eq!(status, Some(5), "{said}");
    assert!(
        said.contains("error: config of layer `os` could not be written: No space left on device"),
        "{said}"
    );
    assert!(left.ends_with("lxc.uts.name = x\n"), "{left}");
    assert!(!left.contains("/."), "{left}");
}

#[test]
fn what_is_stored_and_does_not_fit_leaves_the_config_as_it_was() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().file("big", vec![b'x'; 1024 * 1024]).layers(
        "[layer.config]\nlxc.start.auto = 1\n\
         [[layer.file]]\npath = \"/big\"\nsource = \"big\"\n",
    );
    let (status, said, left) = on_a_small_disk(&sandbox, "256k", "copy");
    assert_eq!(status, Some(5), "{said}");
    let expected = "error: layer `os` failed (copying the stored tree): in \
                    `[DIR]/lxc/web1/rootfs`: `/big`: No space left on device\n";
    assert!(said.contains(expected), "{said}");
    assert!(left.ends_with("lxc.uts.name = x\n"), "{left}");
}

#[test]
fn a_state_directory_that_cannot_be_written_ends_no_run() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .env("LAYERED_TEMPLATE_STATE", "/proc/no/such")
        .layers("post = \"echo ran >>trace\"\n");
    sandbox.chain().exits(0);
    assert_eq!(sandbox.trace(), "ran\n");
    assert_eq!(std::fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
    // A failure's log goes where temporary files go.
    let sandbox = sandbox.layers("post = \"exit 1\"\n");
    std::fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.chain().exits(6).mentions("  log: [DIR]/tmp/");
}

#[test]
fn a_log_that_is_cut_off_is_told_of_with_the_failure() {
    if !root() {
        return;
    }
    for (step, is_cut) in
        [("head -c 1M /dev/zero | tr '\\\\0' '\\\\n'; exit 3", true), ("exit 3", false)]
    {
        let sandbox = Sandbox::new().layers(&format!("post = \"{step}\"\n"));
        sandbox.shell();
        std::fs::create_dir_all(sandbox.state()).unwrap();
        let script = "mount -t tmpfs -o size=64k tmpfs ../state && exec \"$0\" \"$@\"";
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", script]).arg(sandbox.program_path());
        let words = ["m.toml", "--storage=none"];
        let ran = sandbox.ran({
            command.args(sandbox.three()).args(words);
            command
        });
        ran.exits(6).mentions("  log: [DIR]/state/");
        let told = "the log ends early: No space left on device";
        assert_eq!(ran.stderr().contains(told), is_cut, "{step}");
    }
}

/// Runs a command where a directory of the sandbox is a small tmpfs.
fn with_a_small(sandbox: &Sandbox, directory: &str, words: &[&str]) -> Ran {
    sandbox.shell();
    std::fs::create_dir_all(sandbox.path(directory)).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=512k,mode=711 tmpfs '../{directory}' && exec \"$0\" \"$@\""
    );
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", &script]).arg(sandbox.program_path());
    command.args(sandbox.three()).args(words);
    sandbox.ran(command)
}

#[test]
fn a_full_disk_of_the_store_is_named() {
    if !root() {
        return;
    }
    let fills = "mkdir -p \"$rootfs/etc\"; head -c 1M /dev/zero >\"$rootfs/etc/zero\"";
    let step = "store = true\npost = 'head -c 1M /dev/zero >\"$LXC_ROOTFS/zero\"'\n";
    let file = "[[layer.file]]\npath = \"/etc/big\"\nsource = \"big\"\n";
    let said =
        "hint: the disk of the layer store, `[DIR]/store`, is full; `layered-template store gc";
    for (upstream, rest, what) in [
        (fills, "", "template `fake` of layer `os` ended with status 1"),
        ("mkdir \"$rootfs/etc\"", step, "`post` of layer `os` ended with status 1"),
        (
            "mkdir \"$rootfs/etc\"",
            file,
            "file `/etc/big` of layer `os` could not be dropped: No space",
        ),
    ] {
        let sandbox = Sandbox::new().file("big", vec![b'x'; 1024 * 1024]).upstream(upstream);
        let sandbox = sandbox.layers(rest);
        let ran = with_a_small(&sandbox, "store", &["m.toml"]);
        ran.exits(8).mentions(what).mentions(said);
    }
    let busybox = "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";
    let sandbox = Sandbox::new().manifest(busybox);
    let ran = with_a_small(&sandbox, "store", &["m.toml"]);
    ran.exits(8).mentions("error: template `builtin:busybox` of layer `os`").mentions(said);
}

#[test]
fn a_full_disk_of_the_container_is_named() {
    if !root() {
        return;
    }
    let fills = "mkdir -p \"$rootfs/etc\"; head -c 1M /dev/zero >\"$rootfs/etc/zero\"";
    let sandbox = Sandbox::new().upstream(fills).layers("");
    let ran = with_a_small(&sandbox, "lxc/web1/rootfs", &["m.toml", "--storage=none"]);
    ran.exits(4).mentions("hint: the disk of the container, `[DIR]/lxc/web1/rootfs`, is full\n");
    let sandbox = Sandbox::new().layers("post = 'head -c 1M /dev/zero >\"$LXC_ROOTFS/zero\"'\n");
    let ran = with_a_small(&sandbox, "lxc/web1/rootfs", &["m.toml", "--storage=none"]);
    ran.exits(6).mentions("hint: the disk of the container, `[DIR]/lxc/web1/rootfs`, is full\n");
}

/// Makes a container on a disk of each size, in bytes and in inodes, and then once more on the same disk
/// when it has grown; and two containers at once on a disk that has room for one. Prints what is wrong.
const GROWING: &str = r#"
program=$1 storage=$2
here=$(cd .. && pwd)
export LAYERED_TEMPLATE_STORE="$here/small/store"
mkdir ../small
create() { "$program" create m.toml --quiet --name "$1" --lxcpath ../small/lxc --storage="$storage"; }
whole() {
    (cd "../small/lxc/$1" && find rootfs delta -type f -exec sha256sum {} + 2>/dev/null | sort
        lower=$(sed -n 's/^lxc.rootfs.path = overlay:\([^:]*\):.*/\1/p' config)
        [ -z "$lower" ] || { cd "$lower" && find . -type f -exec sha256sum {} + | sort; })
}
# Sees how a run has ended: its container, its status, what it said.
see() {
    at=../small/lxc/$1
    if [ "$2" = 0 ]; then
        [ "$(whole "$1")" = "$expected" ] && [ ! -e "$at/partial" ] || echo "$limit: $1 is not whole"
    else
        case $2 in 2|4|5|6|8) ;; *) echo "$limit: $1 ended with $2" ;; esac
        grep -qi 'no space left\|full' "$3" || { echo "$limit: $1 does not say why"; cat "$3"; }
        [ ! -e "$at" ] || echo "$limit: $1 is still there"
    fi
    rm -rf "$at"
}
mount -t tmpfs tmpfs ../small && mkdir ../small/lxc && create web1 || exit 99
expected=$(whole web1)
umount ../small
for limit in size=8k size=64k size=160k size=256k size=384k size=512k size=768k size=1m \
    nr_inodes=4 nr_inodes=12 nr_inodes=20 nr_inodes=28 nr_inodes=40 nr_inodes=56 nr_inodes=80 nr_inodes=120
do
    mount -t tmpfs -o "$limit" tmpfs ../small && mkdir ../small/lxc || exit 99
    create web1 2>../said
    see web1 $? ../said
    create web1 2>../said1 & one=$!
    create web2 2>../said2 & two=$!
    wait $one; one=$?
    wait $two; two=$?
    see web1 $one ../said1
    see web2 $two ../said2
    left=$(ls -A ../small/lxc)
    [ -z "$left" ] || echo "$limit: left: $left"
    mount -o remount,size=64m,nr_inodes=100000 ../small
    create web1 2>../said || cat ../said
    see web1 0
    "$program" store verify >../said 2>&1 || { echo "$limit: the store"; cat ../said; }
    umount ../small
done
"#;

#[test]
fn a_disk_of_any_size_holds_whole_containers_or_none() {
    if !root() {
        return;
    }
    let upstream = "mkdir \"$rootfs/etc\"; for i in $(seq 20); do yes $i | head -c 8192 >\"$rootfs/etc/$i\"; done";
    let layers = "\n[[layer]]\nname = \"app\"\nstore = true\npost = 'echo app >\"$LXC_ROOTFS/app\"'\n\
                  [layer.config]\nlxc.start.auto = 1\n[[layer.file]]\npath = \"/etc/app\"\ncontent = \"app\"\n";
    for storage in ["none", "copy", "overlay"] {
        let sandbox = Sandbox::new().upstream(upstream).layers(layers);
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", GROWING, "sh"]);
        command.arg(sandbox.program_path()).arg(storage);
        sandbox.ran(command).exits(0).prints("");
    }
}
