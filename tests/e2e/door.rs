//! The ways in: by name, by path, and for help alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::caller::Caller;
use crate::lab::Lab;
use crate::manifest::{assert_three_layers, three_layers};

#[test]
fn the_template_is_found_by_its_bare_name_as_root() {
    by_name(Caller::Root);
}

#[test]
fn the_template_is_found_by_its_bare_name_as_an_ordinary_user() {
    by_name(Caller::User);
}

#[test]
fn a_relative_manifest_is_relative_to_the_caller() {
    let Some(lab) = Lab::open(Caller::User, &[]) else {
        return;
    };
    three_layers(&lab, "template = \"busybox\"");
    let name = lab.name("relative");
    let call = lab.create(&name, Path::new("role/role.toml"));
    call.env("TRACE", lab.path("work/trace")).outcome().success();
    assert_three_layers(&lab, &name);
    lab.destroy(&name);
}

#[test]
fn a_directory_of_containers_may_have_a_name_that_is_no_text() {
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else {
            continue;
        };
        three_layers(&lab, "template = \"busybox\"");
        let odd = OsStr::from_bytes(b"l\xff\xfec");
        let (lxcpath, name) = (lab.directory(odd), lab.name("odd"));
        let in_lxcpath = |command: &str| lab.call([command, "-n", &name]).arg("-P").arg(&lxcpath);
        for storage in ["none", "copy", "copy"] {
            let mut call = in_lxcpath("lxc-create").arg("-t").arg(lab.template());
            if caller == Caller::Root {
                call = call.arg("-f").arg(lab.path("default.conf"));
            }
            let call = call.args(["--", "role/role.toml", "--storage", storage]);
            call.env("TRACE", lab.path("work/trace")).outcome().success();
            let container = lxcpath.join(&name);
            let path = [container.as_os_str().as_bytes(), b"/rootfs\n"].concat();
            let config = std::fs::read(container.join("config")).unwrap();
            assert!(config.windows(path.len()).any(|found| found == path), "{storage}");
            assert_eq!(lab.read(container.join("rootfs/etc/role/base.conf")), "written by base\n");
            in_lxcpath("lxc-destroy").outcome().success();
        }
    }
}

#[test]
fn a_container_may_have_its_rootfs_elsewhere() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let manifest = three_layers(&lab, "template = \"busybox\"");
    let name = lab.name("elsewhere");
    let elsewhere = lab.path("elsewhere");
    lab.create_with(&lab.template(), &name)
        .args(["-B", "dir", "--dir"])
        .arg(&elsewhere)
        .arg("--")
        .arg("--manifest")
        .arg(manifest)
        .env("TRACE", lab.path("work/trace"))
        .outcome()
        .success();
    assert_eq!(lab.read(elsewhere.join("etc/role/base.conf")), "written by base\n");
    assert_eq!(lab.read(elsewhere.join("etc/role/libs.conf")), "written by libs\n");
    lab.destroy(&name);
    assert!(!elsewhere.exists());
}

#[test]
fn a_container_may_have_its_rootfs_on_an_overlay() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let manifest = three_layers(&lab, "template = \"busybox\"");
    let name = lab.name("overlay");
    // LXC mounts such a rootfs in the mount namespace of the template, and nowhere else.
    lab.create_with(&lab.template(), &name)
        .args(["-B", "overlayfs", "--", "--manifest"])
        .arg(manifest)
        .env("TRACE", lab.path("work/trace"))
        .outcome()
        .success();
    assert_three_layers(&lab, &name);
    if lab.start(&name) {
        assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/role/base.conf"]), "written by base\n");
        lab.stop(&name);
    }
    lab.destroy(&name);
}

#[test]
fn help_is_printed_without_a_container() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let help = lab.call(["lxc-create", "-t"]).arg(lab.template()).arg("-h").outcome().success();
    assert!((help.stdout + &help.stderr).contains("--manifest"));
}

#[test]
fn help_among_the_arguments_makes_no_container() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let manifest = three_layers(&lab, "template = \"busybox\"");
    let name = lab.name("help");
    let trace = lab.path("work/trace");
    lab.create(&name, &manifest).arg("-h").env("TRACE", &trace).outcome().code(1);
    assert_eq!(lab.read(&trace), "", "no step runs");
    lab.assert_absent(&name);

    lab.call_directly(&name, &manifest).arg("--help").outcome().code(9);
    assert_eq!(lab.read("direct/config"), "lxc.net.0.type = empty\n");
    lab.assert_quiet(Duration::from_secs(5));
}

#[test]
fn without_a_manifest_there_is_no_container() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let name = lab.name("none");
    lab.create_with(&lab.template(), &name).outcome().code(1);
    lab.assert_absent(&name);
    lab.create(&name, Path::new("absent.toml")).outcome().code(1);
    lab.assert_absent(&name);
}

fn by_name(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let manifest = three_layers(&lab, "template = \"busybox\"");
    let name = lab.name("door");
    lab.create_with(Path::new("layered-template"), &name)
        .arg("--")
        .arg("--manifest")
        .arg(manifest)
        .env("TRACE", lab.path("work/trace"))
        .outcome()
        .success();
    assert_three_layers(&lab, &name);
    lab.destroy(&name);
}
