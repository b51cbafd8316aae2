//! Trees: what a source holds is what the rootfs gets.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use rustix::fs::XattrFlags;

use crate::listing;
use crate::sandbox::Sandbox;

const DROP: &str = "[[layer.file]]\npath = \"/\"\nsource = \"tree\"\n";

#[test]
fn a_tree_merges_into_a_merged_usr() {
    let sandbox = Sandbox::new()
        .file("tree/bin/app", "app")
        .file("tree/lib/app/data", "data")
        .file("tree/etc/app.conf", "conf")
        .file("tree/etc/motd", "new")
        .upstream(
            "mkdir -p -m 0711 \"$rootfs/usr/bin\" \"$rootfs/etc\"; ln -s usr/bin \"$rootfs/bin\"; \
             ln -s /usr/lib \"$rootfs/lib\"; mkdir \"$rootfs/usr/lib\"; echo old >\"$rootfs/etc/motd\"",
        )
        .layers(DROP);
    symlink("../no/where", sandbox.role().join("tree/etc/link")).unwrap();
    symlink("/etc/passwd", sandbox.role().join("tree/bin/absolute")).unwrap();
    sandbox.chain().exits(0);
    let expected = "/bin -> usr/bin
/etc directory 0711
/etc/app.conf file 0644 \"conf\"
/etc/link -> ../no/where
/etc/motd file 0644 \"new\"
/lib -> /usr/lib
/usr directory 0755
/usr/bin directory 0711
/usr/bin/absolute -> /etc/passwd
/usr/bin/app file 0644 \"app\"
/usr/lib directory 0755
/usr/lib/app directory 0755
/usr/lib/app/data file 0644 \"data\"
";
    assert_eq!(listing::of(&sandbox.rootfs()), expected);
}

#[test]
fn modes_hard_links_holes_and_attributes_are_kept() {
    let sandbox = Sandbox::new()
        .file("tree/new/a", "linked")
        .file("tree/new/x", "attributed")
        .file("tree/etc/y", "attributed")
        .file("tree/etc/sparse", "")
        .file("tree/etc/c", "secret")
        .layers(DROP);
    let tree = sandbox.role().join("tree");
    fs::hard_link(tree.join("new/a"), tree.join("new/b")).unwrap();
    fs::hard_link(tree.join("new/a"), tree.join("etc/a")).unwrap();
    fs::hard_link(tree.join("new/a"), tree.join("top")).unwrap();
    fs::set_permissions(tree.join("etc/c"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(tree.join("new"), fs::Permissions::from_mode(0o1750)).unwrap();
    let sparse = fs::File::options().write(true).open(tree.join("etc/sparse")).unwrap();
    sparse.set_len(8 * 1024 * 1024).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 8 * 1024 * 1024 - 3).unwrap();
    drop(sparse);
    for path in ["new", "new/x", "etc/y"] {
        rustix::fs::setxattr(tree.join(path), "user.layer", b"kept", XattrFlags::empty()).unwrap();
    }
    sandbox.chain().exits(0);

    let rootfs = sandbox.rootfs();
    let stat = |path: &str| fs::metadata(rootfs.join(path)).unwrap();
    assert_eq!(stat("etc/c").mode() & 0o7777, 0o600);
    assert_eq!(stat("new").mode() & 0o7777, 0o1750);
    let inode = stat("new/a").ino();
    assert_eq!([stat("new/b").ino(), stat("etc/a").ino(), stat("top").ino()], [inode; 3]);
    assert_eq!(stat("new/a").nlink(), 4);
    assert_ne!(inode, fs::metadata(tree.join("new/a")).unwrap().ino());
    assert_eq!(stat("etc/sparse").len(), 8 * 1024 * 1024);
    assert!(stat("etc/sparse").blocks() * 512 < 1024 * 1024, "{}", stat("etc/sparse").blocks());
    for path in ["new", "new/x", "etc/y"] {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(rootfs.join(path), "user.layer", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"kept", "{path}");
    }
}

#[test]
fn if_exists_is_asked_file_by_file() {
    for (if_exists, status, motd) in
        [("keep", 0, "old\n"), ("replace", 0, "new"), ("error", 5, "old\n")]
    {
        let sandbox = Sandbox::new()
            .file("tree/etc/motd", "new")
            .file("tree/etc/zz", "other")
            .upstream("mkdir \"$rootfs/etc\"; echo old >\"$rootfs/etc/motd\"")
            .layers(&format!(
                "[[layer.file]]\npath = \"/etc\"\nsource = \"tree/etc\"\nif_exists = \"{if_exists}\"\n"
            ));
        sandbox.straight().exits(status);
        assert_eq!(sandbox.read("/etc/motd"), motd);
        assert_eq!(sandbox.rootfs().join("etc/zz").exists(), status == 0);
    }
}

#[test]
fn a_file_over_a_directory_and_the_reverse_name_the_entry() {
    let sandbox = Sandbox::new()
        .file("tree/etc/motd", "a file")
        .upstream("mkdir -p \"$rootfs/etc/motd\"")
        .layers(DROP);
    sandbox.chain().exits(5).mentions("could not be dropped: `/etc/motd`: there is a directory\n");
    let sandbox = Sandbox::new()
        .file("tree/etc/motd/f", "")
        .upstream("mkdir \"$rootfs/etc\"; touch \"$rootfs/etc/motd\"")
        .layers(DROP);
    sandbox.chain().exits(5).mentions("`/etc/motd`: there is a file, not a directory\n");
}

#[test]
fn the_mode_of_a_drop_is_that_of_every_file() {
    let sandbox = Sandbox::new()
        .file("tree/a", "")
        .file("tree/d/b", "")
        .layers("[[layer.file]]\npath = \"/t\"\nsource = \"tree\"\nmode = \"0640\"\n");
    sandbox.chain().exits(0);
    let text = listing::of(&sandbox.rootfs().join("t"));
    assert_eq!(text, "/a file 0640 \"\"\n/d directory 0755\n/d/b file 0640 \"\"\n");
}

#[test]
fn what_has_no_place_in_a_source_is_named() {
    let table: [(&str, &str); 4] = [
        ("setid", "`d/bad` in it: it is set-user-id or set-group-id; drop it without, and give it"),
        ("fifo", "`d/bad` in it: it is a fifo"),
        ("socket", "`d/bad` in it: it is a socket"),
        ("device", "`d/bad` in it: it is a device"),
    ];
    for (what, reason) in table {
        for single in [false, true] {
            let source = if single { "tree/d/bad" } else { "tree" };
            let sandbox = Sandbox::new()
                .file("tree/d/good", "")
                .layers(&format!("[[layer.file]]\npath = \"/t\"\nsource = \"{source}\"\n"));
            let bad = sandbox.role().join("tree/d/bad");
            match what {
                "setid" => {
                    fs::write(&bad, "").unwrap();
                    fs::set_permissions(&bad, fs::Permissions::from_mode(0o4755)).unwrap();
                }
                "fifo" => assert!(Command::new("mkfifo").arg(&bad).status().unwrap().success()),
                "socket" => drop(UnixListener::bind(&bad).unwrap()),
                _ => {
                    let mut mknod = Command::new("mknod");
                    if !mknod.arg(&bad).args(["c", "1", "3"]).status().unwrap().success() {
                        continue;
                    }
                }
            }
            let reason = if single { reason.split_once("it: ").unwrap().1 } else { reason };
            for verb in ["plan", "validate"] {
                let status = if verb == "plan" { 2 } else { 1 };
                sandbox
                    .run([verb, "m.toml"])
                    .exits(status)
                    .mentions(reason)
                    .mentions("m.toml:8:10");
            }
            sandbox.chain().exits(2).mentions("the source `[DIR]/role/tree").mentions(reason);
        }
    }
}

#[test]
fn more_hard_links_than_descriptors_are_kept() {
    let sandbox = Sandbox::new().layers("[[layer.file]]\npath = \"/t\"\nsource = \"tree\"\n");
    let tree = sandbox.role().join("tree");
    for directory in ["a", "b"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
    }
    for number in 0..300 {
        let first = tree.join(format!("a/{number}"));
        fs::write(&first, number.to_string()).unwrap();
        fs::hard_link(first, tree.join(format!("b/{number}"))).unwrap();
    }
    sandbox.shell();
    let mut call = sandbox.within();
    call.args(sandbox.three()).arg("m.toml");
    let mut limited = sandbox.command("/bin/sh");
    limited.args(["-c", "ulimit -n 100; exec \"$@\"", "sh"]).arg(call.get_program());
    limited.args(call.get_args());
    sandbox.ran(limited).exits(0);
    for number in 0..300 {
        let inode = |directory: &str| {
            fs::metadata(sandbox.rootfs().join(format!("t/{directory}/{number}"))).unwrap().ino()
        };
        assert_eq!(inode("a"), inode("b"));
    }
}
