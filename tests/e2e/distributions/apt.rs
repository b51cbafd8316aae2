//! Packages of a distribution, installed in a rootfs as root and as an ordinary user.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{SUITE, with_base};
use crate::caller::Caller;
use crate::image::Image;
use crate::lab::Lab;
use crate::mirror;
use crate::requirement;
use crate::tree::Tree;

/// What differs from run to run, whoever runs: times in logs and indexes, and what an image for
/// users leaves out.
const INCOMPARABLE: &[&str] = &["dev", "var/cache", "var/lib/apt", "var/log", "var/lib/dpkg/lock"];

const LAYERS: &str = r#"
[[layer]]
name = "web"
post = { in = "rootfs", network = true, cache = "/var/cache/apt/archives", run = """
apt-get -o APT::Update::Error-Mode=any update
apt-get install -y --no-install-recommends nginx-light iproute2 iputils-ping openssh-client acl \\
    libcap2-bin
test ! -e /run/nginx.pid
""" }
check = [
  { in = "rootfs", run = "dpkg -s nginx-light" },
  { in = "rootfs", run = "nginx -t" },
  { in = "rootfs", run = "test $(stat -c %a /usr/bin/ssh-agent) = 2755" },
  { in = "rootfs", run = "ping -c 1 127.0.0.1" },
  { in = "rootfs", run = """
getcap /usr/bin/ping | grep -q cap_net_raw=ep
touch /a
useradd -r app
setfacl -m u:app:rw /a
getfacl -c /a | grep -qx user:app:rw-
su -s /bin/sh app -c 'test -w /a && ping -c 1 127.0.0.1'
userdel app
rm /a
""" },
]

[layer.config]
lxc.init.cmd = "/sbin/serve"

[[layer.file]]
path = "/sbin/serve"
mode = "0755"
content = """
#!/bin/sh
exec >/serve.log 2>&1
set -x
ip link set lo up
nginx
exec sleep infinity
"""
"#;

const REQUEST: &str =
    "exec 3<>/dev/tcp/127.0.0.1/80; printf 'HEAD / HTTP/1.0\r\n\r\n' >&3; head -n 1 <&3";

#[test]
fn a_daemon_is_installed_and_serves_the_same_for_root_and_an_ordinary_user() {
    let (Some((root, base)), Some((user, _))) =
        (with_base(Caller::Root, &[]), with_base(Caller::User, &[]))
    else {
        return;
    };
    let first = installed(&root, &base);
    let second = installed(&user, &base);
    first.assert_same(&second);
}

/// Writes a manifest of these layers around the Debian of a tarball.
pub(super) fn role(lab: &Lab, base: &Path, layers: &str) -> PathBuf {
    lab.write("work/role.toml", &format!("{}{layers}", debian(lab, base)))
}

/// Makes an image of the Debian of a tarball, and returns the beginning of a manifest around it.
pub(super) fn debian(lab: &Lab, base: &Path) -> String {
    let directory = lab.directory("image");
    fs::copy(base, directory.join("rootfs.tar.xz")).expect("the base is copied");
    let image = Image::around(lab, directory);
    lab.directory("kept");
    format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"local\"\n\
         args = [\"-m\", \"{}\", \"-f\", \"{}\"]\n",
        image.meta().display(),
        image.rootfs().display(),
    )
}

/// Makes a container with the packages, sees that it serves, and returns its tree.
fn installed(lab: &Lab, base: &Path) -> Tree {
    let manifest = role(lab, base, LAYERS);
    let name = lab.name("web");
    let started = Instant::now();
    lab.create(&name, &manifest)
        .env("LAYERED_TEMPLATE_CACHE", lab.path("kept"))
        .limit(Duration::from_secs(20 * 60))
        .outcome()
        .success();
    requirement::tell(&format!("{:?}: made in {:?}", lab.caller, started.elapsed()));
    let rootfs = lab.container(&name, "rootfs");
    let archives = fs::read_dir(rootfs.join("var/cache/apt/archives")).expect("it is there");
    let packages = archives.flatten().filter(|entry| {
        Path::new(&entry.file_name()).extension().is_some_and(|extension| extension == "deb")
    });
    assert_eq!(packages.count(), 0, "a cache is no part of the rootfs");
    let tree = Tree::of(&rootfs).inside(lab, INCOMPARABLE);
    if lab.start(&name) {
        let answer = lab.inside(&name, &["/bin/bash", "-c", REQUEST]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        lab.stop(&name);
    }
    lab.destroy(&name);
    tree
}

/// Returns a small Debian as a tarball, made once for all runs of the tests.
pub(super) fn base(lab: &Lab) -> Option<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _made_once = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{SUITE}-minbase.tar.xz"));
    if !path.exists() {
        let mirror = mirror::of(SUITE)?;
        let unfinished = path.with_extension("unfinished.tar.xz");
        lab.call_as_root(["mmdebstrap", "--variant=minbase", SUITE])
            .arg(&unfinished)
            .arg(mirror)
            .env("XZ_OPT", "-1")
            .limit(Duration::from_secs(20 * 60))
            .outcome()
            .success();
        fs::rename(unfinished, &path).expect("it becomes final");
    }
    Some(path)
}
