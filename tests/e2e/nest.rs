//! Three layers around each of the upstream templates that work without a network.

use crate::caller::Caller;
use crate::image::{self, Image};
use crate::lab::Lab;
use crate::manifest::{assert_three_layers, three_layers};
use crate::server::Server;

#[test]
fn busybox_is_wrapped_as_root() {
    busybox(Caller::Root);
}

#[test]
fn busybox_is_wrapped_as_an_ordinary_user() {
    busybox(Caller::User);
}

#[test]
fn an_image_of_the_disk_is_wrapped_as_root() {
    local(Caller::Root);
}

#[test]
fn an_image_of_the_disk_is_wrapped_as_an_ordinary_user() {
    local(Caller::User);
}

#[test]
fn a_downloaded_image_is_wrapped_as_root() {
    download(Caller::Root);
}

#[test]
fn a_downloaded_image_is_wrapped_as_an_ordinary_user() {
    download(Caller::User);
}

#[test]
fn an_oci_image_is_wrapped_as_root() {
    oci(Caller::Root);
}

#[test]
fn an_oci_image_is_wrapped_as_an_ordinary_user() {
    oci(Caller::User);
}

fn busybox(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let name = created(&lab, "template = \"busybox\"", &[]);
    lives_and_dies(&lab, &name);
}

fn local(caller: Caller) {
    let Some(lab) = Lab::open(caller, &["tar", "xz"]) else {
        return;
    };
    let image = Image::make(&lab, "image");
    let name = created(&lab, &image.upstream(), &[]);
    assert_filled_in(&lab, &name);
    lives_and_dies(&lab, &name);
}

fn download(caller: Caller) {
    let commands = ["tar", "xz", "wget", "openssl", "python3"];
    let Some(lab) = Lab::open(caller, &commands) else {
        return;
    };
    let server = Server::start(&lab);
    let wgetrc = server.wgetrc.display().to_string();
    // The release is the user's own choice; a layer's arguments and the user's come together.
    let upstream = format!(
        "template = \"download\"\nargs = {{ d = \"busybox\", arch = \"amd64\", server = {:?} }}",
        server.address
    );
    let manifest = three_layers(&lab, &upstream);
    let name = lab.name("box");
    lab.create(&name, &manifest)
        .args(["--release", "1"])
        .env("TRACE", lab.path("work/trace"))
        .env("WGETRC", &wgetrc)
        .outcome()
        .success();
    assert_three_layers(&lab, &name);
    assert_filled_in(&lab, &name);
    assert!(lab.path("cache/download/busybox/1/amd64/default/build_id").exists());
    lives_and_dies(&lab, &name);
}

fn oci(caller: Caller) {
    let Some(lab) = Lab::open(caller, &["umoci", "skopeo", "jq", "bash"]) else {
        return;
    };
    let upstream = format!("template = \"oci\"\nargs = {{ url = {:?} }}", image::oci(&lab));
    let name = created(&lab, &upstream, &[]);
    // There is no init in such an image.
    let command = ["--", "/bin/busybox", "cat", "/etc/role/base.conf"];
    let outcome = lab.lxc("lxc-execute", &name).args(command).outcome().success();
    assert!(outcome.stdout.contains("written by base"), "{outcome}");
    lab.destroy(&name);
}

fn created(lab: &Lab, upstream: &str, arguments: &[&str]) -> String {
    let manifest = three_layers(lab, upstream);
    let name = lab.name("box");
    lab.create(&name, &manifest)
        .args(arguments)
        .env("TRACE", lab.path("work/trace"))
        .outcome()
        .success();
    assert_three_layers(lab, &name);
    name
}

/// Sees that upstream has done its own work on the rootfs.
fn assert_filled_in(lab: &Lab, name: &str) {
    let issue = lab.read(lab.container(name, "rootfs/etc/issue"));
    assert_eq!(issue, format!("this is {name}\n"));
}

fn lives_and_dies(lab: &Lab, name: &str) {
    if lab.start(name) {
        assert_eq!(lab.inside(name, &["/bin/cat", "/etc/role/base.conf"]), "written by base\n");
        assert_eq!(lab.inside(name, &["/bin/cat", "/etc/role/link"]), "written by libs\n");
        // The lines of outer layers come later, and the last one counts.
        let environment = lab.inside(name, &["/bin/env"]);
        assert!(environment.lines().any(|line| line == "ROLE=app"), "{environment}");
        assert!(environment.lines().any(|line| line == "BASE=1"), "{environment}");
        lab.stop(name);
    }
    lab.destroy(name);
}
