//! How old what is stored may be.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use layered_template::digest::Digest;

use super::{as_each, create, role, shelf};
use crate::lab::Lab;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Makes the only entry one that was made at another time, as a clock would have had it.
fn redate(lab: &Lab, made: u64) {
    let [entry] = &shelf::stored(lab)[..] else { panic!("there is one entry") };
    let (key, _) = entry.id.split_once('.').unwrap();
    let id = format!("{key}.{made}");
    let meta = shelf::meta(lab);
    for directory in [shelf::tree(lab, &entry.id).ancestors().nth(2).unwrap(), &meta.join("lists")]
    {
        fs::rename(directory.join(&entry.id), directory.join(&id)).unwrap();
    }
    let path = meta.join("entries").join(&entry.id);
    let text = fs::read_to_string(&path).unwrap();
    let (_, text) = text.split_once('\n').unwrap();
    let mut document: serde_json::Value = serde_json::from_str(text).unwrap();
    document["id"] = id.clone().into();
    document["made_at"] = made.into();
    let text = document.to_string();
    fs::write(&path, format!("{}\n{text}", Digest::of(text.as_bytes()))).unwrap();
    fs::rename(&path, meta.join("entries").join(&id)).unwrap();
}

fn manifest(lab: &Lab, refresh: &str) -> PathBuf {
    let upstream = role::counting(lab);
    let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n{refresh}\n");
    lab.write("work/role.toml", &text)
}

/// Makes a container, and returns what was said.
#[track_caller]
fn made(lab: &Lab, manifest: &Path, words: &[&str]) -> String {
    let name = lab.name("age");
    let outcome = create(lab, &name, manifest, words).outcome().success();
    lab.destroy(&name);
    outcome.stderr + &outcome.stdout
}

/// Fails to make one at layer `app`, and returns what was said.
#[track_caller]
fn failed(lab: &Lab, manifest: &Path, words: &[&str]) -> String {
    let outcome = create(lab, &lab.name("age"), manifest, words).outcome();
    let said = outcome.stderr + &outcome.stdout;
    assert!(said.contains("of layer `app` "), "{said}");
    said
}

#[test]
fn an_old_upstream_is_told_of_with_what_to_do() {
    as_each(&[], |lab| {
        let role = manifest(lab, "");
        assert!(!made(lab, &role, &[]).contains("days ago"));
        redate(lab, now() - 29 * DAY);
        assert!(!made(lab, &role, &[]).contains("days ago"));
        redate(lab, now() - 31 * DAY);
        for words in [&[][..], &["--storage=overlay"]] {
            let said = made(lab, &role, words);
            assert!(
                said.contains(
                    "template of layer `os` was made 31 days ago, and is used as it is: \
                     `refresh = \"30d\"` in that layer rebuilds it once it is older than that, \
                     and `--rebuild` does now"
                ),
                "{said}"
            );
        }
        assert_eq!(role::calls(lab), 1);
        assert!(!made(lab, &role, &["--storage=none"]).contains("days ago"));
        assert!(!made(lab, &role, &["--rebuild"]).contains("days ago"));
        assert_eq!(role::calls(lab), 3);
    });
}

#[test]
fn a_failure_above_a_stored_layer_says_what_it_stands_on() {
    as_each(&[], |lab| {
        let upstream = role::counting(lab);
        let role = |more: &str| {
            let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n{more}");
            lab.write("work/role.toml", &text)
        };
        made(lab, &role(""), &[]);
        redate(lab, now() - 3 * DAY);
        let line =
            "  built on: template of layer `os`, stored 3 days ago; `--rebuild` rebuilds it\n";
        let failing = [
            "post = { in = \"rootfs\", run = \"exit 3\" }",
            "post = \"exit 3\"",
            "check = \"exit 3\"",
            "file = [{ path = \"/etc/passwd/under\", content = \"\" }]",
        ];
        let app = |failing| role(&format!("[[layer]]\nname = \"app\"\n{failing}\n"));
        for failing in failing {
            let role = app(failing);
            for storage in ["--storage=copy", "--storage=overlay", "--storage=none"] {
                let said = failed(lab, &role, &[storage]);
                assert_eq!(said.contains(line), storage != "--storage=none", "{storage}: {said}");
            }
        }
        assert!(!failed(lab, &app("pre = \"exit 3\""), &[]).contains("built on: "));
        assert!(!failed(lab, &app(failing[0]), &["--rebuild"]).contains("built on: "));
    });
}

#[test]
fn an_upstream_that_says_how_old_it_may_be_is_not_told_of() {
    as_each(&[], |lab| {
        let role = manifest(lab, "refresh = \"40d\"");
        made(lab, &role, &[]);
        redate(lab, now() - 31 * DAY);
        assert!(!made(lab, &role, &[]).contains("days ago"));
        assert_eq!(role::calls(lab), 1);
        redate(lab, now() - 41 * DAY);
        made(lab, &role, &[]);
        assert_eq!(role::calls(lab), 2);
    });
}

#[test]
fn what_was_made_in_the_future_is_made_anew_once() {
    as_each(&[], |lab| {
        let role = manifest(lab, "refresh = \"1h\"");
        made(lab, &role, &[]);
        redate(lab, now() + 4000 * DAY);
        let plan = lab.call([lab.program()]).arg("plan").arg(&role).args(["-v", "--lxcpath"]);
        let plan = plan.arg(lab.lxcpath()).outcome().success().stdout;
        if lab.caller == crate::caller::Caller::Root {
            assert!(plan.contains("made at a time that is still to come"), "{plan}");
        }
        made(lab, &role, &[]);
        assert_eq!(role::calls(lab), 2);
        made(lab, &role, &[]);
        made(lab, &role, &["--storage=overlay"]);
        assert_eq!(role::calls(lab), 2, "it is as old as it is, whatever its name says");
        let stored = shelf::stored(lab);
        let generation = |at: usize| stored[at].id.split_once('.').unwrap().1.parse().unwrap();
        let generations: [u64; 2] = [generation(0), generation(1)];
        assert!(generations[1] > generations[0], "{generations:?}");
    });
}

#[test]
fn without_refresh_what_was_made_in_the_future_is_used() {
    as_each(&[], |lab| {
        let role = manifest(lab, "");
        made(lab, &role, &[]);
        redate(lab, now() + 4000 * DAY);
        assert!(!made(lab, &role, &[]).contains("days ago"));
        assert_eq!(role::calls(lab), 1);
    });
}
