//! Text of others that would drive a terminal, or read as what it is not: every command shows it escaped.

use std::fs;

use crate::sandbox::{Ran, Sandbox};

/// Marks that reorder or hide text, and controls of C1; `@` stands for them in what follows.
const MARKS: &str = "\u{202e}\u{2066}\u{61c}\u{200b}\u{ad}\u{e0041}\u{9b}\u{90}";

const ROLE: &str = "manifest = 1
description = 'a role@'
[vars]
v = { default = 'v@', description = 'd@' }
[[layer]]
name = 'os'
template = './up@'
args = ['--x=@']
env = { A = 'e@' }
[[layer]]
name = 'app'
identity = ['/i@']
[layer.config]
'lxc.environment' = 'A=@'
[[layer.file]]
path = '/f@'
content = 'x'
[[layer.file]]
path = '/s@'
source = 's@'
[[layer.file]]
path = '/t@'
source = 't@'
[[layer.file]]
path = '/l@'
symlink = 'l@'
[[layer.file]]
path = '/d@'
directory = true
[[layer.file]]
path = '/r@'
remove = true
[[layer]]
name = 'step'
store = true
post = 'echo \"{{ v }}@\"; test ! -e \"$LAYER_DIR/fail\" # @'
";

fn marked(text: &str) -> String {
    text.replace('@', MARKS)
}

/// A role whose texts, names and paths are full of them.
fn role() -> Sandbox {
    let sandbox = Sandbox::new()
        .file(&marked("m@.toml"), marked(ROLE))
        .file(&marked("s@"), "s")
        .file(&marked("t@/t@"), "t")
        .file(&marked("bad@.toml"), marked("manifest = 1\nk@ = 1\n[[layer]]\nname = 'n@'\n"))
        .file(&marked("layers/lay@.toml"), marked("description = '@'\n[layer]\n"))
        .file("layers/lay.toml", marked("description = '@' # @\n[vars]\nx = '@'\n[layer]\n"));
    let upstream = format!(
        "#!/bin/sh -e\nfor word; do case $word in --rootfs=*) r=${{word#*=}};; esac; done\n\
         mkdir -p \"$r/etc\"; echo '{MARKS}'; echo x >\"$r/etc/{MARKS}\"; \
         echo side >\"$r/../beside{MARKS}\"\n"
    );
    sandbox.program(&marked("role/up@"), &upstream)
}

/// Asserts that what a command said and printed has none of them, and that it had some to show.
#[track_caller]
fn shows_none(ran: &Ran, what: &str) -> String {
    let said = ran.stdout() + &ran.stderr();
    let foreign = |line: &&str| {
        // What a step or template prints is passed on as it comes.
        !line.starts_with("  step| ") && *line != MARKS
    };
    for line in said.lines().filter(foreign) {
        let raw = line.chars().find(|character| MARKS.contains(*character));
        assert_eq!(raw, None, "{what}: {line:?}\n{said}");
    }
    said
}

#[test]
fn every_command_shows_what_others_have_written_escaped() {
    let sandbox = role();
    let lxcpath = sandbox.path(marked("lxc@")).display().to_string();
    let manifest = marked("m@.toml");
    let name = marked("c@");
    let in_lxcpath = |words: &[&str]| {
        let words = words.iter().copied();
        let ran = sandbox.run(words.chain(["--lxcpath", &lxcpath]));
        shows_none(&ran, "in lxcpath")
    };
    let run = |words: &[&str]| shows_none(&sandbox.run(words), &words.join(" "));
    let shown = "\\u{202e}\\u{2066}";
    for words in [
        &["validate", &manifest, &marked("bad@.toml"), &marked("none@.toml")][..],
        &["validate", &manifest, &marked("bad@.toml"), "--format=github"],
        &["plan", &manifest],
        &["plan", &manifest, "-v"],
        &["plan", &manifest, "--format=mermaid"],
        &["plan", &manifest, "--set", &marked("w@")],
        &["plan", &manifest, "--name", &marked("c@")],
        &["plan", &marked("none@.toml")],
        &["layer", "list"],
        &["layer", "show", "lay"],
        &["layer", "show", &marked("lay@")],
        &["layer", "show", &marked("none@")],
        &["init", &manifest],
        &["store", "remove", &marked("e@")],
        &["build", &manifest, &marked("none@.toml")],
        &[&marked("none@")],
        &["plan", "m", &marked("--none@")],
        &["plan", "m", &marked("--storage=@")],
    ] {
        let said = run(words);
        assert!(said.contains(shown), "{words:?} shows nothing of it:\n{said}");
    }
    for words in [
        &["create", &manifest, "--name", &name, "-v"][..],
        // It is there already.
        &["create", &manifest, "--name", &name],
        &["create", &manifest, "--name", "quiet", "--storage=overlay", "-q"],
        &["create", &manifest, "--name", "straight", "--storage=none"],
        &["shell", &marked("none@")],
    ] {
        in_lxcpath(words);
    }
    fs::write(sandbox.role().join("fail"), "").unwrap();
    for storage in ["--storage=none", "--rebuild"] {
        let said = in_lxcpath(&["create", &manifest, "--name", "fails", "--keep-failed", storage]);
        assert!(said.contains("it printed last"), "{said}");
        let run = sandbox.left().remove(0);
        let log = fs::read_to_string(run.join("log")).unwrap();
        let ours = log.lines().filter(|line| line.contains(".toml:"));
        assert_eq!(ours.clone().find(|line| line.contains('\u{202e}')), None, "{log}");
        assert!(ours.count() > 0, "{log}");
        fs::remove_dir_all(run).unwrap();
    }
    // A listing finds what was changed in a stored tree, and a document can hold anything.
    let trees = sandbox.path("store/host/trees");
    for tree in fs::read_dir(&trees).unwrap().flatten() {
        let file = tree.path().join("rootfs/etc").join(MARKS);
        fs::write(file, "changed").unwrap();
        fs::write(tree.path().join("rootfs/etc").join(format!("a\n{MARKS}")), "new").unwrap();
    }
    for words in [&["store", "list"][..], &["store", "verify"], &["doctor"]] {
        run(words);
    }
    for entry in fs::read_dir(sandbox.path("store/host.meta/entries")).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        fs::write(entry.path(), text.replacen('{', &format!("{{ \"{MARKS}\": 1,"), 1)).unwrap();
    }
    for words in [&["store", "list"][..], &["store", "verify"], &["store", "gc", "--keep=0"]] {
        run(words);
    }
    let shell = sandbox.template([manifest.as_str(), "-h"]);
    shows_none(&shell, "-h");
    for words in [["--storage", "@"], ["--manifest", "none@.toml"]] {
        let words = words.map(marked);
        let said = shows_none(&sandbox.template(&words), "template");
        // A word that can be typed has their bytes.
        let typed = r"\342\200\256\342\201\246";
        assert!(said.contains(shown) || said.contains(typed), "{words:?}");
    }
}

#[test]
fn json_has_the_same_by_escapes_of_its_own() {
    let sandbox = role();
    let (manifest, bad) = (marked("m@.toml"), marked("bad@.toml"));
    let create = ["create", &manifest, "--name", "c", "--lxcpath", "../lxc", "--log-format=json"];
    fs::write(sandbox.role().join("fail"), "").unwrap();
    for words in [
        &["plan", &manifest, "--format=json"][..],
        &["validate", &bad, "--format=json"],
        &create,
        &["store", "list", "--format=json"],
    ] {
        let ran = sandbox.run(words);
        let said = ran.stdout() + &ran.stderr();
        assert!(said.contains("\\u202e"), "{words:?}: {said}");
        assert_eq!(said.chars().find(|c| MARKS.contains(*c)), None, "{words:?}: {said}");
        let printed = String::from_utf8(ran.output.stdout.clone()).unwrap();
        let errors = String::from_utf8(ran.output.stderr.clone()).unwrap();
        // Of a plan, what a run would warn of is said beside it.
        let text = if words[0] == "create" { &errors } else { &printed };
        let values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
        let read: Vec<String> = values.map(|value| value.unwrap().to_string()).collect();
        assert!(read.iter().any(|value| value.contains(MARKS)), "{words:?}: {text}");
    }
}
