//! The layers for networks, with a bridge in a network namespace that goes with the test.

use std::path::Path;

use crate::caller::Caller;
use crate::config;
use crate::lab::Lab;
use crate::layers::role;
use crate::requirement;

const STATIC: &str = r#"
[[layer]]
use = "network-static"

[layer.with]
address = "192.0.2.10/24"
gateway = "192.0.2.1"
dns = "192.0.2.1 192.0.2.2"
bridge = "br0"
interface = "lan0"

[[layer]]
name = "client"

[[layer.file]]
path = "/var/run"
directory = true
"#;

const DHCP: &str = r#"
[[layer]]
use = "network-dhcp"
with = { bridge = "br0" }

[[layer]]
name = "client"

[[layer.file]]
path = "/etc/udhcpc/default.script"
mode = "0755"
content = '''
#!/bin/sh
if [ "$1" = bound ]; then ip addr add "$ip/$mask" dev "$interface"; fi
'''

[[layer.file]]
path = "/usr/share/udhcpc/default.script"
symlink = "/etc/udhcpc/default.script"

[[layer.file]]
path = "/var/run"
directory = true
"#;

const STATIC_LINES: &[&str] = &[
    "lxc.net.0.type = veth",
    "lxc.net.0.link = br0",
    "lxc.net.0.flags = up",
    "lxc.net.0.name = lan0",
    "lxc.net.0.ipv4.address = 192.0.2.10/24",
    "lxc.net.0.ipv4.gateway = 192.0.2.1",
    "lxc.net.0.ipv6.address =",
    "lxc.net.0.ipv6.gateway =",
];

const DHCP_LINES: &[&str] = &[
    "lxc.net.0.type = veth",
    "lxc.net.0.link = br0",
    "lxc.net.0.flags = up",
    "lxc.net.0.name = eth0",
];

/// Makes a bridge that LXC finds, in a network namespace of its own. Status 77 says that this host
/// has none to give.
const BRIDGE: &str = r#"
set -eu
mkdir "$LAB/cgroup"
mount --rbind /sys/fs/cgroup "$LAB/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$LAB/cgroup" /sys/fs/cgroup
busybox ip link set lo up
busybox ip link add br0 type bridge || exit 77
busybox ip link add probe type veth peer name eborp || exit 77
busybox ip addr add 192.0.2.1/24 dev br0
busybox ip link set br0 up
inside() { lxc-attach -n "$NAME" -P "$LXCPATH" -- "$@"; }
"#;

/// Runs shell lines beside the bridge, and returns what they print.
fn beside_a_bridge(lab: &Lab, name: &str, lines: &str) -> Option<String> {
    let script = format!("{BRIDGE}{lines}");
    let outcome = lab
        .call(["unshare", "--net", "--", "/bin/sh", "-c", &script])
        .env("LAB", lab.path("tmp"))
        .env("NAME", name)
        .env("LXCPATH", lab.lxcpath())
        .outcome();
    if outcome.status.code() == Some(77) {
        requirement::skip("no bridge can be made here");
        return None;
    }
    Some(outcome.success().stdout)
}

#[track_caller]
fn assert_made(lab: &Lab, name: &str, layer: &str, lines: &[&str], files: &[(&str, &str)]) {
    let path = |file: &str| lab.container(name, Path::new("rootfs").join(file));
    config::assert_under_comment(&lab.read(lab.container(name, "config")), layer, lines);
    for (file, part) in files {
        let text = lab.read(path(file));
        assert!(text.contains(part), "{file}: {text}");
    }
    // LXC reads it back.
    let info = lab.lxc("lxc-info", name).args(["-c", "lxc.net.0.link"]).outcome().success();
    assert!(info.stdout.contains("br0"), "{info}");
}

#[test]
fn a_container_has_its_address_before_init_runs() {
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else {
            return;
        };
        let name = lab.name("static");
        lab.create(&name, &role(&lab, STATIC)).outcome().success();
        let files = [
            ("etc/network/interfaces", "auto lan0\niface lan0 inet manual\n"),
            ("etc/systemd/network/05-lan0.network", "\nAddress=192.0.2.10/24\nGateway=192.0.2.1\n"),
            ("etc/resolv.conf", "\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"),
        ];
        assert_made(&lab, &name, "network-static", STATIC_LINES, &files);
        // An ordinary user has no bridge to join without /etc/lxc/lxc-usernet.
        if caller == Caller::Root && lab.can_start() {
            let lines = r#"
lxc-start -n "$NAME" -P "$LXCPATH"
inside ip -o -4 addr show dev lan0
inside ip route
inside ping -c 1 -W 5 192.0.2.1 >&2
inside ifup lan0 >&2
inside ip -o -4 addr show dev lan0
lxc-stop -k -n "$NAME" -P "$LXCPATH"
"#;
            if let Some(said) = beside_a_bridge(&lab, &name, lines) {
                assert_eq!(said.matches("inet 192.0.2.10/24 ").count(), 2, "{said}");
                assert!(said.contains("default via 192.0.2.1 dev lan0"), "{said}");
            }
        }
        lab.destroy(&name);
    }
}

#[test]
fn a_container_asks_for_its_address() {
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else {
            return;
        };
        let name = lab.name("dhcp");
        lab.create(&name, &role(&lab, DHCP)).outcome().success();
        let files = [
            ("etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n"),
            ("etc/systemd/network/05-eth0.network", "\nName=eth0\n\n[Network]\nDHCP=yes\n"),
        ];
        assert_made(&lab, &name, "network-dhcp", DHCP_LINES, &files);
        if caller == Caller::Root && lab.can_start() {
            let leases = lab.path("tmp/leases").display().to_string();
            let server = format!(
                "start 192.0.2.77\nend 192.0.2.77\ninterface br0\noption subnet 255.255.255.0\n\
                 lease_file {leases}\npidfile {leases}.pid\n"
            );
            lab.write("tmp/udhcpd.conf", &server);
            lab.write("tmp/leases", "");
            let lines = r#"
busybox udhcpd -f "$LAB/udhcpd.conf" >&2 &
server=$!
lxc-start -n "$NAME" -P "$LXCPATH"
inside ifup eth0 >&2
inside ip -o -4 addr show dev eth0
inside killall udhcpc
lxc-stop -k -n "$NAME" -P "$LXCPATH"
kill "$server"
"#;
            if let Some(said) = beside_a_bridge(&lab, &name, lines) {
                assert!(said.contains("inet 192.0.2.77/24 "), "{said}");
            }
        }
        lab.destroy(&name);
    }
}
