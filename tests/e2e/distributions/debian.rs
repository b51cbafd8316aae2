//! A Debian of `lxc-debian`, layer by layer.

use std::time::Duration;

use super::{SUITE, security, with_mirror};
use crate::manifest::{assert_three_layers, three_layers};

#[test]
fn debian_from_the_mirror() {
    let Some((lab, mirror)) = with_mirror(&[]) else { return };
    let security = security(&mirror);
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
