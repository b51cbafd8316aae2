//! What `chattr` holds cannot be renamed: an upgrade that would come to that does not begin.

use std::fs;
use std::process::Command;

use super::sidecars::{beside, leave};
use super::{change, dump, each_storage, rollback, tree, upgrade};

#[test]
fn what_cannot_be_renamed_is_named_before_anything_is() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        leave(sandbox, "one", &["hook", "keys/a"]);
        sandbox.create([format!("--storage={storage}")]).exits(0);
        leave(sandbox, "two", &["hook", "keys/a", "keys/b"]);
        change(sandbox, "two", 4, "true");
        let container = sandbox.container();
        let tree = tree(sandbox, storage);
        let record = container.join("layered-template.json");
        let (hook, keys) = (container.join("hook"), container.join("keys"));
        let held = [container.join("config"), record, tree, hook.clone(), keys, container.clone()];
        for (path, letter) in held.iter().flat_map(|path| [(path, 'i'), (path, 'a')]) {
            let chattr = |sign: char| {
                let mut command = Command::new("chattr");
                command.arg(format!("{sign}{letter}")).arg(path).status().unwrap().success()
            };
            let was = dump(&container);
            assert!(chattr('+'), "{} is on a filesystem that has no such flags", path.display());
            let asked = [upgrade(sandbox, &["--dry-run"]), upgrade(sandbox, &[])];
            assert!(chattr('-'));
            for ran in asked {
                let part = format!("chattr -{letter} ");
                ran.exits(5).mentions(&part);
            }
            let now = dump(&container);
            assert!(
                now.lines()
                    .filter(|line| !line.starts_with("upgrade"))
                    .eq(was.lines().filter(|line| !line.starts_with("upgrade"))),
                "{storage} {} {letter}\n{was}\n{now}",
                path.display()
            );
            let told = sandbox.run(["status", container.to_str().unwrap()]).exits(0).stdout();
            assert!(told.contains("  outdated\n"), "{told}");
        }
        upgrade(sandbox, &[]).exits(0);
        let now = beside(sandbox);
        assert!(Command::new("chattr").arg("+i").arg(&hook).status().unwrap().success());
        let ran = rollback(sandbox);
        assert!(Command::new("chattr").arg("-i").arg(&hook).status().unwrap().success());
        ran.exits(5).mentions("chattr -i ");
        assert_eq!(beside(sandbox), now);
        rollback(sandbox).exits(0);
        assert_eq!(beside(sandbox), "hook: one of web1\nkeys/a: one of web1\n");
    });
}
