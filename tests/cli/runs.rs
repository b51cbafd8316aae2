//! The history of runs, and who is told of their end.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::sandbox::{Ran, Sandbox};

/// A role that fails where the file `fail` is beside it.
fn role() -> Sandbox {
    Sandbox::new().layers(
        "store = true\npost = 'if [ -e \"$LAYER_DIR/fail\" ]; then echo too bad; exit 3; fi'\n",
    )
}

fn fails(sandbox: &Sandbox, is_to: bool) {
    let file = sandbox.role().join("fail");
    let _ = if is_to { fs::write(file, "") } else { fs::remove_file(file) };
}

fn listed(sandbox: &Sandbox, words: &[&str]) -> Vec<serde_json::Value> {
    let words = [&["runs", "--format", "json"][..], words].concat();
    let ran = sandbox.run(words);
    ran.exits(0);
    serde_json::from_slice(&ran.output.stdout).unwrap()
}

fn again(sandbox: &Sandbox) -> Ran {
    let _ = fs::remove_dir_all(sandbox.container());
    sandbox.straight()
}

#[test]
fn every_run_is_in_the_history_and_those_that_failed_with_why() {
    let sandbox = role();
    sandbox.run(["runs"]).exits(0).prints("no runs yet\n");
    sandbox.run(["runs", "show"]).exits(2).mentions("there is no run in the history yet");
    again(&sandbox).exits(0);
    fails(&sandbox, true);
    again(&sandbox).exits(6);
    fails(&sandbox, false);
    sandbox.run(["build", "m.toml"]).exits(0);
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.create([""; 0]).exits(0);
    let runs = listed(&sandbox, &[]);
    let told: Vec<_> = runs
        .iter()
        .map(|run| {
            let text = |key: &str| run[key].as_str().unwrap_or("-").to_owned();
            (run["run"].as_u64().unwrap(), text("verb"), text("container"), text("state"))
        })
        .collect();
    let expected = [
        (1, "template", "web1", "done"),
        (2, "template", "web1", "failed"),
        (3, "build", "-", "done"),
        (4, "create", "web1", "done"),
    ];
    let expected = expected
        .map(|(run, verb, name, state)| (run, verb.to_owned(), name.to_owned(), state.to_owned()));
    assert_eq!(told, expected);
    let failed = listed(&sandbox, &["--failed"]);
    assert_eq!(failed, [runs[1].clone()]);
    assert_eq!(listed(&sandbox, &["--last=2"]), runs[2..]);
    let failure = &failed[0]["failure"];
    assert_eq!(failed[0]["status"], 6);
    assert_eq!((&failure["layer"], &failure["what"]), (&"os".into(), &"post".into()));
    assert_eq!(failure["message"], "`post` of layer `os` ended with status 3");
    assert!(failure["at"].as_str().unwrap().ends_with("m.toml:7"), "{failure}");
    let log = failed[0]["log"].as_str().unwrap();
    assert!(fs::read_to_string(log).unwrap().contains("too bad"));
    let began = failed[0]["began"].as_str().unwrap();
    assert!(began.starts_with("20") && began.ends_with('Z') && began.contains('T'), "{began}");
    let table = sandbox.run(["runs", "--failed"]);
    table.exits(0).shows("  failed (6)  ").shows("\n  `post` of layer `os` ended with status 3 (");
    sandbox.run(["runs", "show", "2"]).exits(0).shows("run 2: template, failed (6)\n");
    sandbox.run(["runs", "show", "2", "--log"]).exits(0).shows("too bad\n");
    sandbox.run(["runs", "show", "1", "--log"]).exits(2).mentions("run 1 has no log: ");
    let shown = sandbox.run(["runs", "show"]);
    shown.exits(0).shows("run 4: create, done\n").shows("\n  directory  [DIR]/role\n");
    let word = sandbox.run(["runs", "show", "web1"]);
    word.exits(2).mentions("RUN is a number: `layered-template runs` lists them");
    let wide = sandbox.run(["runs"]).exits(0).stdout();
    assert!(
        wide.lines().filter(|line| !line.starts_with("  ")).all(|line| line.len() <= 80),
        "{wide}"
    );
    assert!(wide.lines().nth(1).is_some_and(|line| line.ends_with("  m.toml")), "{wide}");
    sandbox.run(["runs", "show", "9"]).exits(2).mentions("there is no run 9 in the history");
    let shown = sandbox.run(["runs", "show", "2", "--format=json"]);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&shown.output.stdout).unwrap(),
        failed[0]
    );
    let metadata = fs::metadata(sandbox.history()).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    // Of the runs that did what they should, nothing else is left.
    assert_eq!(sandbox.left().len(), 1);
}

#[test]
fn what_could_not_be_written_or_pushed_has_failed() {
    let sandbox = role();
    sandbox.run(["build", "m.toml"]).exits(0);
    sandbox.run(["build", "m.toml", "--output=tar:/proc/m.tar"]).exits(8);
    // Nobody listens there.
    sandbox.run(["push", "m.toml", "127.0.0.1:9/m"]).exits(8);
    let failed = listed(&sandbox, &["--failed"]);
    let told = |run: &serde_json::Value| {
        (run["verb"].as_str().unwrap().to_owned(), run["status"].as_u64().unwrap())
    };
    let told: Vec<_> = failed.iter().map(told).collect();
    assert_eq!(told, [("build".to_owned(), 8), ("push".to_owned(), 8)]);
    let said = failed[1]["failure"]["message"].as_str().unwrap();
    assert!(said.contains("does not answer"), "{said}");
}

#[test]
fn a_run_that_was_refused_is_in_the_history_without_what_was_given() {
    let bad = "manifest = 1\nkee = 2\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n";
    let sandbox = Sandbox::new().manifest(bad);
    sandbox.chain().exits(2);
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.create(["--set=a=hunter2hunter2"]).exits(2);
    // Whoever only looks begins no run.
    sandbox.run(["plan", "m.toml"]).exits(2);
    sandbox.run(["validate", "m.toml"]).exits(1);
    sandbox.template(["--manifest", "m.toml", "--stroage"]).exits(2);
    let sandbox = sandbox
        .layers("secrets = ['t']\npost = 'true'\n[vars]\nt = { secret = true, env = 'T' }\n");
    sandbox.chain().exits(2).mentions("secret `t`");
    sandbox.template(["m.toml", "--set=t=hunter2hunter2"]).exits(2).mentions("is a secret");
    sandbox.template(["m.toml", "--storage=x"]).exits(2);
    let runs = listed(&sandbox, &["--failed"]);
    let told: Vec<_> = runs
        .iter()
        .map(|run| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
            assert_eq!((&run["state"], &run["status"]), (&"refused".into(), &2.into()), "{run}");
            (text(&run["verb"]), text(&run["container"]), text(&run["failure"]["message"]))
        })
        .collect();
    let expected = [
        ("template", "unknown key `kee`"),
        ("create", "--set: no variable is named `a`"),
        ("template", "unknown key `kee`"),
        ("template", "secret `t`: environment variable T: it is not set"),
        ("template", "--set: `t` is a secret, and others could read it here"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((verb, name, message), (expected_verb, expected)) in told.iter().zip(expected) {
        assert_eq!((verb.as_str(), name.as_str()), (expected_verb, "web1"), "{told:?}");
        assert!(message.starts_with(expected), "{told:?}");
    }
    assert!(runs[0]["failure"]["at"].as_str().unwrap().ends_with("m.toml:2"), "{}", runs[0]);
    sandbox.run(["runs"]).exits(0).shows("  refused (2)  ");
    let history = fs::read_to_string(sandbox.history()).unwrap();
    assert!(!history.contains("hunter2"), "{history}");
    assert!(sandbox.left().is_empty());
}

#[test]
fn a_history_that_cannot_be_written_or_read_ends_no_run() {
    for damage in ["directory", "link", "garbage", "fifo", "read-only"] {
        let sandbox = role();
        again(&sandbox).exits(0);
        let (history, elsewhere) = (sandbox.history(), sandbox.path("elsewhere"));
        let whole = fs::read(&history).unwrap();
        fs::remove_file(&history).unwrap();
        match damage {
            "directory" => fs::create_dir(&history).unwrap(),
            "link" => symlink(&elsewhere, &history).unwrap(),
            "garbage" => {
                fs::write(
                    &history,
                    [b"\xff\n{\"run\": 1}\n\x1b[2J", &whole[..], b"{\"run"].concat(),
                )
                .unwrap();
            }
            "fifo" => {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mkfifoat(rustix::fs::CWD, &history, mode).unwrap();
            }
            _ => {
                // More than is ever read.
                let file = fs::File::create(&history).unwrap();
                file.set_len(1 << 32).unwrap();
            }
        }
        let ran = again(&sandbox);
        ran.exits(0);
        assert!(!ran.stderr().contains("history"), "{damage}: {}", ran.stderr());
        assert!(!elsewhere.exists(), "{damage}");
        let listed = sandbox.run(["runs"]);
        if damage == "garbage" {
            listed.exits(0);
            // The number of the first was in the damaged line, and stays taken.
            assert_eq!(self::listed(&sandbox, &[]).len(), 2, "{}", listed.stdout());
        } else if damage != "read-only" {
            listed.exits(2).mentions("the history of runs cannot be read: ");
        }
    }
}

#[test]
fn a_run_that_was_killed_is_lost() {
    // Nobody is left to note its end.
    let sandbox = Sandbox::new().layers("post = 'cat <\"$LAYER_DIR/fifo\"'\n");
    let fifo = sandbox.role().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    sandbox.shell();
    let mut command = sandbox.within();
    command.args(sandbox.three()).args(["m.toml", "--storage=none"]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let writer = fs::File::options().write(true).open(&fifo).unwrap();
    assert_eq!(listed(&sandbox, &[])[0]["state"], "running");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(writer);
    let runs = listed(&sandbox, &["--failed"]);
    assert_eq!((&runs[0]["state"], &runs[0]["status"]), (&"lost".into(), &serde_json::Value::Null));
    sandbox
        .run(["runs", "show"])
        .exits(0)
        .shows("\nit was killed, or the host went down: nobody noted how it ended\n")
        .shows("\nhint: it has left no half-made container: run it again\n");
    let partial = sandbox.container().join("partial");
    fs::write(&partial, "").unwrap();
    sandbox.run(["runs", "show"]).exits(0).shows(
        "\nhint: `lxc-destroy -n web1 -P [DIR]/lxc` removes what it has left; then run it again\n",
    );
}

#[test]
fn an_interrupted_run_names_what_removes_what_it_has_left() {
    let sandbox = Sandbox::new().layers("post = 'kill -TERM $PPID; sleep 5'\n");
    sandbox.shell();
    let run = || {
        let mut command = sandbox.command(sandbox.program_path());
        command.args(sandbox.three()).args(["m.toml", "--storage=none"]);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        child.wait().unwrap()
    };
    assert_eq!(run().code(), Some(143));
    let shown = sandbox.run(["runs", "show"]);
    shown.exits(0).shows("template, interrupted (143)\n");
    assert!(!shown.stdout().contains("removes what it has left"), "{}", shown.stdout());
    // LXC locks it until the container is whole.
    fs::write(sandbox.container().join("partial"), "").unwrap();
    sandbox.run(["runs", "show"]).exits(0).shows(
        "\nhint: `lxc-destroy -n web1 -P [DIR]/lxc` removes what it has left; then run it again\n",
    );
}

#[test]
fn logs_and_events_say_when_and_by_what_and_where() {
    let sandbox = role();
    fails(&sandbox, true);
    let ran = sandbox.template(["m.toml", "--storage=none", "--log-format=json"]);
    ran.exits(6);
    for line in String::from_utf8_lossy(&ran.output.stderr).lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let time = event["time"].as_str().unwrap_or_default();
        assert_eq!(time.len(), "2026-01-01T00:00:00.000Z".len(), "{event}");
    }
    let log = fs::read_to_string(sandbox.left()[0].join("log")).unwrap();
    let mut lines = log.lines();
    let head = lines.next().unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        head.contains(&format!("Z layered-template {version} on {} (Linux ", host.trim())),
        "{head}"
    );
    assert!(lines.next().unwrap().ends_with("m.toml --storage=none --log-format=json"), "{log}");
    assert!(log.contains("Z the run ended with status 6 after "), "{log}");
}

/// Writes `notify.toml`, and returns what the command has been told.
fn notifies(sandbox: &Sandbox, text: &str) {
    let directory = sandbox.path("home/.config/layered-template");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("notify.toml"), text).unwrap();
}

#[test]
fn a_command_is_told_of_failures_or_of_all() {
    let sandbox = role().program(
        "tell",
        "#!/bin/sh\n{ cat; echo \"[$1]\"; } >>\"${0%/*}/told\"; echo it is told\n",
    );
    let (tell, told) = (sandbox.path("tell"), sandbox.path("told"));
    let settings = format!("command = ['{}', 'a b']\n", tell.display());
    notifies(&sandbox, &settings);
    again(&sandbox).exits(0);
    assert!(!told.exists());
    fails(&sandbox, true);
    again(&sandbox).exits(6).mentions("it is told\n");
    let text = fs::read_to_string(&told).unwrap();
    let (json, argument) = text.split_once('\n').unwrap();
    assert_eq!(argument, "[a b]\n");
    let run: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((&run["state"], &run["status"]), (&"failed".into(), &6.into()));
    assert_eq!(run, listed(&sandbox, &["--failed"])[0]);
    // It hears of success where it wants to, and of a container that is whole.
    fs::remove_file(&told).unwrap();
    fails(&sandbox, false);
    notifies(&sandbox, &format!("{settings}on = 'always'\n"));
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.create([""; 0]).exits(0);
    let run: serde_json::Value =
        serde_json::from_str(fs::read_to_string(&told).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((&run["state"], &run["container"]), (&"done".into(), &"web1".into()));
}

#[test]
fn a_notification_that_fails_is_a_warning_and_changes_no_status() {
    let table = [
        (
            "command = ['false']\non = 'always'\n",
            "the notification command `",
            "` ended with status 1",
        ),
        (
            "command = ['sleep', '60']\non = 'always'\ntimeout = '1s'\n",
            "`",
            "` took longer than 1 s",
        ),
        (
            "command = ['/nowhere/at/all']\non = 'always'\n",
            "`/nowhere/at/all`",
            " could not be started",
        ),
        ("command = []\n", "notify.toml` is not used: ", "`command` is empty"),
        (
            "command = ['no-such-program']\n",
            "is not used: ",
            "no program `no-such-program` in PATH",
        ),
        ("command = ['bin/x']\n", "is not used: ", "neither an absolute path nor a name"),
        ("command = ['true']\non = 'never'\n", "is not used: ", "unknown variant `never`"),
        ("command = ['true']\ntimeout = '1'\n", "is not used: `timeout`: ", "write a number and"),
    ];
    let sandbox = role();
    for (settings, first, second) in table {
        notifies(&sandbox, settings);
        let ran = again(&sandbox);
        ran.exits(0).mentions("warning: ").mentions(first).mentions(second);
    }
}

#[test]
fn a_command_that_others_could_have_written_is_told_nothing() {
    if !crate::requirement::root() {
        return;
    }
    let sandbox = role().program("tell", "#!/bin/sh\n: >\"${0%/*}/told\"\n");
    let tell = sandbox.path("tell");
    notifies(&sandbox, &format!("command = ['{}']\non = 'always'\n", tell.display()));
    let settings = sandbox.path("home/.config/layered-template/notify.toml");
    for open in [&tell, &settings] {
        std::os::unix::fs::chown(open, Some(65534), None).unwrap();
        again(&sandbox).exits(0).mentions("notify.toml` is not used: ").mentions("others could");
        // That speaks of roles and layers.
        fs::remove_dir_all(sandbox.container()).unwrap();
        sandbox.create(["--allow-untrusted"]).exits(0).mentions("notify.toml` is not used: ");
        fs::remove_dir_all(sandbox.container()).unwrap();
        assert!(!sandbox.path("told").exists());
        std::os::unix::fs::chown(open, Some(0), None).unwrap();
    }
    again(&sandbox).exits(0);
    assert!(sandbox.path("told").exists());
}

#[test]
fn no_secret_is_in_the_history_whatever_it_is_a_part_of() {
    let sandbox = Sandbox::new().env("TOKEN", "hunter2").layers(
        "post = 'exit 3'\nsecrets = ['token']\n[vars]\ntoken = { secret = true, env = 'TOKEN' }\n",
    );
    let manifest = sandbox.role().join("hunter2.toml");
    fs::rename(sandbox.role().join("m.toml"), &manifest).unwrap();
    let lxcpath = sandbox.path("lxc-hunter2");
    fs::create_dir(&lxcpath).unwrap();
    let words = ["create", "hunter2.toml", "--name", "hunter2", "--lxcpath"];
    sandbox.run(words.iter().map(std::ffi::OsStr::new).chain([lxcpath.as_os_str()])).exits(6);
    let run = &listed(&sandbox, &[])[0];
    assert_eq!(run["state"], "failed");
    assert!(run["failure"]["at"].is_string(), "{run}");
    assert!(!run.to_string().contains("hunter2"), "{run}");
}

#[test]
fn a_run_that_could_not_be_noted_when_it_began_has_its_number_when_it_ends() {
    let sandbox = role();
    again(&sandbox).exits(0);
    for number in [2, 3] {
        let _ = fs::remove_dir_all(sandbox.container());
        // The history is somebody else's while it begins, for longer than it waits.
        let slow = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"slow\"\n\
                    pre = \"sleep 3\"\n";
        fs::write(sandbox.role().join("slow.toml"), slow).unwrap();
        let mut command = sandbox.command("/bin/sh");
        let script =
            "flock \"$2\" sleep 4 & exec \"$0\" create slow.toml --name web1 --lxcpath \"$1\"";
        command.args(["-c", script]).arg(sandbox.program_path());
        command.args([sandbox.path("lxc"), sandbox.history()]);
        sandbox.ran(command).exits(0);
        let runs = listed(&sandbox, &[]);
        assert_eq!(runs.last().unwrap()["run"], number, "{runs:?}");
    }
    assert_eq!(listed(&sandbox, &[]).len(), 3);
}
