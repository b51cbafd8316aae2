//! A role that one host builds, and another makes containers of.

#[path = "../cli/registry/server.rs"]
mod server;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::caller::Caller;
use crate::image::Image;
use crate::lab::Lab;
use server::Registry;

const ROLE: &str = r#"manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "app"
post = { in = "rootfs", run = "echo made >/etc/app; chown 7:8 /etc/app; rm -r /mnt; hostname >/etc/own" }
"#;

#[test]
fn what_root_has_pushed_anybody_makes_containers_of() {
    let Some(builder) = Lab::open(Caller::Root, &["docker-registry", "ssh-keygen"]) else { return };
    let Some(registry) = Registry::with("", "") else { return };
    let repository = registry.repository("team/web");
    let manifest = builder.write("work/role.toml", ROLE);
    let key = builder.path("work/key");
    let words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f"];
    builder.call(words).arg(&key).outcome().success();
    let push = builder.call([builder.program()]).arg("push").arg(&manifest).arg(&repository);
    push.arg("--sign").arg(&key).outcome().success();
    builder.call([builder.program()]).arg("lock").arg(&manifest).outcome().success();
    let lock = fs::read_to_string(builder.path("work/role.toml.lock")).unwrap();
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();

    for caller in [Caller::User, Caller::Mapped, Caller::Root] {
        let Some(host) = Lab::open(caller, &[]) else { continue };
        let manifest = host.write("work/role.toml", ROLE);
        // Nobody vouches for it, then somebody who has signed it, then the lock.
        let name = host.name("none");
        let create = |name: &str, more: &[&str]| {
            let create = host.call(["lxc-create", "-n", name, "-P"]).arg(host.lxcpath());
            let create = create.arg("-f").arg(host.path("default.conf"));
            let create = create.args(["-t"]).arg(host.template()).arg("--").arg("--manifest");
            create.arg(&manifest).args(["--from", &repository, "--only-pull"]).args(more).outcome()
        };
        assert!(!create(&name, &[]).status.success(), "{caller:?}");
        host.assert_absent(&name);
        host.directory("home/.config/layered-template");
        host.write("home/.config/layered-template/signers", &format!("ci@example {public}"));
        let settings = "signers = \"signers\"\n";
        host.write("home/.config/layered-template/remote.toml", settings);
        host.write("work/role.toml.lock", &lock);
        for more in [&[][..], &["--locked"]] {
            let name = host.name("web");
            create(&name, more).success();
            let app = host.container(&name, "rootfs/etc/app");
            assert_eq!(fs::read_to_string(&app).unwrap(), "made\n");
            let owner = fs::metadata(&app).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (host.id(7), host.id(8)), "{caller:?}");
            let own = fs::read_to_string(host.container(&name, "rootfs/etc/own")).unwrap();
            assert_eq!(own.trim(), name);
            if host.start(&name) {
                assert_eq!(host.inside(&name, &["/bin/cat", "/etc/app"]), "made\n");
                host.stop(&name);
            }
            host.destroy(&name);
        }
    }
}

#[test]
fn the_config_of_an_image_is_pulled() {
    let Some(lab) = Lab::open(Caller::Root, &["docker-registry", "xz"]) else { return };
    let image = Image::make(&lab, "image");
    let lines = ["lxc.include = /usr/share/lxc/config/common.conf", "lxc.signal.halt = SIGUSR1"];
    pulled(&lab, &image.upstream(), &lines);
}

/// Pushes a role, and sees that a container that is made of what is pulled has the config of one that is
/// made of what was built, these lines of the template among it.
#[track_caller]
pub(crate) fn pulled(lab: &Lab, upstream: &str, lines: &[&str]) {
    let Some(registry) = Registry::with("", "") else { return };
    let repository = registry.repository("team/web");
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n[[layer]]\nname = \"app\"\n\
         post = {{ in = \"rootfs\", run = \"echo made >/etc/app\" }}\n[layer.config]\n\
         lxc.include = \"/usr/share/lxc/config/nesting.conf\"\n\
         lxc.mount.entry = \"tmpfs srv tmpfs create=dir\"\nlxc.start.auto = true\n"
    );
    let manifest = lab.write("work/role.toml", &text);
    let long = Duration::from_secs(30 * 60);
    let push = lab.call([lab.program()]).arg("push").arg(&manifest).arg(&repository);
    push.limit(long).outcome().success();
    lab.call([lab.program()]).arg("lock").arg(&manifest).outcome().success();

    let name = lab.name("web");
    let create = |more: &[&str]| {
        // Of every line but those in which LXC says how it was called.
        lab.create(&name, &manifest).args(more).limit(long).outcome().success();
        let config = lab.read(lab.container(&name, "config"));
        let lines = config.lines().filter(|line| !line.starts_with("# Parameters"));
        let config: String = lines.flat_map(|line| [line, "\n"]).collect();
        assert_eq!(lab.read(lab.container(&name, "rootfs/etc/app")), "made\n");
        config
    };
    let built = create(&["--storage=copy"]);
    lab.destroy(&name);
    fs::rename(lab.path("store"), lab.path("of-the-builder")).unwrap();
    lab.directory("store");
    let from = ["--storage=copy", "--from", &repository, "--only-pull", "--locked"];
    assert_eq!(create(&from), built);
    for line in lines {
        assert!(built.lines().any(|other| other == *line), "{line} is missing: {built}");
    }
    if lab.start(&name) {
        assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/app"]), "made\n");
        lab.stop(&name);
    }
    lab.destroy(&name);
}
