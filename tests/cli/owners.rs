//! Owners: names are those of the rootfs, never of the host.

use std::os::unix::fs::MetadataExt;

use crate::listing;
use crate::requirement::root;
use crate::sandbox::Sandbox;

/// A rootfs in which the host's names mean something else.
const ACCOUNTS: &str = "mkdir \"$rootfs/etc\"
printf 'root:x:0:0::/:/bin/sh\\ndaemon:x:4001:4002::/:\\napp:x:4003:4004::/:\\n' >\"$rootfs/etc/passwd\"
printf 'root:x:0:\\nadm:x:4005:\\n' >\"$rootfs/etc/group\"";

fn drop(owner: &str) -> String {
    format!("[[layer.file]]\npath = \"/f\"\ncontent = \"\"\nowner = \"{owner}\"\n")
}

#[test]
fn names_are_those_of_the_rootfs() {
    if !root() {
        return;
    }
    let table = [
        ("daemon", " 4001:0"),
        ("app:adm", " 4003:4005"),
        (":adm", " 0:4005"),
        ("77:88", " 77:88"),
        ("root:root", ""),
    ];
    for (owner, shown) in table {
        let sandbox = Sandbox::new().upstream(ACCOUNTS).layers(&drop(owner));
        sandbox.chain().exits(0);
        let found = listing::one(&sandbox.rootfs().join("f"));
        assert_eq!(found, format!("file 0644{shown} \"\""), "{owner}");
    }
}

#[test]
fn a_name_that_the_rootfs_does_not_know_says_what_to_do() {
    // `bin` and `tape` are names of the host.
    for (owner, what) in [
        ("bin", "passwd of the rootfs has no user `bin`"),
        (":tape", "group of the rootfs has no group `tape`"),
    ] {
        let sandbox = Sandbox::new().upstream(ACCOUNTS).layers(&drop(owner));
        sandbox.chain().exits(5).mentions(&format!(
            "error: file `/f` of layer `os` could not be dropped: /etc/{what}; if a `post` step \
             makes it, give the file `when = \"after-post\"`\n  --> m.toml:7\n"
        ));
        assert_eq!(listing::one(&sandbox.rootfs().join("f")), "nothing");
    }
}

#[test]
fn an_id_that_means_no_change_is_refused() {
    let accounts = ACCOUNTS.replace("4003:4004", "4294967295:0").replace("4005", "4294967295");
    for (owner, what) in [
        ("app", "passwd of the rootfs gives the user `app` the id 4294967295"),
        ("root:adm", "group of the rootfs gives the group `adm` the id 4294967295"),
    ] {
        let sandbox = Sandbox::new().upstream(&accounts).layers(&drop(owner));
        sandbox.chain().exits(5).mentions(&format!("could not be dropped: /etc/{what}"));
        assert_eq!(listing::one(&sandbox.rootfs().join("f")), "nothing");
    }
}

#[test]
fn a_name_that_a_post_step_makes_is_known_after_it() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream(ACCOUNTS).layers(&format!(
        "post = 'echo new:x:4010:4011::/: >>\"$LXC_ROOTFS/etc/passwd\"'\n{}when = \"after-post\"\n",
        drop("new")
    ));
    sandbox.chain().exits(0);
    assert_eq!(listing::one(&sandbox.rootfs().join("f")), "file 0644 4010:0 \"\"");
}

#[test]
fn files_of_accounts_are_read_within_the_rootfs_and_never_waited_for() {
    let table = [
        ("ln -s /etc/shadow-of-the-host \"$rootfs/etc/passwd\"", "No such file"),
        ("ln -s ../../../../../../../../etc/passwd \"$rootfs/etc/passwd\"", "symbolic link"),
        ("mkfifo \"$rootfs/etc/passwd\"", "it is not a regular file"),
        ("mkdir \"$rootfs/etc/passwd\"", "it is not a regular file"),
        ("rmdir \"$rootfs/etc\"; ln -s /proc/self/root/etc \"$rootfs/etc\"", "No such file"),
    ];
    for (script, part) in table {
        let sandbox = Sandbox::new()
            .upstream(&format!("mkdir \"$rootfs/etc\"; {script}"))
            .layers(&drop("daemon"));
        let ran = sandbox.chain();
        ran.exits(5).mentions("/etc/passwd of the rootfs: ");
        assert!(ran.stderr().contains(part), "{script}: {}", ran.stderr());
    }
}

#[test]
fn the_owner_of_links_directories_and_trees_is_set_too() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().file("tree/d/f", "").upstream(ACCOUNTS).layers(
        "[[layer.file]]\npath = \"/l\"\nsymlink = \"x\"\nowner = \"app:adm\"\n\
         [[layer.file]]\npath = \"/d\"\ndirectory = true\nowner = \"app:adm\"\n\
         [[layer.file]]\npath = \"/t\"\nsource = \"tree\"\nowner = \"app:adm\"\n\
         [[layer.file]]\npath = \"/etc\"\ndirectory = true\nowner = \"app:adm\"\n",
    );
    std::os::unix::fs::symlink("f", sandbox.role().join("tree/d/l")).unwrap();
    sandbox.chain().exits(0);
    for path in ["l", "d", "t", "t/d", "t/d/f", "t/d/l", "etc"] {
        let metadata = std::fs::symlink_metadata(sandbox.rootfs().join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (4003, 4005), "{path}");
    }
}
