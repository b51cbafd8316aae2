//! Calls that only ask: help and list. No step runs, and nothing is made.

use crate::listing;
use crate::sandbox::Sandbox;

/// A template that makes nothing where it is asked for help or a list, however that is spelled.
const HELPFUL: &str = "
for word in \"$@\"; do
  case $word in
    -h | --help | --hel | -lh) echo HELP; exit 0 ;;
    -l | --list) echo LIST; exit 0 ;;
  esac
done
mkdir \"$rootfs/etc\"";

const ROLE: &str = "manifest = 1
description = \"Front end\"
[vars]
port = 8080
build = { from = \"app\" }
[[layer]]
name = \"os\"
template = \"fake\"
[[layer]]
name = \"app\"
pre = \"touch ran; echo build=1 >>$LAYER_ENV\"
finally = \"touch ran\"
";

const HELP: &str = "layered-template makes a container from a manifest: ordered layers around an LXC\n\
                    template.\n";

fn role() -> Sandbox {
    Sandbox::new().upstream(HELPFUL).manifest(ROLE)
}

#[test]
fn help_shows_the_program_the_role_and_the_upstream_s_own() {
    let sandbox = role();
    let ran = sandbox.template(["m.toml", "-h"]);
    ran.exits(9);
    let shown = ran.stdout();
    assert!(shown.starts_with(HELP), "{shown}");
    let end = "
m.toml: Front end

Its variables:
  port = 8080
  build (decided by pre of app)

Its layers, the outermost first:
  app
  os

The help of its template, fake:

HELP
";
    assert!(shown.ends_with(end), "{shown}");
    assert_eq!(ran.stderr(), "");
}

#[test]
fn a_call_that_asks_leaves_no_trace() {
    for (line, word) in
        [("m.toml --help", "HELP"), ("m.toml --list", "LIST"), ("m.toml -l", "LIST")]
    {
        let sandbox = role();
        sandbox.shell();
        let before = listing::of(&sandbox.path(""));
        let ran = sandbox.template(line.split(' '));
        ran.exits(9);
        assert!(ran.stdout().ends_with(&format!("{word}\n")), "{}", ran.stdout());
        assert_eq!(listing::of(&sandbox.path("")), before, "{line}");
    }
}

#[test]
fn without_a_path_help_succeeds_and_leaves_nothing_in_the_temporary_directory() {
    let sandbox = role();
    std::os::unix::fs::symlink(sandbox.program_path(), sandbox.path("lxc-layered-template"))
        .unwrap();
    let before = listing::of(&sandbox.path(""));
    for (line, end) in
        [("-h", ""), ("--help", ""), ("m.toml -h", "HELP\n"), ("m.toml -l", "LIST\n")]
    {
        let mut command = sandbox.command(sandbox.path("lxc-layered-template"));
        command.args(line.split(' '));
        let ran = sandbox.ran(command);
        ran.exits(0).says("");
        assert!(ran.stdout().ends_with(end), "{line}: {}", ran.stdout());
        assert_eq!(line.contains("-l"), !ran.stdout().starts_with(HELP), "{line}");
    }
    assert_eq!(listing::of(&sandbox.path("")), before);
}

#[test]
fn help_without_a_manifest_is_the_program_s_own() {
    let sandbox = role();
    let ran = sandbox.template(["-h"]);
    ran.exits(9);
    assert!(ran.stdout().starts_with(HELP));
    sandbox.template([""; 0]).exits(2).prints("").mentions("no manifest is given");
}

#[test]
fn a_value_that_looks_like_a_request_is_none() {
    // For a template that nothing is known of, a word behind an option may be its value.
    for line in ["m.toml --title -h", "m.toml -- -h", "m.toml -d --list"] {
        let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").manifest(ROLE);
        sandbox.template(line.split(' ')).exits(0);
        assert!(sandbox.role().join("ran").exists(), "{line}");
    }
}

#[test]
fn list_is_a_word_of_lxc_download_alone() {
    let sandbox = Sandbox::new()
        .manifest(&ROLE.replace("\"fake\"", "\"busybox\""))
        .program("templates/lxc-busybox", "#!/bin/sh\nmkdir \"${3#*=}/etc\"\n");
    sandbox.template(["m.toml", "-l"]).exits(0);
    let sandbox = Sandbox::new().manifest(&ROLE.replace("\"fake\"", "\"download\"")).program(
        "templates/lxc-download",
        "#!/bin/sh\nfor w; do [ $w != --list ] || echo LIST; done\n",
    );
    sandbox.template(["m.toml", "-d", "-h", "--list"]).exits(9).prints("LIST\n");
    assert!(!sandbox.role().join("ran").exists());
}

#[test]
fn other_spellings_are_judged_by_their_effect() {
    for line in ["m.toml --hel", "m.toml -lh", "m.toml -x -h"] {
        let sandbox = role();
        sandbox.shell();
        std::fs::create_dir(sandbox.rootfs().join("lost+found")).unwrap();
        sandbox.template(line.split(' ')).exits(9).mentions("HELP");
        assert!(!sandbox.container().join("layered-template.json").exists());
    }
}

#[test]
fn a_template_that_does_nothing_unasked_is_not_asking() {
    let sandbox = Sandbox::new().upstream(":").layers("");
    sandbox.chain().exits(0);
    // Nor is one that changes the config alone.
    let sandbox = Sandbox::new().upstream("echo '# x' >>\"$path/config\"").layers("");
    sandbox.template(["m.toml", "--some"]).exits(0);
}

#[test]
fn a_template_that_is_not_the_pinned_one_is_not_asked() {
    let sandbox = role().upstream("touch \"$path/ran\"; echo HELP");
    let text = std::fs::read_to_string(sandbox.role().join("m.toml")).unwrap();
    let pin = format!("template = \"fake\"\nsha256 = \"{}\"\n", "0".repeat(64));
    let sandbox = sandbox.manifest(&text.replace("template = \"fake\"\n", &pin));
    let ran = sandbox.template(["m.toml", "-h"]);
    ran.exits(4).mentions("error: template `fake` is not the one that the manifest pins");
    assert!(ran.stdout().contains("m.toml: Front end"));
    assert!(!sandbox.container().join("ran").exists());
}

#[test]
fn a_manifest_that_comes_to_itself_is_asked_so_often_and_no_more() {
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[[layer]]\nname = \"me\"\ntemplate = \"layered-template\"\n\
         args = { manifest = \"m.toml\" }\n",
    );
    let program = sandbox.path("templates/lxc-layered-template");
    std::fs::copy(sandbox.program_path(), program).unwrap();
    let ran = sandbox.template(["m.toml", "-h"]);
    ran.exits(9).mentions("is this program again, 16 levels deep");
    assert_eq!(ran.stdout().matches(HELP).count(), 17);
}
