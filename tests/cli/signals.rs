//! Signals by their cause, what is ignored, and who is left to hear them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::processes;
use crate::requirement::root;
use crate::running::Running;
use crate::sandbox::Sandbox;

/// A step that waits, and a `finally` that takes its time.
const WAITING: &str = "post = \"touch begun; sleep 60\"\n\
    finally = \"echo start >>trace; sleep 1; echo end $LAYER_STATUS >>trace\"\n";

fn waiting(sandbox: &Sandbox, prelude: &str) -> Running {
    sandbox.shell();
    let mut command = sandbox.after(prelude);
    command.args(sandbox.three()).arg("m.toml");
    let mut running = Running::start(sandbox, command);
    // A shell that hears SIGINT before its sleep does leaves it to the sleep to end both.
    running.waits_for(|| {
        let all = processes::within(sandbox);
        sandbox.role().join("begun").exists() && all.iter().any(|line| line.starts_with("sleep "))
    });
    running
}

#[test]
fn a_second_term_or_hup_cuts_no_finally() {
    for (first, second) in [
        (Signal::TERM, Signal::TERM),
        (Signal::TERM, Signal::HUP),
        (Signal::HUP, Signal::TERM),
        (Signal::INT, Signal::TERM),
        (Signal::TERM, Signal::INT),
    ] {
        for pause in [0, 300] {
            let sandbox = Sandbox::new().layers(WAITING);
            let running = waiting(&sandbox, ":");
            running.signal(first);
            sleep(Duration::from_millis(pause));
            running.signal(second);
            let ended = running.ended(Duration::from_secs(9));
            let status = ended.status.code().unwrap();
            let among = [first, second].map(|signal| 128 + signal.as_raw());
            assert!(among.contains(&status), "{status}: {}", ended.said);
            if pause > 0 {
                assert_eq!(status, among[0], "{}", ended.said);
            }
            assert_eq!(sandbox.trace(), format!("start\nend {status}\n"), "{}", ended.said);
            assert_eq!(processes::within(&sandbox), Vec::<String>::new());
        }
    }
}

#[test]
fn a_step_that_is_interrupted_has_not_failed() {
    let sandbox = Sandbox::new().layers(WAITING);
    let running = waiting(&sandbox, ":");
    sleep(Duration::from_millis(1200));
    running.signal(Signal::TERM);
    let ended = running.ended(Duration::from_secs(9));
    let expected = "\nos: post interrupted after [TIME]: touch begun; sleep 60\n";
    assert!(ended.said.contains(expected), "{}", ended.said);
}

#[test]
fn many_terms_in_a_row_are_told_of_once() {
    let sandbox = Sandbox::new().layers(WAITING);
    let running = waiting(&sandbox, ":");
    for _ in 0..8 {
        running.signal(Signal::TERM);
        sleep(Duration::from_millis(80));
    }
    let ended = running.ended(Duration::from_secs(9));
    assert_eq!(ended.status.code(), Some(143), "{}", ended.said);
    assert_eq!(sandbox.trace(), "start\nend 143\n");
    let told = "warning: SIGTERM: the run is ending already; `finally` runs on";
    assert_eq!(ended.said.matches(told).count(), 1, "{}", ended.said);
}

#[test]
fn a_second_interrupt_ends_finally() {
    let sandbox = Sandbox::new().layers(
        "post = \"touch begun; sleep 60\"\n\
         finally = \"echo start >>trace; sleep 60; echo end >>trace\"\n\
         [[layer]]\nname = \"out\"\nfinally = \"echo out >>trace\"\n",
    );
    let mut running = waiting(&sandbox, ":");
    running.signal(Signal::INT);
    running.waits_for(|| sandbox.trace().contains("start"));
    sleep(Duration::from_millis(400));
    running.signal(Signal::INT);
    let ended = running.ended(Duration::from_secs(9));
    assert_eq!(ended.status.code(), Some(130), "{}", ended.said);
    assert_eq!(sandbox.trace(), "start\nout\n", "{}", ended.said);
}

#[test]
fn one_press_that_comes_twice_is_one() {
    let sandbox = Sandbox::new().layers(WAITING);
    let running = waiting(&sandbox, ":");
    running.signal(Signal::INT);
    sleep(Duration::from_millis(60));
    running.signal(Signal::INT);
    let ended = running.ended(Duration::from_secs(9));
    assert_eq!(ended.status.code(), Some(130), "{}", ended.said);
    assert_eq!(sandbox.trace(), "start\nend 130\n");
}

#[test]
fn a_second_interrupt_ends_a_step_that_does_not_listen() {
    let sandbox = Sandbox::new().layers(
        "post = \"trap '' INT; touch begun; while :; do sleep 1; done\"\n\
         finally = \"echo $LAYER_STATUS >>trace\"\n",
    );
    let running = waiting(&sandbox, ":");
    running.signal(Signal::INT);
    sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    let ended = running.ended(Duration::from_secs(5));
    assert_eq!(ended.status.code(), Some(130), "{}", ended.said);
    assert_eq!(sandbox.trace(), "130\n");
}

#[test]
fn a_signal_in_a_finally_of_a_success_ends_the_run_behind_it() {
    let sandbox = Sandbox::new().layers(
        "finally = \"touch begun; sleep 1; echo end >>trace\"\n\
         [[layer]]\nname = \"out\"\npost = \"echo never >>trace\"\n\
         finally = \"echo out $LAYER_STATUS >>trace\"\n",
    );
    let running = waiting(&sandbox, ":");
    running.signal(Signal::TERM);
    let ended = running.ended(Duration::from_secs(9));
    assert_eq!(ended.status.code(), Some(143), "{}", ended.said);
    assert_eq!(sandbox.trace(), "end\nout 143\n", "{}", ended.said);
}

#[test]
fn what_was_ignored_at_the_start_ends_no_run() {
    for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT), ("TERM", Signal::TERM)] {
        let sandbox = Sandbox::new().layers(
            "post = \"touch begun; while ! test -e go; do sleep 0.1; done\"\n\
             finally = \"echo $LAYER_STATUS >>trace\"\n",
        );
        let running = waiting(&sandbox, &format!("trap '' {name}"));
        running.signal(signal);
        // Whoever goes by name meets the inner process as well.
        for inner in running.children() {
            let _ = kill_process(Pid::from_raw(inner).unwrap(), signal);
        }
        sleep(Duration::from_millis(500));
        std::fs::write(sandbox.role().join("go"), "").unwrap();
        let ended = running.ended(Duration::from_secs(9));
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", ended.said);
        assert_eq!(sandbox.trace(), "0\n");
    }
}

#[test]
fn steps_start_with_no_signal_ignored_or_blocked() {
    let look = "grep -E '^Sig(Ign|Blk):' /proc/self/status >>";
    let sandbox = Sandbox::new()
        .upstream(&format!("mkdir -p \"$rootfs/etc\"; {look}'ROLE/trace'"))
        .layers(&format!(
            "pre = \"{look}trace\"\npost = \"{look}trace\"\ncheck = \"{look}trace\"\n\
             finally = \"{look}trace\"\n"
        ));
    let role = sandbox.role().display().to_string();
    let template = sandbox.path("templates/lxc-fake");
    let text = std::fs::read_to_string(&template).unwrap().replace("ROLE", &role);
    std::fs::write(&template, text).unwrap();
    sandbox.shell();
    let mut command = sandbox.after("trap '' HUP INT QUIT TERM USR1 USR2 CHLD PIPE");
    command.args(sandbox.three()).arg("m.toml");
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    let none = "0000000000000000";
    let expected = format!("SigBlk:\t{none}\nSigIgn:\t{none}\n").repeat(5);
    assert_eq!(sandbox.trace(), expected);
}

#[test]
fn steps_inside_the_rootfs_start_with_no_signal_ignored() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
         post = { run = \"grep SigIgn /proc/self/status\", in = \"rootfs\" }\n",
    );
    sandbox.shell();
    let mut command = sandbox.after("trap '' HUP INT QUIT USR1 USR2 CHLD");
    command.args(sandbox.three()).arg("m.toml");
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    let (_, mask) = ended.said.split_once("  os| SigIgn:\t").unwrap();
    let mask = u64::from_str_radix(mask.lines().next().unwrap(), 16).unwrap();
    // Busybox's shell ignores SIGQUIT by itself.
    assert_eq!(mask & !4, 0, "{}", ended.said);
}

/// A daemon, of which nobody is the parent any more, and who waits for its end.
const WAITS: &str = "(setsid sh -c 'echo $$ >pid.new; mv pid.new pid; exec sleep 1' \
    >/dev/null 2>&1 &); while ! test -e pid; do sleep 0.1; done; p=$(cat pid); \
    while kill -0 $p; do sleep 0.2; done; echo gone";

#[test]
fn a_daemon_that_a_step_waits_for_is_seen_to_end() {
    let sandbox = Sandbox::new().layers(&format!("post = '''{WAITS}'''\n"));
    sandbox.shell();
    let mut command = sandbox.within();
    command.args(sandbox.three()).arg("m.toml");
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(15));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(ended.said.contains("  os| gone\n"), "{}", ended.said);
}

#[test]
fn a_daemon_that_a_template_waits_for_is_seen_to_end() {
    let sandbox = Sandbox::new()
        .upstream(&format!("mkdir -p \"$rootfs/etc\"; cd \"$path\"; {WAITS}; rm -f pid"))
        .layers("");
    sandbox.shell();
    let mut command = sandbox.within();
    command.args(sandbox.three()).arg("m.toml");
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(15));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(ended.said.contains("gone\n"), "{}", ended.said);
}

#[test]
fn the_killed_inner_process_is_told_of() {
    let sandbox = Sandbox::new().layers(WAITING);
    let running = waiting(&sandbox, ":");
    let inner = running.children();
    for id in inner {
        let id = Pid::from_raw(id).unwrap();
        // The one that leads a process group of its own; the other writes what is said.
        if rustix::process::getpgid(Some(id)) == Ok(id) {
            kill_process(id, Signal::KILL).unwrap();
        }
    }
    let ended = running.ended(Duration::from_secs(5));
    assert_eq!(ended.status.code(), Some(137), "{}", ended.said);
    for part in [
        "error: the run was ended by SIGKILL in `post` of layer `os` (m.toml:6)\n",
        "  log: [DIR]/state/",
        "`dmesg`",
        "memory cgroup",
        "`lxc-destroy -n web1 -P [DIR]/lxc` removes it\n",
    ] {
        assert!(ended.said.contains(part), "`{part}` is not in:\n{}", ended.said);
    }
    // The process outside has noted it.
    let told = "  the run was ended by SIGKILL in `post` of layer `os` (m.toml:6)\n  log: ";
    sandbox.run(["runs", "--failed"]).exits(0).shows("  failed (137)  ").shows(told);
}

#[test]
fn a_killed_step_is_told_of() {
    let mut places = vec![("", "kill -9 $$", "`post` of layer `os` was ended by SIGKILL")];
    if root() {
        let place = ", in = \"rootfs\"";
        places.push((place, "kill -9 $$", "`post` of layer `os` was ended by SIGKILL"));
    }
    for (place, run, reason) in places {
        let sandbox = Sandbox::new().manifest(&format!(
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
             post = {{ run = \"{run}\"{place} }}\n"
        ));
        let ran = sandbox.chain();
        ran.exits(6).mentions(reason).mentions("  log: ").mentions("hint: where nobody sent it");
    }
}

#[test]
fn few_descriptors_are_no_matter_where_more_may_be_had() {
    let sandbox = Sandbox::new().layers("post = \"ulimit -Sn\"\n");
    sandbox.shell();
    let mut command = sandbox.after("ulimit -Sn 16");
    command.args(sandbox.three()).arg("m.toml");
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(ended.said.contains("  os| 16\n"), "a step has the caller's limit: {}", ended.said);
}

#[test]
fn too_few_descriptors_are_told_of() {
    for limit in [10, 16, 24] {
        let sandbox = Sandbox::new().layers("");
        sandbox.shell();
        let mut command = sandbox.after(&format!("ulimit -n {limit}"));
        command.args(sandbox.three()).arg("m.toml");
        let ended = Running::start(&sandbox, command).ended(Duration::from_secs(20));
        assert_eq!(ended.status.code(), Some(2), "{}", ended.said);
        assert_eq!(
            ended.said,
            format!(
                "error: the limit on open files, {limit}, is too low\n\
                 \nhint: raise it before the call: `ulimit -n 64`\n"
            )
        );
    }
}

#[test]
fn nothing_that_the_caller_has_open_reaches_a_step() {
    let look = "for fd in /proc/self/fd/*; do n=${fd##*/}; case $n in 7|8|9) echo leaked $n \
                >>trace ;; esac; done; if (: </dev/tty) 2>/dev/null; then echo tty >>trace; fi; \
                echo looked >>trace";
    let sandbox = Sandbox::new()
        .upstream(&format!("mkdir -p \"$rootfs/etc\"; cd 'ROLE'; {look}"))
        .layers(&format!(
            "pre = '''{look}'''\npost = '''{look}'''\ncheck = '''{look}'''\nfinally = '''{look}'''\n"
        ));
    let role = sandbox.role().display().to_string();
    let template = sandbox.path("templates/lxc-fake");
    let text = std::fs::read_to_string(&template).unwrap().replace("ROLE", &role);
    std::fs::write(&template, text).unwrap();
    sandbox.shell();
    let mut command = sandbox.after("exec 7</etc/passwd 8>>\"$HOME/x\" 9</");
    command.args(sandbox.three()).arg("m.toml");
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert_eq!(sandbox.trace(), "looked\n".repeat(5));
}

#[test]
fn steps_have_no_terminal_and_no_directory_for_temporary_files_of_the_caller() {
    let look = "echo \"${TMPDIR-} ${TMP-} ${TEMP-} ${TEMPDIR-}\"; t=$(mktemp); rm \"$t\"; \
                if (: </dev/tty) 2>/dev/null; then echo has a terminal; fi";
    let sandbox = Sandbox::new()
        .layers(&format!("pre = '''{look}'''\npost = '''{look}'''\nfinally = '''{look}'''\n"))
        .env("TMP", "/nowhere")
        .env("TEMP", "/nowhere")
        .env("TEMPDIR", "/nowhere");
    sandbox.shell();
    let mut inner = sandbox.after("TMPDIR=/nowhere; export TMPDIR");
    inner.args(sandbox.three()).arg("m.toml");
    // A terminal of its own, which `script` is the master of.
    let words: Vec<_> = inner.get_args().skip(5).map(quoted).collect();
    let mut command = sandbox.command("script");
    command.args(["-qec", &words.join(" "), "/dev/null"]);
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(20));
    let said = ended.printed.replace('\r', "");
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("  os|    \n").count(), 3, "{said}");
    assert!(!said.contains("has a terminal"), "{said}");
}

/// Calls the program on a terminal of its own, whose keys are what is written to its standard input.
fn on_a_terminal(sandbox: &Sandbox, prelude: &str) -> Running {
    let mut inner = sandbox.after(prelude);
    inner.args(sandbox.three()).args(["m.toml", "--storage=none"]);
    let words: Vec<_> = inner.get_args().skip(5).map(quoted).collect();
    let mut command = sandbox.command("script");
    command
        .args(["-qec", &format!("exec {}", words.join(" ")), "/dev/null"])
        .stdin(std::process::Stdio::piped());
    Running::start(sandbox, command)
}

/// A template that asks, and says once what it has heard.
const ASKS: &str = "trap 'echo heard >>ROLE/trace; exit 3' INT; mkdir -p \"$rootfs/etc\"; \
    read answer; echo $answer >>ROLE/trace; touch ROLE/begun; \
    while ! test -e ROLE/go; do sleep 0.1; done; echo went on >>ROLE/trace";

#[test]
fn the_key_of_the_terminal_reaches_a_template_that_asks_once() {
    let sandbox = Sandbox::new().layers("finally = \"echo $LAYER_STATUS >>trace\"\n");
    let sandbox = asking(sandbox);
    let mut running = on_a_terminal(&sandbox, ":");
    running.types("an answer\n");
    running.waits_for(|| sandbox.role().join("begun").exists());
    running.types("\x03");
    let ended = running.ended(Duration::from_secs(9));
    assert_eq!(ended.status.code(), Some(130), "{}", ended.printed);
    assert_eq!(sandbox.trace(), "an answer\nheard\n130\n", "{}", ended.printed);
}

#[test]
fn a_terminal_that_goes_away_ends_the_run() {
    let steps = "post = \"touch begun; sleep 9; echo done >>trace\"\n\
                 finally = \"echo $LAYER_STATUS >>trace\"\n";
    let sandbox = Sandbox::new().layers(steps);
    sandbox.shell();
    let mut running = on_a_terminal(&sandbox, ":");
    running.waits_for(|| sandbox.role().join("begun").exists());
    // The master of the terminal goes with it, and the program is the leader of the session.
    running.signal(Signal::KILL);
    let since = Instant::now();
    while sandbox.trace().is_empty() && since.elapsed() < Duration::from_secs(9) {
        sleep(Duration::from_millis(10));
    }
    assert_eq!(sandbox.trace(), "129\n");
}

#[test]
fn a_key_that_the_program_ignores_ends_no_template_either() {
    let sandbox = Sandbox::new().layers("finally = \"echo $LAYER_STATUS >>trace\"\n");
    let sandbox = asking(sandbox);
    let mut running = on_a_terminal(&sandbox, "trap '' INT");
    running.types("an answer\n");
    running.waits_for(|| sandbox.role().join("begun").exists());
    running.types("\x03");
    sleep(Duration::from_millis(500));
    std::fs::write(sandbox.role().join("go"), "").unwrap();
    let ended = running.ended(Duration::from_secs(9));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.printed);
    assert_eq!(sandbox.trace(), "an answer\nwent on\n0\n", "{}", ended.printed);
}

fn asking(sandbox: Sandbox) -> Sandbox {
    let script = ASKS.replace("ROLE", &sandbox.role().display().to_string());
    sandbox.shell();
    sandbox.upstream(&script)
}

fn quoted(word: &std::ffi::OsStr) -> String {
    format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''"))
}

#[test]
fn a_fault_of_the_program_is_told_of_by_the_process_that_is_left() {
    if !root() {
        return;
    }
    // The standard library panics where it cannot read whether a program could be started.
    let sandbox = Sandbox::new().layers("");
    let mut command = sandbox.command("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=recvfrom"]);
    command.args(["--inject=recvfrom:error=EIO:when=1", "--"]).arg(sandbox.program_path());
    command.args(["create", "m.toml", "--name", "web1", "--storage=none", "--lxcpath"]);
    command.arg(sandbox.path("lxc"));
    let ended = Running::start(&sandbox, command).ended(Duration::from_secs(60));
    assert!(ended.said.contains("panicked at "), "{}", ended.said);
    let told =
        "error: the run was ended by a fault of the program in template `fake` of layer `os`";
    assert!(ended.said.contains(told), "{}", ended.said);
    assert_eq!(ended.status.code(), Some(5), "{}", ended.said);
    assert!(!ended.said.contains("could not be removed"), "{}", ended.said);
    assert!(!sandbox.container().exists(), "{}", ended.said);
}
