//! The record beside the config.

use crate::sandbox::Sandbox;
use crate::snapshot;

const ROLE: &str = "manifest = 1
description = \"Front end\"
[vars]
build = { from = \"app\" }

[[layer]]
name = \"os\"
template = \"fake\"
args = { release = \"12\" }

[[layer]]
name = \"app\"
pre = \"echo build=1 >>$LAYER_ENV\"
post = { script = \"s.sh\" }
check = \":\"
finally = \"true\"
[layer.config]
lxc.start.auto = 1
[[layer.file]]
path = \"/etc/f\"
content = \"f\"
mode = \"0600\"
owner = \"0:0\"
[[layer.file]]
path = \"/t\"
source = \"tree\"
[[layer.file]]
path = \"/l\"
symlink = \"f\"
[[layer.file]]
path = \"/d\"
directory = true
[[layer.file]]
path = \"/gone\"
remove = true
";

#[test]
fn a_record_tells_what_was_done() {
    let sandbox = Sandbox::new()
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .file("s.sh", "#!/bin/sh\n")
        .file("tree/a", "a")
        .file("tree/d/b", "b")
        .manifest(ROLE);
    std::os::unix::fs::symlink("b", sandbox.role().join("tree/d/l")).unwrap();
    sandbox.template(["--manifest", "../role/m.toml", "--user=mine"]).exits(0);
    let bytes = std::fs::read(sandbox.container().join("layered-template.json")).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.ends_with("}\n"));
    snapshot::check("record.json", &sandbox.redacted(&text));
    let record = sandbox.record();
    let digests = [
        &record["manifest"]["digest"],
        &record["upstream"]["digest"],
        &record["layers"][1]["files"][0]["digest"],
        &record["layers"][1]["steps"][0]["digest"],
    ];
    for digest in digests {
        assert_eq!(digest.as_str().unwrap().len(), "sha256:".len() + 64);
    }
}

#[test]
fn a_record_is_the_same_of_the_same_run() {
    let record = || {
        let sandbox = Sandbox::new().env("SOURCE_DATE_EPOCH", "1").layers("post = \":\"\n");
        sandbox.chain().exits(0);
        let mut record = sandbox.record();
        assert_eq!(record["created"], "1970-01-01T00:00:01Z");
        let text = sandbox.redacted(&record.to_string());
        record = serde_json::from_str(&text).unwrap();
        record
    };
    assert_eq!(record(), record());
}

#[test]
fn a_path_over_another_directory_is_recorded_without_it() {
    let sandbox = Sandbox::new().layers("");
    let manifest = sandbox.role().join("m.toml");
    for path in [manifest.to_str().unwrap(), "./m.toml", "m.toml"] {
        let _ = std::fs::remove_dir_all(sandbox.container());
        sandbox.template([path]).exits(0);
        assert_eq!(sandbox.record()["manifest"]["path"], manifest.to_str().unwrap(), "{path}");
    }
}

#[test]
fn an_upstream_that_is_this_program_again_leaves_its_record_within() {
    let sandbox = Sandbox::new();
    let program = sandbox.path("templates/lxc-layered-template");
    std::fs::copy(sandbox.program_path(), &program).unwrap();
    let sandbox = sandbox.layers("post = \"echo inner >>trace\"\n").file(
        "outer.toml",
        "manifest = 1\n[[layer]]\nname = \"whole\"\ntemplate = \"layered-template\"\n\
         args = { manifest = \"m.toml\" }\npost = \"echo outer >>trace\"\n",
    );
    sandbox.template(["outer.toml"]).exits(0);
    assert_eq!(sandbox.trace(), "inner\nouter\n");
    let record = sandbox.record();
    assert_eq!(record["layers"][0]["name"], "whole");
    assert_eq!(record["upstream"]["record"]["layers"][0]["name"], "os");
}

#[test]
fn a_manifest_that_comes_to_itself_ends() {
    let sandbox = Sandbox::new();
    let program = sandbox.path("templates/lxc-layered-template");
    std::fs::copy(sandbox.program_path(), &program).unwrap();
    let sandbox = sandbox.manifest(
        "manifest = 1\n[[layer]]\nname = \"me\"\ntemplate = \"layered-template\"\n\
         args = { manifest = \"m.toml\" }\n",
    );
    sandbox.chain().exits(4).mentions("is this program again, 16 levels deep");
}
