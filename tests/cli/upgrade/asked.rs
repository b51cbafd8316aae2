//! What an upgrade is asked for by its options: other values, its lock, and a format for programs.

use std::fs;

use serde_json::{Value, json};

use super::{change, dump, each_storage, role, upgrade, within};
use crate::requirement::root;
use crate::sandbox::Sandbox;

/// Gives the role a page that is a variable.
fn with_variable(sandbox: &Sandbox, default: &str) {
    let text = format!(
        "manifest = 1\n[vars]\npage = {default}\ncolour = \"red\"\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n\
         [[layer]]\nname = \"page\"\n[[layer.file]]\npath = \"/srv/page\"\n\
         content = \"{{{{ page }}}} {{{{ colour }}}}\\n\"\nrender = true\n"
    );
    fs::write(sandbox.role().join("m.toml"), text).unwrap();
}

#[test]
fn values_that_are_given_are_laid_over_those_that_it_was_made_with() {
    if !root() {
        return;
    }
    for storage in ["copy", "overlay"] {
        let sandbox = role();
        with_variable(&sandbox, "\"none\"");
        let words = [format!("--storage={storage}"), "--set=page=one".into()];
        sandbox.create(words).exits(0);
        let page = || within(&sandbox, "cat srv/page");
        assert_eq!(page(), "one red\n");
        upgrade(&sandbox, &["--set=colour=blue"]).exits(0).prints("M  /srv/page\n");
        assert_eq!(page(), "one blue\n");
        // They are the container's from then on.
        upgrade(&sandbox, &[]).exits(0).mentions("no change");
        fs::write(sandbox.role().join("vars.toml"), "page = \"three\"\n").unwrap();
        upgrade(&sandbox, &["--vars-file=vars.toml"]).exits(0);
        assert_eq!(page(), "three blue\n");
        upgrade(&sandbox, &["--set=page=four", "--set=colour=red"]).exits(0);
        assert_eq!(page(), "four red\n");
        upgrade(&sandbox, &["--set=page=four"]).exits(0).mentions("no change");
        upgrade(&sandbox, &["--set=nope=1"])
            .exits(2)
            .mentions("no variable is named `nope`")
            .mentions("the role has ");
        // The role wants a value that the container was made without.
        let text = fs::read_to_string(sandbox.role().join("m.toml")).unwrap();
        let text = text.replace("[vars]\n", "[vars]\nsite = { required = true }\n");
        fs::write(sandbox.role().join("m.toml"), text.replace("{{ page }}", "{{ site }}")).unwrap();
        upgrade(&sandbox, &[]).exits(2).mentions("`site` is required");
        upgrade(&sandbox, &["--set=site=here"]).exits(0);
        assert_eq!(page(), "here red\n");
    }
}

#[test]
fn a_container_is_held_to_the_lock_of_its_role() {
    each_storage(|sandbox, _| {
        sandbox.run(["build", "m.toml"]).exits(0);
        sandbox.run(["lock", "m.toml"]).exits(0);
        upgrade(sandbox, &["--locked"]).exits(0).mentions("no change");
        change(sandbox, "two", 4, "true");
        let was = sandbox.config();
        upgrade(sandbox, &["--locked"]).exits(10).mentions("has changed since it was locked");
        assert_eq!(sandbox.config(), was);
        sandbox.run(["build", "m.toml"]).exits(0);
        sandbox.run(["lock", "m.toml"]).exits(0);
        upgrade(sandbox, &["--locked"]).exits(0).mentions("web1: upgraded");
    });
}

#[test]
fn programs_are_told_in_json() {
    each_storage(|sandbox, storage| {
        let told = |words: &[&str], status: i32| -> Value {
            let ran = upgrade(sandbox, &[words, &["--format=json"]].concat());
            ran.exits(status);
            let text = ran.stdout();
            assert_eq!(text.lines().count(), 1, "{text}");
            serde_json::from_str(&text).unwrap()
        };
        let unchanged = told(&[], 0);
        assert_eq!(
            (&unchanged["container"], &unchanged["outcome"]),
            (&json!("web1"), &json!("unchanged"))
        );
        assert_eq!((&unchanged["files"], &unchanged["conflicts"]), (&json!([]), &json!([])));
        change(sandbox, "two", 4, "echo n >etc/new");
        let looked = told(&["--dry-run"], 0);
        let files = json!([
            { "name": "/etc/new", "change": "added" },
            { "name": "/srv/www/index.html", "change": "changed" },
        ]);
        assert_eq!((&looked["files"], &looked["outcome"]), (&files, &json!("would-change")));
        let lines = json!([
            { "change": "removed", "line": "lxc.tty.max = 2" },
            { "change": "removed", "line": "lxc.environment = PAGE=one" },
            { "change": "added", "line": "lxc.tty.max = 4" },
            { "change": "added", "line": "lxc.environment = PAGE=two" },
        ]);
        assert_eq!(looked["config"], lines, "{storage}");
        assert_eq!(
            (&looked["is_other_config"], &looked["is_other_record"]),
            (&json!(true), &json!(true))
        );
        within(sandbox, "echo own >srv/www/index.html");
        let conflict = told(&[], 1);
        assert_eq!(conflict["files"], json!([]));
        assert_eq!(conflict["conflicts"][0]["name"], "/srv/www/index.html");
        assert!(conflict["conflicts"][0]["own"].as_str().unwrap().starts_with("sha256:"));
        change(sandbox, "broken", 4, "echo n >etc/new");
        let failed = told(&["--take=/srv/www"], 7);
        assert_eq!(failed["outcome"], "failed");
        assert!(failed["error"].as_str().unwrap().contains("`check` of layer `site`"), "{failed}");
        change(sandbox, "two", 4, "echo n >etc/new");
        let upgraded = told(&["--take=/srv/www"], 0);
        assert_eq!((&upgraded["files"], &upgraded["outcome"]), (&files, &json!("upgraded")));
    });
}

#[test]
fn a_look_leaves_no_trace_in_the_container() {
    each_storage(|sandbox, storage| {
        change(sandbox, "two", 4, "true");
        let container = sandbox.container();
        let seen = || {
            let stat =
                std::process::Command::new("stat").args(["-c", "%y %h"]).arg(&container).output();
            (dump(&container), String::from_utf8(stat.unwrap().stdout).unwrap())
        };
        let was = seen();
        upgrade(sandbox, &["--dry-run"])
            .exits(0)
            .shows("D  config: lxc.tty.max = 2\n")
            .shows("A  config: lxc.tty.max = 4\n");
        assert_eq!(seen(), was, "{storage}");
        upgrade(sandbox, &[]).exits(0);
        change(sandbox, "three", 4, "true");
        // What somebody was killed at stays for the next upgrade.
        fs::create_dir(container.join("upgrade/next")).unwrap();
        fs::write(container.join("upgrade/next/config"), "half").unwrap();
        let was = seen();
        upgrade(sandbox, &["--dry-run"]).exits(0);
        upgrade(sandbox, &["--dry-run", "--set=nope=1"]).exits(2);
        assert_eq!(seen(), was, "{storage}");
        upgrade(sandbox, &[]).exits(0);
        assert!(!container.join("upgrade/next").exists());
    });
}

#[test]
fn a_manifest_that_is_a_template_is_upgraded_with_its_options() {
    if !root() {
        return;
    }
    for storage in ["copy", "overlay"] {
        let role = |content: &str| {
            format!(
                "#!/usr/bin/env layered-template\nmanifest = 1\n[vars]\nhttp_port = 80\nsite = {{ required = true }}\n\
                 [[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"app\"\n[[layer.file]]\n\
                 path = \"/etc/site\"\ncontent = \"{content}\\n\"\nrender = true\n"
            )
        };
        let sandbox = Sandbox::new().manifest(&role("{{ site }} {{ http_port }}"));
        sandbox.shell();
        let mut command = sandbox.within();
        command.arg("./m.toml").args(sandbox.three());
        command.args(["--site", "a.example", "--http-port=8080", &format!("--storage={storage}")]);
        sandbox.ran(command).exits(0);
        assert_eq!(within(&sandbox, "cat etc/site"), "a.example 8080\n");
        within(&sandbox, "echo mine >etc/mine");
        fs::write(sandbox.role().join("m.toml"), role("{{ site }} on {{ http_port }}")).unwrap();
        upgrade(&sandbox, &[]).exits(0).prints("M  /etc/site\n");
        assert_eq!(within(&sandbox, "cat etc/site etc/mine"), "a.example on 8080\nmine\n");
        upgrade(&sandbox, &["--set=http_port=81"]).exits(0);
        assert_eq!(within(&sandbox, "cat etc/site"), "a.example on 81\n");
    }
}
