//! What `build --output` writes, made into containers by LXC's own templates.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::caller::Caller;
use crate::lab::Lab;

const ROLE: &str = r#"manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "app"
config = { "lxc.environment" = ["STAGE=test"] }
post = { in = "rootfs", run = "echo made >/etc/app; chown 7:8 /etc/app; rm -r /mnt; mkdir -p /srv/new" }
[[layer.file]]
path = "/etc/name"
content = "{{ lxc.name }}"
render = true
"#;

/// Sees that all that was written is the caller's.
#[track_caller]
fn assert_owned(lab: &Lab, path: &Path, uid: u32) {
    let found = fs::symlink_metadata(path).unwrap();
    assert_eq!(found.uid(), uid, "{:?}: {}", lab.caller, path.display());
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_owned(lab, &entry.unwrap().path(), uid);
        }
    }
}

#[test]
fn lxc_makes_containers_of_what_is_written() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        let Some(lab) = Lab::open(caller, &["skopeo", "umoci", "jq", "xz"]) else { continue };
        let manifest = lab.write("work/role.toml", ROLE);
        let out = lab.directory("work/out");
        let (image, local) = (out.join("image"), out.join("local"));
        let output = |kind: &str, path: &Path, end: &str| format!("{kind}:{}{end}", path.display());
        let build = lab.call([lab.program()]).arg("build").arg(&manifest);
        let build = build.arg("-f").arg(lab.path("default.conf"));
        let build = build.args(["-o", &output("oci", &image, ":web")]);
        let outcome = build.args(["-o", &output("lxc-local", &local, "")]).outcome().success();
        let uid = fs::metadata(&out).unwrap().uid();
        assert_owned(&lab, &out, uid);

        let metadata = local.join("meta.tar.xz").display().to_string();
        let tree = local.join("rootfs.tar.xz").display().to_string();
        let url = output("oci", &image, ":web");
        for words in [
            &["local", "--", "--metadata", &metadata, "--fstree", &tree][..],
            &["oci", "--", "--url", &url],
        ] {
            let name = lab.name(words[0]);
            let create = lab.call(["lxc-create", "-n", &name, "-P"]).arg(lab.lxcpath());
            let create = create.arg("-f").arg(lab.path("default.conf")).arg("-t").args(words);
            create.outcome().success();
            let rootfs = lab.container(&name, "rootfs");
            assert_eq!(fs::read_to_string(rootfs.join("etc/app")).unwrap(), "made\n", "{outcome}");
            let owner = fs::metadata(rootfs.join("etc/app")).unwrap();
            // An ordinary user's `lxc-oci` makes all of it root's.
            if words[0] == "local" || lab.caller == Caller::Root {
                let expected = (lab.id(7), lab.id(8));
                assert_eq!((owner.uid(), owner.gid()), expected, "{:?}", lab.caller);
            }
            assert_eq!(fs::read_to_string(rootfs.join("etc/name")).unwrap(), "localhost");
            assert!(!rootfs.join("mnt").exists() && rootfs.join("srv/new").is_dir());
            if words[0] == "local" {
                let config = fs::read_to_string(lab.container(&name, "config")).unwrap();
                assert!(config.contains("lxc.environment = STAGE=test"), "{config}");
            }
            if words[0] == "local" && lab.start(&name) {
                assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/app"]), "made\n");
                lab.stop(&name);
            }
            lab.destroy(&name);
        }
    }
}

#[test]
fn a_directory_is_the_rootfs_of_a_container() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        let Some(lab) = Lab::open(caller, &[]) else { continue };
        let manifest = lab.write("work/role.toml", ROLE);
        let name = lab.name("dir");
        let container = lab.directory(lab.container(&name, ""));
        let rootfs = container.join("rootfs");
        let build = lab.call([lab.program()]).arg("build").arg(&manifest);
        let build = build.arg("-f").arg(lab.path("default.conf"));
        build.args(["-o", &format!("dir:{}", rootfs.display())]).outcome().success();
        for (path, uid, gid) in [("", 0, 0), ("etc/app", 7, 8), ("srv/new", 0, 0)] {
            let found = fs::metadata(rootfs.join(path)).unwrap();
            let expected = (lab.id(uid), lab.id(gid));
            assert_eq!((found.uid(), found.gid()), expected, "{caller:?}: {path}");
        }
        assert!(!rootfs.join("mnt").exists());
        let names: Vec<_> = fs::read_dir(&container).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let config = format!(
            "{}\nlxc.rootfs.path = dir:{}\nlxc.uts.name = {name}\n",
            lab.read("default.conf"),
            rootfs.display()
        );
        lab.write(container.join("config"), &config);
        if lab.start(&name) {
            assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/app"]), "made\n");
            lab.stop(&name);
        }
        lab.destroy(&name);
    }
}
