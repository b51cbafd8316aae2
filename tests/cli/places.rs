//! Where a manifest lies on a host is in no key, unless a step asks for it.

use std::fs;

use crate::sandbox::Sandbox;

#[test]
fn a_role_in_another_directory_finds_what_is_stored() {
    let text = r#"manifest = 1
[vars]
keys = { type = "path", default = "files/keys" }
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "admin"
post = { in = "rootfs", run = "echo x >/x" }
[[layer.file]]
path = "/keys"
source = "{{ keys }}"
[[layer]]
name = "named"
post = { in = "rootfs", run = "echo $keys >/named" }
"#;
    let sandbox = Sandbox::new().file("files/keys", "key\n").manifest(text);
    let lxcpath = sandbox.path("lxc");
    let lxcpath = format!("--lxcpath={}", lxcpath.display());
    sandbox.run(["create", "m.toml", "--name", "one", &lxcpath]).exits(0);
    let other = sandbox.path("elsewhere");
    fs::create_dir_all(other.join("files")).unwrap();
    fs::copy(sandbox.role().join("m.toml"), other.join("m.toml")).unwrap();
    fs::copy(sandbox.role().join("files/keys"), other.join("files/keys")).unwrap();
    let manifest = other.join("m.toml").display().to_string();
    let plan = sandbox.run(["plan", &manifest, "--name", "two", &lxcpath, "-v"]).stdout();
    assert!(plan.contains("layer    admin  [stored]"), "{plan}");
    // What is inside the rootfs would say another path.
    assert!(plan.contains("layer    named  [to build]"), "{plan}");
}
