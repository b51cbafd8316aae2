//! The ready layers that work inside the rootfs: packages, users, an SSH server, locale and zone.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use layered_template::digest::Digest;

use crate::apt;
use crate::caller::Caller;
use crate::lab::Lab;
use crate::layers::{as_both, make, role, rootfs};
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
    let (Ok(key), Some(mirror)) = (std::fs::read_to_string(path), mirror::of("bookworm")) else {
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

/// Opens a lab with a Debian to start from, where a test may use the network.
fn with_base(caller: Caller, commands: &[&str]) -> Option<(Lab, PathBuf)> {
    if !requirement::network() {
        return None;
    }
    let lab = Lab::open(caller, &[&["mmdebstrap"], commands].concat())?;
    let Some(base) = apt::base(&lab) else {
        requirement::skip("apt has no source of this release here");
        return None;
    };
    Some((lab, base))
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
    let suite = apt::SUITE;
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

#[test]
fn a_user_is_made_where_there_is_only_busybox() {
    as_both(|lab| {
        let name = lab.name("user");
        let layer = "[[layer]]\nuse = \"user\"\nwith = { user = \"ann\", uid = 1234, groups = \
                     \"tty extra\", authorized_keys = \"ssh-ed25519 AAAA\", sudo = true }\n";
        // What is there already is brought up to what is said, and not made again.
        let again = "[[layer]]\nuse = \"user\"\nname = \"again\"\nwith = { user = \"ann\" }\n";
        make(lab, &name, &format!("{layer}{again}"));
        assert!(rootfs(lab, &name, "etc/shadow").contains("\nann:*:"), "a locked one has no key");
        let passwd = rootfs(lab, &name, "etc/passwd");
        assert_eq!(passwd.matches("ann:x:").count(), 1, "{passwd}");
        assert!(passwd.contains("ann:x:1234:"), "{passwd}");
        let groups = rootfs(lab, &name, "etc/group");
        for line in ["tty:x:5:ann", "extra:x:"] {
            assert!(groups.contains(line), "{groups}");
        }
        let keys = lab.container(&name, "rootfs/home/ann/.ssh/authorized_keys");
        assert_eq!(lab.read(&keys), "ssh-ed25519 AAAA\n");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&keys), 0o600);
        let rule = lab.container(&name, "rootfs/etc/sudoers.d/ann");
        assert_eq!(lab.read(&rule), "ann ALL=(ALL:ALL) NOPASSWD: ALL\n");
        assert_eq!(mode(&rule), 0o440);
        lab.destroy(&name);
    });
}

/// A line of another's account would be theirs as well.
#[test]
fn accounts_that_are_there_are_not_taken_over() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let name = lab.name("taken");
    let ann = "[[layer]]\nuse = \"user\"\nname = \"first\"\n\
               with = { user = \"ann\", uid = 1234, groups = \"ben cat\" }\n";
    for (with, message) in [
        ("user = \"ann\", uid = 1235", "ann has the number 1234"),
        ("user = \"dora\", uid = 1234", "1234 is the number of another"),
        ("user = \"dora\", home = \"srv\"", "'srv' cannot be a path"),
        ("user = \"dora\", shell = \"/bin/sh:x\"", "'/bin/sh:x' cannot be a path"),
        ("user = \"dora\", shell = \"/bin/none\"", "has no shell /bin/none"),
    ] {
        let layers = format!("{ann}[[layer]]\nuse = \"user\"\nwith = {{ {with} }}\n");
        let outcome = lab.create(&name, &role(&lab, &layers)).outcome().code(1);
        assert!(outcome.stderr.contains(message), "{outcome}");
        lab.assert_absent(&name);
    }
    let cat = "[[layer]]\nuse = \"user\"\nwith = { user = \"cat\", uid = 1500 }\n";
    make(&lab, &name, &format!("{ann}{cat}"));
    let groups = rootfs(&lab, &name, "etc/group");
    let line = groups.lines().find(|line| line.starts_with("cat:")).unwrap();
    let number = line.split(':').nth(2).unwrap();
    let passwd = rootfs(&lab, &name, "etc/passwd");
    assert!(passwd.contains(&format!("\ncat:x:1500:{number}:")), "{groups}{passwd}");
    lab.destroy(&name);
}

#[test]
fn names_that_a_shell_could_take_for_more_are_refused() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let name = lab.name("names");
    for (layer, with) in [
        ("user", "user = \"a;b\""),
        ("user", "user = \"-x\""),
        ("user", "user = \"ann\", groups = \"$(id)\""),
        ("apt-packages", "packages = \"-o x\""),
        ("apt-packages", "packages = \"a*\""),
        ("apt-packages", "packages = \"\""),
        ("apt-packages", "packages = \"a\", source = \"Types: deb\", source_name = \"../x\""),
        ("apt-packages", "packages = \"a\", source = \"x\", key = \"KEY\", key_sha256 = \"0\""),
        ("apk-packages", "packages = \"a/b\""),
        ("dnf-packages", "packages = \"-y\""),
        ("dnf-packages", "packages = \"@core\""),
        ("locale-and-timezone", "timezone = \"../../etc/passwd\""),
        ("locale-and-timezone", "locale = \"a b\""),
    ] {
        let manifest = role(&lab, &format!("[[layer]]\nuse = \"{layer}\"\nwith = {{ {with} }}\n"));
        let outcome = lab.create(&name, &manifest).outcome().code(1);
        let said = format!("  {layer}| {layer}: ");
        assert!(outcome.stderr.contains(&said), "{outcome}");
        lab.assert_absent(&name);
    }
}

#[test]
fn a_zone_needs_no_package_where_it_is_there() {
    as_both(|lab| {
        let name = lab.name("zone");
        let zone = "[[layer]]\nname = \"zones\"\n[[layer.file]]\n\
                    path = \"/usr/share/zoneinfo/Europe/Berlin\"\ncontent = \"TZif\"\n";
        let layer = "[[layer]]\nuse = \"locale-and-timezone\"\n\
                     with = { timezone = \"Europe/Berlin\" }\n";
        make(lab, &name, &format!("{zone}{layer}"));
        assert_eq!(rootfs(lab, &name, "etc/timezone"), "Europe/Berlin\n");
        assert_eq!(rootfs(lab, &name, "etc/default/locale"), "LANG=C.UTF-8\n");
        let link = std::fs::read_link(lab.container(&name, "rootfs/etc/localtime")).unwrap();
        assert_eq!(link, Path::new("/usr/share/zoneinfo/Europe/Berlin"));
        lab.destroy(&name);
    });
}

/// No mirror of Alpine's is at hand: this stands in for its `apk`, and writes down how it is called.
const APK: &str = r#"
[[layer]]
name = "apk"

[[layer.file]]
path = "/etc/apk/repositories"
content = "/srv/without-a-line-feed"

[[layer.file]]
path = "/sbin/apk"
mode = "0755"
content = """
#!/bin/sh
echo "$*" >>/apk.log
case $1 in
    add) shift; for package; do touch "/etc/apk.${package%%=*}"; done ;;
    info) [ -e "/etc/apk.$3" ] ;;
esac
"""
"#;

#[test]
fn apk_is_asked_for_packages_with_a_key_that_is_known() {
    as_both(|lab| {
        let name = lab.name("apk");
        // printf 'KEY\n' | sha256sum
        let digest = "6e50dc3c5c2b5a1ab8a2f3e4e6a6f2ab7cf4b8a9df0cdf1b3e27f6a0d6e50dc3";
        let with = |digest: &str| {
            format!(
                "{APK}\n[[layer]]\nuse = \"apk-packages\"\nwith = {{ packages = \"a b=1\", \
                 repository = \"/srv/mine\", key = \"KEY\", key_name = \"me-1.rsa.pub\", \
                 key_sha256 = \"{digest}\" }}\n"
            )
        };
        let outcome = lab.create(&name, &role(lab, &with(digest))).outcome().code(1);
        assert!(outcome.stderr.contains("the key has the digest"), "{outcome}");
        lab.assert_absent(&name);
        let digest = Digest::of(b"KEY\n").to_string();
        make(lab, &name, &with(&digest));
        let expected = "update\nadd a b=1\ninfo -e a\ninfo -e b\n";
        assert_eq!(rootfs(lab, &name, "apk.log"), expected);
        assert_eq!(rootfs(lab, &name, "etc/apk/keys/me-1.rsa.pub"), "KEY\n");
        let repositories = rootfs(lab, &name, "etc/apk/repositories");
        assert_eq!(repositories, "/srv/without-a-line-feed\n/srv/mine\n");
        lab.destroy(&name);
    });
}

/// The `apk` of above, with the files of the packages that the locale and the zone come with.
#[test]
fn a_locale_and_a_zone_of_alpine_come_by_apk() {
    as_both(|lab| {
        let name = lab.name("musl");
        let files = "\
case $3 in
    tzdata) mkdir -p /usr/share/zoneinfo/Europe; echo TZif >/usr/share/zoneinfo/Europe/Berlin ;;
    musl-locales) mkdir -p /usr/share/i18n/locales/musl; : >/usr/share/i18n/locales/musl/de_DE.UTF-8 ;;
esac
";
        let apk = APK.replace("case $1 in\n", &format!("{files}case $1 in\n"));
        let with = |locale: &str| {
            format!(
                "{apk}\n[[layer]]\nuse = \"locale-and-timezone\"\n\
                 with = {{ locale = \"{locale}\", timezone = \"Europe/Berlin\" }}\n"
            )
        };
        let outcome = lab.create(&name, &role(lab, &with("xx_XX.UTF-8"))).outcome().code(1);
        assert!(outcome.stderr.contains("musl has no locale 'xx_XX.UTF-8'"), "{outcome}");
        make(lab, &name, &with("de_DE.UTF-8"));
        let expected = "add --no-cache musl-locales\nadd --no-cache tzdata\n";
        assert_eq!(rootfs(lab, &name, "apk.log"), expected);
        let set = "export LANG=de_DE.UTF-8 MUSL_LOCPATH=/usr/share/i18n/locales/musl\n";
        assert_eq!(rootfs(lab, &name, "etc/profile.d/zz-locale.sh"), set);
        lab.destroy(&name);
    });
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

/// What stands in for the packages of an SSH server. Its keys are unlike each other, as real ones.
const SSHD: &str = r#"
[[layer]]
name = "sshd"

[[layer.file]]
path = "/sbin/apk"
mode = "0755"
content = """
#!/bin/sh
[ "$*" != "add openssh" ] || mv /srv/sshd /usr/sbin/sshd
"""

[[layer.file]]
path = "/sbin/rc-update"
mode = "0755"
content = """
#!/bin/sh
echo "$*" >>/rc-update.log
"""

[[layer.file]]
path = "/srv/sshd"
mode = "0755"
content = """
#!/bin/sh
cat /etc/ssh/sshd_config.d/*.conf | tr A-Z a-z
"""

[[layer.file]]
path = "/bin/ssh-keygen"
mode = "0755"
content = """
#!/bin/sh
umask 077
[ "$1" != -A ] || cat /proc/sys/kernel/random/uuid >/etc/ssh/ssh_host_ed25519_key
"""

[[layer.file]]
path = "/etc/ssh/sshd_config"
content = "UsePAM no\n"

[[layer]]
use = "ssh-server"
"#;

#[test]
fn host_keys_are_made_at_the_first_start_whatever_the_init() {
    as_both(|lab| {
        let mut keys = Vec::new();
        for name in [lab.name("ssh1"), lab.name("ssh2")] {
            make(lab, &name, SSHD);
            let config = rootfs(lab, &name, "etc/ssh/sshd_config");
            assert_eq!(config, "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\n");
            assert_eq!(rootfs(lab, &name, "rc-update.log"), "add sshd default\n");
            let key = lab.container(&name, "rootfs/etc/ssh/ssh_host_ed25519_key");
            assert!(!key.exists());
            for _ in 0..2 {
                if !lab.start(&name) {
                    return;
                }
                keys.push(lab.inside(&name, &["/bin/cat", "/etc/ssh/ssh_host_ed25519_key"]));
                lab.stop(&name);
            }
            lab.destroy(&name);
        }
        assert!(keys[0] == keys[1] && keys[2] == keys[3] && keys[0] != keys[2], "{keys:?}");
    });
}
