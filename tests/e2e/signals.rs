//! Signals to the template and to `lxc-create`, and sudden death of either.
//!
//! What must not be left behind is recognised by the lab's mark; what a step runs is a `sleep` that
//! outlasts any test.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::call::Running;
use crate::caller::Caller;
use crate::lab::Lab;
use crate::processes::Process;

/// How long after its end nothing of a run may be left.
const SOON: Duration = Duration::from_secs(5);

/// How long a step may take to end that does not listen to signals.
const GRACE: Duration = Duration::from_secs(20);

/// A step that waits.
const STEP: &str = "echo begun >>\"$TRACE\"; sleep 86401.25";

/// A step that no signal but the last impresses.
const DEAF: &str =
    "trap '' HUP INT TERM; echo begun >>\"$TRACE\"; while :; do sleep 86401.25 || :; done";

/// A step with a process that is no longer in its session, nor its child.
const DAEMON: &str = "setsid sleep 86401.75 & echo begun >>\"$TRACE\"; sleep 86401.25";

#[test]
fn the_signalled_template_ends_its_step_and_runs_finally() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        Run::of(&lab, STEP).assert_ends(status, |template| template.signal(signal));
    }
}

#[test]
fn a_signal_from_the_terminal_reaches_the_step_once() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    Run::of(&lab, STEP).assert_ends(130, |template| template.signal_group(Signal::INT));
}

#[test]
fn a_step_that_does_not_listen_is_killed() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    Run::of(&lab, DEAF).assert_ends(143, |template| template.signal(Signal::TERM));
}

#[test]
fn the_signalled_template_ends_its_upstream() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    Run::of_a_slow_upstream(&lab).assert_ends(143, |template| template.signal(Signal::TERM));
}

#[test]
fn a_signal_to_the_template_alone_lets_lxc_clean_up_as_root() {
    template_signalled(Caller::Root);
}

#[test]
fn a_signal_to_the_template_alone_lets_lxc_clean_up_as_an_ordinary_user() {
    template_signalled(Caller::User);
}

#[test]
fn a_signal_to_lxc_create_ends_the_run_as_root() {
    lxc_create_signalled(Caller::Root);
}

#[test]
fn a_signal_to_lxc_create_ends_the_run_as_an_ordinary_user() {
    lxc_create_signalled(Caller::User);
}

#[test]
fn a_signal_from_the_terminal_ends_lxc_create_and_the_run_as_root() {
    terminal_signalled(Caller::Root);
}

#[test]
fn a_signal_from_the_terminal_ends_lxc_create_and_the_run_as_an_ordinary_user() {
    terminal_signalled(Caller::User);
}

#[test]
fn the_killed_template_leaves_no_process_as_root() {
    template_killed(Caller::Root, STEP);
}

#[test]
fn the_killed_template_leaves_no_process_as_an_ordinary_user() {
    template_killed(Caller::User, STEP);
}

#[test]
fn the_killed_template_takes_a_daemon_of_a_step_along() {
    template_killed(Caller::Root, DAEMON);
}

#[test]
fn the_killed_template_takes_its_upstream_along() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let run = Run::of_a_slow_upstream(&lab);
    let lxc_create = run.start();
    run.template().signal(Signal::KILL);
    lxc_create.outcome().code(1);
    lab.assert_quiet(SOON);
    lab.assert_absent(&run.name);
}

#[test]
fn the_killed_lxc_create_leaves_no_process_as_root() {
    lxc_create_killed(Caller::Root, STEP);
}

#[test]
fn the_killed_lxc_create_leaves_no_process_as_an_ordinary_user() {
    lxc_create_killed(Caller::User, STEP);
}

#[test]
fn the_killed_lxc_create_takes_a_deaf_step_along() {
    lxc_create_killed(Caller::Root, DEAF);
}

#[test]
fn whoever_stops_one_process_after_the_other_cuts_no_finally_as_root() {
    stopped_one_after_the_other(Caller::Root);
}

#[test]
fn whoever_stops_one_process_after_the_other_cuts_no_finally_as_an_ordinary_user() {
    stopped_one_after_the_other(Caller::User);
}

#[test]
fn a_service_manager_that_sends_hup_behind_term_cuts_no_finally() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let run = Run::with_a_slow_finally(&lab);
    let lxc_create = run.start();
    for process in lab.processes() {
        if process.arguments[0] != "sleep" {
            process.signal(Signal::TERM);
            process.signal(Signal::HUP);
        }
    }
    lxc_create.outcome();
    lab.assert_quiet(SOON);
    assert_eq!(run.trace(), ["begun", "start", "end"]);
    lab.lxc("lxc-destroy", &run.name).outcome();
}

#[test]
fn a_killed_sandbox_is_told_of() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
                post = { run = \"touch /begun; sleep 86401.25\", in = \"rootfs\" }\n";
    let manifest = lab.write("work/killed.toml", text);
    let call = lab.call_directly("direct", &manifest).arg("--storage=none").start();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "the step never began");
        let all = lab.processes();
        let child_of = |id| all.iter().find(|process| process.parent == id);
        let sleeps = all.iter().any(|process| process.arguments.contains(&"86401.25".to_owned()));
        if let Some(inner) = child_of(call.id()).and_then(|run| child_of(run.id))
            && sleeps
        {
            inner.signal(Signal::KILL);
            break;
        }
        sleep(Duration::from_millis(10));
    }
    let outcome = call.outcome().code(6);
    for part in
        ["`post` of layer `os` was ended by SIGKILL", "  log: ", "hint: where nobody sent it"]
    {
        assert!(outcome.stderr.contains(part), "{part}: {outcome}");
    }
    lab.assert_quiet(SOON);
}

#[test]
fn the_killed_template_under_lxc_create_is_told_of_where_it_can_be() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let run = Run::of(&lab, STEP);
    let lxc_create = run.start();
    let template = run.template().id;
    let inner = lab.processes().into_iter().find(|process| process.parent == template);
    inner.expect("the run has a process of its own").signal(Signal::KILL);
    let outcome = lxc_create.outcome().code(1);
    let advice = format!("lxc-destroy -n {}", run.name);
    for part in ["was ended by SIGKILL in `post` of layer `waiting`", "  log: ", "`dmesg`", &advice]
    {
        assert!(outcome.stderr.contains(part), "{part}: {outcome}");
    }
    lab.assert_absent(&run.name);
    lab.assert_quiet(SOON);
}

/// Whether the process that works is killed, or all that `lxc-create` has started, it does not succeed.
fn killed_under_lxc_create(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    for is_alone in [true, false] {
        let run = Run::of(&lab, STEP);
        let lxc_create = run.start();
        let template = run.template().id;
        let mut victims = lab.processes();
        victims.retain(|process| process.id != lxc_create.id());
        if is_alone {
            victims.retain(|process| process.parent == template);
        }
        assert!(!victims.is_empty(), "the run has a process of its own");
        for process in &victims {
            process.signal(Signal::KILL);
        }
        lxc_create.outcome().code(1);
        lab.assert_absent(&run.name);
        lab.assert_quiet(SOON);
    }
}

#[test]
fn a_killed_run_is_no_success_of_lxc_create_as_root() {
    killed_under_lxc_create(Caller::Root);
}

#[test]
fn a_killed_run_is_no_success_of_lxc_create_as_an_ordinary_user() {
    killed_under_lxc_create(Caller::User);
}

fn stopped_one_after_the_other(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    for from_inside in [false, true] {
        for pause in [0, 300, 2000] {
            let run = Run::with_a_slow_finally(&lab);
            let lxc_create = run.start();
            let template = run.template();
            let inner = lab.processes().into_iter().find(|process| process.parent == template.id);
            let inner = inner.expect("the run has a process of its own");
            let outermost = Process { id: lxc_create.id(), parent: 0, arguments: Vec::new() };
            // The last that is signalled may have ended by then.
            let mut all = [outermost, template, inner];
            if from_inside {
                all.reverse();
            }
            for (index, process) in all.iter().enumerate() {
                if index > 0 {
                    sleep(Duration::from_millis(pause));
                }
                process.signal(Signal::TERM);
            }
            lxc_create.outcome();
            lab.assert_quiet(SOON);
            assert_eq!(run.trace(), ["begun", "start", "end"], "{from_inside}, {pause} ms");
            lab.lxc("lxc-destroy", &run.name).outcome();
        }
    }
}

fn template_signalled(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let run = Run::of(&lab, STEP);
        let lxc_create = run.start();
        run.template().signal(signal);
        lxc_create.outcome().code(1);
        run.assert_finally(status);
        lab.assert_absent(&run.name);
        lab.assert_quiet(SOON);
    }
}

fn lxc_create_signalled(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let run = Run::of(&lab, STEP);
    let lxc_create = run.start();
    lxc_create.signal(Signal::TERM);
    lxc_create.outcome().signalled(Signal::TERM);
    // Nobody is left who would remove the container; the template is an orphan.
    lab.assert_quiet(SOON);
    let trace = run.trace();
    let [begun, finally] = &trace[..] else { panic!("finally has run once: {trace:?}") };
    assert_eq!(begun, "begun");
    assert!(finally.starts_with("finally ") && finally != "finally 0", "{finally}");
    lab.lxc("lxc-destroy", &run.name).outcome();
}

fn terminal_signalled(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let run = Run::of(&lab, STEP);
    let lxc_create = run.start();
    lxc_create.signal_group(Signal::INT);
    let outcome = lxc_create.outcome().signalled(Signal::INT);
    lab.assert_quiet(SOON);
    run.assert_finally(130);
    let said = outcome.said_since();
    let last = said.lines().last().unwrap_or_default();
    let advice = format!("lxc-destroy -n {}", run.name);
    assert!(last.contains(&advice), "the last line says how to clean up:\n{said}");
    assert!(lab.container(&run.name, "partial").exists());
    lab.destroy(&run.name);
}

fn template_killed(caller: Caller, step: &str) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let run = Run::of(&lab, step);
    let lxc_create = run.start();
    run.template().signal(Signal::KILL);
    let outcome = lxc_create.outcome();
    lab.assert_quiet(SOON);
    // What dies behind lxc-usernsexec (5.0.2) has succeeded, for all that LXC is told.
    if caller == Caller::Root {
        outcome.code(1);
        lab.assert_absent(&run.name);
    }
}

fn lxc_create_killed(caller: Caller, step: &str) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let run = Run::of(&lab, step);
    let lxc_create = run.start();
    lxc_create.signal(Signal::KILL);
    lxc_create.outcome().signalled(Signal::KILL);
    lab.assert_quiet(if step == DEAF { GRACE } else { SOON });
    lab.lxc("lxc-destroy", &run.name).outcome();
}

/// A run of a manifest that comes to a point where it waits.
struct Run<'lab> {
    lab: &'lab Lab,
    name: String,
    manifest: PathBuf,
    trace: PathBuf,
}

impl<'lab> Run<'lab> {
    /// Waits in a post step.
    fn of(lab: &'lab Lab, step: &str) -> Self {
        let finally = "echo finally $LAYER_STATUS >>\"$TRACE\"";
        Self::write(lab, "true", &format!("post = '''{step}'''\n"), finally)
    }

    /// Waits in a post step, and takes its time on the way out.
    fn with_a_slow_finally(lab: &'lab Lab) -> Self {
        let finally = "echo start >>\"$TRACE\"; sleep 2.5; echo end >>\"$TRACE\"";
        Self::write(lab, "true", &format!("post = '''{STEP}'''\n"), finally)
    }

    /// Waits in the upstream template.
    fn of_a_slow_upstream(lab: &'lab Lab) -> Self {
        // Upstream's environment is not the caller's, so that it knows the trace by itself.
        let trace = lab.path("work/trace");
        let trace = trace.display();
        let finally = "echo finally $LAYER_STATUS >>\"$TRACE\"";
        Self::write(lab, &format!("echo begun >>'{trace}'\nsleep 86401.5"), "", finally)
    }

    fn write(lab: &'lab Lab, upstream: &str, steps: &str, finally: &str) -> Self {
        let trace = lab.path("work/trace");
        let _ = fs::remove_file(&trace);
        let upstream = lab.script("work/upstream.sh", &format!("#!/bin/sh\n{upstream}\n"));
        let text = format!(
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"{}\"\n\
             [[layer]]\nname = \"waiting\"\n{steps}\
             finally = '{finally}'\n",
            upstream.display()
        );
        let manifest = lab.write("work/waiting.toml", &text);
        Self { lab, name: lab.name("waiting"), manifest, trace }
    }

    /// Starts `lxc-create`, and returns when the run waits.
    fn start(&self) -> Running {
        let call = self.lab.create(&self.name, &self.manifest);
        self.begun(call.env("TRACE", &self.trace).start())
    }

    /// Starts the template as LXC would, and returns when it waits.
    fn start_directly(&self) -> Running {
        let call = self.lab.call_directly(&self.name, &self.manifest);
        self.begun(call.env("TRACE", &self.trace).start())
    }

    fn begun(&self, mut running: Running) -> Running {
        let deadline = Instant::now() + Duration::from_secs(20);
        // A shell that hears SIGINT before its sleep does leaves it to the sleep to end both.
        while !(self.lab.read(&self.trace).contains("begun\n") && self.sleeps()) {
            if Instant::now() > deadline || running.ended() {
                running.signal_group(Signal::KILL);
                panic!("the step never began: {}", running.outcome());
            }
            sleep(Duration::from_millis(10));
        }
        running
    }

    /// Whether what the step or the upstream waits for is there.
    fn sleeps(&self) -> bool {
        let all = self.lab.processes();
        all.iter().any(|process| {
            let words: Vec<_> = process.arguments.iter().map(String::as_str).collect();
            matches!(words[..], ["sleep", "86401.25" | "86401.5", ..])
        })
    }

    /// The process that LXC started, of the several that the program may consist of.
    fn template(&self) -> Process {
        let all = self.lab.processes();
        let is_template = |process: &&Process| {
            process.arguments.iter().any(|word| word.starts_with("--rootfs="))
                // It holds the template's whole command line as well.
                && !process.arguments[0].ends_with("lxc-usernsexec")
        };
        let templates: Vec<_> = all.iter().filter(is_template).collect();
        let first = templates
            .iter()
            .find(|process| !templates.iter().any(|other| other.id == process.parent))
            .unwrap_or_else(|| panic!("no template runs: {all:#?}"));
        Process { id: first.id, parent: first.parent, arguments: first.arguments.clone() }
    }

    fn trace(&self) -> Vec<String> {
        self.lab.read(&self.trace).lines().map(str::to_owned).collect()
    }

    /// Sees that what is sent to the template ends the run in order, with this status.
    #[track_caller]
    fn assert_ends(&self, status: i32, send: impl FnOnce(&Running)) {
        let template = self.start_directly();
        send(&template);
        template.outcome().code(status);
        self.assert_finally(status);
        self.lab.assert_quiet(SOON);
    }

    #[track_caller]
    fn assert_finally(&self, status: i32) {
        assert_eq!(self.trace(), ["begun".to_owned(), format!("finally {status}")]);
    }
}
