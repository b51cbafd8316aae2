//! The config of a real Debian, pulled.

use crate::caller::Caller;
use crate::lab::Lab;
use crate::mirror;
use crate::registry::pulled;
use crate::requirement;

#[test]
fn the_config_of_debian_is_pulled() {
    if !requirement::network() {
        return;
    }
    let Some(lab) = Lab::open(Caller::Root, &["docker-registry", "debootstrap"]) else { return };
    let Some(mirror) = mirror::of("bookworm") else {
        return requirement::skip("apt has no source of this release here");
    };
    let upstream = format!(
        "template = \"debian\"\nargs = {{ release = \"bookworm\", arch = \"amd64\" }}\n\
         env = {{ MIRROR = {mirror:?} }}"
    );
    let lines = ["lxc.include = /usr/share/lxc/config/debian.common.conf", "lxc.pty.max = 1024"];
    pulled(&lab, &upstream, &lines);
}
