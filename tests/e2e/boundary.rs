//! Steps inside the rootfs that would like to be somebody on the host.
//!
//! Each attempt is made by a real program, against a real container that runs. Whatever it calls
//! `possible` is a hole.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::call::{Call, Outcome};
use crate::caller::Caller;
use crate::lab::Lab;

/// Commands of LXC's monitor: those that hand out descriptors, and at last the one that stops the
/// container. Source: `commands.h` of LXC 5.0.
const COMMANDS: [u32; 6] = [17, 20, 21, 23, 24, 2];

/// What strace has to do so that this kernel lacks something.
const NO_LANDLOCK: &str = "inject=landlock_create_ruleset:error=ENOSYS";
const NO_USERS: &str = "inject=setgroups:error=EPERM";

/// Lets `/sys/fs/cgroup` be what current distributions have there, and then becomes the command.
const UNIFIED: &str = "mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

const EVERYBODY: [Caller; 3] = [Caller::Root, Caller::Mapped, Caller::User];

#[test]
fn a_step_of_root_is_nobody_to_a_container() {
    nobody_to_a_container(Caller::Root, &[]);
}

#[test]
fn a_step_of_root_in_an_id_map_is_nobody_to_a_container() {
    nobody_to_a_container(Caller::Mapped, &[]);
}

#[test]
fn a_step_of_an_ordinary_user_is_nobody_to_a_container() {
    nobody_to_a_container(Caller::User, &[]);
}

#[test]
fn its_user_namespace_alone_keeps_a_step_from_containers() {
    for caller in EVERYBODY {
        nobody_to_a_container(caller, &[NO_LANDLOCK]);
    }
}

#[test]
fn landlock_alone_keeps_a_step_from_containers() {
    // An ordinary user's run makes the same call to enter its own namespace.
    nobody_to_a_container(Caller::Root, &[NO_USERS]);
}

#[test]
fn a_step_reaches_no_abstract_socket_of_the_host() {
    for caller in EVERYBODY {
        let Some(lab) = Lab::open(caller, &["cc"]) else { return };
        let name = format!("{}-socket", lab.mark);
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a short name");
        let _listener = UnixListener::bind_addr(&address).expect("nobody has the name");
        for network in [true, false] {
            for storage in ["none", "copy"] {
                let step = format!("/attack abstract {name}");
                holds(&attack(&lab, &step, network, storage, &[]), "stream: refused");
            }
        }
    }
}

#[test]
fn a_step_has_no_call_that_reaches_past_its_namespaces() {
    for caller in EVERYBODY {
        let Some(lab) = Lab::open(caller, &["cc"]) else { return };
        let step = "/attack calls; /attack compat; /attack key any";
        let outcome = attack(&lab, step, true, "copy", &[]);
        for call in "keyctl add_key request_key bpf perf_event_open userfaultfd io_uring_setup \
                     io_uring_enter io_uring_register"
            .split_whitespace()
        {
            holds(&outcome, &format!("| {call}: absent"));
        }
        holds(&outcome, "| find a key: absent");
        for call in
            "kexec_load open_by_handle_at init_module finit_module delete_module quotactl acct \
                     swapon swapoff reboot pivot_root syslog vhangup fanotify_init"
                .split_whitespace()
        {
            holds(&outcome, &format!("| {call}: refused (Operation not permitted)"));
        }
        holds(&outcome, "| vsock: refused (Address family not supported by protocol)");
        let times = outcome.stderr.matches("| keyctl: absent").count();
        assert!(!cfg!(target_arch = "x86_64") || times == 2, "as a 32-bit program: {outcome}");
    }
}

#[test]
fn a_step_can_signal_nobody_and_make_no_user_namespace() {
    for caller in EVERYBODY {
        let Some(lab) = Lab::open(caller, &["cc"]) else { return };
        let step = "/attack kill; if unshare -U true; then echo namespace: possible; fi";
        let outcome = attack(&lab, step, true, "copy", &[]);
        holds(&outcome, "signals sent: 0");
        holds(&outcome, "Operation not permitted");
    }
}

#[test]
fn the_host_s_network_is_refused_where_nothing_is_a_boundary() {
    let Some(lab) = Lab::open(Caller::Root, &["cc", "strace"]) else { return };
    let lack = [NO_LANDLOCK, NO_USERS];
    let online = manifest(&lab, "true", true);
    let refused = create(&lab, "refused", &online, "none", &lack).outcome().code(6);
    for part in [
        "could not be run: the sandbox could not be built: with the host's network it could reach",
        "`--allow-untrusted` runs it all the same",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {refused}");
    }
    let name = lab.name("allowed");
    create(&lab, &name, &online, "none", &lack).arg("--allow-untrusted").outcome().success();
    lab.destroy(&name);
    // On an overlay of its own, root's step has no user namespace.
    let text = fs::read_to_string(&online).unwrap();
    let overlaid =
        lab.write("work/overlaid.toml", &text.replace("post = {", "store = false\npost = {"));
    let refused = create(&lab, "refused", &overlaid, "overlay", &lack[..1]).outcome().code(6);
    holds(
        &refused,
        "it can have no user namespace of its own (its filesystem cannot map ids, as an overlay)",
    );
    // A network of its own is a boundary to sockets.
    let offline = manifest(&lab, "true", false);
    create(&lab, &name, &offline, "none", &lack).outcome().success();
    lab.destroy(&name);
}

#[test]
fn capabilities_are_refused_where_they_would_be_those_of_the_host_s_root() {
    let Some(lab) = Lab::open(Caller::Root, &["cc", "strace"]) else { return };
    let more = |step: &str, keys: &str| {
        let text = format!(
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
             [[layer]]\nname = \"more\"\npost = {{ in = \"rootfs\", run = '{step}', {keys} }}\n"
        );
        lab.write("work/more.toml", &text)
    };
    let manifest = more("true", "capabilities = \"SYS_ADMIN\"");
    let refused = create(&lab, "refused", &manifest, "none", &[NO_USERS]).outcome().code(6);
    holds(&refused, "its `capabilities` would be those of the host's root");
    let name = lab.name("allowed");
    create(&lab, &name, &manifest, "none", &[]).outcome().success();
    lab.destroy(&name);
    // Those for a network count in one of its own, and in no other.
    let step =
        "grep -q \"^CapEff:.*0000000080040[45]fb$\" /proc/self/status; ip link set lo mtu 1400";
    let manifest = more("ip link set lo mtu 1400", "capabilities = \"NET_ADMIN\"");
    create(&lab, &name, &manifest, "none", &[NO_USERS]).outcome().success();
    lab.destroy(&name);
    let manifest = more(step, "network = true, capabilities = \"NET_ADMIN\"");
    for lack in [&[][..], &[NO_USERS]] {
        create(&lab, "refused", &manifest, "none", lack).outcome().code(6);
    }
}

#[test]
fn root_of_the_host_writes_nothing_to_proc() {
    let Some(lab) = Lab::open(Caller::Root, &["cc", "strace"]) else { return };
    let step = "if echo 0 >/proc/self/oom_score_adj; then echo proc: possible; fi; \
                if mknod /z c 0 0; then echo node: possible; fi; id -G; ulimit -Hc";
    let outcome = attack(&lab, step, true, "none", &[NO_USERS]);
    holds(&outcome, "Read-only file system");
    holds(&outcome, "attack| 0\n");
}

#[test]
fn a_cache_that_cannot_map_ids_is_named() {
    let Some(lab) = Lab::open(Caller::Root, &["cc"]) else { return };
    let directories =
        ["lower", "upper", "work-of-overlay", "merged"].map(|name| lab.directory(name));
    let [lower, upper, work, merged] = directories.each_ref().map(|path| path.display());
    let script = format!(
        "mount -t overlay none -o lowerdir={lower},upperdir={upper},workdir={work} {merged}; \
         exec \"$@\""
    );
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
                [[layer]]\nname = \"in\"\n\
                post = { in = \"rootfs\", cache = \"/var/cache/x\", run = \"true\" }\n";
    let manifest = lab.write("work/cache.toml", text);
    let words = ["unshare", "-m", "sh", "-c", &script, "overlaid"];
    let outcome = lab
        .call(words)
        .arg(lab.program())
        .args(["create", "--name", "cached", "--lxcpath"])
        .arg(lab.lxcpath())
        .arg(manifest)
        .env("LAYERED_TEMPLATE_CACHE", lab.path("merged"))
        .outcome()
        .code(6);
    for part in
        ["the cache `/var/cache/x`: its filesystem cannot map ids", "LAYERED_TEMPLATE_CACHE"]
    {
        holds(&outcome, part);
    }
}

#[test]
fn shells_in_one_container_share_what_is_mounted_there() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";
    let manifest = lab.write("work/plain.toml", text);
    let name = lab.name("shells");
    create(&lab, &name, &manifest, "copy", &[]).outcome().success();
    let rootfs = lab.container(&name, "rootfs");
    let shell = |command: &str| {
        let call = lab.call([lab.program()]).args(["shell", &name, "--network", "-P"]);
        call.arg(lab.lxcpath()).args(["--", "/bin/sh", "-c", command])
    };
    let there =
        || ["etc/resolv.conf", "usr/sbin/policy-rc.d"].map(|path| rootfs.join(path).exists());
    let long =
        shell("touch /first; while test ! -e /end; do sleep 0.1; done; cat /etc/resolv.conf");
    let running = long.start().until(&rootfs.join("first"));
    shell("test -s /etc/resolv.conf").outcome().success();
    assert_eq!(there(), [true; 2], "the first has them still");
    fs::write(rootfs.join("end"), "").unwrap();
    let outcome = running.outcome().success();
    assert!(outcome.stdout.contains("nameserver"), "{outcome}");
    assert_eq!(there(), [false; 2], "the last one takes them away");
    // One that was killed leaves them, and means nothing by that; the next one takes them away.
    let killed = shell("touch /second; sleep 86401.25").start().until(&rootfs.join("second"));
    killed.signal(Signal::KILL);
    killed.outcome().signalled(Signal::KILL);
    assert_eq!(fs::read(rootfs.join("usr/sbin/policy-rc.d")).unwrap(), b"");
    lab.assert_quiet(Duration::from_secs(5));
    shell("true").outcome().success();
    assert_eq!(there(), [false; 2]);
    lab.destroy(&name);
}

#[test]
fn what_a_step_writes_belongs_to_whom_it_belongs_inside() {
    let step = "mkdir /made; for id in 0 1 42 1000 65534 65535; do touch /made/$id; \
                chown $id:$id /made/$id; done; chmod 6755 /made/1000; ls -ln /made | grep -q ' 1000 '";
    let fact = |id: u32| (id.to_string(), id, id, if id == 1000 { 0o6755 } else { 0o644 });
    let mut expected: Vec<_> = [0, 1, 42, 1000, 65534, 65535].map(fact).into();
    expected.sort();
    for caller in EVERYBODY {
        let Some(lab) = Lab::open(caller, &["cc"]) else { return };
        for storage in ["none", "copy", "overlay"] {
            let name = lab.name("owners");
            let manifest = manifest(&lab, step, false);
            create(&lab, &name, &manifest, storage, &[]).outcome().success();
            let made = match storage {
                "overlay" => find_in(&lab.path("store"), "made/1000"),
                _ => lab.container(&name, "rootfs/made/1000"),
            };
            let first = lab.id(0);
            let entries = fs::read_dir(made.parent().expect("it is in a directory")).unwrap();
            let mut facts: Vec<_> = entries
                .map(|entry| {
                    let entry = entry.unwrap();
                    let facts = entry.metadata().unwrap();
                    let name = entry.file_name().into_string().unwrap();
                    (name, facts.uid() - first, facts.gid() - first, facts.mode() & 0o7777)
                })
                .collect();
            facts.sort();
            assert_eq!(facts, expected, "{caller:?}, {storage}");
            lab.destroy(&name);
        }
    }
}

/// To mount something in a chroot would mount it for all of the host, where its root is no mount.
#[test]
fn a_chroot_has_steps_where_its_root_is_a_mount() {
    let Some(lab) = Lab::open(Caller::Root, &["chroot", "ldd"]) else { return };
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
                [[layer]]\nname = \"in\"\npost = { in = \"rootfs\", run = \"touch /made\" }\n";
    lab.write("work/chroot.toml", text);
    let script = r#"set -eu
root=$1 bound=$2 name=$3; shift 3
mkdir -p "$root"; mount -t tmpfs -o mode=0755 none "$root"; root=$root/c
for d in bin dev proc tmp var/lib root lxc state store; do mkdir -p "$root/$d"; done
for n in null zero full random urandom tty; do mknod "$root/dev/$n" c $(stat -c '0x%t 0x%T' /dev/$n); done
for f in "$1" $(ldd "$1" | grep -o '/[^ )]*'); do mkdir -p "$root${f%/*}"; cp -L "$f" "$root$f"; done
cp /bin/busybox "$root/bin/busybox"; ln -s busybox "$root/bin/sh"
cp chroot.toml "$root/m.toml"
if [ "$bound" = yes ]; then mount --bind "$root" "$root"; fi
mount -t proc proc "$root/proc"
LAYERED_TEMPLATE_STATE=/state LAYERED_TEMPLATE_STORE=/store PATH=/bin:/usr/bin:/usr/sbin:/sbin chroot "$root" \
    "$1" create /m.toml --name "$name" --lxcpath /lxc
test -e "$root/lxc/$name/rootfs/made"
"#;
    for (bound, status) in [("yes", 0), ("no", 6)] {
        let call = lab.call(["unshare", "-m", "sh", "-c", script, "sh"]).arg(lab.path("chroot"));
        let outcome = call.args([bound, "c1"]).arg(lab.program()).outcome().code(status);
        if status != 0 {
            holds(&outcome, "the root directory of this process is no mount point, as in a chroot");
            holds(&outcome, "mount --bind DIR DIR");
        }
    }
}

#[test]
fn a_killed_shell_leaves_nothing_of_the_host_in_a_container() {
    let text = r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
post = '''
cd "$LXC_ROOTFS"
echo nameserver 192.0.2.1 >etc/resolv.conf
printf '#!/bin/sh\nexit 0\n' >usr/sbin/policy-rc.d; chmod 755 usr/sbin/policy-rc.d
'''
"#;
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else { return };
        let manifest = lab.write("work/shell.toml", text);
        let name = lab.name("shell");
        create(&lab, &name, &manifest, "copy", &[]).outcome().success();
        let rootfs = lab.container(&name, "rootfs");
        let facts = |name: &str| {
            let path = rootfs.join(name);
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            (fs::read(&path).unwrap_or_default(), metadata.modified().unwrap(), metadata.ino())
        };
        let names = || {
            let count = |directory: &str| fs::read_dir(rootfs.join(directory)).unwrap().count();
            ["", "etc", "usr/sbin"].map(count)
        };
        let paths = ["etc/resolv.conf", "usr/sbin/policy-rc.d"];
        let before = (paths.map(facts), names());
        let command = "cat /etc/resolv.conf /usr/sbin/policy-rc.d; touch /begun; sleep 86401.25";
        let shell = lab.call([lab.program()]).args(["shell", &name, "--network", "-P"]);
        let running = shell.arg(lab.lxcpath()).args(["--", "/bin/sh", "-c", command]).start();
        let running = running.until(&rootfs.join("begun"));
        running.signal(Signal::KILL);
        let outcome = running.outcome().signalled(Signal::KILL);
        assert!(outcome.stdout.ends_with("#!/bin/sh\nexit 101\n"), "it had them: {outcome}");
        lab.assert_quiet(Duration::from_secs(5));
        fs::remove_file(rootfs.join("begun")).unwrap();
        assert_eq!(before, (paths.map(facts), names()), "as it was, and nothing set aside");
        lab.destroy(&name);
    }
}

/// Lets a step attack a container that runs, by every command of its monitor, under both layouts of
/// cgroups, however the new container is stored.
fn nobody_to_a_container(caller: Caller, lack: &[&str]) {
    let Some(lab) = Lab::open(caller, &["cc", "strace"]) else { return };
    if caller == Caller::User && !lab.can_start() {
        return;
    }
    for unified in [false, true] {
        if unified && caller == Caller::User {
            // An ordinary user cannot use a cgroup that nobody has delegated.
            continue;
        }
        let victim = lab.name("victim");
        let plain = lab.write("work/plain.conf", "lxc.net.0.type = empty\n");
        let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";
        let manifest = lab.write("work/victim.toml", text);
        // For root with an id map, the plain containers of root are what is to be had.
        let config = if caller == Caller::Mapped { plain } else { lab.path("default.conf") };
        let make =
            lab.call([lab.program()]).arg("create").arg(manifest).args(["-n", &victim, "-P"]);
        make.arg(lab.lxcpath()).arg("-f").arg(config).outcome().success();
        let view = ["unshare", "-m", "sh", "-c", UNIFIED, "unified"];
        let words = view.into_iter().filter(|_| unified).chain(["lxc-start", "-n", &victim]);
        lab.call(words).arg("-P").arg(lab.lxcpath()).outcome().success();
        assert_eq!(state(&lab, &victim), "RUNNING");
        let socket = lab.container(&victim, "command");
        let step =
            COMMANDS.map(|command| format!("/attack command {} {command}", socket.display()));
        for storage in ["none", "copy", "overlay"] {
            if storage == "overlay" && caller == Caller::Root && lack.contains(&NO_LANDLOCK) {
                // No mount of an overlay can map ids.
                continue;
            }
            let outcome = attack(&lab, &step.join("; "), true, storage, lack);
            let tried = outcome.stderr.matches("refused").count();
            assert!(tried >= COMMANDS.len(), "each was tried: {outcome}");
            assert_eq!(state(&lab, &victim), "RUNNING", "{outcome}");
        }
        lab.lxc("lxc-stop", &victim).arg("-k").outcome().success();
        lab.destroy(&victim);
    }
}

fn state(lab: &Lab, name: &str) -> String {
    let outcome = lab.lxc("lxc-info", name).args(["-s", "-H"]).outcome().success();
    outcome.stdout.trim().to_owned()
}

/// Runs an attack as a step, and sees that none of it was possible.
#[track_caller]
fn attack(lab: &Lab, step: &str, network: bool, storage: &str, lack: &[&str]) -> Outcome {
    let name = lab.name("attack");
    // It ends with 1 where something was possible, and says so.
    let manifest = manifest(lab, &format!("set +e; {step}; true"), network);
    if storage == "overlay" {
        // On the container's own overlay, and not where a layer is built.
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("post = {", "store = false\npost = {")).unwrap();
    }
    let attempt = create(lab, &name, &manifest, storage, lack).arg("--rebuild");
    let outcome = attempt.outcome().success();
    assert!(!outcome.stderr.contains(": possible\n"), "{outcome}");
    lab.lxc("lxc-destroy", &name).outcome().success();
    outcome
}

fn manifest(lab: &Lab, step: &str, network: bool) -> PathBuf {
    let attack = lab.path("work/attack");
    if !attack.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/boundary/attack.c");
        let mut cc = Command::new("cc");
        let built = cc.args(["-static", "-O1", "-o"]).arg(&attack).arg(source).status();
        assert!(built.expect("where there is a linker, there is a compiler").success());
    }
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
         [[layer]]\nname = \"tool\"\n[[layer.file]]\npath = \"/attack\"\nsource = \"attack\"\n\
         mode = \"0755\"\n\
         [[layer]]\nname = \"attack\"\n\
         post = {{ in = \"rootfs\", network = {network}, run = '''{step}''' }}\n"
    );
    lab.write("work/attack.toml", &text)
}

fn create<'lab>(
    lab: &'lab Lab,
    name: &str,
    manifest: &Path,
    storage: &str,
    lack: &[&str],
) -> Call<'lab> {
    let mut call = lab.call([lab.program()]);
    if !lack.is_empty() {
        let injected = lack.iter().flat_map(|what| ["-e", *what]);
        // Only where root traces them, set-id programs are what they are: `newuidmap`.
        let user = lab.user.iter().flat_map(|user| ["-u", user.name.as_str()]);
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null"].into_iter();
        call = lab.call_as_root(strace.chain(user).chain(injected)).arg(lab.program());
    }
    call.arg("create")
        .arg(manifest)
        .args(["--name", name, "--storage", storage, "--lxcpath"])
        .arg(lab.lxcpath())
        .arg("--config")
        .arg(lab.path("default.conf"))
}

#[track_caller]
fn holds(outcome: &Outcome, part: &str) {
    assert!(outcome.stderr.contains(part), "{part}: {outcome}");
}

fn find_in(directory: &Path, end: &str) -> PathBuf {
    let found = Command::new("find").arg(directory).args(["-path", &format!("*/{end}")]).output();
    let text = String::from_utf8(found.expect("find is always there").stdout).unwrap();
    text.lines().next().unwrap_or_else(|| panic!("no {end} in {}", directory.display())).into()
}
