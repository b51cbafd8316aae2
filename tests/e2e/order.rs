//! The order of a run: who comes before whom, who is left out when something fails, and what the
//! exit status then is.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::call::Outcome;
use crate::caller::Caller;
use crate::config;
use crate::lab::Lab;

/// What every step of three layers writes down when all goes well: its own name, then what it finds
/// of its layer's work, in lines of the config and entries of the directory that all drop into.
const WHOLE: &[&str] = &[
    "pre(2)",
    "pre(1)",
    "pre(0)",
    "upstream",
    "post(0) 1 1",
    "check(0) 1 2",
    "finally(0) 0",
    "post(1) 2 3",
    "check(1) 2 4",
    "finally(1) 0",
    "post(2) 3 5",
    "check(2) 3 6",
    "finally(2) 0",
];

/// What fails, the exit status that this gives, and the layers that were left open: their `finally`
/// runs, and nothing else.
const FAILURES: &[(&str, i32, &[usize])] = &[
    ("pre(2)", 3, &[2]),
    ("pre(1)", 3, &[1, 2]),
    ("pre(0)", 3, &[0, 1, 2]),
    ("upstream", 4, &[0, 1, 2]),
    ("post(0)", 6, &[0, 1, 2]),
    ("check(0)", 7, &[0, 1, 2]),
    ("finally(0)", 6, &[1, 2]),
    ("post(1)", 6, &[1, 2]),
    ("check(1)", 7, &[1, 2]),
    ("finally(1)", 6, &[2]),
    ("post(2)", 6, &[2]),
    ("check(2)", 7, &[2]),
    ("finally(2)", 6, &[]),
];

#[test]
fn layers_are_nested_as_root() {
    nested(Caller::Root);
}

#[test]
fn layers_are_nested_as_an_ordinary_user() {
    nested(Caller::User);
}

#[test]
fn a_failure_leaves_only_finally_to_run_as_root() {
    failures(Caller::Root);
}

#[test]
fn a_failure_leaves_only_finally_to_run_as_an_ordinary_user() {
    failures(Caller::User);
}

#[test]
fn every_kind_of_failure_has_its_exit_status() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let chain = Chain::write(&lab);
    let outcome = chain.run_directly("").code(0);
    assert_eq!(chain.trace(), WHOLE, "{outcome}");
    for (failing, status, open) in FAILURES {
        let outcome = chain.run_directly(failing).code(*status);
        assert_eq!(chain.trace(), expected(failing, *status, open), "{outcome}");
    }
}

#[test]
fn a_failing_finally_does_not_hide_the_failure_before_it() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let chain = Chain::write(&lab);
    let outcome = chain.run_directly("check(0) finally(1)").code(7);
    assert_eq!(chain.trace(), expected("check(0)", 7, &[0, 1, 2]), "{outcome}");
}

#[test]
fn a_drop_that_cannot_be_made_is_a_failure_of_its_own() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let chain = Chain::write(&lab);
    chain.add_to_the_last_layer("[[layer.file]]\npath = \"/etc\"\ncontent = \"no directory\"\n");
    let outcome = chain.run_directly("").code(5);
    assert_eq!(chain.trace(), expected("finally(1)", 5, &[2]), "{outcome}");
}

#[test]
fn a_manifest_that_cannot_be_used_runs_no_step() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let chain = Chain::write(&lab);
    chain.add_to_the_last_layer("nonsense = true\n");
    let outcome = chain.run_directly("").code(2);
    assert_eq!(chain.trace(), [""; 0], "{outcome}");
    let outcome = chain.lxc_create("").code(1);
    assert_eq!(chain.trace(), [""; 0], "{outcome}");
    lab.assert_absent(&chain.name);
}

#[test]
fn a_failure_names_the_layer_the_step_and_the_line() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let chain = Chain::write(&lab);
    let text = lab.read(&chain.manifest);
    let line = text.lines().position(|line| line.contains("post(1)")).expect("it is there") + 1;
    let outcome = chain.run_directly("post(1)").code(6);
    let place = format!("order.toml:{line}");
    for part in ["one", "post", &place] {
        assert!(outcome.stderr.contains(part), "{part:?} is missing: {outcome}");
    }
}

fn nested(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let chain = Chain::write(&lab);
    let outcome = chain.lxc_create("").success();
    assert_eq!(chain.trace(), WHOLE, "{outcome}");
    let config = lab.read(lab.container(&chain.name, "config"));
    config::assert_in_order(
        &config,
        &[
            // Upstream leaves this line open: it must not run together with the next.
            "lxc.tty.max = 3",
            "lxc.environment = STEP=0",
            "lxc.environment = STEP=1",
            "lxc.environment = STEP=2",
        ],
    );
    lab.destroy(&chain.name);
}

fn failures(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let chain = Chain::write(&lab);
    for (failing, status, open) in FAILURES {
        // The template's own status does not survive LXC.
        let outcome = chain.lxc_create(failing).code(1);
        assert_eq!(chain.trace(), expected(failing, *status, open), "{outcome}");
        lab.assert_absent(&chain.name);
    }
    lab.assert_quiet(std::time::Duration::from_secs(5));
}

/// All up to the step that fails, and then the layers that it leaves open, the inner ones first.
fn expected(failing: &str, status: i32, open: &[usize]) -> Vec<String> {
    let last = WHOLE.iter().position(|line| line.split(' ').next() == Some(failing));
    let through = &WHOLE[..=last.expect("it is one of the steps")];
    let outside = open.iter().map(|layer| format!("finally({layer}) {status}"));
    through.iter().map(|line| (*line).to_owned()).chain(outside).collect()
}

/// Three layers around a template of the test's own, whose steps all write down that they ran.
struct Chain<'lab> {
    lab: &'lab Lab,
    name: String,
    manifest: PathBuf,
    trace: PathBuf,
}

impl<'lab> Chain<'lab> {
    fn write(lab: &'lab Lab) -> Self {
        let trace = lab.path("work/trace");
        let upstream = lab.script("work/upstream.sh", &upstream(&trace));
        let mut text = String::from("manifest = 1\n");
        for (layer, name) in ["zero", "one", "two"].into_iter().enumerate() {
            writeln!(text, "\n[[layer]]\nname = \"{name}\"").expect("strings grow");
            if layer == 0 {
                writeln!(text, "template = \"{}\"", upstream.display()).expect("strings grow");
                text += "env = { FAIL = { pass = true } }\n";
            }
            text += &steps(layer);
        }
        let manifest = lab.write("work/order.toml", &text);
        Self { lab, name: lab.name("order"), manifest, trace }
    }

    fn add_to_the_last_layer(&self, more: &str) {
        let text = self.lab.read(&self.manifest) + more;
        self.lab.write(&self.manifest, &text);
    }

    fn trace(&self) -> Vec<String> {
        let lines = self.lab.read(&self.trace).lines().map(str::to_owned).collect();
        // What the next run writes is its own.
        let _ = std::fs::remove_file(&self.trace);
        lines
    }

    /// Runs under LXC; a step whose name stands in `failing` fails.
    fn lxc_create(&self, failing: &str) -> Outcome {
        let call = self.lab.create(&self.name, &self.manifest);
        call.env("FAIL", failing).env("TRACE", &self.trace).outcome()
    }

    /// Runs the template as LXC would, for its exit status.
    fn run_directly(&self, failing: &str) -> Outcome {
        self.lab
            .call_directly(&self.name, &self.manifest)
            .env("FAIL", failing)
            .env("TRACE", &self.trace)
            .outcome()
    }
}

/// A template that makes next to nothing. Its environment is not the caller's, so that it knows the
/// trace by itself.
fn upstream(trace: &Path) -> String {
    let trace = trace.display();
    format!(
        r#"#!/bin/sh
set -eu
for word; do
    case $word in
        --path=*) path=${{word#*=}} ;;
        --rootfs=*) rootfs=${{word#*=}} ;;
    esac
done
echo upstream >>"{trace}"
case " $FAIL " in *" upstream "*) exit 3 ;; esac
mkdir -p "$rootfs/etc" "$rootfs/dropped"
printf 'lxc.tty.max = 3' >>"$path/config"
"#
    )
}

/// The steps, config and drops of one layer.
fn steps(layer: usize) -> String {
    let step = |name: &str, more: &str| {
        format!(
            "{name} = '''echo \"{name}({layer}){more}\" >>\"$TRACE\"\n\
             case \" $FAIL \" in *\" {name}({layer}) \"*) false ;; esac'''\n"
        )
    };
    let seen = " $(grep -c STEP= \"$LXC_PATH/config\") $(ls \"$LXC_ROOTFS/dropped\" | wc -l)";
    [
        step("pre", ""),
        step("post", seen),
        step("check", seen),
        step("finally", " $LAYER_STATUS"),
        format!("[layer.config]\nlxc.environment = \"STEP={layer}\"\n"),
        format!("[[layer.file]]\npath = \"/dropped/{layer}\"\ncontent = \"early\"\n"),
        format!("[[layer.file]]\npath = \"/dropped/{layer}-late\"\ncontent = \"late\"\n"),
        "when = \"after-post\"\n".to_owned(),
    ]
    .concat()
}
