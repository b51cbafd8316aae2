//! The config of a real Debian, pulled.

use super::{SUITE, with_mirror};
use crate::registry::pulled;

#[test]
fn the_config_of_debian_is_pulled() {
    let Some((lab, mirror)) = with_mirror(&["docker-registry"]) else { return };
    let upstream = format!(
        "template = \"debian\"\nargs = {{ release = {SUITE:?}, arch = \"amd64\" }}\n\
         env = {{ MIRROR = {mirror:?} }}"
    );
    let lines = ["lxc.include = /usr/share/lxc/config/debian.common.conf", "lxc.pty.max = 1024"];
    pulled(&lab, &upstream, &lines);
}
