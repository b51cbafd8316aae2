//! What an upgrade says to do, which works when it is typed.

use std::fs;

use super::{change, each_storage, role, rollback, upgrade, within};
use crate::requirement::root;
use crate::sandbox::{NAME, Sandbox};

/// Gives the role one variable, which a file has.
fn with_variable(sandbox: &Sandbox, name: &str) {
    let text = format!(
        "manifest = 1\n\n[vars]\n{name} = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n\n\
         [[layer]]\nname = \"site\"\n[[layer.file]]\npath = \"/etc/site\"\nrender = true\n\
         content = \"{{{{ {name} }}}}\\n\"\n"
    );
    fs::write(sandbox.role().join("m.toml"), text).unwrap();
}

#[test]
fn a_value_of_a_variable_that_is_gone_can_be_given_up() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        with_variable(sandbox, "v");
        sandbox.create([format!("--storage={storage}"), "--set=v=5".into()]).exits(0);
        with_variable(sandbox, "w");
        for words in [&[][..], &["--set=w=5"]] {
            upgrade(sandbox, words)
                .exits(2)
                .mentions(
                    "`web1` was made with `--set v=5`, and its role has no variable `v` any more",
                )
                .mentions(&format!("upgrade [DIR]/lxc/{NAME} --unset v`"));
        }
        upgrade(sandbox, &["--unset=v", "--set=w=7"]).exits(0);
        assert_eq!(within(sandbox, "cat etc/site"), "7\n");
        upgrade(sandbox, &[]).exits(0).mentions("no change");
    });
}

#[test]
fn what_changes_the_record_alone_is_no_upgrade_of_the_container() {
    each_storage(|sandbox, _| {
        change(sandbox, "two", 4, "true");
        upgrade(sandbox, &[]).exits(0);
        let before = sandbox.config();
        let moved = sandbox.role().join("moved.toml");
        fs::rename(sandbox.role().join("m.toml"), &moved).unwrap();
        let moved = moved.to_str().unwrap();
        upgrade(sandbox, &[])
            .exits(2)
            .mentions(&format!("upgrade [DIR]/lxc/{NAME} --manifest [DIR]/role/moved.toml`"));
        upgrade(sandbox, &["--manifest", "none.toml"])
            .exits(2)
            .mentions("there is no such file `none.toml`");
        upgrade(sandbox, &["--manifest", moved])
            .exits(0)
            .prints("")
            .mentions("web1: its record is up to date; nothing else has changed");
        assert_eq!(sandbox.config(), before);
        upgrade(sandbox, &[]).exits(0).mentions("no change");
        rollback(sandbox).exits(0);
        assert_eq!(within(sandbox, "cat srv/www/index.html"), format!("one of {NAME}\n"));
    });
}

#[test]
fn a_conflict_is_decided_by_the_line_that_is_shown() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        with_variable(sandbox, "v");
        sandbox.create([format!("--storage={storage}")]).exits(0);
        within(sandbox, "echo own >etc/site");
        let ran = upgrade(sandbox, &["--set=v=2"]);
        ran.exits(1).mentions(&format!("diff --patch [DIR]/lxc/{NAME} [DIR]/role/m.toml"));
        let said = String::from_utf8(ran.output.stderr.clone()).unwrap();
        let line = said.lines().find(|line| line.contains(" --take /etc/site")).unwrap();
        let mut command = sandbox.command("sh");
        command.args(["-c", line.trim()]);
        sandbox.ran(command).exits(0).mentions("web1: upgraded");
        assert_eq!(within(sandbox, "cat etc/site"), "2\n");
    });
}

#[test]
fn nobody_goes_back_to_what_has_lost_its_stored_tree() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--storage=overlay"]).exits(0);
    let lower = |config: &str| {
        config.split("overlay:").nth(1).unwrap().split(':').next().unwrap().to_owned()
    };
    let old = lower(&sandbox.config());
    change(&sandbox, "two", 4, "true");
    upgrade(&sandbox, &[]).exits(0);
    let aside = sandbox.path("aside");
    fs::rename(&old, &aside).unwrap();
    rollback(&sandbox)
        .exits(2)
        .mentions("`web1` cannot go back: what it stood on is gone from the store: ");
    assert_eq!(within(&sandbox, "cat srv/www/index.html"), format!("two of {NAME}\n"));
    fs::rename(&aside, &old).unwrap();
    rollback(&sandbox).exits(0);
}

#[test]
fn a_value_that_cannot_be_given_up_is_told_of() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        with_variable(sandbox, "v");
        fs::write(sandbox.role().join("values.toml"), "v = 5\n").unwrap();
        let words = [format!("--storage={storage}"), "--vars-file=values.toml".into()];
        sandbox.create(words).exits(0);
        upgrade(sandbox, &["--unset=v"])
            .exits(2)
            .mentions("`web1` has its `v` from [DIR]/role/values.toml")
            .mentions("take `v` out of that file");
        upgrade(sandbox, &["--unset=w"])
            .exits(2)
            .mentions("`web1` was made without a value for `w`");
        upgrade(sandbox, &["--set=v=6"]).exits(0);
        assert_eq!(within(sandbox, "cat etc/site"), "6\n");
        // A file that gives nothing any more is no value of the container's.
        upgrade(sandbox, &["--unset=v"]).exits(0);
        assert_eq!(within(sandbox, "cat etc/site"), "1\n");
    });
}

#[test]
fn secrets_in_names_are_masked() {
    each_storage(|sandbox, storage| {
        fs::remove_dir_all(sandbox.container()).unwrap();
        fs::write(sandbox.role().join("token"), "hunter2hunter2\n").unwrap();
        let with_step = |version: &str, more: &str| {
            let text = format!(
                "manifest = 1\n[vars]\ntoken = {{ secret = true, file = \"token\" }}\n[[layer]]\nname = \"os\"\n\
                 template = \"fake\"\n[[layer]]\nname = \"site\"\nsecrets = [\"token\"]\n\
                 post = 'cd $LXC_ROOTFS; echo {version} >\"etc/$token\"; ln -s \"/run/$token/{version}\" etc/link; {more}'\n"
            );
            fs::write(sandbox.role().join("m.toml"), text).unwrap();
        };
        with_step("one", "true");
        sandbox.create([format!("--storage={storage}")]).exits(0);
        within(sandbox, "echo own >opt/hunter2hunter2");
        with_step("two", "mv opt opt2; ln -s opt2 opt");
        for (words, status) in [
            (&["--format=json"][..], 1),
            (&[], 1),
            (&["--take=/", "--dry-run"], 0),
            (&["--take=/", "--dry-run", "--format=json"], 0),
        ] {
            let ran = upgrade(sandbox, words);
            ran.exits(status);
            let all = [ran.stdout(), ran.stderr()].concat();
            assert!(all.contains("[secret token]"), "{all}");
            assert!(!all.contains("hunter2"), "{all}");
        }
    });
}

#[test]
fn the_innermost_path_that_is_named_decides() {
    each_storage(|sandbox, _| {
        within(
            sandbox,
            "echo mine >srv/www/index.html; echo me:x:5:5::/:/f >>etc/passwd; echo mine >etc/conf",
        );
        change(sandbox, "two", 4, "echo app:x:998:998::/:/f >>etc/passwd; echo two >etc/conf");
        upgrade(sandbox, &["--take=/srv", "--keep=srv/"])
            .exits(2)
            .mentions("srv/ is both `--take` and `--keep`");
        upgrade(sandbox, &["--take=/", "--keep=/srv/www/index.html"]).exits(0);
        let now =
            within(sandbox, "cat srv/www/index.html etc/conf; tail -n2 etc/passwd | cut -d: -f1");
        // Accounts that can be put together are, unless their file is named.
        assert_eq!(now, "mine\ntwo\nme\napp\n");
    });
}

#[test]
fn a_path_that_is_no_text_is_decided_as_it_is_shown() {
    each_storage(|sandbox, _| {
        let with = |text: &str| format!("printf {text} >\"srv/$(printf 'a\\377')\"");
        // As a text in double quotes of a manifest has it.
        let step = |text: &str| with(text).replace('\\', "\\\\").replace('"', "\\\"");
        change(sandbox, "two", 4, &step("one"));
        upgrade(sandbox, &[]).exits(0);
        within(sandbox, &with("mine"));
        change(sandbox, "two", 4, &step("two"));
        let ran = upgrade(sandbox, &[]);
        ran.exits(1).shows("C  $'/srv/a\\377'\n").mentions("--take $'/srv/a\\377'");
        upgrade(sandbox, &["--format=json"]).exits(1).shows("\"word\":\"$'/srv/a\\\\377'\"");
        let script = "exec \"$1\" upgrade \"$2\" --take $'/srv/a\\377'";
        let mut command = sandbox.command("bash");
        command.args(["-c", script, "bash"]).arg(sandbox.program_path()).arg(sandbox.container());
        sandbox.ran(command).exits(0);
        assert_eq!(within(sandbox, "cat srv/a*"), "two");
    });
}
