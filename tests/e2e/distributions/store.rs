//! Debian from the layer store: what a container of a stored layer does not have, and what it does.

use std::path::Path;
use std::time::Duration;

use super::{SUITE, with_mirror};
use crate::tree::Tree;

/// What differs between two containers that were made one after the other: identity, and what holds
/// the time of the day or is made of the order of a directory.
const DIFFERS: [&str; 9] = [
    "etc/machine-id",
    "etc/ssh/ssh_host_",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "var/cache/apt/",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/",
    "var/log/",
    "var/cache/debconf/",
];

const LAYERS: &str = r#"
[[layer]]
name = "packages"
post = { in = "rootfs", network = true, run = """
sed -i /security/d /etc/apt/sources.list
apt-get -qq update
apt-get -qq -y --no-install-recommends install cron logrotate openssh-server ssl-cert""" }

[[layer]]
name = "jobs"
post = { in = "rootfs", run = "echo line >/var/log/mine.log" }

[[layer.file]]
path = "/etc/cron.d/mine"
content = "@reboot root /bin/touch /root/cron-has-run\n"

[[layer.file]]
path = "/etc/logrotate.d/mine"
content = "/var/log/mine.log {\n  rotate 2\n  create 0644 root root\n}\n"

[[layer.file]]
path = "/etc/motd"
content = "Welcome to {{ lxc.name }}\n"
render = true
"#;

#[test]
fn debian_from_the_store_is_as_from_the_template_and_does_its_work() {
    let Some((lab, mirror)) = with_mirror(&[]) else { return };
    let text = format!(
        "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"debian\"\n\
         args = {{ release = {SUITE:?}, arch = \"amd64\" }}\nenv = {{ MIRROR = {{ pass = true }} }}\n\
         {LAYERS}"
    );
    let manifest = lab.write("work/debian.toml", &text);
    let name = lab.name("stored");
    let make = |storage: &str| {
        lab.create(&name, &manifest)
            .arg(format!("--storage={storage}"))
            .env("MIRROR", &mirror)
            .limit(Duration::from_secs(30 * 60))
            .outcome()
            .success()
    };
    make("none");
    let straight = Tree::of(&lab.container(&name, "rootfs"));
    let config = lab.read(lab.container(&name, "config"));
    lab.destroy(&name);
    make("copy");
    let copied = Tree::of(&lab.container(&name, "rootfs"));
    let different = straight.differences(&copied);
    let unexpected: Vec<_> = different
        .iter()
        .filter(|path| !DIFFERS.iter().any(|known| path.to_string_lossy().starts_with(known)))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    for path in [DIFFERS[0], "etc/ssh/ssh_host_rsa_key", DIFFERS[3]] {
        assert!(different.iter().any(|other| other == Path::new(path)), "{path}");
    }
    let without_storage = |config: &str| config.replace("--storage=none", "--storage=copy");
    assert_eq!(lab.read(lab.container(&name, "config")), without_storage(&config));
    lab.destroy(&name);

    let outcome = make("overlay");
    assert!(!outcome.stderr.contains("template"), "{outcome}");
    if !lab.start(&name) {
        return;
    }
    let ran = lab.container(&name, "delta/root/cron-has-run");
    for _ in 0..300 {
        if ran.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ran.exists(), "cron has not run its job");
    lab.inside(&name, &["/usr/sbin/logrotate", "-f", "/etc/logrotate.d/mine"]);
    let rotated = ["/bin/cat", "/var/log/mine.log.1"];
    assert_eq!(lab.inside(&name, &rotated), "line\n");
    assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/motd"]), format!("Welcome to {name}\n"));
    let key = lab.inside(&name, &["/bin/cat", "/etc/ssh/ssh_host_ed25519_key.pub"]);
    assert!(key.ends_with(&format!(" root@{name}\n")), "{key}");
    assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/machine-id"]).trim().len(), 32);
    lab.stop(&name);
    lab.destroy(&name);
}
