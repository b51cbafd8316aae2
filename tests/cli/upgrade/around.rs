//! What is around a container: mounts in it, clones on it, how its config spells it, and what is left that nobody can
//! remove.

use std::fs;

use super::{change, each_storage, role, rollback, tree, upgrade, within};
use crate::requirement::root;
use crate::sandbox::{NAME, Sandbox};

/// Runs a script in a mount namespace of its own, with the program as `$1`.
fn apart(sandbox: &Sandbox, script: &str) -> crate::sandbox::Ran {
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "sh", "-euc", script, "sh"]).arg(sandbox.program_path());
    sandbox.ran(command)
}

/// Makes a container that has the container's rootfs as its lower directory, as `lxc-copy -s -B overlay` does.
fn clone_in(sandbox: &Sandbox, lxcpath: &str, name: &str) {
    let clone = sandbox.path(lxcpath).join(name);
    fs::create_dir_all(clone.join("overlay/delta")).unwrap();
    let (rootfs, delta) = (sandbox.container().join("rootfs"), clone.join("overlay/delta"));
    let path = format!("lxc.rootfs.path = overlay:{}:{}\n", rootfs.display(), delta.display());
    fs::write(clone.join("config"), path).unwrap();
    let noted = format!("{}\n{name}\n", sandbox.path(lxcpath).display());
    fs::write(sandbox.container().join("lxc_snapshots"), noted).unwrap();
}

#[test]
fn a_tree_that_the_config_spells_otherwise_is_upgraded() {
    each_storage(|sandbox, storage| {
        let name = if storage == "overlay" { "delta" } else { "rootfs" };
        for (number, spelt) in ["//", "/./"].into_iter().enumerate() {
            let [plain, other, spelt] =
                ["/", "//", spelt].map(|between| format!("{NAME}{between}{name}\n"));
            let text = sandbox.config().replace(&other, &plain).replace(&plain, &spelt);
            assert!(text.contains(&spelt), "{storage}");
            fs::write(sandbox.container().join("config"), text).unwrap();
            let page = format!("page{number}");
            change(sandbox, &page, 4, "true");
            upgrade(sandbox, &[]).exits(0);
            let index = "cat srv/www/index.html";
            assert_eq!(within(sandbox, index), format!("{page} of {NAME}\n"), "{storage}");
            rollback(sandbox).exits(0);
            assert_ne!(within(sandbox, index), format!("{page} of {NAME}\n"), "{storage}");
        }
    });
}

/// Lets the container stand as `lxc-snapshot -r` leaves one: its own directory is deeper.
fn restore(sandbox: &Sandbox, config: &str) {
    let container = sandbox.container();
    fs::create_dir(container.join("overlay")).unwrap();
    fs::rename(container.join("delta"), container.join("overlay/delta")).unwrap();
    let text = config.replace("/delta\n", "/overlay/delta\n");
    fs::write(container.join("config"), text).unwrap();
}

#[test]
fn a_restored_snapshot_is_known_for_what_it_is() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--storage=overlay"]).exits(0);
    within(&sandbox, "echo mine >etc/mine");
    let before = sandbox.config();
    restore(&sandbox, &before);
    let path = sandbox.container();
    let path = path.to_str().unwrap();
    sandbox.run(["diff", path]).exits(1).shows("A  /etc/mine");
    change(&sandbox, "two", 4, "true");
    let refused = upgrade(&sandbox, &[]);
    refused.exits(2).mentions("`mv [DIR]/lxc/web1/overlay/delta [DIR]/lxc/web1/delta`");
    fs::rename(sandbox.container().join("overlay/delta"), sandbox.container().join("delta"))
        .unwrap();
    fs::remove_dir_all(sandbox.container().join("overlay")).unwrap();
    fs::write(sandbox.container().join("config"), &before).unwrap();
    upgrade(&sandbox, &[]).exits(0);
    assert_eq!(within(&sandbox, "cat etc/mine"), "mine\n");
    // The snapshot stands on the tree of before.
    restore(&sandbox, &before);
    let status = sandbox.run(["status", path]);
    status.exits(0).shows("unknown").shows("its config names another stored tree than its record");
    for verb in ["diff", "upgrade"] {
        sandbox.run([verb, path]).exits(2).mentions("another stored tree than its record");
    }
    let left = super::dump(&sandbox.container());
    rollback(&sandbox).exits(2).mentions("its config names no rootfs in its own directory");
    assert_eq!(super::dump(&sandbox.container()), left);
}

#[test]
fn a_clone_is_found_however_its_config_spells_what_it_stands_on() {
    each_storage(|sandbox, storage| {
        clone_in(sandbox, "lxc", "clone");
        let config = sandbox.path("lxc/clone/config");
        let text = fs::read_to_string(&config).unwrap();
        let spelt = text.replace(&format!("/lxc/{NAME}/"), &format!("/lxc//./{NAME}//"));
        assert_ne!(text, spelt);
        fs::write(&config, spelt).unwrap();
        change(sandbox, "two", 4, "true");
        match storage {
            "copy" => {
                upgrade(sandbox, &[]).exits(2).mentions("`clone` is an overlay on its rootfs")
            }
            // Of an overlay nothing stands on the rootfs itself.
            _ => upgrade(sandbox, &[]).exits(2),
        };
    });
}

#[test]
fn a_file_called_work_is_the_role_s_like_any_other() {
    each_storage(|sandbox, storage| {
        if storage == "overlay" {
            return;
        }
        change(sandbox, "two", 4, "echo one >$LXC_PATH/work");
        upgrade(sandbox, &[]).exits(0);
        change(sandbox, "three", 4, "echo two >$LXC_PATH/work");
        upgrade(sandbox, &[]).exits(0);
        let work = fs::read_to_string(sandbox.container().join("work")).unwrap();
        assert_eq!(work, "two\n");
    });
}

#[test]
fn a_mount_in_a_container_is_found_before_anything_is_done() {
    each_storage(|sandbox, storage| {
        let mounted = tree(sandbox, storage).join("srv/mounted");
        fs::create_dir_all(&mounted).unwrap();
        change(sandbox, "two", 4, "true");
        let script = format!(
            "mount -t tmpfs tmpfs '{0}'; touch '{0}/precious'; \"$1\" upgrade '{1}'",
            mounted.display(),
            sandbox.container().display()
        );
        apart(sandbox, &script)
            .exits(5)
            .mentions("srv/mounted` is a mount point: `umount ")
            .mentions("is left as it was");
        upgrade(sandbox, &[]).exits(0);
        let script = script.replace("upgrade '", "rollback '");
        apart(sandbox, &script)
            .exits(5)
            .mentions("the rollback failed")
            .mentions("is a mount point");
        rollback(sandbox).exits(0);
    });
}

#[test]
fn what_cannot_be_removed_makes_no_failure_of_an_upgrade_that_is_done() {
    each_storage(|sandbox, storage| {
        change(sandbox, "two", 4, "true");
        upgrade(sandbox, &[]).exits(0);
        change(sandbox, "three", 4, "true");
        let name = if storage == "overlay" { "delta" } else { "rootfs" };
        let kept = sandbox.container().join("upgrade/previous").join(name);
        fs::create_dir_all(kept.join("mnt")).unwrap();
        let script = format!(
            "mount -t tmpfs tmpfs '{}/mnt'; \"$1\" upgrade '{}' --format json; \"$1\" runs; \"$1\" rollback '{2}'; \
             \"$1\" upgrade '{2}' --manifest m.toml || echo \"ended $?\"",
            kept.display(),
            sandbox.container().display(),
            sandbox.container().display()
        );
        let ran = apart(sandbox, &script);
        ran.exits(0)
            .mentions("warning: `web1`: `")
            .mentions("upgrade/replaced` cannot be removed: ")
            .mentions("web1: back to what it was")
            .shows("\"outcome\":\"upgraded\"")
            .shows("ended 5\n");
        assert!(!ran.stdout().contains("failed"), "{}", ran.stdout());
        assert_eq!(
            within(sandbox, "cat srv/www/index.html"),
            format!("two of {NAME}\n"),
            "{storage}"
        );
        upgrade(sandbox, &[]).exits(0);
    });
}

#[test]
fn a_copy_on_which_something_stands_is_left_alone_wherever_that_is() {
    if !root() {
        return;
    }
    for lxcpath in ["lxc", "elsewhere"] {
        let sandbox = role();
        sandbox.create(["--storage=copy"]).exits(0);
        change(&sandbox, "two", 4, "true");
        upgrade(&sandbox, &[]).exits(0);
        clone_in(&sandbox, lxcpath, "clone");
        change(&sandbox, "three", 4, "true");
        upgrade(&sandbox, &[]).exits(2).mentions("`clone` is an overlay on its rootfs");
        rollback(&sandbox)
            .exits(2)
            .mentions("no rollback of `web1`: `clone` is an overlay on its rootfs");
        assert_eq!(within(&sandbox, "cat srv/www/index.html"), format!("two of {NAME}\n"));
        fs::remove_dir_all(sandbox.path(lxcpath).join("clone")).unwrap();
        rollback(&sandbox).exits(0);
    }
}

#[test]
fn a_store_that_takes_nothing_ends_an_upgrade() {
    each_storage(|sandbox, storage| {
        change(sandbox, "two", 4, "true");
        let store = sandbox.path("store");
        let script = format!(
            "mount --bind '{0}' '{0}'; mount -o remount,ro,bind '{0}'; \"$1\" upgrade '{1}'",
            store.display(),
            sandbox.container().display()
        );
        apart(sandbox, &script).exits(8).mentions("is left as it was");
        assert_eq!(
            within(sandbox, "cat srv/www/index.html"),
            format!("one of {NAME}\n"),
            "{storage}"
        );
        upgrade(sandbox, &[]).exits(0);
    });
}

#[test]
fn a_look_notes_nothing_for_good() {
    each_storage(|sandbox, _| {
        let roots = || fs::read_dir(sandbox.path("store/roots")).map_or(0, Iterator::count);
        let before = roots();
        change(sandbox, "two", 4, "true");
        upgrade(sandbox, &["--dry-run"]).exits(0);
        within(sandbox, "echo own >srv/www/index.html");
        upgrade(sandbox, &[]).exits(1);
        assert_eq!(roots(), before);
    });
}

#[test]
fn what_decides_of_nothing_is_a_mistake_where_nothing_changes_as_well() {
    each_storage(|sandbox, _| {
        upgrade(sandbox, &["--take", "/typo"]).exits(2).mentions("`--take /typo`: neither");
        upgrade(sandbox, &["--take", "/etc/conf"]).exits(0).mentions("no change");
    });
}

#[test]
fn gc_does_not_miss_the_delta_of_a_snapshot() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--storage=overlay"]).exits(0);
    let snapshot = sandbox.container().join("snaps/snap0");
    fs::create_dir_all(snapshot.join("overlay/delta")).unwrap();
    let own = sandbox.container().join("delta").display().to_string();
    let deeper = snapshot.join("overlay/delta").display().to_string();
    fs::write(snapshot.join("config"), sandbox.config().replace(&own, &deeper)).unwrap();
    let gc = || sandbox.run(["store", "gc", "--dry-run"]).exits(0).stderr();
    assert!(!gc().contains("where the container is not"), "{}", gc());
    fs::remove_dir_all(snapshot.join("overlay")).unwrap();
    assert!(gc().contains("where the container is not"), "{}", gc());
}

#[test]
fn gc_leaves_what_a_container_is_just_being_put_on() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--storage=overlay"]).exits(0);
    // As long as it is made, what it is to become is noted, and named by no config.
    let config = sandbox.container().join("config");
    let next = sandbox.container().join("upgrade/next");
    fs::create_dir_all(&next).unwrap();
    fs::write(next.join("partial"), "").unwrap();
    fs::write(&config, sandbox.config().replace("/trees/", "/elsewhere/")).unwrap();
    let lxcpath = sandbox.path("lxc");
    let gc = ["store", "gc", "--keep=0", "--forget", "--lxcpath", lxcpath.to_str().unwrap()];
    let stored = || sandbox.run(["store", "list"]).exits(0).stdout().lines().count();
    let before = stored();
    sandbox.run(gc).exits(0);
    assert_eq!(stored(), before);
    fs::remove_dir_all(sandbox.container().join("upgrade")).unwrap();
    sandbox.run(gc).exits(0);
    assert!(stored() < before, "nothing else keeps it");
}

#[test]
fn gc_leaves_what_a_copy_is_just_being_upgraded_from() {
    let sandbox = role();
    sandbox.create(["--storage=copy"]).exits(0);
    let gc = format!("{} store gc --keep=0", sandbox.program_path().display());
    change(&sandbox, "page", 4, &gc);
    upgrade(&sandbox, &[]).exits(0);
}
