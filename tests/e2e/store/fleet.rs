//! Hosts of one role, that are told apart by their names alone.

use std::path::PathBuf;

use layered_template::cache::PLACEHOLDER;

use super::named::{self, upstream};
use super::planned::standings;
use super::{as_each, create_directly, shelf};
use crate::caller::Caller;
use crate::lab::Lab;

/// One is the beginning of another, and one is what the placeholder is made of.
const FLEET: [&str; 4] = ["web-1", "web-12", "db-7", "lt"];

const LAYERS: &str = r#"
[[layer]]
name = "base"
post = { in = "rootfs", run = "hostname >/etc/mailname; echo \"127.0.1.1 $(hostname)\" >/etc/hosts" }

[layer.config]
lxc.environment = "NAME={{ lxc.name }}"

[[layer.file]]
path = "/etc/motd"
content = "This is {{ lxc.name }}\n"
render = true

[[layer]]
name = "node"
post = { in = "rootfs", run = '''
echo "node_id=${LXC_NAME##*-}" >/etc/node
echo "short=${LXC_NAME%%-*} length=${#LXC_NAME}" >>/etc/node
''' }

[[layer]]
name = "site"
[[layer.file]]
path = "/etc/site/link"
symlink = "/srv/{{ lxc.name }}"
[[layer.file]]
path = "/etc/site/conf"
content = "{{ lxc.name|upper }} {{ lxc.name }}\n"
render = true
"#;

fn role(lab: &Lab) -> PathBuf {
    let upstream =
        upstream(lab, "upstream", "echo \"$N\" >etc/hostname; ln -s \"/home/$N\" etc/home");
    let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n{LAYERS}");
    lab.write("work/role.toml", &text)
}

fn fleet_in(order: &[&str]) {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        let manifest = role(lab);
        let wanted: Vec<_> =
            order.iter().map(|name| named::expected(lab, name, &manifest)).collect();
        for (round, storage) in
            ["--storage=copy", "--storage=copy", "--storage=overlay"].into_iter().enumerate()
        {
            for (name, wanted) in order.iter().zip(&wanted) {
                let (faults, said) = named::faults(lab, name, &manifest, storage, wanted);
                wrong.extend(
                    faults
                        .into_iter()
                        .map(|fault| format!("{:?}, round {round}: {fault}", lab.caller)),
                );
                // One that takes long is told of once more when it is done.
                let begins = |line: &&str| {
                    line.starts_with("os: template ") && !line.contains(" done after ")
                };
                let calls = said.lines().filter(begins).count();
                let is_first = round == 0 && *name == order[0];
                if calls != usize::from(is_first) {
                    wrong.push(format!(
                        "round {round}: {name} has called the template {calls} times"
                    ));
                }
            }
        }
        shelf::assert_sound(lab);
        shelf::assert_tidy(lab);
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_host_of_a_fleet_is_its_own() {
    fleet_in(&FLEET);
}

#[test]
fn each_host_of_a_fleet_is_its_own_in_the_other_order() {
    let order: Vec<_> = FLEET.into_iter().rev().collect();
    fleet_in(&order);
}

/// A layer with one step inside the rootfs.
fn step(lab: &Lab, keys: &str, run: &str) -> PathBuf {
    let upstream = upstream(lab, "upstream", "echo \"$N\" >etc/own");
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n[[layer]]\nname = \"app\"\n{keys}\n\
         post = {{ in = \"rootfs\", run = '''{run}''' }}\n\
         [[layer]]\nname = \"outside\"\n[[layer.file]]\npath = \"/etc/outside\"\ncontent = \"x\"\n"
    );
    lab.write("work/role.toml", &text)
}

const NAME: &str = "web-12";
const LAYER: &str = "layer app";

#[test]
fn a_plan_says_that_a_layer_reads_the_name() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    for run in ["echo $LXC_NAME >/etc/n", "echo \"${LXC_NAME%-*}\" >/etc/n"] {
        let shown = named::plan(&lab, NAME, &step(&lab, "", run));
        let planned = standings(&shown);
        assert_eq!(planned[LAYER], "always runs", "{run}: {shown}");
        assert_eq!(planned["layer outside"], "always runs", "{run}: {shown}");
        assert!(shown.contains("LXC_NAME"), "{run}: nothing says why: {shown}");
    }
}

#[test]
fn a_layer_that_reads_the_name_is_stored_if_it_says_so() {
    as_each(&[], |lab| {
        let run = "echo \"I am $LXC_NAME\" >/etc/n; ln -s \"/srv/$LXC_NAME\" /etc/link";
        let manifest = step(lab, "store = true", run);
        assert_eq!(standings(&named::plan(lab, NAME, &manifest))[LAYER], "to build");
        let faults = named::tried(lab, &manifest, LAYER, false);
        assert!(faults.is_empty(), "{:?}: {faults:#?}", lab.caller);
        assert_eq!(named::count(lab, LAYER), 1);
        assert_eq!(standings(&named::plan(lab, "db-7", &manifest))[LAYER], "stored");
    });
}

/// What is found of the name where nobody can put it right, and the file that a message names: `NAME` is the
/// placeholder, `WORD` the last word of it. No step says that it reads the name: an inner layer has left it
/// in a file.
const FOUND: &[(&str, &str)] = &[
    ("sed 's/.*-//' /etc/own >/etc/n", "/etc/n"),
    ("tr a-z A-Z </etc/own >/etc/n", "/etc/n"),
    ("mkdir -p /srv/a; sed 's/.*-//' /etc/own >/srv/a/deep", "/srv/a/deep"),
    ("echo x >\"/etc/$(cat /etc/own)\"", "/etc/NAME"),
    ("echo x >\"/etc/n-$(sed 's/.*-//' /etc/own)\"", "/etc/n-WORD"),
    ("printf '%s\\0' \"$(cat /etc/own)\" >/etc/n.bin", "/etc/n.bin"),
    ("ln -s \"/srv/$(sed 's/.*-//' /etc/own)\" /etc/link", "/etc/link"),
    ("(cat /etc/own; head -c 17000000 /dev/zero | tr '\\0' x) >/srv/long", "/srv/long"),
];

#[test]
fn a_name_that_cannot_be_put_right_keeps_its_layer_out_of_the_store() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let mut wrong = Vec::new();
    for (run, path) in FOUND {
        let manifest = step(&lab, "", run);
        let wanted = named::expected(&lab, NAME, &manifest);
        let (faults, said) = named::faults(&lab, NAME, &manifest, "--storage=copy", &wanted);
        wrong.extend(faults);
        let word = PLACEHOLDER.rsplit('-').next().expect("it has words");
        let path = &path.replace("NAME", PLACEHOLDER).replace("WORD", word);
        if !said.lines().any(|line| line.contains(path) && line.contains("app")) {
            wrong.push(format!("{run}: nothing names {path}: {said}"));
        }
        if named::count(&lab, LAYER) + named::count(&lab, "layer outside") > 0 {
            wrong.push(format!("{run}: it is stored"));
        }
        shelf::store(&lab, &["gc", "--keep=0"]).outcome().success();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// It would be made twice by each run: once for the store, and once more in the container.
#[test]
fn a_plan_knows_of_a_name_that_a_run_has_found() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let mut wrong = Vec::new();
    for (run, _) in FOUND {
        let manifest = step(&lab, "", run);
        create_directly(&lab, NAME, &manifest, &[]).outcome().success();
        lab.destroy(NAME);
        let planned = standings(&named::plan(&lab, NAME, &manifest));
        let second = create_directly(&lab, NAME, &manifest, &[]).outcome().success();
        lab.destroy(NAME);
        let times = second.stderr.matches("app: post: ").count();
        if planned[LAYER] != "always runs" || times != 1 {
            wrong.push(format!("{run}: planned [{}], and run {times} times", planned[LAYER]));
        }
        shelf::store(&lab, &["gc", "--keep=0"]).outcome().success();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn words_that_the_placeholder_is_made_of_keep_nothing_out_of_the_store() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    for run in [
        "echo 'a < b: &lt; lt0 LT0 lt-' >/etc/n",
        "echo 'input::placeholder { color: gray }' >/etc/n.css",
        "mkdir -p /srv/lt0 /srv/lt; echo x >/srv/placeholder",
        "printf 'lt\\0lt0\\0placeholder\\0' >/etc/n.bin",
        "ln -s lt /srv/lt-lt0",
    ] {
        let manifest = step(&lab, "", run);
        create_directly(&lab, NAME, &manifest, &[]).outcome().success();
        lab.destroy(NAME);
        let shown = named::plan(&lab, NAME, &manifest);
        assert_eq!(standings(&shown)[LAYER], "stored", "{run}: {shown}");
    }
}
