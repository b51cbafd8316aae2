//! An upgrade that stops within its switch, since something of the container cannot be renamed: what others make of the
//! container then, and how it is ended.

use std::fs;

use super::{change, each_storage, role, rollback, tree, upgrade, within};
use crate::requirement::root;
use crate::sandbox::{NAME, Sandbox};

/// Stops an upgrade behind its moment, at something of the container that the kernel renames for nobody. The container
/// is the new one by then.
fn stopped_at(sandbox: &Sandbox, file: &str) {
    // The record is put in place by the fourth rename out of there.
    let (path, fault) = match file {
        "layered-template.json" => ("upgrade/switch", "inject=renameat:error=EBUSY:when=4+"),
        tree => (tree, "inject=rename,renameat2:error=EBUSY"),
    };
    let mut command = sandbox.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(sandbox.container().join(path));
    command.args(["-e", fault]);
    command.arg(sandbox.program_path()).arg("upgrade").arg(sandbox.container());
    let part = format!("`{NAME}` is partly what it was, and partly what its role makes: ");
    sandbox.ran(command).exits(5).mentions("resource busy").mentions(&part);
    let is_there = |name: &str| sandbox.container().join("upgrade/switch").join(name).exists();
    assert!(is_there("old/config"), "{file}: the switch is cut off");
    assert!(within(sandbox, "cat srv/www/index.html").starts_with("two"), "{file}");
    let told = sandbox.run(["runs", "show"]).exits(0).stdout();
    assert!(told.contains("the upgrade failed halfway"), "{told}");
}

fn entries(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.run(["store", "list", "--format=json"]).exits(0).stdout();
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn it_is_told_of_and_ended_by_either_command() {
    if !root() {
        return;
    }
    each_storage(|sandbox, storage| {
        let kind = tree(sandbox, storage);
        let kind = kind.file_name().unwrap().to_str().unwrap();
        within(sandbox, "echo mine >srv/data/mine");
        for (file, ends_with) in [(kind, "rollback"), ("layered-template.json", "upgrade")] {
            change(sandbox, "two", 4, "true");
            stopped_at(sandbox, file);
            let status =
                sandbox.run(["status", "--exit-code", "-P", sandbox.path("lxc").to_str().unwrap()]);
            status
                .exits(1)
                .shows("  interrupted\n")
                .shows("`layered-template rollback [DIR]/lxc/web1` goes back");
            let dry = upgrade(sandbox, &["--dry-run"]);
            dry.exits(2).mentions("was interrupted; nothing was changed");
            match ends_with {
                "upgrade" => {
                    upgrade(sandbox, &[]).exits(0);
                    assert_eq!(
                        within(sandbox, "cat srv/www/index.html"),
                        format!("two of {NAME}\n")
                    );
                    rollback(sandbox).exits(0);
                }
                _ => {
                    rollback(sandbox).exits(0).mentions("which was interrupted");
                }
            }
            let found = within(sandbox, "cat srv/www/index.html srv/data/mine");
            assert_eq!(found, format!("one of {NAME}\nmine\n"), "{storage}, {file}");
        }
    });
}

#[test]
fn one_that_was_killed_when_it_was_back_is_back_by_the_next() {
    each_storage(|sandbox, storage| {
        let page = || within(sandbox, "cat srv/www/index.html");
        change(sandbox, "two", 4, "true");
        upgrade(sandbox, &[]).exits(0);
        let mut command = sandbox.command("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-P"]);
        command.arg(sandbox.container().join("upgrade/over"));
        command.args(["-e", "inject=unlinkat:signal=SIGKILL"]);
        command.arg(sandbox.program_path()).arg("rollback").arg(sandbox.container());
        let ran = sandbox.ran(command);
        assert!(!ran.stderr().contains("back to"), "{}", ran.stderr());
        assert!(!sandbox.container().join("upgrade/switch").exists(), "the switch is over");
        assert_eq!(page(), format!("one of {NAME}\n"), "{storage}");
        rollback(sandbox)
            .exits(0)
            .mentions("back to what it was before its upgrade of ")
            .mentions("; another rollback undoes this one\n");
        assert_eq!(page(), format!("one of {NAME}\n"), "{storage}");
        let names = fs::read_dir(sandbox.container().join("upgrade")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["previous"]);
        rollback(sandbox).exits(0).mentions("the last rollback is undone");
        assert_eq!(page(), format!("two of {NAME}\n"), "{storage}");
    });
}

#[test]
fn gc_leaves_what_both_generations_stand_on() {
    if !root() {
        return;
    }
    for file in ["delta", "layered-template.json"] {
        let sandbox = role();
        sandbox.create(["--storage=overlay"]).exits(0);
        within(&sandbox, "echo mine >srv/data/mine");
        change(&sandbox, "two", 4, "true");
        stopped_at(&sandbox, file);
        // The role is gone, so that nothing is kept for its sake.
        let role = fs::read(sandbox.role().join("m.toml")).unwrap();
        fs::remove_file(sandbox.role().join("m.toml")).unwrap();
        let lxcpath = sandbox.path("lxc");
        for words in [&["--keep=0"][..], &["--keep=0", "--forget"], &["--keep=0", "--forget"]] {
            let gc = ["store", "gc", "-P", lxcpath.to_str().unwrap()];
            let said = sandbox.run([&gc[..], words].concat()).exits(0).stderr();
            assert!(!said.contains("warning"), "{file}: {said}");
        }
        assert!(entries(&sandbox).len() > 1, "{file}");
        fs::write(sandbox.role().join("m.toml"), role).unwrap();
        rollback(&sandbox).exits(0);
        let shown = "cat srv/data/mine srv/www/index.html";
        assert_eq!(within(&sandbox, shown), format!("mine\none of {NAME}\n"), "{file}");
        upgrade(&sandbox, &[]).exits(0);
        assert_eq!(within(&sandbox, shown), format!("mine\ntwo of {NAME}\n"), "{file}");
        // What was there only meanwhile is missed by nobody.
        let said = sandbox.run(["store", "gc", "--keep=0"]).exits(0).stderr();
        assert!(!said.contains("cannot be reached") && !said.contains("are gone"), "{said}");
    }
}

#[test]
fn gc_counts_the_copies_that_cannot_be_upgraded_any_more() {
    if !root() {
        return;
    }
    let sandbox = role();
    let lxcpath = sandbox.path("lxc");
    let lxcpath = lxcpath.to_str().unwrap();
    for (name, storage) in [("a", "copy"), ("b", "copy"), ("c", "overlay")] {
        let storage = format!("--storage={storage}");
        sandbox.run(["create", "m.toml", &storage, "--name", name, "--lxcpath", lxcpath]).exits(0);
    }
    let gc = |words: &[&str]| {
        let all = [&["store", "gc", "--keep=0", "-P", lxcpath][..], words].concat();
        sandbox.run(all).exits(0).stderr()
    };
    assert!(!gc(&[]).contains("copies"), "`c` stands on it as well");
    fs::remove_dir_all(sandbox.path("lxc/c")).unwrap();
    let said = "2 containers are copies of what would be removed, and cannot be upgraded without it: `a`, `b`\n";
    assert!(gc(&["--forget", "--dry-run"]).contains(said));
    let said = said.replace("would be", "was");
    let told = gc(&["--forget"]);
    assert!(told.contains(&said), "{told}");
    assert!(!gc(&["--forget"]).contains("copies"));
}
