//! `status` and `show`: what runs here, and what it was made from.

use std::fs;

use serde_json::Value;

use crate::requirement::root;
use crate::sandbox::{NAME, Ran, Sandbox};
use crate::storages::{self, STORAGES};

const ROLE: &str = "manifest = 1
description = \"Front end\"
[vars]
port = { default = 80, description = \"Where it listens\" }
token = { secret = true, env = \"TOKEN\" }

[[layer]]
name = \"os\"
template = \"fake\"

[[layer]]
name = \"app\"
store = true
post = \"echo more >>$LXC_ROOTFS/etc/app\"
[layer.config]
lxc.start.auto = 1
[[layer.file]]
path = \"/etc/app\"
content = \"port = {{ port }}\"
[[layer.file]]
path = \"/etc/site\"
source = \"site\"
";

fn role() -> Sandbox {
    Sandbox::new().env("TOKEN", "hunter2").file("site", "one\n").manifest(ROLE)
}

fn status(sandbox: &Sandbox, words: &[&str]) -> Ran {
    let lxcpath = sandbox.path("lxc");
    sandbox.run([&["status", "-P", lxcpath.to_str().unwrap()], words].concat())
}

/// Returns the state of the container, and the reasons.
#[track_caller]
fn state(sandbox: &Sandbox) -> (String, Vec<String>) {
    let ran = status(sandbox, &["--format=json"]);
    ran.exits(0);
    let rows: Value = serde_json::from_str(&ran.stdout()).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == NAME).expect("a row");
    let why = row["why"].as_array().unwrap().iter().map(|why| why.as_str().unwrap().to_owned());
    (row["state"].as_str().unwrap().to_owned(), why.collect())
}

fn each_storage(judge: impl Fn(&Sandbox, &str)) {
    storages::each(&STORAGES, role, &["--set=port=81"], judge);
}

#[test]
fn a_container_is_current_until_its_role_changes() {
    each_storage(|sandbox, storage| {
        assert_eq!(state(sandbox), ("current".to_owned(), Vec::new()), "{storage}");
        let table = status(sandbox, &[]);
        let table = table.exits(0).stdout();
        let row = table.lines().find(|line| line.starts_with("web1 ")).unwrap();
        assert!(row.contains(&format!("Front end  {storage}")), "{table}");
        assert!(row.ends_with("  current"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        fs::write(sandbox.role().join("site"), "two\n").unwrap();
        let (now, why) = state(sandbox);
        assert_eq!((now.as_str(), why.len()), ("outdated", 1), "{storage}: {why:?}");
        assert!(why[0].starts_with("layer app: /etc/site: digest "), "{why:?}");
        status(sandbox, &["--exit-code"]).exits(1).shows("outdated\n  layer app: /etc/site: ");
        status(sandbox, &[]).exits(0);
        fs::write(sandbox.role().join("site"), "one\n").unwrap();
        assert_eq!(state(sandbox).0, "current");
        status(sandbox, &["--exit-code"]).exits(0);
    });
}

/// What is done to a role, and what is said of it.
type Change<'a> = (&'a dyn Fn(&Sandbox), &'a str);

#[test]
fn whatever_has_changed_of_a_role_is_named() {
    let template = |s: &Sandbox| {
        let path = s.path("templates/lxc-fake");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "# more\n").unwrap();
    };
    let edit = |from: &'static str, to: &'static str| {
        move |s: &Sandbox| {
            let text = ROLE.replace(from, to);
            assert_ne!(text, ROLE);
            fs::write(s.role().join("m.toml"), text).unwrap();
        }
    };
    let changes: [Change<'_>; 7] = [
        (&template, "template of layer os: digest "),
        (&edit("more >>", "less >>"), "layer app: post 1: digest "),
        (
            &edit("lxc.start.auto = 1", "lxc.start.auto = 0"),
            "layer app: config lxc.start.auto = 0 is new",
        ),
        (&edit("path = \"/etc/site\"", "path = \"/etc/s\""), "layer app: /etc/s is new"),
        (&edit("port = {{ port }}", "{{ port }}"), "layer app: /etc/app: digest "),
        (&edit("name = \"app\"", "name = \"apps\""), "layer apps is new"),
        (
            &edit("template = \"fake\"", "template = \"fake\"\nargs = [\"-x\"]"),
            "template of layer os: arguments ",
        ),
    ];
    each_storage(|sandbox, storage| {
        for (change, said) in changes {
            let before = fs::read_to_string(sandbox.path("templates/lxc-fake")).unwrap();
            change(sandbox);
            let (state, why) = state(sandbox);
            assert_eq!(state, "outdated", "{storage}: {said}");
            assert!(why.iter().any(|line| line.starts_with(said)), "{storage}: {said}: {why:?}");
            fs::write(sandbox.role().join("m.toml"), ROLE).unwrap();
            fs::write(sandbox.path("templates/lxc-fake"), before).unwrap();
        }
        assert_eq!(state(sandbox).0, "current", "{storage}");
    });
}

#[test]
fn a_container_is_named_by_its_directory_too() {
    each_storage(|sandbox, storage| {
        let one = sandbox.run(["status", "../lxc/web1/"]);
        one.exits(0).shows("\nlayer    app").shows("  current\n");
        sandbox.run(["status", "../lxc/web2"]).exits(2).mentions("has made no container `");
        fs::write(sandbox.rootfs().join("new"), "").ok();
        let lxcpath = sandbox.path("lxc");
        let drift = status(sandbox, &["--drift"]);
        if storage == "overlay" {
            return;
        }
        // What it says is to be done can be done.
        drift.shows("see `layered-template diff [DIR]/lxc/web1`");
        sandbox.run(["diff", &format!("{}/{NAME}", lxcpath.display())]).exits(1).shows("A  /new");
    });
}

#[test]
fn containers_of_one_name_are_told_apart() {
    let sandbox = role();
    sandbox.create(["--set=port=81"]).exits(0);
    let other = sandbox.path("other").display().to_string();
    let words = ["create", "m.toml", "--name", NAME, "--set=port=81", "--lxcpath", &other];
    sandbox.run(words).exits(0);
    let lxcpath = sandbox.path("lxc").display().to_string();
    let both = ["--lxcpath", &lxcpath, "--lxcpath", &other];
    let both = |words: &[&str]| sandbox.run([words, &both[..]].concat());
    both(&["show", NAME]).exits(2).mentions(
        "2 containers are named `web1`: name one by its directory: `[DIR]/lxc/web1`, \
         `[DIR]/other/web1`",
    );
    both(&["status"]).exits(0).shows("\n  [DIR]/lxc/web1\n").shows("\n  [DIR]/other/web1\n");
    both(&["show", &format!("{other}/{NAME}")]).exits(0).shows("web1: ");
    // A file is meant where there is one.
    fs::copy(sandbox.role().join("m.toml"), sandbox.role().join(NAME)).unwrap();
    let said =
        "warning: `web1` is a file here, and a container too: the container is `[DIR]/lxc/web1`\n";
    both(&["show", NAME]).exits(0).shows("web1: ").mentions(said);
    let alone = both(&["show", "./web1"]).exits(0).stderr();
    assert!(!alone.contains("warning"), "{alone}");
}

#[test]
fn a_directory_that_is_given_says_which_container_is_meant() {
    each_storage(|sandbox, _| {
        let (lxcpath, other) = (sandbox.path("lxc"), sandbox.path("other"));
        fs::create_dir(&other).unwrap();
        let other = other.to_str().unwrap();
        // It is known where runs have made containers.
        sandbox.run(["status", NAME]).exits(0).shows("  current\n");
        sandbox.run(["create", "m.toml", "--name", NAME, "--lxcpath", other]).exits(0);
        sandbox.run(["show", NAME]).exits(2).mentions("2 containers are named `web1`: ");
        for given in [&lxcpath, &sandbox.path("other")] {
            let spelled =
                format!("{}/../{}", given.display(), given.file_name().unwrap().display());
            for words in [&["-P", &spelled][..], &["-P", given.to_str().unwrap(), "-P", &spelled]] {
                let shown = sandbox.run([&["status", "--format=json", NAME], words].concat());
                let shown: serde_json::Value =
                    serde_json::from_slice(&shown.exits(0).output.stdout).unwrap();
                let paths: Vec<_> = shown.as_array().unwrap().iter().collect();
                assert_eq!(paths.len(), 1, "{words:?}: {shown}");
                assert_eq!(paths[0]["path"], given.join(NAME).to_str().unwrap(), "{words:?}");
            }
        }
    });
}

#[test]
fn a_layer_that_was_rebuilt_is_told_of() {
    each_storage(|sandbox, storage| {
        sandbox.run(["build", "m.toml", "--rebuild", "--set=port=81"]).exits(0);
        let (state, why) = state(sandbox);
        if storage == "none" {
            assert_eq!(state, "current");
            return;
        }
        assert_eq!(state, "outdated", "{storage}");
        assert!(why[0].starts_with("template of layer `os` was rebuilt "), "{why:?}");
    });
}

#[test]
fn a_role_that_cannot_be_planned_is_unknown_and_says_why() {
    let sandbox = role();
    sandbox.create(["--set=port=81"]).exits(0);
    fs::write(sandbox.role().join("m.toml"), "manifest = 1\nx").unwrap();
    let (now, why) = state(&sandbox);
    assert_eq!(now, "unknown");
    assert!(why[0].starts_with("its role cannot be planned: "), "{why:?}");
    assert!(why[0].ends_with("/m.toml:2)"), "{why:?}");
    let (lxcpath, manifest) = (sandbox.path("lxc"), sandbox.role().join("m.toml"));
    let diff = sandbox.run([
        "diff".as_ref(),
        "web1".as_ref(),
        manifest.as_os_str(),
        "-P".as_ref(),
        lxcpath.as_os_str(),
    ]);
    diff.exits(2).mentions("error: its role cannot be planned: ").mentions("/m.toml:2)\n");
    fs::remove_file(sandbox.role().join("m.toml")).unwrap();
    let (now, why) = state(&sandbox);
    assert_eq!(now, "unknown");
    assert!(why[0].starts_with("its manifest `") && why[0].ends_with("` is gone"), "{why:?}");
    for record in ["", "{}", "{\"record\": 999}"] {
        fs::write(sandbox.container().join("layered-template.json"), record).unwrap();
        let (now, why) = state(&sandbox);
        assert_eq!(now, "unknown");
        let said = match record {
            "" | "{}" => "its record cannot be used: `layered-template.json` is damaged",
            _ => "its record cannot be used: its format is 999, and ",
        };
        assert!(why[0].starts_with(said), "{why:?}");
    }
}

#[test]
fn one_that_stands_on_nothing_is_not_current() {
    if !crate::requirement::root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--storage=overlay"]).exits(0);
    assert_eq!(state(&sandbox).0, "current");
    let tree = sandbox.config();
    let tree = tree.lines().find_map(|line| line.split("overlay:").nth(1)).unwrap();
    let tree = std::path::Path::new(tree.split(':').next().unwrap());
    fs::rename(tree, tree.with_file_name("away")).unwrap();
    let (found, why) = state(&sandbox);
    assert_eq!(found, "unknown");
    assert!(why[0].starts_with("what it is based on is gone from the store"), "{why:?}");
}

#[test]
fn a_container_that_is_not_there_is_no_container() {
    let sandbox = role();
    status(&sandbox, &[]).exits(0);
    sandbox.create(["--set=port=81"]).exits(0);
    fs::create_dir_all(sandbox.path("lxc/other")).unwrap();
    let rows = status(&sandbox, &["--format=json"]).stdout();
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert!(rows.as_array().unwrap().iter().all(|row| row["name"] != "other"));
    status(&sandbox, &["web2"]).exits(2).mentions("did you mean `web1`?");
    status(&sandbox, &["-P", "/nope"]).exits(2).mentions("error: /nope: No such file or directory");
}

#[test]
fn a_container_shows_what_it_was_made_from() {
    each_storage(|sandbox, storage| {
        let lxcpath = sandbox.path("lxc");
        let words = ["show", "web1", "-P", lxcpath.to_str().unwrap()];
        let text = sandbox.run(words).exits(0).stdout();
        let storage = match storage {
            "copy" => "  storage  a copy of ",
            "overlay" => "  storage  an overlay on ",
            _ => "  storage  none: ",
        };
        for part in [
            "web1: Front end\n",
            storage,
            "  variable port = 81  (--set)\n",
            "\nlayer    app",
            "\n| layer    os",
            "\n| | template fake",
            "\n| config   lxc.start.auto = 1\n",
            "\n| file     /etc/app 0644 ",
            "\n| post     sha256:",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("hunter2"));
        let by_path = sandbox.run(["show".as_ref(), sandbox.container().as_os_str()]);
        assert_eq!(by_path.stdout(), text);
        let json = sandbox.run([&words[..], &["--format=json"]].concat());
        let json: Value = serde_json::from_str(&json.exits(0).stdout()).unwrap();
        assert_eq!(json["call"]["set"][0], "port=81");
        assert_eq!(json["record"], 5);
    });
}

#[test]
fn a_role_shows_what_it_is_made_of() {
    let sandbox =
        role().file("base.toml", ROLE).file("m.toml", "manifest = 1\nextends = \"base.toml\"\n");
    sandbox.run(["show", "m.toml"]).exits(0).prints(
        "m.toml: Front end
  extends base.toml

Its variables:
  port = 80
      Where it listens
  token  (a secret: environment variable TOKEN)

Its layers, the outermost first:
  app
  os

Its template: fake
",
    );
    let json = sandbox.run(["show", "m.toml", "--format=json"]);
    let json: Value = serde_json::from_str(&json.exits(0).stdout()).unwrap();
    assert_eq!(json["variables"][0]["default"], "80");
    assert_eq!(json["layers"][0]["name"], "app");
    let faulty = sandbox.file("faulty.toml", "manifest = 1\n[[layer]]\nname = \"os\"\n");
    faulty.run(["show", "faulty.toml"]).exits(2).mentions("error: ");
    faulty
        .run(["show", "nowhere.toml"])
        .exits(2)
        .says("error: `nowhere.toml`: there is no such file\n");
    faulty
        .run(["layer", "show", "nowhere"])
        .exits(2)
        .mentions("help: `layered-template layer list` lists them\n");
    faulty
        .run(["shell", "nowhere"])
        .exits(2)
        .mentions("\nhint: `lxc-ls`, or `layered-template status`");
    let sandbox = faulty;
    sandbox.run(["show", "nowhere"]).exits(2).mentions("no container `nowhere`");
}

#[test]
fn what_was_changed_in_a_container_is_counted_where_that_is_asked_for() {
    each_storage(|sandbox, storage| {
        let words = ["--drift", "--exit-code"];
        status(sandbox, &words).exits(0).shows("  current\n");
        std::thread::sleep(std::time::Duration::from_millis(30));
        let own = match storage {
            "overlay" => sandbox.container().join("delta"),
            _ => sandbox.rootfs(),
        };
        fs::create_dir_all(own.join("srv")).unwrap();
        fs::write(own.join("srv/new"), "new\n").unwrap();
        let config = sandbox.container().join("config");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("lxc.start.auto = 1", "lxc.start.auto = 0")).unwrap();
        // Nobody has asked.
        status(sandbox, &["--exit-code"]).exits(0).shows("  current\n");
        let said = "  drifted\n  2 paths and 2 config lines changed in it: see `layered-template diff [DIR]/lxc/web1`\n";
        status(sandbox, &words).exits(1).shows(said);
        status(sandbox, &words[..1]).exits(0);
        let rows = status(sandbox, &["--drift", "--format=json"]).stdout();
        let rows: Value = serde_json::from_str(&rows).unwrap();
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == NAME).unwrap();
        assert_eq!((&row["state"], &row["drift"]), (&"drifted".into(), &2.into()), "{storage}");
        // What the role makes now comes first.
        fs::write(sandbox.role().join("site"), "two\n").unwrap();
        status(sandbox, &words).exits(1).shows("  outdated\n  2 paths and 2 config lines changed");
    });
}

#[test]
fn what_is_the_container_s_own_is_no_drift() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("state = [\"/srv/data\"]\n");
    sandbox.create(["--storage=copy"]).exits(0);
    std::thread::sleep(std::time::Duration::from_millis(30));
    fs::create_dir_all(sandbox.rootfs().join("srv/data")).unwrap();
    fs::write(sandbox.rootfs().join("srv/data/d"), "d\n").unwrap();
    status(&sandbox, &["--drift"]).exits(0).shows("  drifted\n  1 path changed in it: ");
}

#[test]
fn containers_of_several_maps_are_looked_at_in_one_go() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--set=port=81"]).exits(0);
    let lxcpath = sandbox.path("lxc");
    for (name, first) in [("a", 100_000), ("b", 300_000)] {
        let config = sandbox.path(name);
        fs::write(
            &config,
            format!("lxc.idmap = u 0 {first} 65536\nlxc.idmap = g 0 {first} 65536\n"),
        )
        .unwrap();
        let words = ["create", "m.toml", "-q", "-n", name, "-P", lxcpath.to_str().unwrap(), "-f"];
        let mut command = sandbox.command(sandbox.program_path());
        command.args(words).arg(config);
        sandbox.ran(command).exits(0);
    }
    status(&sandbox, &["--drift", "--exit-code"]).exits(0);
    std::thread::sleep(std::time::Duration::from_millis(30));
    fs::write(lxcpath.join("b/rootfs/etc/new"), "new\n").unwrap();
    let table = status(&sandbox, &["--drift", "--exit-code"]).exits(1).stdout();
    assert_eq!(table.matches("  drifted\n").count(), 1, "{table}");
    assert!(table.contains("`layered-template diff [DIR]/lxc/b`"), "{table}");
}

#[test]
fn a_container_without_a_config_says_why_it_cannot_be_judged() {
    let sandbox = role();
    sandbox.create(["--set=port=81"]).exits(0);
    fs::remove_file(sandbox.container().join("config")).unwrap();
    let (now, why) = state(&sandbox);
    assert_eq!(now, "unknown");
    assert!(why[0].ends_with("/config` cannot be read: No such file or directory"), "{why:?}");
}
