//! The roles in `examples/roles` on a real Debian.

use std::time::Duration;

use crate::caller::Caller;
use crate::lab::Lab;
use crate::mirror;
use crate::requirement;
use crate::roles::{role, start_alone};

#[test]
fn roles_stand_on_debian() {
    if !requirement::network() {
        return;
    }
    let Some(lab) = Lab::open(Caller::Root, &["debootstrap"]) else {
        return;
    };
    let Some(mirror) = mirror::of("bookworm") else {
        return requirement::skip("apt has no source of this release here");
    };
    let security = mirror::of("bookworm-security").unwrap_or_else(|| mirror.clone());
    let data = lab.directory("work/data");
    let base = role(&lab, "base");
    let set = format!("data={}", data.display());
    for (role, set, unit) in [("web", "site=www.test", "nginx"), ("database", &set, "mariadb")] {
        let name = lab.name(role);
        lab.create(&name, &base.with_file_name(format!("{role}.toml")))
            .args(["--set", set])
            .env("MIRROR", &mirror)
            .env("SECURITY_MIRROR", &security)
            .limit(Duration::from_secs(30 * 60))
            .outcome()
            .success();
        if start_alone(&lab, &name) {
            let wait = format!(
                "for i in $(seq 60); do systemctl is-active --quiet {unit} && exit; sleep 1; done; \
                 systemctl status {unit} ssh; journalctl -n 40; exit 1"
            );
            lab.inside(&name, &["/bin/sh", "-c", &wait]);
            lab.stop(&name);
        }
        lab.destroy(&name);
    }
    assert!(data.join("mysql").is_dir());
}
