//! A plan and `lxc-create` of one starting config agree.

use std::path::Path;

use super::{as_each, role, shelf};
use crate::caller::Caller;
use crate::lab::Lab;

/// The marks of a plan, from the outside in.
#[track_caller]
fn marks(lab: &Lab, manifest: &Path, config: Option<&Path>, words: &[&str]) -> Vec<String> {
    let call = lab.call([lab.program()]).arg("plan").arg(manifest).arg("--lxcpath");
    let mut call = call.arg(lab.lxcpath()).args(words);
    if let Some(config) = config {
        call = call.arg("-f").arg(config);
    }
    let text = call.outcome().success().stdout;
    let marks = text
        .lines()
        .filter_map(|line| ["[stored]", "[to build]"].into_iter().find(|mark| line.contains(mark)));
    marks.map(str::to_owned).collect()
}

/// `lxc-create -f`.
#[track_caller]
fn make(lab: &Lab, manifest: &Path, config: &Path) {
    let name = lab.name("starting");
    let call = lab.lxc("lxc-create", &name).arg("-t").arg(lab.template()).arg("-f").arg(config);
    let call = call.args(["--", "--manifest"]).arg(manifest).env("TRACE", lab.path("work/trace"));
    call.outcome().success();
    lab.destroy(&name);
}

/// An id map that is not the caller's default.
fn other_map(lab: &Lab) -> String {
    let (users, groups) = lab.first_ids().unwrap_or((1_600_000_000, 1_600_000_000));
    format!("lxc.idmap = u 0 {users} 40000\nlxc.idmap = g 0 {groups} 40000\n")
}

#[test]
fn a_plan_agrees_with_lxc_create_of_the_same_config() {
    as_each(&[], |lab| {
        let manifest = role::three_layers(lab, "template = \"builtin:busybox\"");
        let given = lab.read("default.conf");
        let (stored, to_build) = (vec!["[stored]"; 4], vec!["[to build]"; 4]);
        let bridge =
            |name: &str| format!("{given}lxc.net.1.type = veth\nlxc.net.1.link = {name}\n");
        let first = lab.write("work/first.conf", &bridge("lxcbr0"));
        assert_eq!(marks(lab, &manifest, Some(&first), &[]), to_build);
        make(lab, &manifest, &first);
        assert_eq!(marks(lab, &manifest, Some(&first), &[]), stored);
        let count = shelf::stored(lab).len();

        let renamed = lab.write("work/renamed.conf", &bridge("br-lan"));
        assert_eq!(marks(lab, &manifest, Some(&renamed), &[]), stored, "a bridge is renamed");
        make(lab, &manifest, &renamed);
        assert_eq!(shelf::stored(lab).len(), count);

        let lines = format!("{}lxc.net.0.type = empty\n", other_map(lab));
        let included = lab.write("work/included.conf", &lines);
        let mapped = lab.write("work/mapped.conf", &lines);
        assert_eq!(marks(lab, &manifest, Some(&mapped), &[]), to_build, "{:?}", lab.caller);
        make(lab, &manifest, &mapped);
        assert_eq!(marks(lab, &manifest, Some(&mapped), &[]), stored, "{:?}", lab.caller);
        assert_eq!(shelf::stored(lab).len(), 2 * count);
        assert_eq!(marks(lab, &manifest, Some(&first), &[]), stored);
        assert_eq!(marks(lab, &manifest, Some(&mapped), &["--storage=overlay"]), stored);

        let text = format!("lxc.include = {}\n", included.display());
        let including = lab.write("work/including.conf", &text);
        make(lab, &manifest, &including);
        assert_eq!(shelf::stored(lab).len(), 2 * count);
        assert_eq!(marks(lab, &manifest, Some(&including), &[]), stored, "a map that is included");
        if lab.caller == Caller::User {
            assert_eq!(marks(lab, &manifest, None, &[]), stored, "that of a user's own default");
        }
    });
}

#[test]
fn a_config_that_cannot_be_read_is_told() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let manifest = role::three_layers(&lab, "template = \"builtin:busybox\"");
    let call = lab.call([lab.program()]).arg("plan").arg(manifest).args(["-f", "missing.conf"]);
    let outcome = call.outcome().code(2);
    assert!(outcome.stderr.contains("the config `missing.conf`"), "{outcome}");
}
