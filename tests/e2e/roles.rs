//! The roles of `examples/roles`, made and started over a stand-in for Debian.

use std::fs;
use std::path::{Path, PathBuf};

use layered_template::cache::PLACEHOLDER;

use crate::caller::Caller;
use crate::config;
use crate::lab::Lab;
use crate::layers::rootfs;
use crate::requirement::{self, Limits};

/// Busybox under Debian's name: it keeps what it was called with, and has an apt-get that makes what
/// the roles look for.
pub(crate) const STAND_IN: &str = r#"#!/bin/sh
set -eu
echo "$*" >"$(dirname "$0")/called"
"$(dirname "$0")/lxc-busybox" "$1" "$2" "$3" >&2
rootfs=${3#--rootfs=}
echo 12 >"$rootfs/etc/debian_version"
echo 'mysql:x:101:101::/nonexistent:/bin/false' >>"$rootfs/etc/passwd"
echo 'mysql:x:101:' >>"$rootfs/etc/group"
mkdir -p "$rootfs/usr/bin" "$rootfs/var/lib" "$rootfs/var/log"
cat >"$rootfs/usr/bin/apt-get" <<'END'
#!/bin/sh
echo "$*" >>/var/log/apt-get
for word; do
    case $word in
    openssh-server) name=sshd ;;
    nginx-light) name=nginx ;;
    mariadb-server) name=mariadbd ;;
    cron) name=cron ;;
    *) continue ;;
    esac
    printf '#!/bin/sh\n' >/usr/bin/$name
    chmod 0755 /usr/bin/$name
done
END
cat >"$rootfs/usr/bin/mariadb-install-db" <<'END'
#!/bin/sh
mkdir /var/lib/mysql/mysql
echo "$*" >/var/lib/mysql/mysql/made
END
chmod 0755 "$rootfs/usr/bin/apt-get" "$rootfs/usr/bin/mariadb-install-db"
"#;

/// Copies the roles into the lab, and returns the place of one of them.
pub(crate) fn role(lab: &Lab, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/roles");
    let call = lab.call_as_root(["cp", "-r"]).arg(from).arg(lab.path("work/roles"));
    call.outcome().success();
    lab.path(format!("work/roles/{name}.toml"))
}

/// Starts a container without what this host may not have: the bridge of its network, and controllers
/// of its limits.
pub(crate) fn start_alone(lab: &Lab, name: &str) -> bool {
    let path = lab.container(name, "config");
    let text = fs::read_to_string(&path).expect("there is one");
    let limited = !matches!(requirement::limits(), Limits::Refused);
    let stays = |line: &&str| {
        !line.starts_with("lxc.net.") && (limited || !line.starts_with("lxc.cgroup2."))
    };
    let lines = text.lines().filter(stays);
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    lab.write(&path, &format!("{text}lxc.net.0.type = empty\n"));
    lab.start(name)
}

#[test]
fn a_web_server_is_made() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    lab.script("templates/lxc-debian", STAND_IN);
    let name = lab.name("web");
    lab.create(&name, &role(&lab, "web")).args(["--set", "site=www.test"]).outcome().success();
    let called = lab.read("templates/called");
    // It is made for the store; whose it becomes is written into it later.
    assert!(called.contains(&format!("--name={PLACEHOLDER} ")), "{called}");
    assert!(called.contains(" --release=bookworm --arch="), "{called}");

    let full = format!("127.0.1.1 {name}.example.org {name}\n");
    assert!(rootfs(&lab, &name, "etc/hosts").contains(&full));
    let installed = rootfs(&lab, &name, "var/log/apt-get");
    assert_eq!(installed.matches("-q install -y").count(), 2, "{installed}");
    let site = rootfs(&lab, &name, "etc/nginx/sites-available/site.conf");
    assert!(site.contains("server_name www.test;") && site.contains("$uri/ =404"), "{site}");
    assert!(lab.container(&name, "rootfs/etc/nginx/sites-enabled/site.conf").is_symlink());
    assert!(rootfs(&lab, &name, "srv/www/index.html").contains("</html>"));
    let units = lab.container(&name, "rootfs/etc/systemd/system");
    assert!(units.join("timers.target.wants/site-report.timer").is_symlink());
    assert!(units.join("site-report.service").is_file());
    let text = lab.read(lab.container(&name, "config"));
    config::assert_in_order(&text, &["lxc.net.0.type = veth", "lxc.net.0.link = lxcbr0"]);
    config::assert_in_order(&text, &["lxc.start.auto = 1", "lxc.start.order = 50"]);
    if start_alone(&lab, &name) {
        lab.stop(&name);
    }
    lab.destroy(&name);
}

/// As `lxc-debian` writes them where the host has no `debian-distro-info`, and where it has.
#[test]
fn a_debian_with_sources_that_do_not_exist_is_found_out() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let started = lab.path("work/started.toml");
    let init = ["init", "--template", "debian"];
    lab.call([lab.program()]).args(init).arg(&started).outcome().success();
    for role in [role(&lab, "base"), started] {
        for (suite, code) in [("bookworm/updates", 1), ("bookworm-security", 0)] {
            let list = format!(
                "mkdir -p \"$rootfs/etc/apt\"\necho 'deb http://a.test {suite} main' \
                 >\"$rootfs/etc/apt/sources.list\"\n"
            );
            lab.script("templates/lxc-debian", &format!("{STAND_IN}{list}"));
            let name = lab.name("sources");
            let outcome = lab.create(&name, &role).outcome().code(code);
            let found_out = outcome.stderr.contains("`check` of layer `os` ended with status 1");
            assert_eq!(found_out, code != 0, "{suite}: {outcome}");
            if code == 0 {
                lab.destroy(&name);
            }
        }
    }
}

/// Made anew, the container finds what it had.
#[test]
fn a_database_keeps_its_data_on_the_host() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    lab.script("templates/lxc-debian", STAND_IN);
    let manifest = role(&lab, "database");
    let set = format!("data={}", lab.directory("work/data").display());
    for (count, expected) in [(1, "begins\n"), (2, "there is a database\n")] {
        let name = lab.name(&format!("database{count}"));
        lab.create(&name, &manifest).args(["--set", &set]).outcome().success();
        let conf = rootfs(&lab, &name, "etc/mysql/mariadb.conf.d/90-role.cnf");
        let lines = "[mariadbd]\nbind-address = 10.0.3.10\ninnodb_buffer_pool_size = 1G\n";
        assert_eq!(conf, lines);
        if start_alone(&lab, &name) {
            lab.stop(&name);
            let made = lab.read("work/data/mysql/made");
            assert_eq!(made, "--user=mysql --datadir=/var/lib/mysql --skip-test-db\n");
            let log = "var/log/provision-on-start/prepare-data.log";
            let said = rootfs(&lab, &name, log);
            assert!(said.contains("ends with 0\n") && said.contains(expected), "{said}");
        }
        lab.destroy(&name);
    }
}
