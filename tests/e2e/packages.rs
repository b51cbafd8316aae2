//! The ready layers that work inside the rootfs: packages, users, an SSH server, locale and zone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use layered_template::digest::Digest;

use crate::caller::Caller;
use crate::lab::Lab;
use crate::layers::{as_both, make, role, rootfs};

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
