//! The layer `provision-on-start`: a script that LXC runs inside the container, before its init.

use crate::call::Outcome;
use crate::caller::Caller;
use crate::lab::Lab;
use crate::layers::{as_both, assert_config, make, rootfs};

const LOG: &str = "var/log/provision-on-start/provision.log";

const DONE: &str = "var/lib/provision-on-start/provision.done";

/// A script that says what it runs with, and fails until somebody has made it ready.
const SCRIPT: &str = "#!/bin/sh\n\
    echo \"in $PWD as $(id -u), process 1 is $$ or not: $(cat /proc/1/comm)\"\n\
    env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort | sed 's/^/env: /'\n\
    echo 'to standard error' >&2\n\
    echo \"stdin: $(cat)\"\n\
    test -e /etc/ready\n";

/// Makes a container that is provisioned; `ready` says whether the script succeeds.
fn provisioned(lab: &Lab, name: &str, with: &str, ready: bool) {
    lab.script("work/provision.sh", SCRIPT);
    let layers = format!(
        "[[layer]]\nuse = \"provision-on-start\"\nwith = {{ script = \"provision.sh\"{with} }}\n\
         [[layer]]\nname = \"env\"\n[layer.config]\nlxc.environment = [\"SITE=a b\", \"B=2\"]\n"
    );
    make(lab, name, &layers);
    let hook = "lxc.hook.start = /etc/provision-on-start/provision.hook";
    assert_config(lab, name, "provision-on-start", &[hook]);
    if ready {
        lab.write(lab.container(name, "rootfs/etc/ready"), "");
    }
}

fn starts(lab: &Lab, name: &str) -> Outcome {
    let call = lab.lxc("lxc-start", name).env("TOKEN_OF_THE_CALLER", "secret");
    call.outcome()
}

#[test]
fn a_container_is_provisioned_once() {
    as_both(|lab| {
        let name = lab.name("once");
        provisioned(lab, &name, ", pass = \"SITE NOT_THERE\"", true);
        for _ in 0..2 {
            if !lab.start(&name) {
                return;
            }
            lab.stop(&name);
        }
        let log = rootfs(lab, &name, LOG);
        assert_eq!(log.matches("Z provision begins\n").count(), 1, "{log}");
        assert_eq!(log.matches("Z provision ends with 0\n").count(), 1, "{log}");
        assert!(log.contains("to standard error\nstdin: \n"), "{log}");
        assert!(log.contains("in / as 0, "), "{log}");
        let found: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("env: ")).collect();
        let lxc_name = format!("LXC_NAME={name}");
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let expected =
            ["HOME=/root", "LANG=C.UTF-8", lxc_name.as_str(), "NOT_THERE=", path, "SITE=a b"];
        assert_eq!(found, expected);
        assert!(lab.container(&name, "rootfs").join(DONE).exists());
        lab.destroy(&name);
    });
}

#[test]
fn a_container_is_provisioned_at_every_start() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let name = lab.name("always");
    provisioned(&lab, &name, ", once = false", true);
    for _ in 0..2 {
        if !lab.start(&name) {
            return;
        }
        lab.stop(&name);
    }
    let log = rootfs(&lab, &name, LOG);
    assert_eq!(log.matches("Z provision ends with 0\n").count(), 2, "{log}");
    assert!(!lab.container(&name, "rootfs").join(DONE).exists());
    lab.destroy(&name);
}

/// The log says why, and the next start tries again.
#[test]
fn a_container_that_cannot_be_provisioned_does_not_start() {
    as_both(|lab| {
        let name = lab.name("failing");
        provisioned(lab, &name, "", false);
        if !lab.can_start() {
            return;
        }
        let outcome = starts(lab, &name);
        assert!(!outcome.status.success(), "{outcome}");
        let log = rootfs(lab, &name, LOG);
        assert!(log.ends_with("Z provision ends with 1\n"), "{log}");
        assert!(!log.contains("TOKEN_OF_THE_CALLER"), "{log}");
        assert!(!lab.container(&name, "rootfs").join(DONE).exists());

        lab.write(lab.container(&name, "rootfs/etc/ready"), "");
        if lab.start(&name) {
            lab.stop(&name);
            let log = rootfs(lab, &name, LOG);
            assert!(log.ends_with("Z provision ends with 0\n"), "{log}");
        }
        lab.destroy(&name);
    });
}

#[test]
fn a_container_may_start_without_being_provisioned() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let name = lab.name("optional");
    provisioned(&lab, &name, ", required = false", false);
    for count in 1..=2 {
        if !lab.start(&name) {
            return;
        }
        lab.stop(&name);
        let log = rootfs(&lab, &name, LOG);
        assert_eq!(log.matches("Z provision ends with 1\n").count(), count, "{log}");
    }
    assert!(!lab.container(&name, "rootfs").join(DONE).exists());
    lab.destroy(&name);
}

/// LXC looks at the first hook alone before the start; both run, in the order of the manifest.
#[test]
fn two_jobs_run_in_order() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    lab.script("work/a.sh", "#!/bin/sh\necho a >>/root/order\n");
    lab.script("work/b.sh", "#!/bin/sh\necho b >>/root/order\n");
    let name = lab.name("jobs");
    let layers = r#"
[[layer]]
name = "first"
use = "provision-on-start"
with = { script = "a.sh", job = "first" }

[[layer]]
name = "second"
use = "provision-on-start"
with = { script = "b.sh", job = "second" }
"#;
    make(&lab, &name, layers);
    if lab.start(&name) {
        assert_eq!(lab.inside(&name, &["/bin/cat", "/root/order"]), "a\nb\n");
        lab.stop(&name);
    }
    lab.destroy(&name);
}
