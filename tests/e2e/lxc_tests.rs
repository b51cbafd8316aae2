//! LXC's own test programs find a manifest over busybox to be what busybox's plain template is.
//!
//! Debian packs them as `lxc-tests`. They add users and networks, and have names that a host's own
//! containers may have: each runs on a root of its own. It takes minutes, so that they run only where
//! `LT_SLOW=1` asks for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::caller::Caller;
use crate::lab::Lab;
use crate::requirement::{self, TEMPLATES};

const APART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apart.sh");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lxc_tests/root.sh");

/// The programs, and what they call besides.
const PACKAGES: [&str; 3] = ["lxc-tests", "sudo", "bridge-utils"];

/// Makes the manifest's template the one that is called `busybox`, where that is asked for.
const SETUP: &str = r#"set -eu
[ "$1" = plain ] || cp /here/lxc-wrapper /usr/share/lxc/templates/lxc-busybox
shift
unset TMPDIR LAYERED_TEMPLATE_STATE LAYERED_TEMPLATE_CACHE LAYERED_TEMPLATE_STORE LXC_CACHE_PATH
export HOME=/root
exec setsid timeout -k 5 300 "$@"
"#;

/// Stands where LXC looks for the template, and says that it was called.
const WRAPPER: &str = r#"#!/bin/sh
: >"/here/calls/$$" || :
exec /here/lxc-layered-template --manifest /here/role.toml "$@"
"#;

const MANIFEST: &str = r##"
manifest = 1

[[layer]]
name = "os"
template = "/here/lxc-busybox"

[[layer]]
name = "provisioning"
check = 'test -x "$LXC_ROOTFS/sbin/provision"'

[layer.config]
lxc.environment = "PROVISIONED=yes"

[[layer.file]]
path = "/sbin/provision"
content = "#!/bin/sh\n"
mode = "0755"
"##;

#[test]
fn lxc_tests_find_a_manifest_to_be_what_the_plain_template_is() {
    if !requirement::slow() {
        return;
    }
    let needed = ["apt-get", "dpkg-deb", "ip", "pivot_root", "setsid", "timeout"];
    let Some(lab) = Lab::open(Caller::Root, &needed) else {
        return;
    };
    let Some(programs) = furnish(&lab) else {
        return;
    };

    let left = Mutex::new(programs.iter());
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        // Most of them wait for most of the time.
        for worker in 0..2 {
            let (lab, left, found) = (&lab, &left, &found);
            scope.spawn(move || {
                loop {
                    let Some(program) = left.lock().unwrap().next() else { break };
                    let statuses = judge(lab, worker, program);
                    found.lock().unwrap().insert(program.clone(), statuses);
                }
            });
        }
    });

    let found = found.into_inner().unwrap();
    let different: Vec<_> = found.iter().filter(|(_, [plain, layered])| plain != layered).collect();
    assert!(different.is_empty(), "with the plain template, and with the manifest: {different:?}");
    let passed = found.values().filter(|[plain, _]| *plain == Some(0)).count();
    requirement::tell(&format!("{passed} of {} programs of lxc-tests pass", found.len()));
    for (program, _) in found.iter().filter(|(_, [plain, _])| *plain != Some(0)) {
        requirement::say(&format!("{program} fails here, with the plain template too"));
    }
    assert!(passed * 2 > found.len(), "hardly any passes: {found:?}");
    let calls = fs::read_dir(lab.path("apart/here/calls")).unwrap().count();
    assert!(calls * 2 > passed, "the manifest was used {calls} times");
}

/// Puts all in place that a root apart has, and returns the names of the programs.
fn furnish(lab: &Lab) -> Option<Vec<String>> {
    for directory in ["apart", "apart/packages", "apart/here"] {
        lab.directory(directory);
    }
    let calls = lab.directory("apart/here/calls");
    fs::set_permissions(calls, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    lab.write("apart/here/role.toml", MANIFEST);
    lab.script("apart/here/lxc-wrapper", WRAPPER);
    for (from, name) in [
        (lab.template(), "lxc-layered-template"),
        (Path::new(TEMPLATES).join("lxc-busybox"), "lxc-busybox"),
    ] {
        fs::copy(from, lab.path("apart/here").join(name)).expect("a template is copied");
    }

    let download = "cd \"$1\" && shift && apt-get -q download \"$@\"";
    let packages = lab.path("apart/packages");
    let fetched = lab
        .call(["sh", "-c", download, "download"])
        .arg(&packages)
        .args(PACKAGES)
        .limit(Duration::from_secs(300))
        .outcome();
    if !fetched.status.success() {
        requirement::skip(&format!("apt cannot download lxc-tests: {fetched}"));
        return None;
    }
    let package = fs::read_dir(packages)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("/lxc-tests_"))
        .expect("it was downloaded");
    let listed = lab.call(["dpkg-deb", "-c"]).arg(package).outcome().success().stdout;
    let name = |line: &str| line.rsplit_once("/usr/bin/").map(|(_, name)| name.to_owned());
    Some(listed.lines().filter_map(name).filter(|name| !name.is_empty()).collect())
}

/// Returns how a program ended with the plain template, and how with the manifest.
fn judge(lab: &Lab, worker: u32, program: &str) -> [Option<i32>; 2] {
    let once = || ["plain", "layered"].map(|template| run(lab, worker, template, program));
    let first = once();
    // Some of them race with what they test.
    if first[0] == first[1] { first } else { once() }
}

fn run(lab: &Lab, worker: u32, template: &str, program: &str) -> Option<i32> {
    let name = lab.name(&format!("apart{worker}"));
    let directory = lab.path("apart");
    let outcome = lab
        .call(["sh", APART, &name, "unshare", "--net", "sh", ROOT])
        .arg(directory)
        .args(["sh", "-c", SETUP, "setup", template, program])
        .limit(Duration::from_secs(360))
        .outcome();
    requirement::tell(&format!("{program} ({template}): {}", outcome.status));
    outcome.status.code()
}
