//! Two containers of one role share no name, machine id or key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::listing::Listing;
use super::{as_each, make, seen, shelf};
use crate::config;
use crate::image::Image;
use crate::lab::Lab;

/// What makes the machine itself that the image was taken from.
const OWN: &[&str] = &[
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "etc/iscsi/initiatorname.iscsi",
];

/// What stands in all of them.
const MARK: &str = "0123456789abcdef-of-the-image";

const LAYERS: &str = r#"
[[layer]]
name = "named"
identity = ["/etc/own-id", "/var/lib/own"]
post = { in = "rootfs", run = "cat /proc/sys/kernel/random/uuid >/etc/own-id; mkdir -p /var/lib/own; echo own >/var/lib/own/deep; hostname >/etc/mailname; echo \"127.0.1.1 $(hostname).example.org $(hostname)\" >>/etc/hosts" }

[layer.config]
lxc.environment = "NAME={{ lxc.name }}"

[[layer.file]]
path = "/etc/role.conf"
content = "I am {{ lxc.name }}, {{ lxc.name }} am I\n"
render = true

[[layer]]
name = "outside"

[[layer.file]]
path = "/etc/outside"
content = "the same in all\n"
"#;

#[test]
fn two_copies_differ_in_nothing_but_their_identity() {
    as_each(&["tar", "xz"], |lab| differ(lab, "--storage=copy"));
}

#[test]
fn two_overlays_differ_in_nothing_but_their_identity() {
    as_each(&["tar", "xz"], |lab| differ(lab, "--storage=overlay"));
}

fn differ(lab: &Lab, storage: &str) {
    lab.default_config("lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n");
    let image = Image::make_of(lab, "image", |rootfs| {
        for path in OWN {
            let path = rootfs.join(path);
            fs::create_dir_all(path.parent().expect("it is below the rootfs")).expect("mkdir");
            fs::write(&path, format!("{MARK}\n")).expect("root writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("chmod");
        }
    });
    let upstream = image.upstream();
    let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n{LAYERS}");
    let manifest = lab.write("work/role.toml", &text);
    // Neither is as long as the other, nor as what stands for them meanwhile.
    let (one, other) = (lab.name("a"), lab.name("another-one-with-a-name-that-is-very-long"));
    for name in [&one, &other] {
        make(lab, name, &manifest, &[storage]);
    }
    let (first, second) = (seen::listing(lab, &one), seen::listing(lab, &other));
    let differing: Vec<PathBuf> = first.differing(&second);
    let named = ["etc/hosts", "etc/issue", "etc/mailname", "etc/role.conf"];
    assert_eq!(differing, named.map(PathBuf::from), "{:?}", lab.caller);
    first.clone().renamed(&one, &other).assert_same(&second, "but for the name");

    let configs = [&one, &other].map(|name| lab.read(lab.container(name, "config")));
    assert_ne!(address(&configs[0]), address(&configs[1]));
    let without = |config: &str| -> Vec<String> {
        let lines = config::body(config).into_iter();
        let lines = lines.filter(|line| !line.starts_with("lxc.net.0.hwaddr"));
        lines.map(|line| line.replace(&one, &other)).collect()
    };
    assert_eq!(without(&configs[0]), without(&configs[1]));

    for (path, tree) in shelf::trees(lab) {
        assert_nobody_s(&tree, &path.join("rootfs"), Path::new("rootfs"), [&one, &other]);
    }
    for (name, tree, foreign) in [(&one, &first, &other), (&other, &second, &one)] {
        assert_nobody_s(tree, Path::new(name), Path::new(""), [foreign, foreign]);
        assert!(tree.text("etc/role.conf").contains(name.as_str()));
        lab.destroy(name);
    }
    shelf::assert_sound(lab);
}

fn address(config: &str) -> String {
    let address = seen::value(config, "lxc.net.0.hwaddr").expect("there is an address");
    assert!(!address.contains('x'), "{address}");
    address
}

/// Sees that a tree has nothing that is a machine's own, nor any of these names.
#[track_caller]
fn assert_nobody_s(tree: &Listing, shown: &Path, below: &Path, names: [&String; 2]) {
    let shown = shown.display();
    for path in OWN.iter().chain(&["etc/own-id", "var/lib/own"]) {
        let path = below.join(path);
        let at = path.display();
        match (tree.0.get(&path), path.ends_with("etc/machine-id")) {
            (None, false) => {}
            (Some(entry), true) => assert!(entry.content.is_empty(), "{shown}: {at}"),
            (found, _) => panic!("{shown}: {at} is {found:?}"),
        }
    }
    for (path, entry) in &tree.0 {
        for text in [MARK, names[0].as_str(), names[1].as_str()] {
            let found = memchr::memmem::find(&entry.content, text.as_bytes()).is_some();
            assert!(!found, "{shown}: {text} stands in {}", path.display());
        }
    }
}
