//! What is made once, and what is made every time.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::shelf::{self, kinds};
use super::{as_both, as_each, create, create_directly, make, role, trace};
use crate::caller::Caller;
use crate::lab::Lab;

const TEMPLATE: &str = "template of layer os";

/// What a step inside the rootfs has made is another at each run of it.
fn layers(libs: &str, app: &str, register: &str) -> String {
    format!(
        r#"
[[layer]]
name = "libs"
pre = "echo pre libs >>\"$TRACE\""
post = {{ in = "rootfs", run = "cat /proc/sys/kernel/random/uuid >/etc/libs-made; echo \"$build\" >/etc/build" }}
check = ["echo check libs >>\"$TRACE\"", {{ in = "rootfs", run = "test -s /etc/libs-made" }}]
finally = "echo finally libs $LAYER_STATUS >>\"$TRACE\""
{libs}

[[layer]]
name = "app"
pre = "echo \"build=$BUILD\" >>\"$LAYER_ENV\"; echo pre app >>\"$TRACE\""
post = {{ in = "rootfs", run = "cat /proc/sys/kernel/random/uuid >/etc/app-made" }}
{app}

[[layer.file]]
path = "/etc/app.conf"
source = "app.conf"

[[layer]]
name = "register"
post = "echo register >>\"$TRACE\"; cat /proc/sys/kernel/random/uuid >\"$LXC_ROOTFS/etc/register-made\""
check = "test -s \"$LXC_ROOTFS/etc/register-made\" && test \"${{LXC_ROOTFS#*$LXC_NAME}}\" != \"$LXC_ROOTFS\""
{register}
"#
    )
}

fn manifest(lab: &Lab, [os, libs, app, register]: [&str; 4]) -> PathBuf {
    lab.write("work/app.conf", "mode = 1\n");
    let upstream = role::counting(lab);
    let layers = layers(libs, app, register);
    let text = format!(
        "manifest = 1\n[vars]\nbuild = {{ from = \"app\" }}\n\
         [[layer]]\nname = \"os\"\n{upstream}\n{os}\n{layers}"
    );
    lab.write("work/role.toml", &text)
}

/// What a run has made: equal values are of one run of a step.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Made {
    libs: String,
    app: String,
    register: String,
    build: String,
}

fn run(lab: &Lab, manifest: &Path, words: &[&str]) -> Made {
    run_as_build(lab, manifest, words, "1")
}

#[track_caller]
fn run_as_build(lab: &Lab, manifest: &Path, words: &[&str], build: &str) -> Made {
    let name = lab.name("box");
    create(lab, &name, manifest, words).env("BUILD", build).outcome().success();
    let read = |path: &str| lab.read(lab.container(&name, "rootfs/etc").join(path));
    let made = Made {
        libs: read("libs-made"),
        app: read("app-made"),
        register: read("register-made"),
        build: read("build"),
    };
    for value in [&made.libs, &made.app, &made.register] {
        assert!(!value.is_empty(), "{made:?}");
    }
    lab.destroy(&name);
    made
}

#[test]
fn the_second_container_is_made_of_what_the_first_has_left() {
    as_each(&[], |lab| {
        let manifest = manifest(lab, ["", "", "", ""]);
        let every_time =
            ["pre app", "pre libs", "check libs", "finally libs 0", "register"].map(str::to_owned);
        let first = run(lab, &manifest, &[]);
        assert_eq!(trace(lab), every_time);
        assert_eq!(kinds(lab), [TEMPLATE, "layer libs", "layer app"]);
        let second = run(lab, &manifest, &[]);
        assert_eq!(trace(lab), every_time);
        assert_eq!(role::calls(lab), 1, "{:?}", lab.caller);
        assert_eq!((&first.libs, &first.app), (&second.libs, &second.app));
        assert_ne!(first.register, second.register);
        assert_eq!(kinds(lab).len(), 3);
        shelf::assert_tidy(lab);
    });
}

#[test]
fn a_layer_says_that_it_is_not_to_be_stored() {
    as_both(|lab| {
        let manifest = manifest(lab, ["", "", "store = false", ""]);
        let (first, second) = (run(lab, &manifest, &[]), run(lab, &manifest, &[]));
        assert_eq!(role::calls(lab), 1);
        assert_eq!(first.libs, second.libs);
        assert_ne!(first.app, second.app);
        assert_eq!(kinds(lab), [TEMPLATE, "layer libs"]);
    });
}

#[test]
fn an_upstream_that_is_not_to_be_stored_leaves_nothing_to_store() {
    as_both(|lab| {
        let manifest = manifest(lab, ["store = false", "", "", ""]);
        let (first, second) = (run(lab, &manifest, &[]), run(lab, &manifest, &[]));
        assert_eq!(role::calls(lab), 2);
        assert_ne!(first.libs, second.libs);
        assert!(!lab.path("store/roots").exists() || kinds(lab).is_empty());
    });
}

#[test]
fn a_layer_with_a_step_on_the_host_says_that_it_is_to_be_stored() {
    as_both(|lab| {
        let manifest = manifest(lab, ["", "", "", "store = true"]);
        let (first, second) = (run(lab, &manifest, &[]), run(lab, &manifest, &[]));
        assert_eq!(first, second);
        assert_eq!(trace(lab).iter().filter(|line| *line == "register").count(), 1);
        assert_eq!(kinds(lab), [TEMPLATE, "layer libs", "layer app", "layer register"]);
    });
}

#[test]
fn a_layer_that_is_too_old_is_made_anew_with_all_outside() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let manifest = manifest(&lab, ["", "refresh = \"1s\"", "", ""]);
    let first = run(&lab, &manifest, &[]);
    sleep(Duration::from_millis(2100));
    let second = run(&lab, &manifest, &[]);
    assert_eq!(role::calls(&lab), 1);
    assert_ne!(first.libs, second.libs);
    assert_ne!(first.app, second.app);
    let twice = [TEMPLATE, "layer libs", "layer app", "layer libs", "layer app"];
    assert_eq!(kinds(&lab), twice);
}

#[test]
fn everything_is_made_anew_on_demand_beside_what_is_there() {
    as_both(|lab| {
        let manifest = manifest(lab, ["", "", "", ""]);
        let first = run(lab, &manifest, &[]);
        let second = run(lab, &manifest, &["--rebuild"]);
        assert_eq!(role::calls(lab), 2);
        assert_ne!(first.libs, second.libs);
        assert_ne!(first.app, second.app);
        let once = [TEMPLATE, "layer libs", "layer app"];
        assert_eq!(kinds(lab), [once, once].concat());
        // The newest is what is found.
        let third = run(lab, &manifest, &[]);
        assert_eq!((third.libs, third.app), (second.libs, second.app));
        assert_eq!(role::calls(lab), 2);
        shelf::assert_sound(lab);
    });
}

#[test]
fn a_changed_file_remakes_its_layer_alone() {
    as_both(|lab| {
        let manifest = manifest(lab, ["", "", "", "store = true"]);
        let first = run(lab, &manifest, &[]);
        lab.write("work/app.conf", "mode = 2\n");
        let second = run(lab, &manifest, &[]);
        assert_eq!(first.libs, second.libs);
        assert_ne!(first.app, second.app);
        assert_ne!(first.register, second.register);
        lab.write("work/app.conf", "mode = 1\n");
        assert_eq!(run(lab, &manifest, &[]), first, "what was made before is still there");
        assert_eq!(role::calls(lab), 1);
    });
}

#[test]
fn what_a_pre_step_hands_inward_decides() {
    as_both(|lab| {
        let manifest = manifest(lab, ["", "", "", ""]);
        let build = |build: &str| run_as_build(lab, &manifest, &[], build);
        let (first, same, other, again) = (build("1"), build("1"), build("2"), build("1"));
        assert_eq!((&first.libs, &first.app), (&same.libs, &same.app));
        assert_ne!(first.libs, other.libs);
        assert_eq!((first.build.as_str(), other.build.as_str()), ("1\n", "2\n"));
        assert_eq!((&first.libs, &first.app), (&again.libs, &again.app));
        assert_eq!(role::calls(lab), 1);
        assert_eq!(kinds(lab).len(), 5);
    });
}

#[test]
fn a_pre_step_that_writes_into_the_rootfs_turns_the_store_off() {
    as_both(|lab| {
        let text = format!(
            "manifest = 1\n[[layer]]\nname = \"os\"\n{}\n[[layer]]\nname = \"early\"\n\
             pre = \"echo early >\\\"$LXC_ROOTFS/early\\\"\"\n\
             post = {{ in = \"rootfs\", run = \"test -e /early && echo post >/post\" }}\n",
            role::counting(lab)
        );
        let manifest = lab.write("work/early.toml", &text);
        let name = lab.name("early");
        for _ in 0..2 {
            let outcome = make(lab, &name, &manifest, &[]);
            let why = "the layer store is not used: a pre step has written into the rootfs";
            assert!(outcome.stderr.contains(why), "{outcome}");
            assert_eq!(lab.read(lab.container(&name, "rootfs/early")), "early\n");
            assert_eq!(lab.read(lab.container(&name, "rootfs/post")), "post\n");
            lab.destroy(&name);
        }
        assert_eq!(role::calls(lab), 2);
        let outcome = create_directly(lab, &name, &manifest, &["--storage=overlay"]);
        let outcome = outcome.outcome().code(8);
        assert!(outcome.stderr.contains("a pre step has written"), "{outcome}");
        lab.assert_absent(&name);
        assert!(!lab.path("store/roots").exists() || kinds(lab).is_empty());
    });
}

#[test]
fn a_layer_that_gets_secrets_is_not_stored() {
    const SECRET: &str = "correct-horse-battery-staple";
    as_each(&[], |lab| {
        let text = format!(
            "manifest = 1\n[vars]\ntoken = {{ secret = true, env = \"TOKEN\" }}\n\
             [[layer]]\nname = \"os\"\n{}\n\
             [[layer]]\nname = \"plain\"\n[[layer.file]]\npath = \"/plain\"\ncontent = \"\"\n\
             [[layer]]\nname = \"secretive\"\nsecrets = [\"token\"]\n\
             post = {{ in = \"rootfs\", run = \"echo $token >>/token\" }}\n\
             [[layer]]\nname = \"outside\"\n[[layer.file]]\npath = \"/outside\"\ncontent = \"\"\n",
            role::counting(lab)
        );
        let manifest = lab.write("work/secret.toml", &text);
        let name = lab.name("secret");
        for storage in ["--storage=copy", "--storage=overlay"] {
            create(lab, &name, &manifest, &[storage]).env("TOKEN", SECRET).outcome().success();
            let rootfs = super::seen::listing(lab, &name);
            assert_eq!(rootfs.text("token"), format!("{SECRET}\n"));
            lab.destroy(&name);
        }
        assert_eq!(role::calls(lab), 1);
        assert_eq!(kinds(lab), [TEMPLATE, "layer plain"]);
        let search = lab.call_as_root(["grep", "-raF", SECRET]).arg(lab.path("store"));
        search.outcome().code(1);
    });
}

#[test]
fn runs_at_the_same_time_make_a_layer_once() {
    as_both(|lab| {
        let manifest = manifest(lab, ["", "", "", ""]);
        let names = ["one", "two", "three"].map(|stem| lab.name(stem));
        let runs: Vec<_> = names
            .iter()
            .zip(["--storage=copy", "--storage=overlay", "--storage=copy"])
            .map(|(name, storage)| {
                create(lab, name, &manifest, &[storage]).env("BUILD", "1").start()
            })
            .collect();
        for run in runs {
            run.outcome().success();
        }
        assert_eq!(role::calls(lab), 1);
        assert_eq!(kinds(lab), [TEMPLATE, "layer libs", "layer app"]);
        let made =
            names.each_ref().map(|name| super::seen::listing(lab, name).text("etc/app-made"));
        assert!(made.iter().all(|other| *other == made[0]), "{made:?}");
        for name in &names {
            lab.destroy(name);
        }
        shelf::assert_tidy(lab);
        shelf::assert_sound(lab);
    });
}
