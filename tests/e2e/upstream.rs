//! What reaches the upstream template: its arguments and its environment.

use layered_template::cache::PLACEHOLDER;

use crate::caller::Caller;
use crate::lab::Lab;

#[test]
fn upstream_gets_its_arguments_in_order_as_root() {
    arguments(Caller::Root, &[]);
}

#[test]
fn upstream_gets_its_arguments_in_order_as_an_ordinary_user() {
    // LXC puts these four behind everything else, even behind a `--`.
    arguments(Caller::User, &["--mapped-uid", "65536", "--mapped-gid", "65536"]);
}

#[test]
fn upstream_gets_only_what_it_may_know_of_the_environment() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let seen = lab.path("work/seen");
    let script = format!("#!/bin/sh\nenv >'{}'\n", seen.display());
    let upstream = lab.script("work/env.sh", &script);
    let upstream = upstream.display();
    let manifest = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"{upstream}\"\n\
         env = {{ GIVEN = \"by the layer\", PASSED = {{ pass = true }} }}\n\
         [[layer]]\nname = \"app\"\npost = 'test \"$UNKNOWN\" = secret'\n"
    );
    let manifest = lab.write("work/env.toml", &manifest);
    let name = lab.name("env");
    lab.create(&name, &manifest)
        .env("UNKNOWN", "secret")
        .env("PASSED", "by the caller")
        .env("LXC_OWN", "1")
        .env("http_proxy", "none")
        .outcome()
        .success();
    let seen = lab.read(seen);
    for line in ["GIVEN=by the layer", "PASSED=by the caller", "LXC_OWN=1", "http_proxy=none"] {
        assert!(seen.lines().any(|other| other == line), "{line} is missing:\n{seen}");
    }
    assert!(!seen.contains("UNKNOWN"), "{seen}");
    lab.destroy(&name);
}

fn arguments(caller: Caller, pair: &[&str]) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let seen = lab.path("work/seen");
    let script = format!(
        "#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done >'{}'\n\
         # A call that changes nothing would be taken for one that only asks.\n\
         mkdir \"${{3#--rootfs=}}/made\"\n",
        seen.display()
    );
    let upstream = lab.script("work/words.sh", &script);
    let upstream = upstream.display();
    let manifest = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"{upstream}\"\n\
         args = {{ zebra = \"of the layer\", a = 1, flag = true, not = false }}\n"
    );
    let manifest = lab.write("work/words.toml", &manifest);
    let name = lab.name("words");
    // What is made for the store is made for a container that is none.
    for (storage, called) in [("none", name.as_str()), ("copy", PLACEHOLDER)] {
        lab.create(&name, &manifest)
            .arg(format!("--storage={storage}"))
            .args(["--zebra=of the user", "-x", "--", "-h"])
            .outcome()
            .success();
        let path = lab.container(called, "");
        let path = path.to_str().expect("a lab's path is plain").trim_end_matches('/');
        let three = [
            format!("--path={path}"),
            format!("--name={called}"),
            format!("--rootfs={path}/rootfs"),
        ];
        let three: Vec<_> = three.iter().map(String::as_str).collect();
        let layer = ["--zebra=of the layer", "-a", "1", "--flag"];
        let user = ["--zebra=of the user", "-x", "--", "-h"];
        let expected = [&three[..], pair, &layer, &user].concat();
        assert_eq!(lab.read(&seen).lines().collect::<Vec<_>>(), expected);
        lab.destroy(&name);
    }
}
