//! The ready layers for packages, users, an SSH server, locale and zone, on a real Debian.

use std::path::Path;
use std::time::Duration;

use layered_template::digest::Digest;

use super::{SUITE, apt, with_base};
use crate::caller::Caller;
use crate::layers::rootfs;
use crate::mirror;
use crate::requirement;

/// All of them, on a Debian whose init runs the SSH server alone.
const DEBIAN: &str = r#"
[[layer]]
name = "settings"

[[layer.file]]
path = "/etc/sudo.conf"
content = "Set disable_coredump true\n"

[[layer.file]]
path = "/etc/ssh/sshd_config.d/20-no-pam.conf"
content = "UsePAM no\n"

[[layer]]
use = "apt-packages"
with = { packages = "hello sudo iproute2" }

[[layer]]
use = "user"
with = { user = "ann", uid = 1234, groups = "adm extra", shell = "/bin/bash", authorized_keys = "PUBLIC", sudo = true }

[[layer]]
use = "ssh-server"

[[layer]]
use = "locale-and-timezone"
with = { locale = "de_DE.UTF-8", timezone = "Europe/Berlin" }

[[layer]]
name = "init"

[layer.config]
lxc.init.cmd = "/sbin/serve"

[[layer.file]]
path = "/sbin/serve"
mode = "0755"
content = """
#!/bin/sh
exec >/serve.log 2>&1
ip link set lo up
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e
"""
"#;

/// What a server says before anything else.
const BANNER: &str = "for i in 1 2 3 4 5 6 7 8 9; do \
                      (exec 3<>/dev/tcp/127.0.0.1/22 && head -n 1 <&3) 2>&1 && exit; \
                      sleep 1; done";

#[test]
fn a_debian_has_packages_a_user_and_an_ssh_server_as_root() {
    debian(Caller::Root, 2);
}

#[test]
fn a_debian_has_packages_a_user_and_an_ssh_server_as_an_ordinary_user() {
    debian(Caller::User, 1);
}

/// A layer with a further source, where this host has a key that vouches for one.
fn further_source() -> String {
    let path = "/etc/apt/trusted.gpg.d/debian-archive-bookworm-automatic.asc";
    let (Ok(key), Some(mirror)) = (std::fs::read_to_string(path), mirror::of(SUITE)) else {
        return String::new();
    };
    let digest = Digest::of(format!("{}\n", key.trim_end()).as_bytes());
    format!(
        "[[layer]]\nuse = \"apt-packages\"\nname = \"further\"\n[layer.with]\n\
         packages = \"hello\"\nsource_name = \"updates\"\nkey_sha256 = \"{digest}\"\n\
         source = \"\"\"\nTypes: deb\nURIs: {mirror}\nSuites: bookworm-updates\n\
         Components: main\n\"\"\"\nkey = \"\"\"\n{key}\"\"\"\n"
    )
}

/// Makes and starts containers of the role; no two of them have the same host keys.
fn debian(caller: Caller, count: usize) {
    let Some((lab, base)) = with_base(caller, &["ssh-keygen"]) else { return };
    let call = lab.call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]);
    call.arg(lab.path("work/key")).outcome().success();
    let debian = DEBIAN.replace("PUBLIC", lab.read("work/key.pub").trim());
    let further = further_source();
    let manifest = apt::role(&lab, &base, &format!("{further}{debian}"));
    let mut keys = Vec::new();
    for index in 0..count {
        let name = lab.name(&format!("debian{index}"));
        lab.create(&name, &manifest)
            .env("LAYERED_TEMPLATE_CACHE", lab.path("kept"))
            .limit(Duration::from_secs(20 * 60))
            .outcome()
            .success();
        let key = lab.container(&name, "rootfs/etc/ssh/ssh_host_ed25519_key.pub");
        assert!(!key.exists(), "no key is made with the rootfs");
        assert!(lab.container(&name, "rootfs/usr/bin/hello").exists());
        assert_eq!(rootfs(&lab, &name, "etc/sudo.conf"), "Set disable_coredump true\n");
        assert_eq!(rootfs(&lab, &name, "etc/default/locale"), "LANG=de_DE.UTF-8\n");
        if !further.is_empty() {
            let list = rootfs(&lab, &name, "etc/apt/sources.list.d/updates.sources");
            assert!(list.contains("Signed-By: /etc/apt/keyrings/updates.asc"), "{list}");
        }
        if lab.start(&name) {
            let bash = |line: &str| lab.inside(&name, &["/bin/bash", "-c", line]);
            let banner = bash(BANNER);
            let log = rootfs(&lab, &name, "serve.log");
            assert!(banner.contains("SSH-2.0-OpenSSH"), "{banner}{log}");
            keys.push(lab.read(&key));
            let ann = bash("id ann");
            assert!(ann.starts_with("uid=1234(ann)"), "{ann}");
            assert!(ann.contains("(adm)") && ann.contains("(extra)"), "{ann}");
            assert_eq!(bash("su ann -c 'sudo -n id -u'"), "0\n");
            let private = lab.read("work/key");
            bash(&format!("umask 077; cat >/run/key <<'.'\n{private}.\n"));
            let login = "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -i /run/key \
                         ann@127.0.0.1 whoami 2>&1 | tail -n 1";
            assert_eq!(bash(login), "ann\n", "{}", rootfs(&lab, &name, "serve.log"));
            let stranger = login.replace("-i /run/key", "-o PubkeyAuthentication=no");
            let refused = bash(&stranger);
            assert!(refused.contains("Permission denied (publickey)"), "{refused}");
            assert_eq!(bash("stat -c '%a %U' ~ann/.ssh/authorized_keys"), "600 ann\n");
            assert_eq!(bash("LC_ALL=de_DE.UTF-8 locale charmap"), "UTF-8\n");
            assert_eq!(bash("date -d 2026-07-01T12:00Z +%H"), "14\n");
            lab.stop(&name);
        }
        lab.destroy(&name);
    }
    keys.dedup();
    assert!(keys.len() == count || keys.is_empty(), "two containers have one key: {keys:?}");
}

const OPEN: &str = r#"
[[layer]]
name = "open"

[[layer.file]]
path = "/etc/ssh/sshd_config"
content = """
PasswordAuthentication yes
Include /etc/ssh/sshd_config.d/*.conf
"""

[[layer]]
use = "ssh-server"
"#;

/// The first setting that the server reads counts, whoever made its file.
#[test]
fn an_ssh_server_that_asks_for_passwords_is_not_taken() {
    let Some((lab, base)) = with_base(Caller::Root, &[]) else { return };
    let name = lab.name("open");
    let outcome = lab
        .create(&name, &apt::role(&lab, &base, OPEN))
        .env("LAYERED_TEMPLATE_CACHE", lab.path("kept"))
        .limit(Duration::from_secs(20 * 60))
        .outcome()
        .code(1);
    let message = "sshd does not have \"passwordauthentication no\"";
    assert!(outcome.stderr.contains(message), "{outcome}");
    lab.assert_absent(&name);
}

/// The key that is given counts, and not the ones that the image trusts.
#[test]
fn a_further_source_is_vouched_for_by_its_own_key() {
    let Some((lab, base)) = with_base(Caller::Root, &["gpg"]) else { return };
    let suite = SUITE;
    let armour = |ring: &str| {
        let ring = format!("/usr/share/keyrings/debian-archive-{suite}-{ring}.gpg");
        if !Path::new(&ring).exists() {
            return None;
        }
        let call = lab.call_as_root(["gpg", "--homedir"]).arg(lab.path("tmp"));
        Some(call.args(["--output", "-", "--enarmor", &ring]).outcome().success().stdout)
    };
    let (Some(mirror), Some(key), Some(other)) =
        (mirror::of(suite), armour("automatic"), armour("security-automatic"))
    else {
        return requirement::skip("the keys of this release are not here");
    };
    let name = lab.name("source");
    let text = lab.read(apt::role(&lab, &base, "LAYERS"));
    let create = |key: &str, digest: &str| {
        let layers = format!(
            "[[layer]]\nname = \"alone\"\n[[layer.file]]\npath = \"/etc/apt/sources.list\"\n\
             remove = true\n[[layer]]\nuse = \"apt-packages\"\n[layer.with]\n\
             packages = \"hello\"\nsource_name = \"ours\"\nkey_sha256 = \"{digest}\"\n\
             source = \"\"\"\nTypes: deb\nURIs: {mirror}\nSuites: {suite}\n\
             Components: main\n\"\"\"\nkey = \"\"\"\n{key}\"\"\"\n"
        );
        let manifest = lab.write("work/role.toml", &text.replace("LAYERS", &layers));
        let call = lab.create(&name, &manifest);
        let call = call.env("LAYERED_TEMPLATE_CACHE", lab.path("kept"));
        call.limit(Duration::from_secs(20 * 60)).outcome()
    };
    let digest = |key: &str| Digest::of(key.as_bytes()).to_string();

    let outcome = create(&key, &digest(&other)).code(1);
    assert!(outcome.stderr.contains("the key has the digest"), "{outcome}");
    let outcome = create(&other, &digest(&other)).code(1);
    assert!(outcome.stderr.contains("NO_PUBKEY"), "{outcome}");
    lab.assert_absent(&name);
    create(&key, &digest(&key)).success();
    assert!(lab.container(&name, "rootfs/usr/bin/hello").exists());
    assert_eq!(rootfs(&lab, &name, "etc/apt/keyrings/ours.asc"), key);
    lab.destroy(&name);
}

/// A repository of one signed package, made by the tools of Debian, which has dnf as well.
const REPOSITORY: &str = r#"
[[layer]]
name = "repository"
post = { in = "rootfs", network = true, cache = "/var/cache/apt/archives", timeout = "15m", run = """
apt-get -o APT::Update::Error-Mode=any update
apt-get install -y --no-install-recommends dnf rpm createrepo-c gnupg
mkdir -p /srv/repo /srv/build
cd /srv/build
rpmbuild -bb --define '_rpmdir /srv/repo' --define '_topdir /srv/build' /srv/probe.spec
mkdir -m 0700 /srv/gnupg
export GNUPGHOME=/srv/gnupg
gpg --batch --import /srv/secret.asc
rpm --define '__gpg /usr/bin/gpg' --define '_gpg_name t@example.org' --addsign /srv/repo/noarch/*.rpm
createrepo_c /srv/repo
""" }

[[layer.file]]
path = "/srv/secret.asc"
source = "secret.asc"

[[layer.file]]
path = "/srv/probe.spec"
content = """
Name: probe
Version: 1.2
Release: 1
Summary: a probe
License: MIT
BuildArch: noarch
%description
A probe.
%install
mkdir -p %{buildroot}/opt
echo here >%{buildroot}/opt/probe
%files
/opt/probe
"""
"#;

#[test]
fn dnf_installs_from_a_repository_whose_key_is_given() {
    let Some((lab, base)) = with_base(Caller::Root, &["gpg"]) else { return };
    lab.directory("gnupg");
    let gpg = |words: &[&str]| {
        let call = lab.call_as_root(["gpg", "--quiet", "--batch", "--homedir"]);
        let call = call.arg(lab.path("gnupg")).args(["--passphrase", "", "--pinentry-mode"]);
        call.arg("loopback").args(words).outcome().success().stdout
    };
    gpg(&["--quick-gen-key", "t@example.org", "rsa2048", "sign", "never"]);
    lab.write("work/secret.asc", &gpg(&["--armor", "--export-secret-keys"]));
    let key = gpg(&["--armor", "--export"]);
    lab.call_as_root(["gpgconf", "--homedir"])
        .arg(lab.path("gnupg"))
        .args(["--kill", "all"])
        .outcome()
        .success();
    let name = lab.name("dnf");
    let debian = apt::debian(&lab, &base);
    let create = |keys: &str| {
        let layer = format!(
            "[[layer]]\nuse = \"dnf-packages\"\n[layer.with]\npackages = \"probe\"\n\
             repository = \"file:///srv/repo\"\nrepository_name = \"ours\"\n{keys}"
        );
        let manifest = lab.write("work/role.toml", &format!("{debian}{REPOSITORY}{layer}"));
        let call = lab.create(&name, &manifest);
        let call = call.env("LAYERED_TEMPLATE_CACHE", lab.path("kept"));
        call.limit(Duration::from_secs(20 * 60)).outcome()
    };
    create("").code(1);
    let with_key = |digest: &str| format!("key_sha256 = \"{digest}\"\nkey = \"\"\"\n{key}\"\"\"\n");
    let outcome = create(&with_key("00")).code(1);
    assert!(outcome.stderr.contains("the key has the digest"), "{outcome}");
    lab.assert_absent(&name);
    create(&with_key(&Digest::of(key.as_bytes()).to_string())).success();
    assert_eq!(rootfs(&lab, &name, "opt/probe"), "here\n");
    lab.destroy(&name);
}
