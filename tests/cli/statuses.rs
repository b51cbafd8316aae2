//! Exit statuses.

use crate::sandbox::Sandbox;

#[test]
fn every_way_to_fail_has_its_status() {
    let wrong = "sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n";
    let file = "[[layer.file]]\npath = \"/etc/x/y\"\ncontent = \"\"\n";
    let fetched =
        format!("[[layer.file]]\npath = \"/etc/z\"\nurl = \"http://127.0.0.1:9/x\"\n{wrong}");
    let table = [
        (fetched.as_str(), 5, "could not fetch http://127.0.0.1:9/x: it ended with status "),
        ("", 0, ""),
        ("nonsense = 1\n", 2, "error: unknown key `nonsense` in a layer"),
        ("pre = \"exit 9\"\n", 3, "error: `pre` of layer `os` ended with status 9"),
        (wrong, 4, "error: template `fake` of layer `os` is not the one that the manifest pins"),
        ("args = [\"fail\"]\n", 4, "error: template `fake` of layer `os` ended with status 77"),
        ("args = [\"die\"]\n", 4, "error: template `fake` of layer `os` was ended by SIGKILL"),
        (
            file,
            5,
            "error: file `/etc/x/y` of layer `os` could not be dropped: something on the way",
        ),
        ("post = \"exit 9\"\n", 6, "error: `post` of layer `os` ended with status 9"),
        ("finally = \"exit 9\"\n", 6, "error: `finally` of layer `os` ended with status 9"),
        ("check = \"exit 9\"\n", 7, "error: `check` of layer `os` ended with status 9"),
        (
            "post = { run = \":\", shell = \"/no/shell\" }\n",
            6,
            "`os` could not be run: `/no/shell` is not on this host",
        ),
    ];
    for (rest, status, part) in table {
        let sandbox = Sandbox::new()
            .upstream(
                "for word; do case $word in fail) exit 77 ;; die) kill -KILL $$ ;; esac; done\n\
                 mkdir \"$rootfs/etc\"; touch \"$rootfs/etc/x\"",
            )
            .layers(rest);
        sandbox.chain().exits(status).prints("").mentions(part);
        let recorded = sandbox.container().join("layered-template.json").exists();
        assert_eq!(recorded, status == 0, "{rest}");
    }
}

#[test]
fn a_wrong_pin_runs_nothing_and_is_told_by_plan() {
    let sandbox = Sandbox::new().upstream("touch \"$path/ran\"").layers(
        "sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
         pre = \"echo pre >>trace\"\nfinally = \"echo finally >>trace\"\n",
    );
    sandbox
        .chain()
        .exits(4)
        .mentions("`[DIR]/templates/lxc-fake` has the digest sha256:[DIGEST]")
        .mentions("--> m.toml:6")
        .mentions("hint: review what has changed in it, then pin the new one");
    assert!(!sandbox.container().join("ran").exists());
    assert_eq!(sandbox.trace(), "");
    let plan = sandbox.run(["plan", "m.toml"]);
    plan.exits(4);
    assert!(plan.stdout().contains("which is NOT what the manifest pins"), "{}", plan.stdout());
}

#[test]
fn the_right_pin_is_recorded() {
    let sandbox = Sandbox::new().layers("");
    sandbox.chain().exits(0);
    assert_eq!(sandbox.record()["upstream"]["pinned"], false);
    let digest = sandbox.record()["upstream"]["digest"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(sandbox.container()).unwrap();
    let sandbox = sandbox.layers(&format!("sha256 = \"{digest}\"\n"));
    sandbox.chain().exits(0);
    assert_eq!(sandbox.record()["upstream"]["pinned"], true);
}

#[test]
fn a_command_line_that_cannot_be_used_has_its_own() {
    let sandbox = Sandbox::new().layers("");
    sandbox.run([""; 0]).exits(2);
    sandbox.run(["frobnicate"]).exits(2);
    sandbox.run(["plan"]).exits(2);
    sandbox
        .run(["plan", "m.toml", "--name", "a/b"])
        .exits(2)
        .says("error: `a/b` cannot be the name of a container: it contains a `/`\n");
    sandbox.run(["plan", "m.toml", "--", "a\tb"]).exits(2);
    sandbox.run(["plan", "m.toml", "--manifest", "m.toml"]).exits(2);
    sandbox.run(["create", "m.toml"]).exits(2);
    sandbox.run(["--help"]).exits(0).says("");
    sandbox.run(["--version"]).exits(0).prints(concat!(
        "layered-template ",
        env!("CARGO_PKG_VERSION"),
        "\n"
    ));
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_leaves_is_none() {
    let sandbox = Sandbox::new().layers("");
    let mut command = sandbox.command("/bin/sh");
    let program = sandbox.program_path();
    command.args(["-c", "\"$0\" plan m.toml >/dev/full"]).arg(&program);
    let said = "error: standard output: No space left on device\n";
    sandbox.ran(command).exits(1).says(said);
    sandbox.run(["build", "m.toml"]).exits(0);
    for words in ["--help", "--version", "status", "store list", "store verify", "store gc"] {
        let mut command = sandbox.command("/bin/sh");
        command.args(["-c", &format!("\"$0\" {words} >/dev/full")]).arg(&program);
        let ran = sandbox.ran(command);
        ran.exits(1).mentions(said);
        assert!(!ran.stderr().contains("the store"), "{words}: {}", ran.stderr());
    }
    let mut command = sandbox.command("/bin/bash");
    command.args(["-c", "\"$0\" plan m.toml | true; exit ${PIPESTATUS[0]}"]).arg(&program);
    sandbox.ran(command).exits(0).says("");
}
