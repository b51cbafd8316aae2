//! What a template leaves beside the rootfs is upgraded and rolled back with the container.

use std::fs;

use super::{change, each_storage, rollback, upgrade};
use crate::sandbox::Sandbox;

/// Makes the template leave these files beside the rootfs.
pub(super) fn leave(sandbox: &Sandbox, version: &str, files: &[&str]) {
    let path = sandbox.path("templates/lxc-fake");
    let text = fs::read_to_string(&path).unwrap();
    let prelude = text.split("# leaves\n").next().unwrap().trim_end().to_owned();
    let mut text = format!("{prelude}\n# leaves\n");
    for file in files {
        let file = format!("\"$path/{file}\"");
        let lines =
            ["mkdir -p \"$(dirname ", &file, ")\"; echo \"", version, " of $name\" >", &file, "\n"];
        text.extend(lines);
    }
    fs::write(path, text).unwrap();
}

/// Returns what is beside the rootfs of the container, with its text.
pub(super) fn beside(sandbox: &Sandbox) -> String {
    let mut found = Vec::new();
    for name in ["hook", "keys/a", "keys/b", "own", "more", "gone"] {
        if let Ok(text) = fs::read_to_string(sandbox.container().join(name)) {
            found.push(format!("{name}: {text}"));
        }
    }
    found.concat()
}

#[test]
fn they_are_the_role_s_unless_the_container_has_changed_them() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        leave(sandbox, "one", &["hook", "keys/a", "own", "gone"]);
        sandbox.create([format!("--storage={storage}")]).exits(0);
        let was = "hook: one of web1\nkeys/a: one of web1\nown: mine\ngone: one of web1\n";
        fs::write(sandbox.container().join("own"), "mine\n").unwrap();
        assert_eq!(beside(sandbox), was);
        leave(sandbox, "two", &["hook", "keys/a", "keys/b", "own", "more"]);
        let expected = "D  beside: gone\nM  beside: hook\nM  beside: keys\nA  beside: more\n";
        upgrade(sandbox, &[]).exits(1).shows("C  beside:own\n").mentions("--take beside:own");
        assert_eq!(beside(sandbox), was);
        upgrade(sandbox, &["--keep", "beside:other"]).exits(2).mentions("`--keep beside:other`");
        let keep = ["--keep", "beside:own"];
        upgrade(sandbox, &[&keep[..], &["--dry-run"]].concat())
            .exits(0)
            .prints(expected)
            .mentions("web1: an upgrade would change 4 files beside its rootfs");
        assert_eq!(beside(sandbox), was);
        upgrade(sandbox, &keep).exits(0).prints(expected);
        let now = "hook: two of web1\nkeys/a: two of web1\nkeys/b: two of web1\nown: mine\nmore: two of web1\n";
        assert_eq!(beside(sandbox), now, "{storage}");
        upgrade(sandbox, &[]).exits(0).mentions("no change");
        rollback(sandbox).exits(0);
        assert_eq!(beside(sandbox), was, "{storage}");
        rollback(sandbox).exits(0);
        assert_eq!(beside(sandbox), now, "{storage}");
        let left = sandbox.container().join("upgrade/previous");
        assert!(left.join("beside/hook").exists() && !left.join("hook").exists());
    });
}

/// Nobody knows what it had left before.
#[test]
fn what_a_step_leaves_that_is_not_stored_is_a_conflict() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        let step = |version: &str| {
            let layer = format!(
                "\n[[layer]]\nname = \"hook\"\nstore = false\npost = \"echo {version} >$LXC_PATH/hook\"\n"
            );
            change(sandbox, "one", 2, "true");
            let path = sandbox.role().join("m.toml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text + &layer).unwrap();
        };
        step("one");
        sandbox.create([format!("--storage={storage}")]).exits(0);
        step("two");
        upgrade(sandbox, &["--dry-run"]).exits(1).shows("C  beside:hook\n");
        assert_eq!(beside(sandbox), "hook: one\n", "{storage}");
        upgrade(sandbox, &["--take", "beside:hook"]).exits(0).prints("M  beside: hook\n");
        assert_eq!(beside(sandbox), "hook: two\n", "{storage}");
        rollback(sandbox).exits(0);
        assert_eq!(beside(sandbox), "hook: one\n", "{storage}");
    });
}

#[test]
fn an_upgrade_that_fails_leaves_them() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        leave(sandbox, "one", &["hook", "gone"]);
        sandbox.create([format!("--storage={storage}")]).exits(0);
        leave(sandbox, "two", &["hook", "more"]);
        // The role itself is broken.
        change(sandbox, "broken", 4, "true");
        let was = beside(sandbox);
        upgrade(sandbox, &[]).exits(7);
        assert_eq!(beside(sandbox), was);
        assert!(!sandbox.container().join("upgrade/next").exists());
    });
}

#[test]
fn the_place_of_upgrades_is_nobody_else_s() {
    each_storage(|sandbox, storage| {
        for file in ["upgrade", "upgrade/x"] {
            fs::remove_dir_all(sandbox.container()).unwrap();
            leave(sandbox, "one", &[file]);
            sandbox
                .create([format!("--storage={storage}")])
                .exits(5)
                .mentions("a template or step has left `upgrade` beside the rootfs");
            assert!(!sandbox.container().exists(), "{file}, {storage}");
            leave(sandbox, "one", &[]);
            sandbox.create([format!("--storage={storage}")]).exits(0);
        }
    });
}
