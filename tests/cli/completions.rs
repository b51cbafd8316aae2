//! Completions, as shells show them.

use std::path::Path;
use std::process::Output;

use crate::requirement::installed;
use crate::sandbox::{NAME, Sandbox};

/// A directory with two manifests, a container made from one, and what is stored of it.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new()
        .manifest(
            "manifest = 1\n[vars]\nport = { default = 80, description = \"where it serves\" }\n\
             debug = false\nsite = { secret = true, env = \"SITE\" }\n\
             [[layer]]\nname = \"os\"\ntemplate = \"fake\"\n",
        )
        .file("website.toml", "manifest = 1\nextends = \"m.toml\"\n[vars]\nzone = \"UTC\"\n")
        .file("website.txt", "");
    sandbox.installed("layered-template");
    sandbox.create([""; 0]).exits(0);
    sandbox
}

fn typed(sandbox: &Sandbox, shell: &str, line: &str, expected: &str) -> Output {
    let mut python = sandbox.command("python3");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/completions.py"));
    python.args([shell.as_ref(), sandbox.path("layered-template").as_os_str()]);
    python.args([line, expected]);
    python.output().unwrap()
}

fn completes(shell: &str) {
    if !installed("python3") || !installed(shell) {
        return;
    }
    let sandbox = filled();
    let lxcpath = sandbox.path("lxc").display().to_string();
    // What tests compare has no names of entries.
    let mut list = sandbox.command(sandbox.program_path());
    let stored = list.args(["store", "list", "--format", "json"]).output().unwrap().stdout;
    let stored = stored.split(|byte| *byte == b'\n').next().unwrap();
    let stored: serde_json::Value = serde_json::from_slice(stored).unwrap();
    let entry = stored["entry"].as_str().unwrap().to_owned();
    for (line, expected) in [
        ("vali", "validate"),
        ("store ver", "verify"),
        ("plan webs", "website.toml"),
        ("plan --storage ov", "overlay"),
        ("plan website.toml --set po", "port="),
        ("plan website.toml --set zo", "zone="),
        ("plan m.toml --set de", "debug="),
        ("layer show apt", "apt-packages"),
        (&format!("diff -P {lxcpath} {}", &NAME[..2]), NAME),
        (&format!("store verify {}", &entry[..2]), &entry[..6]),
        ("plan --storage=ov", "overlay"),
        ("runs show --format=js", "json"),
    ] {
        let output = typed(&sandbox, shell, &format!("layered-template {line}"), expected);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shell}: {line}: {said}");
    }
}

#[test]
fn bash_completes_what_is_typed() {
    completes("bash");
}

/// Returns what bash is offered for words that it has made of a line.
fn offered(sandbox: &Sandbox, words: &[&str]) -> String {
    let typed = words.join(" ").replace(" = ", "=").replace(" =", "=");
    let script = format!(
        "source <(\"$0\" completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD={}; COMP_TYPE=9\n\
         COMP_LINE='{typed}'; COMP_POINT={}\n\
         _clap_complete_layered_template x '{}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1,
        typed.len(),
        words.last().unwrap().trim_start_matches('='),
    );
    let mut bash = sandbox.command("bash");
    bash.args(["-c", &script]).arg(sandbox.path("layered-template")).args(words);
    let directory = sandbox.path("").display().to_string();
    bash.env("PATH", format!("{directory}:/usr/bin:/bin"));
    sandbox.ran(bash).stdout()
}

#[test]
fn what_stands_behind_an_equals_sign_is_completed_as_a_value() {
    if !installed("bash") {
        return;
    }
    let sandbox = filled();
    for (words, expected) in [
        (&["layered-template", "plan", "--storage", "=", "o"][..], "overlay\n"),
        (&["layered-template", "plan", "--storage", "="], "copy\noverlay\nnone\n"),
        (&["layered-template", "plan", "m.toml", "--set", "debug", "="], "\n"),
        (&["layered-template", "plan", "m.toml", "--set", "debug", "=", "m"], "\n"),
        (&["layered-template", "runs", "show", ""], "1\n"),
    ] {
        let found = offered(&sandbox, words);
        // Options follow what a word can be.
        let found: String = found
            .lines()
            .filter(|line| !line.starts_with('-'))
            .map(|line| line.to_owned() + "\n")
            .collect();
        assert_eq!(found, expected, "{words:?}");
    }
}

#[test]
fn zsh_completes_what_is_typed() {
    completes("zsh");
}

#[test]
fn fish_completes_what_is_typed() {
    completes("fish");
}

/// Whoever asks gets an answer, and none of what goes wrong.
#[test]
fn what_cannot_be_read_completes_nothing() {
    let sandbox = Sandbox::new().file("broken.toml", "manifest = [\n");
    for line in [&["plan", "broken.toml", "--set", ""][..], &["show", "-P", "no", "w"]] {
        let mut command = sandbox.command(sandbox.program_path());
        command.env("LAYERED_TEMPLATE_COMPLETE", "fish").arg("--").arg("layered-template");
        command.args(line);
        sandbox.ran(command).exits(0).says("").prints("");
    }
}

/// A variable that is left over keeps no subcommand from its work.
#[test]
fn only_the_words_of_a_shell_are_completed() {
    let sandbox = filled();
    let ask = |shell: &str, words: &[&str]| {
        let mut command = sandbox.command(sandbox.program_path());
        command.env("LAYERED_TEMPLATE_COMPLETE", shell).args(words);
        sandbox.ran(command)
    };
    for shell in ["bash", "1", "no-shell"] {
        ask(shell, &["validate", "gone.toml"]).exits(1).mentions("gone.toml");
    }
    ask("no-shell", &["--", "layered-template", "vali"])
        .exits(2)
        .mentions("names no known shell: no-shell")
        .mentions("bash, ");
    ask("fish", &["--", "layered-template", "vali"]).exits(0).shows("validate");
}
