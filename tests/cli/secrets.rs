//! Secrets in what a run shows and keeps of its steps' output.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::requirement::{root, skip};
use crate::sandbox::Sandbox;

/// A secret that no other part of a run's output is like.
const TOKEN: &str = "S3cr3tT0kenValueXYZ";

const STORAGES: [&str; 3] = ["none", "copy", "overlay"];

/// Returns a role whose last step is told `token` and `key`, runs `script`, and fails.
fn failing(script: &str) -> Sandbox {
    let key: String =
        (0..48_000_u32).map(|number| char::from(b'!' + (number % 89) as u8)).collect();
    assert_eq!(key.len(), 48_000);
    Sandbox::new().file("key", key).env("SITE_TOKEN", TOKEN).manifest(&format!(
        "manifest = 1
[vars]
token = {{ secret = true, env = \"SITE_TOKEN\" }}
key = {{ secret = true, file = \"key\" }}

[[layer]]
name = \"os\"
template = \"fake\"

[[layer]]
name = \"app\"
secrets = [\"token\", \"key\"]
post = '''
x() {{ head -c $1 /dev/zero | tr '\\0' x; }}
{script}
exit 3
'''
"
    ))
}

/// Returns everything that a failed run has shown and kept: what it printed, the texts of its events
/// joined, and its log.
fn told(sandbox: &Sandbox, format: &str, storage: &str, status: i32) -> [Vec<u8>; 3] {
    let ran = sandbox.create([format!("--log-format={format}"), format!("--storage={storage}")]);
    ran.exits(status);
    let mut joined = Vec::new();
    if format == "json" {
        for line in String::from_utf8_lossy(&ran.output.stderr).lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let tail = event["tail"].as_str().unwrap_or_default();
            joined.extend(event["text"].as_str().unwrap_or(tail).bytes());
        }
    }
    let logs = sandbox.left().into_iter().map(|run| fs::read(run.join("log")).unwrap());
    let kept: Vec<_> = logs.chain([fs::read(sandbox.history()).unwrap()]).collect();
    [ran.output.stderr, joined, kept.concat()]
}

fn holds(text: &[u8], part: &str) -> usize {
    text.windows(part.len()).filter(|window| *window == part.as_bytes()).count()
}

/// Asserts that neither the secrets nor their halves are anywhere in what a run tells.
fn gives_nothing_away(script: &str, label: &str) {
    for storage in STORAGES {
        for format in ["text", "json"] {
            let sandbox = failing(script);
            let told = told(&sandbox, format, storage, 6);
            let key = fs::read_to_string(sandbox.role().join("key")).unwrap();
            for (place, text) in ["shown", "events", "log"].into_iter().zip(&told) {
                for part in [TOKEN, &TOKEN[..9], &TOKEN[10..], &key[..9], &key[47_991..]] {
                    assert_eq!(holds(text, part), 0, "{part} is {place}: {storage} {format}");
                }
                let expected = place != "events" || format == "json";
                assert_eq!(holds(text, label) > 0, expected, "{label} {place} {storage} {format}");
            }
        }
    }
}

#[test]
fn a_secret_across_the_end_of_64_kib_of_a_line_is_not_shown() {
    gives_nothing_away(
        "x 65500; sleep .2; y=$(x 60); printf '%s%s' $y ${token%?}; sleep .2\n\
         printf '%s\\n' ${token#${token%?}}",
        "[secret token]",
    );
}

#[test]
fn a_secret_at_the_end_of_a_line_of_128_kib_is_not_shown() {
    gives_nothing_away(
        "{ x 131062; printf '%s\\n' $token; } | dd bs=256k iflag=fullblock status=none",
        "[secret token]",
    );
}

#[test]
fn a_long_secret_without_a_line_feed_is_not_shown() {
    gives_nothing_away(
        "printf %s \"$key\"; sleep .1; printf %s \"$key\" | head -c 24000; sleep .1\n\
         printf %s \"$key\" | tail -c 24000",
        "[secret key]",
    );
}

#[test]
fn a_secret_that_is_written_byte_by_byte_between_returns_is_not_shown() {
    gives_nothing_away(
        "printf 'at 1%%\\r'; for letter in $(echo $token | sed 's/./& /g'); do\n\
         printf %s $letter; sleep .01; done; printf '\\rat 2%%\\r\\377\\200'",
        "[secret token]",
    );
}

/// A message about what a step did may quote what it was told.
#[test]
fn messages_do_not_quote_a_secret() {
    for format in ["text", "json"] {
        let sandbox = Sandbox::new().env("SITE_TOKEN", TOKEN).manifest(
            "manifest = 1
[vars]
token = { secret = true, env = \"SITE_TOKEN\" }
build = { from = \"app\" }

[[layer]]
name = \"os\"
template = \"fake\"

[[layer]]
name = \"app\"
secrets = [\"token\"]
pre = 'echo $token=1 >>$LAYER_ENV'
finally = 'mkdir $LXC_ROOTFS/$token; mount -t tmpfs none $LXC_ROOTFS/$token'
",
        );
        let [shown, _, log] = told(&sandbox, format, "none", 3);
        assert!(holds(&shown, "handed `[secret token]` inward") > 0);
        for text in [shown, log] {
            assert_eq!(holds(&text, TOKEN), 0, "{}", String::from_utf8_lossy(&text));
            assert!(holds(&text, "[secret token]; it is taken away") > 0);
        }
    }
}

/// An event holds whole characters, whether secrets are looked for or not.
#[test]
fn events_cut_no_character() {
    let token = "token = { secret = true, env = \"SITE_TOKEN\" }";
    for (token, secrets) in [("", ""), (token, "secrets = [\"token\"]\n")] {
        let sandbox = Sandbox::new().env("SITE_TOKEN", "\u{c9}t\u{e9}").manifest(&format!(
            "manifest = 1
[vars]
{token}

[[layer]]
name = \"os\"
template = \"fake\"

[[layer]]
name = \"app\"
{secrets}post = '''
printf '\\303'; sleep .1; printf '\\251A\\342\\202'; sleep .1; printf '\\254\\377B\\303'
exit 3
'''
"
        ));
        let [_, joined, log] = told(&sandbox, "json", "none", 6);
        let joined = String::from_utf8(joined).unwrap();
        assert!(joined.contains("\u{e9}A\u{20ac}\u{fffd}B\u{fffd}"), "{joined}");
        let bytes = b"\xc3\xa9A\xe2\x82\xac\xffB\xc3";
        assert!(log.windows(bytes.len()).any(|part| part == bytes), "{log:?}");
    }
}

/// What cannot be a secret's beginning is shown at once, with no line feed behind it.
#[test]
fn progress_and_prompts_are_shown_at_once() {
    let wait = "n=0; while ! test -e $LAYER_DIR/go; do\n\
                n=$((n + 1)); test $n -lt 200 || exit 9; sleep .05; done; rm $LAYER_DIR/go";
    for format in ["text", "json"] {
        let sandbox =
            failing(&format!("printf '10%%\\r'\n{wait}\nprintf 'Continue? '\n{wait}\necho $token"));
        let mut command = sandbox.command(sandbox.program_path());
        command
            .args(["create", "m.toml", "--name=web1", "--storage=none"])
            .args([
                format!("--log-format={format}"),
                format!("--lxcpath={}", sandbox.path("lxc").display()),
            ])
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut shown = Vec::new();
        let mut read = || {
            let mut buffer = [0; 4096];
            let read = stderr.read(&mut buffer).unwrap();
            shown.extend_from_slice(&buffer[..read]);
            (read > 0, String::from_utf8_lossy(&shown).into_owned())
        };
        let percent = if format == "json" { "10%\\r" } else { "10%\r" };
        for expected in [percent, "Continue? "] {
            loop {
                let (more, text) = read();
                if text.contains(&format!("{expected}\"")) || text.ends_with(expected) {
                    break;
                }
                assert!(more, "`{expected}` was not shown: {text}");
            }
            std::thread::sleep(Duration::from_millis(20));
            fs::write(sandbox.role().join("go"), "").unwrap();
        }
        while read().0 {}
        assert_eq!(child.wait().unwrap().code(), Some(6), "{}", read().1);
        assert!(
            read().1.contains("Continue? [secret token]") || read().1.contains("[secret token]\\n")
        );
    }
}

/// Has the program called by root or by an ordinary user.
fn called_by(user: &str, sandbox: Sandbox) -> Sandbox {
    // Where an ordinary user can make a directory, and none of the host's.
    let state = sandbox.path("home/state").display().to_string();
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STATE", state);
    if user == "root" {
        return sandbox;
    }
    for name in ["role", "lxc", "tmp", "home"] {
        chown(sandbox.path(name), Some(65534), Some(65534)).unwrap();
    }
    sandbox.nobody()
}

/// Returns the processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let listed = fs::read_dir("/proc").unwrap();
    let ids = listed.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |id: &u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| *line == format!("PPid:\t{parent}"))
    };
    ids.filter(is_child).collect()
}

/// A crash writes no memory to the disk, and nobody but root of the host may look into it. Steps are
/// as the caller has it.
#[test]
fn a_run_with_secrets_leaves_no_core_and_shows_no_memory() {
    if !root() {
        return;
    }
    let limits = "grep -o 'core file size *[a-z0-9]*' /proc/self/limits";
    for user in ["root", "nobody"] {
        let sandbox = Sandbox::new().env("SITE_TOKEN", TOKEN).manifest(&format!(
            "manifest = 1
[vars]
token = {{ secret = true, env = \"SITE_TOKEN\" }}

[[layer]]
name = \"os\"
template = \"fake\"

[[layer]]
name = \"app\"
secrets = [\"token\"]
post = \"{limits}; echo $token; sleep 60\"
"
        ));
        let sandbox = called_by(user, sandbox);
        let mut command = sandbox.command("prlimit");
        command
            .args(["--core=unlimited", "--"])
            .arg(sandbox.program_path())
            .args(["create", "m.toml", "--name=web1", "--storage=none", "--lxcpath"])
            .arg(sandbox.path("lxc"))
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut shown = String::new();
        while !shown.contains("[secret token]") {
            let mut buffer = [0; 4096];
            let read = stderr.read(&mut buffer).unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
            if read == 0 && shown.contains("no user namespace can be entered") {
                child.wait().unwrap();
                skip("this host lets no ordinary user make a user namespace");
                return;
            }
            assert!(read > 0, "{shown}");
        }
        let of_step: String = shown.split_whitespace().collect();
        assert!(of_step.contains("corefilesizeunlimited"), "{shown}");
        let inner = children(child.id());
        // The one that does the work, and the one that writes what is said.
        assert_eq!(inner.len(), 2, "{shown}");
        for id in inner.into_iter().chain([child.id()]) {
            let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
            for file in ["environ", "maps", "mem"] {
                let path = format!("/proc/{id}/{file}");
                assert_eq!(fs::metadata(&path).unwrap().uid(), 0, "{path} of {user}");
                let mut look = Command::new("setpriv");
                look.args(["--reuid=65534", "--regid=65534", "--clear-groups", "head", "-c1"]);
                let looked = look.arg(&path).output().unwrap();
                assert!(!looked.status.success(), "{path} of {user}");
            }
        }
        let id = Pid::from_child(&child);
        kill_process(id, Signal::ABORT).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()));
        assert!(!ended.core_dumped(), "{user}");
    }
}

/// What is done to the rootfs is done by a process that `/proc` has as root's.
#[test]
fn secrets_reach_files_and_steps_inside_the_rootfs() {
    if !root() {
        return;
    }
    for user in ["root", "nobody"] {
        let sandbox = Sandbox::new().env("SITE_TOKEN", TOKEN).manifest(
            "manifest = 1
[vars]
token = { secret = true, env = \"SITE_TOKEN\" }

[[layer]]
name = \"os\"
template = \"builtin:busybox\"

[[layer]]
name = \"app\"
secrets = [\"token\"]
post = { run = 'test \"$(cat /etc/token)\" = $token; ulimit -c; echo it is $token', in = \"rootfs\" }

[[layer.file]]
path = \"/etc/token\"
content = \"{{ token }}\"
render = true
",
        );
        let sandbox = called_by(user, sandbox);
        let mut command = sandbox.command("prlimit");
        command
            .args(["--core=unlimited", "--"])
            .arg(sandbox.program_path())
            .args(["create", "m.toml", "--name=web1", "--storage=none", "--lxcpath"])
            .arg(sandbox.path("lxc"));
        let ran = sandbox.ran(command);
        if ran.stderr().contains("no user namespace can be entered") {
            skip("this host lets no ordinary user make a user namespace");
            return;
        }
        ran.exits(0).mentions("app| 0\n  app| it is [secret token]\n");
        let file = fs::metadata(sandbox.rootfs().join("etc/token")).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600);
    }
}

/// A variable that a secret is read from reaches no template and no step by its own name.
#[test]
fn what_a_secret_is_read_from_is_passed_to_nobody() {
    let role = |env: &str, source: &str| {
        format!(
            "manifest = 1
[vars]
token = {{ secret = true, env = \"{source}\" }}
[[layer]]
name = \"os\"
template = \"fake\"
env = {{ {env} }}
[[layer]]
name = \"inside\"
post = {{ in = \"rootfs\", run = \"env >/seen\" }}
[[layer]]
name = \"app\"
secrets = [\"token\"]
post = \"true\"
"
        )
    };
    let passed = role("SITE_TOKEN = { pass = true }", "SITE_TOKEN");
    let sandbox = Sandbox::new().env("SITE_TOKEN", TOKEN).upstream("true").manifest(&passed);
    let message = "error: `env` passes `SITE_TOKEN`, which a secret is read from";
    sandbox.run(["validate", "m.toml"]).exits(1).mentions(message);
    sandbox.run(["plan", "m.toml"]).exits(2).mentions(message);
    let proxy = role("", "https_proxy");
    let sandbox = Sandbox::new().env("https_proxy", TOKEN).upstream("true").manifest(&proxy);
    for format in ["text", "json"] {
        let ran = sandbox.run(["plan", "-v", "--format", format, "m.toml"]);
        ran.exits(0);
        assert!(!format!("{}{}", ran.stdout(), ran.stderr()).contains(TOKEN), "{format}");
    }
}

/// What a shell makes of a secret that is not quoted.
#[test]
fn a_secret_is_masked_without_the_blanks_around_it() {
    let key = "{\n  \"private_key\": \"-----BEGIN KEYDATA-----\",\n\tlast-line-of-it\r}\n";
    for (secret, step, shown) in [
        (" hunter2-long", "echo $token", "hunter2-long"),
        ("hunter2\n", "printf '[%s]\\n' $token", "hunter2"),
        (key, "printf '%s\\n' \"$token\" | sed 's/^[ \\t]*//' | tr '\\r' '\\n'", "BEGIN KEYDATA"),
        (key, "printf '%s\\n' \"$token\" | sed 's/^[ \\t]*//' | tr '\\r' '\\n'", "last-line-of-it"),
    ] {
        let step = toml_string(step);
        let sandbox = Sandbox::new().env("SITE_TOKEN", secret).upstream("mkdir \"$rootfs/etc\"");
        let sandbox = sandbox.manifest(&format!(
            "manifest = 1
[vars]
token = {{ secret = true, env = \"SITE_TOKEN\" }}
[[layer]]
name = \"os\"
template = \"fake\"
secrets = [\"token\"]
post = {step}
"
        ));
        let ran = sandbox.chain();
        ran.exits(0).mentions("[secret token]");
        assert!(!ran.stderr().contains(shown), "{}", ran.stderr());
    }
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Templates have functions of these names.
#[test]
fn a_secret_of_a_function_s_name_stays_one() {
    for name in ["debug", "range", "dict", "namespace", "loop", "self"] {
        let sandbox = Sandbox::new().env("SITE_TOKEN", TOKEN).manifest(&format!(
            "manifest = 1
[vars]
{name} = {{ secret = true, env = \"SITE_TOKEN\" }}
off = false

[[layer]]
name = \"os\"
template = \"fake\"
secrets = [\"{name}\"]
post = 'echo ${name}'

[[layer.file]]
path = \"/etc/secret\"
render = true
content = \"{{{{ {name} }}}}{{% if off %}}off{{% endif %}}\"
"
        ));
        let ran = sandbox.straight();
        ran.exits(0).mentions(&format!("os| [secret {name}]\n"));
        assert!(!ran.stderr().contains("never used"), "{}", ran.stderr());
        assert_eq!(sandbox.read("/etc/secret"), TOKEN);
        let file = fs::metadata(sandbox.rootfs().join("etc/secret")).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600, "{name}");
        let record = sandbox.record().to_string();
        assert!(!record.contains(TOKEN), "{name}: {record}");
        let digest = Command::new("sha256sum").arg(sandbox.rootfs().join("etc/secret")).output();
        let digest = String::from_utf8(digest.unwrap().stdout).unwrap();
        assert!(!record.contains(digest.split(' ').next().unwrap()), "{name}: {record}");
    }
}

#[test]
fn a_variable_of_a_function_s_name_is_the_variable() {
    let text = "{% if debug %}log everything{% endif %}{{ range }}";
    let sandbox = Sandbox::new().manifest(&format!(
        "manifest = 1
[vars]
debug = false
range = 7

[[layer]]
name = \"os\"
template = \"fake\"

[[layer.file]]
path = \"/etc/app.conf\"
render = true
content = \"{text}\"

[[layer.file]]
path = \"/etc/other.conf\"
render = true
source = \"other\"
"
    ));
    let sandbox = sandbox.file("other", text);
    let ran = sandbox.straight();
    ran.exits(0);
    assert!(!ran.stderr().contains("never used"), "{}", ran.stderr());
    for file in ["/etc/app.conf", "/etc/other.conf"] {
        assert_eq!(sandbox.read(file), "7");
    }
    let undeclared = Sandbox::new().layers(
        "[[layer.file]]\npath = \"/f\"\nrender = true\ncontent = \"{% if debug %}x{% endif %}\"\n",
    );
    undeclared.straight().exits(2).mentions("no variable is named `debug`");
}
