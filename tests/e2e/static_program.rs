//! Linked statically, the program needs nothing of the host but its kernel.
//!
//! `LT_STATIC` names it; `make test-slow` builds it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::caller::Caller;
use crate::lab::Lab;
use crate::requirement;

const MANIFEST: &str = r#"
manifest = 1

[[layer]]
name = "os"
template = "builtin:busybox"

[[layer]]
name = "app"

[[layer.file]]
path = "/etc/app.conf"
content = "made in an empty root\n"
owner = "root"
"#;

#[test]
fn a_static_program_works_in_an_empty_root() {
    let Some(program) = std::env::var_os("LT_STATIC") else {
        return requirement::tell("not run: LT_STATIC names no program");
    };
    let Some(lab) = Lab::open(Caller::Root, &["chroot", "busybox"]) else {
        return;
    };
    for directory in ["root", "root/bin", "root/dev", "root/proc", "root/tmp", "root/work"] {
        lab.directory(directory);
    }
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    for (from, to) in [(program.as_ref(), "lt"), (Path::new(busybox.unwrap()), "bin/busybox")] {
        fs::copy(from, lab.path("root").join(to)).expect("a program is copied");
    }
    lab.write("root/work/role.toml", MANIFEST);
    lab.write("root/dev/null", "");
    let within = |words: &[&str]| {
        let mut call =
            lab.call(["env", "-i", "PATH=/usr/sbin:/usr/bin:/bin", "HOME=/tmp", "chroot"]);
        call = call.arg(lab.path("root")).arg("/lt").args(words);
        call.limit(Duration::from_secs(60)).outcome().success()
    };
    assert!(within(&["--version"]).stdout.starts_with("layered-template "));
    let judged = within(&["validate", "/work/role.toml"]).stderr;
    assert_eq!(judged, "1 manifest: 0 errors, 0 warnings\n");
    assert!(within(&["plan", "/work/role.toml"]).stdout.contains("/etc/app.conf"));
    within(&["create", "/work/role.toml", "--name", "c", "--lxcpath", "/work", "--storage=none"]);
    assert_eq!(lab.read("root/work/c/rootfs/etc/app.conf"), "made in an empty root\n");
}
