//! Files that are mostly holes: nobody reads what is not there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::requirement::{root, skip};
use crate::sandbox::{Ran, Sandbox};

/// Far more than could be read in the time that a call may take here.
const LONG: u64 = 4 << 40;

const LAYERS: &str = "\n[[layer]]\nname = \"files\"\n[[layer.file]]\npath = \"/var/image\"\nsource = \"image\"\n\
    [[layer.file]]\npath = \"/opt/tree\"\nsource = \"tree\"\n\
    \n[[layer]]\nname = \"steps\"\nstore = true\npost = '''\ncd \"$LXC_ROOTFS/var\"\n\
    printf x | dd of=log/lastlog bs=1 seek=4000000000000 conv=notrunc 2>/dev/null\n'''\n";

/// Calls the program; if it takes long, that is its end.
fn ran(sandbox: &Sandbox, words: &[&str]) -> Ran {
    let mut command = sandbox.command("timeout");
    command.args(["--signal=KILL", "60"]).arg(sandbox.program_path()).args(words);
    sandbox.ran(command)
}

fn sparse(path: &Path, length: u64) -> bool {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().set_len(length).is_ok()
}

#[test]
fn a_hole_of_terabytes_takes_no_longer_than_a_file() {
    if !root() {
        return;
    }
    let upstream = "mkdir -p \"$rootfs/var/log\"; truncate -s 4T \"$rootfs/var/log/lastlog\"";
    let sandbox = Sandbox::new().upstream(upstream).layers(LAYERS);
    for name in ["image", "tree/deep/image"] {
        if !sparse(&sandbox.role().join(name), LONG) {
            return skip("no file may be that long here");
        }
    }
    let create = |storage: &str, name: &str| {
        let storage = format!("--storage={storage}");
        let words = ["create", "m.toml", "--name", name, "--lxcpath", "../lxc", &storage];
        ran(&sandbox, &words).exits(0);
        let rootfs = sandbox.path("lxc").join(name).join("rootfs");
        for path in ["var/log/lastlog", "var/image", "opt/tree/deep/image"] {
            let file = fs::metadata(rootfs.join(path)).unwrap();
            let blocks = file.blocks() * 512;
            assert!(file.len() == LONG && blocks < 1 << 20, "{storage}: {path}: {blocks}");
        }
        let mut byte = [0];
        let file = fs::File::open(rootfs.join("var/log/lastlog")).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 4_000_000_000_000).unwrap();
        assert_eq!(byte, *b"x", "{storage}");
    };
    create("none", "none");
    create("copy", "cold");
    create("copy", "warm");
    ran(&sandbox, &["plan", "m.toml", "--name", "web1"]).exits(0);
    let verified = ran(&sandbox, &["store", "verify"]);
    verified.exits(0);
    assert_eq!(verified.stdout().matches("  sound\n").count(), 3);

    // What is in a hole is found all the same.
    let trees = sandbox.path("store/host/trees");
    let changed = fs::read_dir(trees).unwrap().map(|entry| entry.unwrap().path());
    let changed: Vec<_> = changed.filter(|tree| !tree.join("rootfs/var/image").exists()).collect();
    let lastlog = changed[0].join("rootfs/var/log/lastlog");
    let modified = fs::metadata(&lastlog).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(lastlog).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"y", 3 << 40).unwrap();
    file.set_modified(modified).unwrap();
    let verified = ran(&sandbox, &["store", "verify"]);
    verified.exits(1);
    assert!(verified.stdout().contains("var/log/lastlog"), "{}", verified.stdout());
}
