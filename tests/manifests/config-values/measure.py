#!/usr/bin/env python3
"""Measures which config lines LXC 5, 6 and 7 load, and writes `measured.tsv` beside this file.

    measure.py MIRROR    the address of a mirror of Debian

The packages of three releases of Debian are fetched with apt and unpacked below a temporary
directory; nothing is installed. Each case is a config of its own, read by each release's `lxc-info`.
`<a*65>` in a value stands for 65 times an `a`.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
RELEASES = {"bookworm": "liblxc1", "trixie": "liblxc1t64", "sid": "liblxc1t64"}

# Numbers of all sorts, and what only looks like one.
NUMBERS = """0|1|2|-1|+1| 1|1 |01|08|010|0x1|0x|0xg|0b1|0b2|abc|1a|1.5|1e3|true|yes|--1|+-1|é|
2147483647|2147483648|-2147483648|-2147483649|4294967295|4294967296|18446744073709551615|
18446744073709551616|-18446744073709551616|<9*40>|""".replace("\n", "").split("|")
FLAGS = "0|1|2|-1|+1| 1|01|0x1|0x2|true|false|yes|on|1 1|<0*30>1|".split("|")
PATHS = "/a|a|../a|/|.|//a//b/|<a*4095>|<a*4096>|/<a*4094>|/<a*4095>|<./*5000>a|<a/*2048>|<a/*2049>|".split("|")
SIZES = """auto|AUTO|0|1|-1|4096|64KB|64kb|1MB|1 MB|1  MB|1GB|1TB|1K|1B|1x|KB|B|1KiB|12MBB|0x10|0x10KB|1.5MB|
9223372036854775807|9223372036854775808|9223372036854775807KB|<1*21>|<1*22>|1KBé|64 K|64é|1é|""".replace("\n", "").split("|")
SIGNALS = """SIGPWR|sigpwr|PWR|SIGSIGPWR|SIGKILL|SIGCLD|SIGIOT|SIGPOLL|SIGUNUSED|SIGEMT|SIGLOST|SIGINFO|SIGSTKFLT|SIGSYS|
SIGRTMIN+3|sigrtmin+3|RTMIN+3|SIGRTMIN|SIGRTMIN+|SIGRTMIN+30|SIGRTMIN+31|SIGRTMIN-1|SIGRTMIN+ 3|SIGRTMAX-2|SIGRTMAX-30|
SIGRTMAX-31|SIGRTMAX+1|SIGRTMIN+0x3|SIGRTMIN+x|0|1|37|64|65|99999|2147483647|2147483648|4294967295|-1|+1| 9|9 |0x9|x|SIG|
SIGé|é|SIGRTé|""".replace("\n", "").split("|")
CAPABILITIES = """chown|sys_admin|sys_admin sys_time|  sys_admin   sys_time |CHOWN|CAP_CHOWN|cap_chown|bpf|perfmon|
checkpoint_restore|none|None|none chown|chown none|all|0|40|64|-1|0x1|1 2|chown,kill|chown;|sys-admin|""".replace("\n", "").split("|")
NAMESPACES = "net|mnt|pid|uts|ipc|user|cgroup|time|NET|Net pid|net  pid |mount|network|utsname|net,pid|".split("|")
OFFSETS = """0s|1h|1m|1s|1ms|1us|1ns|1|h|1 h|1  h|1 ms|1H|1d|-1h|-1m|-1s|-1ms|-1us|-1ns|-0h|+1h|01h|0x1h| 1h|1.5h|
9223372036854775807s|9223372036854775808s|-9223372036854775808s|-9223372036854775809s|-99999999999999999999999s|
9223372036854775807h|2562047788015215h|2562047788015216h|-2562047788015215h|-2562047788015216h|x|1min|""".replace("\n", "").split("|")
IPV4 = """10.0.3.7|10.0.3.7/24|10.0.3.7/0|10.0.3.7/32|10.0.3.7/33|10.0.3.7/|10.0.3.7/-1|10.0.3.7/0x18|10.0.3.7/030|10.0.3.7/a|
10.0.3.7/24 10.0.3.255|10.0.3.7 10.0.3.255|10.0.3.7/24  10.0.3.255|10.0.3.7/24 10.0.3|10.0.3.7/24 10.0.3.255/24|
10.0.3.7/24 x|10.0.3|10.0.3.256|010.0.3.7/24|10.0.3.07/24|0.0.0.0/0|10.0.3.7/24/24|1|::1/64|localhost|dhcp|auto|dev|dhcp4|
10.0.3.7/255.255.255.0|224.0.0.1|240.0.0.1/4|""".replace("\n", "").split("|")
IPV6 = """fd00::7|fd00::7/64|fd00::7/0|fd00::7/128|fd00::7/129|fd00::7/|fd00::7/-1|fd00::7/0x40|fd00::7/a|::|::/0|::1/64|
fe80::1%eth0|::ffff:10.0.3.7/96|1:2:3:4:5:6:7:8|1:2:3:4:5:6:7::|::2:3:4:5:6:7:8|1:2:3:4:5:6:7:8:9|1::2::3|12345::|g::|
FD00::7/64|fd00::7/64 x|10.0.3.7|auto|dev|:|:::|1:2:3:4:5:6:10.0.3.7|1:2:3:4:5:6:7:10.0.3.7|[::1]|""".replace("\n", "").split("|")
TEXTS = "x|a b|\"|'|\"q\"|'q'|#x|=|a=b|é|\\x|%n|<a*5000>|".split("|")
VETH, IPVLAN = [("lxc.net.0.type", "veth")], [("lxc.net.0.type", "ipvlan")]
MACVLAN, VLAN = [("lxc.net.0.type", "macvlan")], [("lxc.net.0.type", "vlan")]

ALONE = {
    "lxc.apparmor.allow_incomplete": FLAGS,
    "lxc.apparmor.allow_nesting": FLAGS,
    "lxc.apparmor.profile": TEXTS,
    "lxc.apparmor.raw": TEXTS,
    "lxc.arch": """amd64|x86_64|AMD64|i386|i686|x86|x32|arm|armhf|armel|arm64|aarch64|armv8|armv7l|armv6l|mips|mips64|
mips64el|mipsel|ppc|ppc64|ppc64el|ppc64le|powerpc|powerpc64|riscv64|riscv32|s390|s390x|sparc64|loongarch64|loong64|linux32|
linux64|athlon|i486|i586| amd64|amd64 |native|""".replace("\n", "").split("|"),
    "lxc.autodev": FLAGS,
    "lxc.autodev.tmpfs.size": NUMBERS,
    "lxc.cap.drop": CAPABILITIES,
    "lxc.cap.keep": CAPABILITIES,
    "lxc.cgroup.dir": PATHS + ["a..b", ".."],
    "lxc.cgroup.dir.container": PATHS,
    "lxc.cgroup.dir.container.inner": PATHS[:6] + ["..", "...", "a b", ""],
    "lxc.cgroup.dir.monitor": PATHS,
    "lxc.cgroup.dir.monitor.pivot": PATHS,
    "lxc.cgroup.relative": FLAGS,
    "lxc.cgroup.memory.limit_in_bytes": ["64M", "x", ""],
    "lxc.cgroup2.memory.max": TEXTS,
    "lxc.console.buffer.size": SIZES,
    "lxc.console.logfile": PATHS,
    "lxc.console.path": PATHS + ["none"],
    "lxc.console.rotate": FLAGS,
    "lxc.console.size": SIZES,
    "lxc.environment": ["A=1", "A=", "=", "=1", "A", "A B=1", "A=b=c", "é=1", "1=1", "A=\"x\"", ""],
    "lxc.environment.hooks": ["A=1", "A", ""],
    "lxc.environment.runtime": ["A=1", "A", ""],
    "lxc.ephemeral": FLAGS,
    "lxc.execute.cmd": TEXTS,
    "lxc.group": TEXTS,
    "lxc.hook.autodev": TEXTS,
    "lxc.hook.clone": ["/a b", ""],
    "lxc.hook.destroy": ["/a b", ""],
    "lxc.hook.mount": ["/a b", ""],
    "lxc.hook.post-stop": ["/a b", ""],
    "lxc.hook.pre-mount": ["/a b", ""],
    "lxc.hook.pre-start": ["/a b", ""],
    "lxc.hook.start": ["/a", ""],
    "lxc.hook.start-host": ["/a b", ""],
    "lxc.hook.stop": ["/a b", ""],
    "lxc.hook.version": NUMBERS,
    "lxc.init.cmd": TEXTS,
    "lxc.init.cwd": PATHS,
    "lxc.init.gid": NUMBERS,
    "lxc.init.groups": NUMBERS + ["1,2", "1, 2", "1 ,2", "1,,2", ",", ",1", "1,", "1,a", "1 2", "adm"],
    "lxc.init.uid": NUMBERS + ["root"],
    "lxc.keyring.session": FLAGS,
    "lxc.log.file": ["/dev/null", "/<a*4095>", ""],
    "lxc.log.level": """0|1|8|9|-1|+1| 1|0x1|INFO|info|Warn|WARNING|TRACE|DEBUG|NOTICE|ERROR|CRIT|ALERT|FATAL|NOTSET|
LOG_INFO|verbose|5 |""".replace("\n", "").split("|"),
    "lxc.log.syslog": "daemon|DAEMON|local0|local7|local8|user|kern|auth|yes|".split("|"),
    "lxc.monitor.signal.pdeath": SIGNALS,
    "lxc.monitor.unshare": NUMBERS,
    "lxc.mount.auto": """proc|sys|cgroup|proc:mixed|proc:rw|proc:ro|sys:ro|sys:rw|sys:mixed|cgroup:mixed|cgroup:ro|cgroup:rw|
cgroup:force|cgroup:rw:force|cgroup:force:rw|cgroup-full|cgroup-full:rw:force|cgroup2|cgroup2:ro|cgroup2:rw|cgroup2:force|
cgroup2:ro:force|proc sys|proc:mixed  sys:ro cgroup|proc,sys|PROC|shmounts|shmounts:|shmounts:/a|shmounts:/a:/b|shmounts:/a:|
dev|tmp|proc dev|""".replace("\n", "").split("|"),
    "lxc.mount.entry": TEXTS + ["/srv srv none bind,create=dir 0 0", "tmpfs tmp tmpfs", "/srv srv", "/srv /srv none bind x y"],
    "lxc.mount.fstab": PATHS + ["/etc/fstab"],
    "lxc.namespace.clone": NAMESPACES,
    "lxc.namespace.keep": NAMESPACES,
    "lxc.namespace.share.net": ["1", "web", "/proc/1/ns/net", "é", ""],
    "lxc.namespace.share.NET": ["1", ""],
    "lxc.namespace.share.mount": ["1", ""],
    "lxc.namespace.share.time": ["1", ""],
    "lxc.net.0.flags": ["up", "down", "x", "0"],
    "lxc.net.0.hwaddr": ["00:16:3e:xx:xx:xx", "00:16:3e:01:02:03", "x", "zz", "00163e010203", "00:16"],
    "lxc.net.0.ipv4.address": IPV4[:-1],
    "lxc.net.0.ipv4.gateway": IPV4[:-1],
    "lxc.net.0.ipv6.address": IPV6[:-1],
    "lxc.net.0.ipv6.gateway": IPV6[:-1],
    "lxc.net.0.l2proxy": FLAGS[:-1],
    "lxc.net.0.link": ["br0", "<a*15>", "<a*16>", "a b", "é", "lxcbr0+"],
    "lxc.net.0.mtu": ["1500", "x", "-1", "0", "1500 "],
    "lxc.net.0.name": ["eth0", "<a*15>", "<a*16>", "a/b"],
    "lxc.net.0.script.down": ["/a b"],
    "lxc.net.0.script.up": ["/a b"],
    "lxc.net.0.type": ["veth", "macvlan", "ipvlan", "vlan", "phys", "empty", "none", "VETH", "bridge", "veth ", "x"],
    "lxc.net.2147483646.type": ["empty"],
    "lxc.net.2147483647.type": ["empty"],
    "lxc.net.99999999999999999999.type": ["empty"],
    "lxc.net.007.type": ["empty"],
    "lxc.no_new_privs": FLAGS,
    "lxc.prlimit.nofile": """1024|1024:4096|1024 : 4096| 1024:4096 |unlimited|unlimited:unlimited|1024:unlimited|UNLIMITED|
infinity|-1|0|:|1024:|:1024|1024:4096:1|1024 4096|1024,4096|x|1024x|unlimitedx|1024:x|1k|0x10|+5|18446744073709551615|
18446744073709551616|-18446744073709551616|1.5|""".replace("\n", "").split("|"),
    "lxc.prlimit.bogus": ["1024", "x", ""],
    "lxc.prlimit.7": ["1024"],
    "lxc.proc.oom_score_adj": TEXTS,
    "lxc.pty.max": NUMBERS,
    "lxc.sched.core": FLAGS,
    "lxc.seccomp.allow_nesting": NUMBERS,
    "lxc.seccomp.notify.cookie": TEXTS,
    "lxc.seccomp.notify.proxy": """unix:/run/x|unix:@x|unix:/|unix:@|unix:|unix:x|/run/x|UNIX:/run/x|unix:/<a*106>|unix:/<a*107>|
""".replace("\n", "").split("|"),
    "lxc.seccomp.profile": PATHS,
    "lxc.selinux.context": TEXTS,
    "lxc.selinux.context.keyring": TEXTS,
    "lxc.signal.halt": SIGNALS,
    "lxc.signal.reboot": SIGNALS,
    "lxc.signal.stop": SIGNALS,
    "lxc.start.auto": FLAGS + ["99999999999999999999"],
    "lxc.start.delay": NUMBERS,
    "lxc.start.order": NUMBERS,
    "lxc.sysctl.kernel.msgmax": TEXTS,
    "lxc.time.offset.boot": OFFSETS,
    "lxc.time.offset.monotonic": OFFSETS,
    "lxc.tty.dir": ["lxc", "/lxc", "<a*255>", "<a*256>", "<é*127>", "<é*128>", ""],
    "lxc.tty.max": NUMBERS,
    "lxc.uts.name": ["web", "<a*64>", "<a*65>", "<é*32>", "<é*33>", "a b", " a ", "\"a\"", "a/b", ""],
}

BEHIND = [
    (VETH, {
        "lxc.net.0.veth.mode": ["bridge", "router", "Router", "l2", ""],
        "lxc.net.0.veth.n_rxqueues": NUMBERS,
        "lxc.net.0.veth.n_txqueues": ["1", "0", "-1", "x", ""],
        "lxc.net.0.veth.pair": ["veth0", "<a*16>", ""],
        "lxc.net.0.veth.ipv4.route": IPV4,
        "lxc.net.0.veth.ipv6.route": IPV6,
        "lxc.net.0.veth.vlan.id": ["none", "NONE", "0", "1", "4094", "4095", "-1", "x", "0x1", ""],
        "lxc.net.0.veth.vlan.tagged.id": ["none", "0", "1", "4094", "4095", "x", "1,2", ""],
        "lxc.net.0.macvlan.mode": ["bridge", ""],
        "lxc.net.0.ipvlan.mode": ["l3", ""],
        "lxc.net.0.vlan.id": ["1", ""],
        "lxc.net.0.flags": [""],
        "lxc.net.0.ipv4.address": [""],
        "lxc.net.0.ipv4.gateway": [""],
        "lxc.net.0.type": ["", "macvlan"],
        "lxc.net.1.veth.pair": [],
    }),
    (MACVLAN, {
        "lxc.net.0.macvlan.mode": ["private", "vepa", "bridge", "passthru", "source", "Bridge", ""],
        "lxc.net.0.veth.pair": ["x", ""],
        "lxc.net.0.veth.vlan.id": ["1"],
    }),
    (IPVLAN, {
        "lxc.net.0.ipvlan.mode": ["l2", "l3", "l3s", "L2", "bridge", ""],
        "lxc.net.0.ipvlan.isolation": ["bridge", "private", "vepa", "none", ""],
        "lxc.net.0.l2proxy": ["1", ""],
    }),
    (VLAN, {"lxc.net.0.vlan.id": NUMBERS + ["65535", "65536", "4095", "none"]}),
    ([("lxc.net.0.type", "empty")], {"lxc.net.0.veth.pair": ["x", ""], "lxc.net.0.link": ["x"]}),
    ([("lxc.cap.drop", "chown")], {"lxc.cap.keep": ["kill", "none", ""], "lxc.cap.drop": ["kill", ""]}),
    ([("lxc.cap.keep", "chown")], {"lxc.cap.drop": ["kill", ""], "lxc.cap.keep": ["kill", "none"]}),
    ([("lxc.cap.keep", "none")], {"lxc.cap.drop": ["kill"]}),
    ([("lxc.cap.drop", "chown"), ("lxc.cap.keep", "")], {"lxc.cap.keep": ["kill"]}),
    ([("lxc.cap.drop", "chown"), ("lxc.cap.drop", "")], {"lxc.cap.keep": ["kill"]}),
    ([("lxc.cap.keep", "chown"), ("lxc.cap.drop", "")], {"lxc.cap.drop": ["kill"]}),
    ([("lxc.cap.drop", " ")], {"lxc.cap.keep": ["kill"]}),
    ([("lxc.cap.keep", " ")], {"lxc.cap.drop": ["kill"]}),
    ([("lxc.namespace.clone", "net")], {"lxc.namespace.keep": ["pid", " ", ""], "lxc.namespace.clone": ["pid"]}),
    ([("lxc.namespace.keep", "net")], {"lxc.namespace.clone": ["pid", ""], "lxc.namespace.share.net": ["1"]}),
    ([("lxc.namespace.clone", "net"), ("lxc.namespace.clone", "")], {"lxc.namespace.keep": ["pid"]}),
    ([("lxc.namespace.clone", "net"), ("lxc.namespace.keep", "")], {"lxc.namespace.keep": ["pid"]}),
    ([("lxc.cgroup.dir", "a")], {"lxc.cgroup.dir.monitor": ["b"]}),
]


def cases():
    """Returns each case once: a list of keys and values."""
    seen = []
    for before, keys in [([], ALONE), *BEHIND]:
        for key, values in keys.items():
            for value in values:
                case = before + [(key, value)]
                if case not in seen:
                    seen.append(case)
    return seen


def expand(value):
    return re.sub(r"<([^*]+)\*(\d+)>", lambda found: found[1] * int(found[2]), value)


def line(key, value):
    """Quotes a value, so that LXC sees all of it."""
    if value.strip() != value or (len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"):
        quote = "'" if '"' in value else '"'
        value = f"{quote}{value}{quote}"
    return f"{key} = {value}\n"


def fetch(mirror, release, library, top):
    """Unpacks LXC and what it links to, and returns the command that runs its `lxc-info`."""
    apt, debs, root = top / "apt", top / "debs", top / "root"
    for directory in (apt / "lists/partial", apt / "cache/archives/partial", debs):
        directory.mkdir(parents=True)
    (apt / "sources.list").write_text(f"deb {mirror} {release} main\n")
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": apt / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def run(*words):
        return subprocess.run(words, cwd=debs, check=True, stdout=subprocess.PIPE, text=True).stdout

    run("apt-get", *options, "-qq", "update")
    needs = "--no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances"
    needed = run("apt-cache", *options, "depends", "--recurse", *needs.split(), library)
    names = sorted({name for name in needed.split("\n") if re.fullmatch("[a-z0-9.+-]+", name)})
    run("apt-get", *options, "-qq", "download", "lxc", *names)
    for deb in debs.glob("*.deb"):
        run("dpkg-deb", "-x", str(deb), str(root))
    libraries = [str(path.parent) for path in root.rglob("libc.so.6")]
    loader = next(path for path in root.rglob("ld-linux-*.so.*") if path.is_file())
    return [str(loader), "--library-path", ":".join(libraries), str(root / "usr/bin/lxc-info")]


def main(mirror):
    all_cases = cases()
    with tempfile.TemporaryDirectory() as top:
        top = pathlib.Path(top)
        config = top / "lxc/c/config"
        config.parent.mkdir(parents=True)
        versions, columns = [], []
        for release, library in RELEASES.items():
            command = fetch(mirror, release, library, top / release)
            said = subprocess.run([*command, "--version"], check=True, stdout=subprocess.PIPE, text=True)
            versions.append(said.stdout.strip())
            column = []
            for case in all_cases:
                config.write_text("".join(line(key, expand(value)) for key, value in case))
                words = [*command, "-P", str(top / "lxc"), "-n", "c", "--config", "lxc.uts.name"]
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                done = subprocess.run(words, env={}, check=False, **quiet)
                column.append("+" if done.returncode == 0 else "-")
            columns.append(column)
            print(release, versions[-1], column.count("+"), column.count("-"), file=sys.stderr)
    with open(HERE / "measured.tsv", "w", encoding="utf-8") as file:
        file.write("# Written by measure.py: whether each LXC loads a config of these lines.\n")
        file.write("# " + " ".join(versions) + "\n")
        for verdicts, case in zip(zip(*columns), all_cases):
            words = [word for pair in case for word in pair]
            file.write("\t".join(["".join(verdicts), *words]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
