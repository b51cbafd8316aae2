//! A Debian of `lxc-debian`, layer by layer.

use std::time::Duration;

use crate::caller::Caller;
use crate::lab::Lab;
use crate::manifest::{assert_three_layers, three_layers};
use crate::mirror;
use crate::requirement;

const SUITE: &str = "bookworm";

#[test]
fn debian_from_the_mirror() {
    if !requirement::network() {
        return;
    }
    let Some(lab) = Lab::open(Caller::Root, &["debootstrap"]) else {
        return;
    };
    let Some(mirror) = mirror::of(SUITE) else {
        return requirement::skip("apt has no source of this release here");
    };
    let security = mirror::of(&format!("{SUITE}-security")).unwrap_or_else(|| mirror.clone());
    let upstream = format!(
        "template = \"debian\"\nargs = {{ release = {SUITE:?}, arch = \"amd64\" }}\n\
         env = {{ MIRROR = {{ pass = true }}, SECURITY_MIRROR = {{ pass = true }} }}"
    );
    let manifest = three_layers(&lab, &upstream);
    let name = lab.name("debian");
    lab.create(&name, &manifest)
        .env("MIRROR", mirror)
        .env("SECURITY_MIRROR", security)
        .env("TRACE", lab.path("work/trace"))
        .limit(Duration::from_secs(30 * 60))
        .outcome()
        .success();
    assert_three_layers(&lab, &name);
    if lab.start(&name) {
        let version = lab.inside(&name, &["/bin/cat", "/etc/debian_version"]);
        assert!(version.starts_with("12"), "{version}");
        assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/role/base.conf"]), "written by base\n");
        lab.stop(&name);
    }
    lab.destroy(&name);
}
