//! Steps inside the rootfs: what they find there, and what they leave.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::call::{Call, Running};
use crate::caller::Caller;
use crate::lab::Lab;
use crate::tree::Tree;

/// The capabilities of every step inside, as `/proc/self/status` writes them.
const ALWAYS: u64 = 0x8004_00fb;

/// Those that a step with a network of its own has besides: `NET_BIND_SERVICE` and `NET_RAW`.
const OF_NETWORK: u64 = 1 << 10 | 1 << 13;

/// Everything of a rootfs that could change, the times of directories included, but no time of
/// access.
const DUMP: &str = r#"find "$LXC_ROOTFS" -printf '%P %y %m %U %G %s %T@ %n %i %l\n' | sort"#;

/// How long after its end nothing of a run may be left.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_step_finds_nothing_of_the_host_as_root() {
    probe(Caller::Root);
}

#[test]
fn a_step_finds_nothing_of_the_host_as_an_ordinary_user() {
    probe(Caller::User);
}

#[test]
fn a_step_leaves_nothing_as_root() {
    leaves_nothing(Caller::Root);
}

#[test]
fn a_step_leaves_nothing_as_an_ordinary_user() {
    leaves_nothing(Caller::User);
}

#[test]
fn a_signalled_step_leaves_nothing() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let run = Run::of(&lab, "touch /begun; sleep 86401.25", "network = true");
        let running = run.start_directly();
        let since = Instant::now();
        running.signal(signal);
        running.outcome().code(status);
        assert!(since.elapsed() < SOON, "the step has heard it");
        lab.assert_quiet(SOON);
        run.assert_as_before("/begun");
    }
}

#[test]
fn a_signalled_step_of_an_ordinary_user_leaves_nothing() {
    let Some(lab) = Lab::open(Caller::User, &[]) else {
        return;
    };
    lab.directory("kept");
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let run = Run::of(&lab, "touch /begun; exec sleep 86401.25", "network = true");
        let name = lab.name("signalled");
        let begun = lab.container(&name, "rootfs/begun");
        let running = create(&lab, &name, &run.manifest).start().until(&begun);
        running.signal(signal);
        running.outcome().code(status);
        lab.assert_quiet(SOON);
        lab.assert_absent(&name);
        run.assert_as_before("/begun");
    }
}

#[test]
fn a_name_that_is_too_long_for_a_host_is_cut() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    lab.directory("kept");
    let name = lab.name(&"n".repeat(70));
    let run = Run::of(&lab, "test $(cat /proc/sys/kernel/hostname | tr -d '\\n' | wc -c) = 64", "");
    create(&lab, &name, &run.manifest).outcome().success();
    lab.destroy(&name);
}

#[test]
fn a_killed_run_leaves_no_process_and_no_mount() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let run = Run::of(&lab, "setsid sleep 86401.75 & touch /begun; sleep 86401.25", "");
    let running = run.start_directly();
    running.signal(Signal::KILL);
    running.outcome().signalled(Signal::KILL);
    lab.assert_quiet(SOON);
}

#[test]
fn a_killed_lxc_create_leaves_no_process_of_an_ordinary_user() {
    let Some(lab) = Lab::open(Caller::User, &[]) else {
        return;
    };
    let run = Run::of(&lab, "setsid sleep 86401.75 & touch /begun; sleep 86401.25", "");
    let name = lab.name("killed");
    let begun = lab.container(&name, "rootfs/begun");
    let running = lab.create(&name, &run.manifest).start().until(&begun);
    running.signal(Signal::KILL);
    running.outcome().signalled(Signal::KILL);
    lab.assert_quiet(SOON);
    lab.lxc("lxc-destroy", &name).outcome();
}

#[test]
fn a_killed_run_within_is_told_of() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let run = Run::of(&lab, "touch /begun; sleep 86401.25", "");
    let running = run.start_directly();
    let within = lab.processes().into_iter().find(|process| process.parent == running.id());
    within.expect("the run has a process of its own").signal(Signal::KILL);
    let outcome = running.outcome().code(137);
    for part in ["the run was ended by SIGKILL", "  log: ", "lxc-destroy -n direct"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome}");
    }
    lab.assert_quiet(SOON);
}

#[test]
fn a_rootfs_that_lxc_gave_as_a_link_is_entered() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let run = Run::of(&lab, "echo made >/made", "cache = '/var/cache/x'");
    let call = lab.call_directly("direct", &run.manifest);
    let (rootfs, elsewhere) = (lab.path("direct/rootfs"), lab.directory("elsewhere"));
    fs::remove_dir(&rootfs).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &rootfs).unwrap();
    call.env("LAYERED_TEMPLATE_CACHE", lab.directory("kept")).outcome().success();
    assert_eq!(lab.read(elsewhere.join("made")), "made\n");
}

#[test]
fn a_step_may_make_all_anew_that_holds_a_loan() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let step = "rm -r /etc /usr/sbin; mkdir /etc /usr/sbin; echo mine >/etc/made";
    let name = lab.name("anew");
    let run = Run::of(&lab, step, "network = true");
    create(&lab, &name, &run.manifest).outcome().success();
    let rootfs = lab.container(&name, "rootfs");
    assert_eq!(fs::read_dir(rootfs.join("etc")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(rootfs.join("usr/sbin")).unwrap().count(), 0);
    assert_nothing_aside(&rootfs);
    lab.destroy(&name);
}

#[test]
fn what_a_package_puts_in_a_loan_s_place_stays() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let step = "rm /etc/resolv.conf; ln -s ../run/stub /etc/resolv.conf
                rm /usr/sbin/policy-rc.d; echo mine >/usr/sbin/policy-rc.d";
    let name = lab.name("replaced");
    let run = Run::of(&lab, step, "network = true");
    create(&lab, &name, &run.manifest).outcome().success();
    let rootfs = lab.container(&name, "rootfs");
    assert_eq!(fs::read_link(rootfs.join("etc/resolv.conf")).unwrap(), Path::new("../run/stub"));
    assert_eq!(lab.read(rootfs.join("usr/sbin/policy-rc.d")), "mine\n");
    assert_nothing_aside(&rootfs);
    lab.destroy(&name);
}

#[test]
fn a_resolver_that_is_a_link_into_run_is_served_from_there() {
    let Some(lab) = Lab::open(Caller::User, &[]) else {
        return;
    };
    let text = r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
post = { run = 'ln -s ../run/systemd/resolve/stub-resolv.conf "$LXC_ROOTFS/etc/resolv.conf"' }
[[layer]]
name = "in"
post = { in = "rootfs", network = true, run = "cat /etc/resolv.conf >/seen; readlink /etc/resolv.conf >>/seen" }
check = { in = "rootfs", network = true, resolver = false, run = "! cat /etc/resolv.conf" }
"#;
    let manifest = lab.write("work/link.toml", text);
    let name = lab.name("link");
    create(&lab, &name, &manifest).outcome().success();
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let seen = lab.read(lab.container(&name, "rootfs/seen"));
    assert_eq!(seen, format!("{host}../run/systemd/resolve/stub-resolv.conf\n"));
    lab.destroy(&name);
}

#[test]
fn links_of_a_hostile_rootfs_lead_nowhere_as_root() {
    hostile(Caller::Root);
}

#[test]
fn links_of_a_hostile_rootfs_lead_nowhere_as_an_ordinary_user() {
    hostile(Caller::User);
}

#[test]
fn a_cache_outlasts_the_run_and_is_no_part_of_the_rootfs_as_root() {
    cache(Caller::Root);
}

#[test]
fn a_cache_outlasts_the_run_and_is_no_part_of_the_rootfs_as_an_ordinary_user() {
    cache(Caller::User);
}

#[test]
fn one_run_has_a_cache_and_others_wait() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let text = |step: &str| {
        format!(
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
             [[layer]]\nname = \"in\"\nstore = false\n\
             post = {{ in = \"rootfs\", cache = \"/var/cache/x\", run = '{step}' }}\n"
        )
    };
    let first = lab.write("work/first.toml", &text("touch /begun; sleep 3; touch /var/cache/x/y"));
    let second = lab.write("work/second.toml", &text("test -e /var/cache/x/y"));
    let (one, two) = (lab.name("one"), lab.name("two"));
    let begun = lab.container(&one, "rootfs/begun");
    let running = create(&lab, &one, &first).start().until(&begun);
    let outcome = create(&lab, &two, &second).outcome().success();
    let note = "another run uses the cache of `/var/cache/x`; waiting for it";
    assert!(outcome.stderr.contains(note), "{outcome}");
    running.outcome().success();
    lab.destroy(&one);
    // Who waits hears a signal.
    let third = lab.write("work/third.toml", &text("touch /begun; sleep 86401.25"));
    let running = create(&lab, &one, &third).start().until(&begun);
    let mut waiting = create(&lab, &lab.name("three"), &second).start();
    sleep(Duration::from_secs(2));
    assert!(!waiting.ended());
    waiting.signal(Signal::TERM);
    waiting.outcome().code(143);
    running.signal(Signal::TERM);
    running.outcome().code(143);
    lab.destroy(&two);
}

#[test]
fn a_failed_check_has_its_own_status() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let text = r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "libs"
check = { in = "rootfs", run = "echo looked here; test -e /usr/lib/libmissing.so" }
"#;
    let manifest = lab.write("work/check.toml", text);
    let outcome = create(&lab, &lab.name("check"), &manifest).outcome().code(7);
    let said = outcome.stderr;
    assert!(said.contains("`check` of layer `libs` ended with status 1"), "{said}");
    assert!(said.contains("| looked here"), "{said}");
    assert!(said.contains("  libs| looked here"), "output streams with the layer's name: {said}");
}

#[test]
fn a_rootfs_without_a_shell_is_told_as_such() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let text = r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
post = [{ run = 'rm "$LXC_ROOTFS/bin/sh"' }, { in = "rootfs", run = "true" }]
"#;
    let manifest = lab.write("work/shell.toml", text);
    let outcome = create(&lab, &lab.name("shell"), &manifest).outcome().code(6);
    assert!(
        outcome
            .stderr
            .contains("could not be run: `/bin/sh`, or something it needs, is not in the rootfs")
    );
}

fn probe(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    lab.script("work/probe.sh", include_str!("sandbox/probe.sh"));
    let map = match &lab.user {
        None => "0 2147483648 2147483647",
        // As its parent counts: the container's ids, and not the caller's.
        Some(_) => "0 0 65536",
    };
    let mark = &lab.mark;
    let layer = |name: &str, capabilities: u64, interfaces: &str, more: &str| {
        format!(
            "[[layer]]\nname = {name:?}\n\
             post = {{ in = \"rootfs\", script = \"probe.sh\", {more} }}\n\
             [layer.env]\nCAPABILITIES = \"{capabilities:x}\"\nMAP = \"{map}\"\n\
             INTERFACES = \"{interfaces}\"\nMARK = \"{mark}\"\n"
        )
    };
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n{}{}{}",
        layer("alone", ALWAYS | OF_NETWORK, "lo", "network = false"),
        layer("network", ALWAYS, "all", "network = true"),
        layer("more", ALWAYS | OF_NETWORK | 1 << 12, "lo", "capabilities = [\"NET_ADMIN\"]"),
    );
    let manifest = lab.write("work/probe.toml", &text);
    let name = lab.name("probe");
    lab.create(&name, &manifest).env("HOST_SECRET", mark).outcome().success();
    lab.destroy(&name);
}

fn leaves_nothing(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    lab.directory("kept");
    let table = [
        ("true", "", 0),
        ("true", "network = true", 0),
        ("touch /tmp/x /run/x /dev/shm/x", "network = true, cache = \"/var/a/b\"", 0),
        ("sleep 86401.25 & exit 3", "network = true", 6),
        ("trap '' TERM; sleep 86401.25", "network = true, timeout = \"1s\"", 6),
    ];
    for (step, more, status) in table {
        let run = Run::of(&lab, step, more);
        let name = lab.name("leaves");
        create(&lab, &name, &run.manifest).outcome().code(status);
        lab.assert_quiet(SOON);
        run.assert_as_before("");
        if status == 0 {
            assert_nothing_aside(&lab.container(&name, "rootfs"));
            lab.destroy(&name);
        }
    }
}

fn hostile(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let victim = lab.directory("victim");
    for directory in ["proc", "sys", "dev", "tmp", "run", "etc", "sbin", "cache"] {
        lab.directory(Path::new("victim").join(directory));
    }
    lab.write("victim/etc/resolv.conf", "the host's\n");
    lab.write("victim/sbin/policy-rc.d", "the host's\n");
    let before = Tree::of(&victim);
    let text = format!(
        r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "hostile"
post = [
  '''
cd "$LXC_ROOTFS"
for name in proc sys dev tmp run; do rm -rf "$name"; ln -s "{victim}/$name" "$name"; done
ln -s {victim}/etc/resolv.conf etc/resolv.conf
rmdir usr/sbin 2>/dev/null || rm -rf usr/sbin
ln -s ../../../../../../../../../../../../{victim}/sbin usr/sbin
ln -s {victim}/cache var/cache
{DUMP} >"$BEFORE"
''',
  {{ in = "rootfs", network = true, cache = "/var/cache/apt", run = '''
test -d /proc/1; test -c /dev/null; touch /tmp/x /run/x /var/cache/apt/x
grep -q nameserver /etc/resolv.conf || test ! -s /etc/resolv.conf
''' }},
]
finally = '''{DUMP} >"$AFTER"'''
"#,
        victim = victim.display()
    );
    let manifest = lab.write("work/hostile.toml", &text);
    let name = lab.name("hostile");
    let outcome = create(&lab, &name, &manifest).outcome();
    Tree::of(&victim).assert_same(&before);
    let run = Run { lab: &lab, manifest };
    run.assert_as_before("");
    // The cache's parent leads nowhere inside, and that is no reason to go on without it.
    assert!(outcome.status.success() || outcome.stderr.contains("`/var/cache/apt`"), "{outcome}");
    lab.assert_quiet(SOON);
}

fn cache(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    lab.directory("kept");
    let text = r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
post = 'mkdir -p "$LXC_ROOTFS/var/cache/downloads"; chmod 750 "$LXC_ROOTFS/var/cache/downloads"'
[[layer]]
name = "in"
post = { in = "rootfs", cache = ["/var/cache/downloads"], run = '''
stat -c %a /var/cache/downloads >/seen
cat /var/cache/downloads/count >>/seen || :
echo more >>/var/cache/downloads/count
chown 7:7 /var/cache/downloads/count
''' }
"#;
    let manifest = lab.write("work/cache.toml", text);
    for seen in ["750\n", "750\nmore\n", "750\nmore\nmore\n"] {
        let name = lab.name("cache");
        create(&lab, &name, &manifest).outcome().success();
        let rootfs = lab.container(&name, "rootfs");
        assert_eq!(lab.read(rootfs.join("seen")), seen);
        let inside = fs::read_dir(rootfs.join("var/cache/downloads")).expect("it is there");
        assert_eq!(inside.count(), 0, "a cache is no part of the rootfs");
        lab.destroy(&name);
    }
    // What a step has put there is not for other users of the host to find.
    let of_maps: Vec<_> = fs::read_dir(lab.path("kept")).unwrap().map(Result::unwrap).collect();
    assert_eq!(of_maps.len(), 1);
    let metadata = of_maps[0].metadata().unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o700, lab.id(0)));
}

fn create<'lab>(lab: &'lab Lab, name: &str, manifest: &Path) -> Call<'lab> {
    lab.call([lab.program()])
        .arg("create")
        .arg(manifest)
        .args(["--name", name, "--lxcpath"])
        .arg(lab.lxcpath())
        .arg("--config")
        .arg(lab.path("default.conf"))
        .env("BEFORE", lab.path("work/before"))
        .env("AFTER", lab.path("work/after"))
        .env("LAYERED_TEMPLATE_CACHE", lab.path("kept"))
}

#[track_caller]
fn assert_nothing_aside(rootfs: &Path) {
    let found = std::process::Command::new("find")
        .arg(rootfs)
        .args(["-name", ".layered-template*"])
        .output()
        .expect("find is always there");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

/// A run with a step inside a rootfs that is dumped before and after.
struct Run<'lab> {
    lab: &'lab Lab,
    manifest: PathBuf,
}

impl<'lab> Run<'lab> {
    fn of(lab: &'lab Lab, step: &str, more: &str) -> Self {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        let text = format!(
            r#"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer]]
name = "in"
post = [
  '''
cd "$LXC_ROOTFS"
echo mine >etc/resolv.conf; touch -d 2001-01-01 etc/resolv.conf
echo mine >usr/sbin/policy-rc.d
rmdir tmp; ln -s var/tmp tmp; rmdir run
find . -type d -exec touch -d 2002-02-02 {{}} +
{DUMP} >"${{BEFORE:-/dev/null}}"
''',
  {{ in = "rootfs", run = '''{step}'''{more} }},
]
finally = '''{DUMP} >"${{AFTER:-/dev/null}}"'''
"#
        );
        let manifest = lab.write("work/run.toml", &text);
        Self { lab, manifest }
    }

    /// Starts the template as LXC would, and returns when the step waits.
    fn start_directly(&self) -> Running {
        let call = self.lab.call_directly("direct", &self.manifest);
        let call = call
            .env("BEFORE", self.lab.path("work/before"))
            .env("AFTER", self.lab.path("work/after"));
        call.start().until(&self.lab.path("direct/rootfs/begun"))
    }

    /// Sees that the step has left nothing but what it made at the top.
    #[track_caller]
    fn assert_as_before(&self, made: &str) {
        let dump = |relative: &str| {
            let text = self.lab.read(relative);
            let lines = text.lines().filter(|line| {
                // Having made something, it has changed the top.
                made.is_empty() || !(line.starts_with(' ') || line.starts_with(&made[1..]))
            });
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = dump("work/before");
        assert!(before.len() > 20, "{before:?}");
        assert_eq!(before, dump("work/after"));
    }
}

#[test]
fn an_edit_of_the_lent_resolver_is_one_of_the_rootfs_s_own() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let host = fs::read_to_string("/etc/resolv.conf").expect("a host that resolves names");
    let host = host.lines().find(|line| line.starts_with("nameserver")).expect("by a server");
    let own = "nameserver 192.0.2.1\n";
    let table = [
        (
            "echo \"options timeout:1\" >>/etc/resolv.conf",
            format!("{own}options timeout:1\n"),
            0o640,
        ),
        (
            "sed -i \"1i options timeout:1\" /etc/resolv.conf",
            format!("{own}options timeout:1\n"),
            0o640,
        ),
        ("chmod 600 /etc/resolv.conf", own.to_owned(), 0o600),
        ("echo mine >/etc/resolv.conf", "mine\n".to_owned(), 0o644),
        ("true", own.to_owned(), 0o640),
    ];
    for (step, text, mode) in table {
        for storage in ["none", "copy"] {
            let before = format!(
                "printf '{}' >\"$LXC_ROOTFS/etc/resolv.conf\"; \
                 chmod 640 \"$LXC_ROOTFS/etc/resolv.conf\"",
                own.escape_default()
            );
            let manifest = format!(
                "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
                 [[layer]]\nname = \"own\"\nstore = true\npost = '''{before}'''\n\
                 [[layer]]\nname = \"in\"\npost = {{ in = \"rootfs\", network = true, run = '''{step}''' }}\n"
            );
            let manifest = lab.write("work/edit.toml", &manifest);
            let name = lab.name("edit");
            create(&lab, &name, &manifest).args(["--storage", storage]).outcome().success();
            let path = lab.container(&name, "rootfs/etc/resolv.conf");
            let found = lab.read(&path);
            assert!(!found.contains(host), "{step}: {found}");
            let seen = (found, path.metadata().unwrap().mode() & 0o7777);
            assert_eq!(seen, (text.clone(), mode), "{step}, {storage}");
            lab.destroy(&name);
        }
    }
}
