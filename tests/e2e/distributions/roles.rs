//! The roles in `examples/roles` on a real Debian.

use std::time::Duration;

use super::{security, with_mirror};
use crate::roles::{role, start_alone};

#[test]
fn roles_stand_on_debian() {
    let Some((lab, mirror)) = with_mirror(&[]) else { return };
    let security = security(&mirror);
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
