//! `plan` of several roles: which of them are current.

use std::fs;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

fn role(name: &str, text: &str) -> String {
    format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"{name}\"\n\
         [[layer.file]]\npath = \"/etc/{name}\"\ncontent = \"{text}\"\n"
    )
}

/// Two roles that are stored, and one that cannot be planned.
fn roles() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("web.toml", role("web", "one"))
        .file("db.toml", role("db", "one"))
        .file("bad.toml", "manifest = 1\nfoo|bar = 1\n");
    sandbox.run(["build", "-q", "web.toml", "db.toml"]).exits(0);
    sandbox
}

fn plan(sandbox: &Sandbox, words: &[&str]) -> Ran {
    sandbox.run([&["plan"], words].concat())
}

#[test]
fn the_status_says_whether_all_is_current() {
    let sandbox = roles();
    let both = ["web.toml", "db.toml", "--exit-code"];
    plan(&sandbox, &both).exits(0).prints("web.toml: current\ndb.toml: current\n");
    plan(&sandbox, &["web.toml", "--exit-code"]).exits(0);
    fs::write(sandbox.role().join("db.toml"), role("db", "two")).unwrap();
    let text = plan(&sandbox, &both).exits(1).stdout();
    assert!(
        text.starts_with("web.toml: current\ndb.toml:\n  build  layer `db`: file /etc/db: digest "),
        "{text}"
    );
    plan(&sandbox, &["db.toml", "--exit-code"]).exits(1);
    // Without the option it was shown, and that is all.
    plan(&sandbox, &both[..2]).exits(0);
    // What is not stored is never current, nor out of date.
    plan(&sandbox, &["web.toml", "db.toml", "--exit-code", "--storage=none"]).exits(0);
}

#[test]
fn one_that_cannot_be_planned_hides_no_other() {
    let sandbox = roles();
    fs::write(sandbox.role().join("db.toml"), role("db", "two")).unwrap();
    for words in
        [&["bad.toml", "web.toml", "db.toml"][..], &["db.toml", "bad.toml", "nowhere.toml"]]
    {
        let ran = plan(&sandbox, &[words, &["--exit-code"]].concat());
        let text = ran.exits(2).stdout();
        assert!(text.contains("bad.toml: cannot be planned\n"), "{text}");
        assert!(text.contains("db.toml:\n  build  layer `db`: "), "{text}");
        ran.mentions("bad.toml:2");
    }
    // As one that the caller did not ask for a status of.
    plan(&sandbox, &["bad.toml", "web.toml"]).exits(2);
}

#[test]
fn programs_have_a_list() {
    let sandbox = roles();
    fs::write(sandbox.role().join("db.toml"), role("db", "two")).unwrap();
    let ran = plan(&sandbox, &["web.toml", "bad.toml", "db.toml", "--format=json", "--exit-code"]);
    let list: Value = serde_json::from_str(&ran.exits(2).stdout()).unwrap();
    let list = list.as_array().unwrap();
    let of = |key: &str| list.iter().map(|role| role[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("manifest"), ["web.toml", "bad.toml", "db.toml"]);
    assert_eq!(of("status"), [0, 2, 1]);
    assert!(list[1]["error"].is_string() && list[1]["plan"].is_null());
    let change = &list[2]["changes"][0];
    assert_eq!((&change["what"], &change["act"]), (&"layer `db`".into(), &"build".into()));
    assert!(change["why"][0].as_str().unwrap().starts_with("file /etc/db: digest "));
    assert_eq!(list[0]["plan"]["manifest"]["path"], "web.toml");
}

#[test]
fn a_pull_request_has_a_table() {
    let sandbox = roles();
    fs::write(sandbox.role().join("db.toml"), role("db", "two")).unwrap();
    let ran = plan(&sandbox, &["web.toml", "bad.toml", "db.toml", "--format=github"]);
    let table = ran.exits(2).stdout();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "| role | layer | what changes | why |");
    assert_eq!(lines[1], "|---|---|---|---|");
    assert_eq!(lines[2], "| <code>web.toml</code> | | current | |");
    assert!(lines[3].starts_with("| <code>bad.toml</code> | | **cannot be planned** | <code>"));
    let start =
        "| <code>db.toml</code> | <code>layer db</code> | build | <code>file /etc/db: digest ";
    assert!(lines[4].starts_with(start), "{table}");
    // Every row has four cells, whatever is in them.
    assert!(lines.iter().all(|line| line.matches('|').count() == 5), "{table}");
    // One role has a table too.
    plan(&sandbox, &["web.toml", "--format=github"]).exits(0).shows("| current |");
}

#[test]
fn each_role_is_compared_with_the_container_of_its_name() {
    let sandbox = roles();
    let lxcpath = sandbox.path("lxc");
    let place = lxcpath.to_str().unwrap();
    for name in ["web", "db"] {
        let manifest = format!("{name}.toml");
        sandbox.run(["create", &manifest, "-q", "-n", name, "-P", place]).exits(0);
    }
    let both = ["web.toml", "db.toml", "--diff", "-P", place, "--exit-code"];
    plan(&sandbox, &both).exits(0).prints("web.toml: current\ndb.toml: current\n");
    fs::write(sandbox.role().join("db.toml"), role("db", "two")).unwrap();
    plan(&sandbox, &both).exits(1).shows("M  /etc/db: content  (layer db)\n--- a/etc/db\n");
    let table = plan(&sandbox, &[&both[..], &["--format=github"]].concat()).exits(1).stdout();
    let row = "| <code>db.toml</code> | <code>db</code> | changes <code>/etc/db</code> | <code>content, layer db</code> |";
    assert!(table.contains(row), "{table}");
    plan(&sandbox, &["web.toml", "db.toml", "-n", "web"])
        .exits(2)
        .mentions("`--name` names one container");
    plan(&sandbox, &["web.toml", "db.toml", "--format=mermaid"]).exits(2);
}

#[test]
fn what_the_run_decides_is_not_known_to_be_current() {
    let decided = "manifest = 1\n[vars]\nbuild = { from = \"app\" }\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n\
                   [[layer]]\nname = \"app\"\npre = \"echo build=1 >>$LAYER_ENV\"\npost = \"echo $build\"\nstore = true\n";
    let sandbox = roles().file("d.toml", decided);
    sandbox.run(["build", "-q", "d.toml"]).exits(0);
    plan(&sandbox, &["web.toml", "d.toml", "--exit-code"])
        .exits(1)
        .shows("d.toml:\n  decided by the run  layer `app`: by pre of app\n");
}
