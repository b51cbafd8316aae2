//! Host steps: their environment, directory, input and output.

use std::time::{Duration, Instant};

use crate::requirement::{root, skip};
use crate::sandbox::Sandbox;

#[test]
fn a_step_knows_its_container_and_its_layer() {
    let sandbox = Sandbox::new().env("CALLER", "mine").env("port", "of the caller").manifest(
        "manifest = 1\n[vars]\nport = 8080\non = true\ntext = \"a 'b' $c\"\n\n[[layer]]\n\
         name = \"os\"\ntemplate = \"fake\"\nenv = { OWN = \"{{ port }}\", CALLER = { pass = true } }\n\
         post = 'env | sort | grep -v \"^_=\" >trace'\n",
    );
    sandbox.chain().exits(0);
    let expected = "CALLER=mine
HOME=[DIR]/home
LAYERED_TEMPLATE_STATE=[DIR]/state
LAYERED_TEMPLATE_STORE=[DIR]/store
LAYER_DIR=[DIR]/role
LAYER_NAME=os
LXC_NAME=web1
LXC_PATH=[DIR]/lxc/web1
LXC_ROOTFS=[DIR]/lxc/web1/rootfs
OWN=8080
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PWD=[DIR]/role
UPSTREAM_TEMPLATE_DIR=[DIR]/templates
on=true
port=8080
text=a 'b' $c
";
    assert_eq!(sandbox.redacted(&sandbox.trace()), expected);
}

#[test]
fn the_mapped_pair_is_that_of_this_call_and_no_other() {
    let sandbox = Sandbox::new()
        .env("LXC_MAPPED_UID", "1")
        .layers("post = 'echo ${LXC_MAPPED_UID-unset} ${LXC_MAPPED_GID-unset} >>trace'\n");
    sandbox.chain().exits(0);
    sandbox.template("m.toml --mapped-uid 0 --mapped-gid 0".split(' ')).exits(4);
    std::fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.template("m.toml --mapped-uid 0 --mapped-gid 0".split(' ')).exits(0);
    assert_eq!(sandbox.trace(), "unset unset\n0 0\n");
}

#[test]
fn a_step_runs_where_its_manifest_is_with_nothing_to_read() {
    let sandbox = Sandbox::new()
        .umask(0o077)
        .file("deep/m.toml", "")
        .file("deep/s.sh", "#!/bin/sh\necho script \"$PWD\" $(umask) \"$#\" >>trace\n")
        .file("deep/plain", "echo plain >>trace\n");
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\npost = [\n\
                'echo \"$PWD\" $(umask) $(wc -c) >>trace',\n{ script = \"s.sh\" },\n\
                { script = \"plain\" },\n{ run = 'echo ${BASH_VERSION:+bash} >>trace', shell = \"/bin/bash\" },\n]\n";
    let sandbox = sandbox.file("deep/m.toml", text);
    sandbox.template(["--manifest", "deep/m.toml"]).exits(0);
    let trace = std::fs::read_to_string(sandbox.role().join("deep/trace")).unwrap();
    let expected = "[DIR]/role/deep 0022 0\nscript [DIR]/role/deep 0022 0\nplain\nbash\n";
    assert_eq!(sandbox.redacted(&trace), expected);
}

#[test]
fn the_shell_ends_at_the_first_failure_and_at_an_unset_variable() {
    for step in ["false; touch ran", "echo $unset; touch ran"] {
        let sandbox = Sandbox::new().layers(&format!("post = '{step}'\n"));
        sandbox.chain().exits(6);
        assert!(!sandbox.role().join("ran").exists(), "{step}");
    }
}

#[test]
fn values_are_never_parsed_by_a_shell() {
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[vars]\nvalue = \"$(touch pwned); `touch pwned` '\\\"\"\n[[layer]]\n\
         name = \"os\"\ntemplate = \"fake\"\nargs = { x = \"{{ value }}\" }\n\
         post = 'printf \"%s\" \"$value\" >trace'\n",
    );
    sandbox.chain().exits(0);
    assert_eq!(sandbox.trace(), "$(touch pwned); `touch pwned` '\"");
    assert!(!sandbox.role().join("pwned").exists());
}

#[test]
fn finally_knows_the_status_to_come() {
    for (rest, status) in [("", 0), ("post = \"exit 9\"\n", 6), ("check = \"false\"\n", 7)] {
        let sandbox =
            Sandbox::new().layers(&format!("{rest}finally = 'echo $LAYER_STATUS >>trace'\n"));
        sandbox.chain().exits(status);
        assert_eq!(sandbox.trace(), format!("{status}\n"));
    }
}

#[test]
fn a_finally_that_fails_hides_no_failure_and_no_other_finally() {
    let sandbox = Sandbox::new()
        .layers("pre = \"exit 5\"\nfinally = [\"exit 1\", 'echo $LAYER_STATUS >>trace']\n");
    sandbox
        .chain()
        .exits(3)
        .mentions("warning: `finally` of layer `os` ended with status 1 as well")
        .mentions("error: `pre` of layer `os` ended with status 5");
    assert_eq!(sandbox.trace(), "3\n");
}

#[test]
fn output_longer_than_a_pipe_arrives_whole() {
    let sandbox = Sandbox::new().layers("post = \"seq 1 200000; echo end >&2\"\n");
    let ran = sandbox.chain();
    ran.exits(0);
    let said = ran.stderr();
    assert!(said.contains("\n  os| 1\n  os| 2\n"), "the start is missing");
    assert!(said.contains("\n  os| 200000\n  os| end\n"), "the end is missing");
    assert_eq!(said.lines().filter(|line| line.starts_with("  os| ")).count(), 200_001);
}

#[test]
fn what_a_step_leaves_behind_holds_up_nothing() {
    let sandbox = Sandbox::new()
        .upstream("sleep 60 & mkdir \"$rootfs/etc\"")
        .layers("post = [\"sleep 60 &\", \"setsid sleep 60 & echo done >>trace\"]\n");
    let started = Instant::now();
    sandbox.chain().exits(0);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(sandbox.trace(), "done\n");
    assert_eq!(crate::processes::within(&sandbox), Vec::<String>::new());
}

#[test]
fn a_failure_tells_what_a_person_needs() {
    let sandbox =
        Sandbox::new().layers("\n[[layer]]\nname = \"app\"\npost = '''\necho one\nexit 4\n'''\n");
    sandbox.chain().exits(6).says(
        "os: template fake
os: copying the stored tree
app: post: echo one
  app| one
error: `post` of layer `app` ended with status 4
  --> m.toml:9
  it printed last:
    | one
  command: /bin/sh -eu -c $'echo one\\nexit 4\\n'
  log: [DIR]/state/web1-[RUN]/log

hint: with `--keep-failed` the rootfs stays, for `layered-template shell` to enter it
",
    );
    let run = sandbox.left().remove(0);
    let log = std::fs::read_to_string(run.join("log")).unwrap();
    // When, and by whom, is told before, and when it ended behind.
    let (_, log) = log.split_once("\n\n").unwrap();
    let (log, end) = log.split_at(log.trim_end().rfind('\n').unwrap() + 1);
    assert!(end.contains("Z the run ended with status 6 after "), "{end}");
    let log: String = log.split_inclusive('\n').map(untimed).collect();
    let expected = "template of layer `os`: misses: nothing is stored of it
template `fake` of layer `os` (m.toml:5): fake
template of layer `os`: stored in [TIME AND NAME]
layer `os`: copying the stored tree
`post` of layer `app` (m.toml:9): echo one
exit 4

one
`post` of layer `app` ended with status 4
command: /bin/sh -eu -c $'echo one\\nexit 4\\n'
";
    let stored = log.find("stored in ").unwrap() + "stored in ".len();
    let line = log[stored..].lines().next().unwrap();
    assert!(line.contains(" s as "), "{line}");
    assert_eq!(log.replacen(line, "[TIME AND NAME]", 1), expected);
}

/// Takes the time from the beginning of a log's line.
fn untimed(line: &str) -> &str {
    match line.split_once("Z ") {
        Some((time, rest)) if time.len() == "2026-01-01T00:00:00.000".len() => rest,
        _ => line,
    }
}

#[test]
fn nothing_that_is_printed_drives_the_terminal_from_a_failure() {
    let sandbox = Sandbox::new().layers("post = 'printf \"\\033[2Jx\\n\"; exit 1'\n");
    sandbox.chain().exits(6).mentions("    | x\n");
}

#[test]
fn the_failed_rootfs_is_kept_when_asked() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; echo x >\"$rootfs/etc/motd\"")
        .layers("check = \"false\"\n");
    let ran = sandbox.template(["m.toml", "--keep-failed"]);
    ran.exits(7)
        .mentions("  rootfs: [DIR]/state/web1-[RUN]/rootfs\n")
        .mentions("hint: to look around: `layered-template shell [DIR]/state/web1-[RUN]`");
    let run = sandbox.left().remove(0);
    assert_eq!(std::fs::read_to_string(run.join("rootfs/etc/motd")).unwrap(), "x\n");
}

#[test]
fn a_run_that_succeeds_keeps_no_log() {
    let sandbox = Sandbox::new().layers("");
    sandbox.chain().exits(0).says("os: template fake\nos: copying the stored tree\n");
    assert!(sandbox.left().is_empty());
}

#[test]
fn a_run_is_told_as_json_lines() {
    let sandbox = Sandbox::new().layers("post = \"echo hi\"\ncheck = \"exit 3\"\n");
    let ran = sandbox.template(["m.toml", "--log-format=json"]);
    ran.exits(7).prints("");
    let events: Vec<serde_json::Value> = String::from_utf8_lossy(&ran.output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    let names: Vec<_> = events
        .iter()
        .map(|event| format!("{} {}", event["event"].as_str().unwrap(), event["what"]))
        .collect();
    let expected = [
        "act null",
        "begun \"template\"",
        "ended \"template\"",
        "act null",
        "begun \"store\"",
        "ended \"store\"",
        "act null",
        "act null",
        "begun \"post\"",
        "output \"post\"",
        "ended \"post\"",
        "begun \"check\"",
        "ended \"check\"",
        "failed null",
    ];
    assert_eq!(names, expected);
    assert_eq!(events[13]["status"], 7);
}

#[test]
fn a_reusable_layer_s_steps_run_where_its_file_is() {
    let sandbox = Sandbox::new()
        .file(
            "layers/here.toml",
            "[layer]\npost = 'test \"$LAYER_DIR\" = \"$PWD\"; basename \"$PWD\"'\n",
        )
        .layers("[[layer]]\nuse = \"here\"\n");
    sandbox.template(["m.toml"]).exits(0).mentions("here| layers\n");
}

#[test]
fn a_secret_is_known_to_the_layer_that_lists_it_alone() {
    let role = "manifest = 1
[vars]
token = { secret = true, env = \"SITE_TOKEN\" }

[[layer]]
name = \"os\"
template = \"fake\"
post = 'echo os ${token-unset} ${SITE_TOKEN-unset} >>trace'

[[layer]]
name = \"app\"
secrets = [\"token\"]
post = 'test ${#token} = 14; echo app ${SITE_TOKEN-unset} $token; echo done >>trace'
";
    let sandbox = Sandbox::new().manifest(role).env("SITE_TOKEN", "hunter2hunter2");
    let ran = sandbox.chain();
    ran.exits(0);
    assert_eq!(sandbox.trace(), "os unset unset\ndone\n");
    assert!(ran.stderr().contains("app unset [secret token]"), "{}", ran.stderr());
    assert!(!ran.stderr().contains("hunter2"), "{}", ran.stderr());
}

/// The number of the capability to raise limits. Source: `linux/capability.h`.
const CAP_SYS_RESOURCE: u32 = 24;

/// Where a caller may have no core at all, steps inside run all the same, and crash without one.
#[test]
fn a_step_inside_runs_whatever_core_its_caller_may_leave() {
    if !root() {
        return;
    }
    // Root of the host raises its limit, if it is all of root.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let may_raise = u64::from_str_radix(held, 16).unwrap() & 1 << CAP_SYS_RESOURCE != 0;
    for (user, limit, expected) in [
        ("root", "0", if may_raise { "1" } else { "0" }),
        ("root", "0:", "1"),
        ("root", "unlimited", "1"),
        ("nobody", "0", "0"),
        ("nobody", "unlimited", "1"),
    ] {
        let sandbox = Sandbox::new().manifest(
            "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\npost = { in = \"rootfs\", run = \"grep \
             ^Max.core /proc/self/limits\" }\n",
        );
        let sandbox = if user == "nobody" { sandbox.nobody() } else { sandbox };
        if user == "nobody" {
            let mut chown = std::process::Command::new("chown");
            chown.args(["-R", "65534:65534"]).arg(sandbox.path(""));
            assert!(chown.status().unwrap().success());
        }
        let mut command = sandbox.command("prlimit");
        command
            .args([&format!("--core={limit}"), "--"])
            .arg(sandbox.program_path())
            .args(["create", "m.toml", "--name=web1", "--storage=none", "--lxcpath"])
            .arg(sandbox.path("lxc"));
        let ran = sandbox.ran(command);
        if ran.stderr().contains("no user namespace can be entered") {
            skip("this host lets no ordinary user make a user namespace");
            return;
        }
        let stderr = ran.stderr();
        let line = stderr.lines().find(|line| line.contains("Max core file size"));
        let words: Vec<_> = line.unwrap_or(&stderr).split_whitespace().collect();
        assert_eq!(
            words[words.len() - 3..],
            [expected, expected, "bytes"],
            "{user} {limit}: {stderr}"
        );
        ran.exits(0);
    }
}
