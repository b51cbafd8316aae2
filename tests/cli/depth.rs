//! The longest chain: a deep nest is walked by recursion, and must fit the stack.

use std::fmt::Write;

use crate::sandbox::Sandbox;

/// As many layers as a manifest can have.
const MOST: usize = 2048;

fn deep(layers: usize) -> Sandbox {
    let mut rest = String::from("finally = \"echo os >>trace\"\n");
    for number in 1..layers {
        let _ = write!(rest, "[[layer]]\nname = \"l{number}\"\n");
        if number % 512 == 0 {
            let _ = writeln!(rest, "pre = \"echo {number} >>trace\"");
        }
    }
    Sandbox::new().layers(&rest)
}

#[test]
fn the_longest_chain_is_planned_and_run() {
    let sandbox = deep(MOST);
    for format in ["text", "json"] {
        let ran = sandbox.run(["plan", "m.toml", "--format", format]);
        ran.exits(0).says("");
        assert!(ran.stdout().contains("lxc-fake"), "{format}");
    }
    sandbox.run(["validate", "m.toml"]).exits(0);
    sandbox.chain().exits(0);
    assert_eq!(sandbox.trace(), "1536\n1024\n512\nos\n");
    assert_eq!(sandbox.record()["layers"].as_array().unwrap().len(), MOST);
}

#[test]
fn it_fits_half_of_the_usual_stack() {
    let sandbox = deep(MOST);
    let run = |words: &[&str]| {
        let mut command = sandbox.within();
        command.args(words);
        let mut limited = sandbox.command("/bin/sh");
        limited.args(["-c", "ulimit -s 4096; exec \"$@\"", "sh"]).arg(command.get_program());
        limited.args(command.get_args());
        sandbox.ran(limited)
    };
    run(&["plan", "m.toml", "--format", "json"]).exits(0);
    run(&["validate", "m.toml"]).exits(0);
    sandbox.shell();
    let three = sandbox.three();
    let mut words: Vec<&str> = three.iter().map(String::as_str).collect();
    words.push("m.toml");
    run(&words).exits(0);
}

#[test]
fn one_more_is_refused() {
    deep(MOST + 1)
        .run(["plan", "m.toml"])
        .exits(2)
        .mentions("error: 2049 layers, and a chain has at most 2048\n");
}
