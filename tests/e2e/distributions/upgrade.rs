//! A Debian that serves: a package and a site come to it while it has data, an account and a setting of its own.

use std::time::{Duration, Instant};

use super::{apt, with_base};
use crate::caller::Caller;
use crate::requirement;
use crate::upgrade::tool;

/// The layers: `page` is what the site shows, `packages` what is installed, `account` whom the role adds.
fn layers(page: &str, packages: &str, account: &str) -> String {
    format!(
        r#"
[[layer]]
name = "packages"
post = {{ in = "rootfs", network = true, cache = "/var/cache/apt/archives", run = """
apt-get -o APT::Update::Error-Mode=any -qq update
apt-get -qq -y --no-install-recommends install {packages}
""" }}
check = {{ in = "rootfs", run = "nginx -t" }}

[[layer]]
name = "site"
state = "/srv/data"
post = {{ in = "rootfs", run = "mkdir -p /srv/data; {account}" }}

[layer.config]
lxc.init.cmd = "/sbin/serve"
lxc.environment = ["PAGE={page}"]

[[layer.file]]
path = "/sbin/serve"
mode = "0755"
content = """
#!/bin/sh
exec >/run/serve.log 2>&1
# What `lxc-stop` sends; it would wait for a minute else.
trap 'exit 0' PWR
ip link set lo up
nginx
while :; do sleep 60 & wait $!; done
"""

[[layer.file]]
path = "/var/www/html/index.html"
content = "{page} of {{{{ lxc.name }}}}\n"
render = true
"#
    )
}

const ONE: &str = "nginx-light iproute2";
const TWO: &str = "nginx-light iproute2 hello";

/// What the server answers.
const REQUEST: &str =
    "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3";

/// What the container changes itself.
const CHANGES: &str = "
echo 'row 1' >/srv/data/table
useradd --create-home --uid 1500 ann
echo 'worker_processes 1;' >>/etc/nginx/conf.d/own.conf.off
sed -i 's/worker_connections .*/worker_connections 99;/' /etc/nginx/nginx.conf
install -m 600 -o ann -g ann /dev/null /home/ann/private
echo mine >/home/ann/private
";

#[test]
fn a_debian_that_serves_is_upgraded_and_rolled_back() {
    let Some((lab, base)) = with_base(Caller::Root, &[]) else { return };
    let began = Instant::now();
    let daemon = "useradd --system --uid 990 shop";
    let manifest = apt::role(&lab, &base, &layers("one", ONE, "true"));
    let text = lab.read(&manifest);
    let head =
        text.split("\n[[layer]]\nname = \"packages\"").next().expect("it is there").to_owned();
    let name = lab.name("serve");
    lab.create(&name, &manifest)
        .arg("--storage=overlay")
        .env("LAYERED_TEMPLATE_CACHE", lab.path("kept"))
        .limit(Duration::from_secs(20 * 60))
        .outcome()
        .success();
    if !lab.start(&name) {
        return lab.destroy(&name);
    }
    let bash = |line: &str| lab.inside(&name, &["/bin/bash", "-ec", line]);
    bash(CHANGES);
    let own = "cat /srv/data/table /home/ann/private; stat -c '%U %a' /home/ann/private; \
               grep -c 'worker_connections 99;' /etc/nginx/nginx.conf; id -u ann";
    let was = bash(own);
    assert_eq!(was, "row 1\nmine\nann 600\n1\n1500\n");
    assert_eq!(bash(REQUEST), format!("one of {name}\n"));

    lab.write("work/role.toml", &format!("{head}{}", layers("two", TWO, daemon)));
    let upgrade = |words: &[&str]| {
        let call = lab.call([lab.program()]).args(["upgrade", &name, "-P"]).arg(lab.lxcpath());
        let call = call.args(words).env("LAYERED_TEMPLATE_CACHE", lab.path("kept"));
        call.limit(Duration::from_secs(20 * 60)).outcome()
    };
    let looked = upgrade(&["--dry-run"]).success().stdout;
    for line in [
        "A  /usr/bin/hello\n",
        "M  /var/lib/dpkg/status\n",
        "M  /etc/passwd\n",
        "M  /var/www/html/index.html\n",
        "A  config: lxc.environment = PAGE=two\n",
    ] {
        assert!(looked.contains(line), "{line} is not in\n{looked}");
    }
    assert!(!looked.contains("/home") && !looked.contains("nginx.conf"), "{looked}");
    assert_eq!(bash(REQUEST), format!("one of {name}\n"), "it serves as before");
    upgrade(&[]).success();
    assert_eq!(bash(REQUEST), format!("two of {name}\n"));
    assert_eq!(bash(own), was);
    assert_eq!(
        bash("id -u shop; hello; dpkg --audit; dpkg -s hello | grep Status"),
        "990\nHello, world!\nStatus: install ok installed\n"
    );
    let listed = tool(&lab, &["status", &name]).success().stdout;
    assert!(listed.contains("  current\n"), "{listed}");

    tool(&lab, &["rollback", &name]).success();
    assert_eq!(bash(REQUEST), format!("one of {name}\n"));
    assert_eq!(bash(own), was);
    assert_eq!(bash("! id shop 2>/dev/null; ! test -e /usr/bin/hello; echo ok"), "ok\n");
    // The setting that both change has to be decided.
    let edit = "sed -i 's/worker_connections .*/worker_connections 7;/' /etc/nginx/nginx.conf";
    lab.write("work/role.toml", &format!("{head}{}", layers("two", TWO, edit)));
    let conflict = upgrade(&[]).code(1).stdout;
    assert!(conflict.starts_with("C  /etc/nginx/nginx.conf\n"), "{conflict}");
    assert_eq!(bash(REQUEST), format!("one of {name}\n"));
    upgrade(&["--keep=/etc/nginx/nginx.conf"]).success();
    assert_eq!(bash(own), was);
    lab.stop(&name);
    lab.destroy(&name);
    requirement::tell(&format!("a Debian was upgraded in {:?}", began.elapsed()));
}
