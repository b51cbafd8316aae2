//! The layers that are part of the program, in containers that `lxc-create` makes and LXC starts.

use std::path::{Path, PathBuf};

use crate::caller::Caller;
use crate::config;
use crate::lab::Lab;
use crate::requirement::{self, Limits};

const UPSTREAM: &str = "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";

/// Writes a manifest with these layers around the built-in upstream.
pub(crate) fn role(lab: &Lab, layers: &str) -> PathBuf {
    lab.write("work/role.toml", &format!("{UPSTREAM}\n{layers}"))
}

/// Makes a container with these layers.
#[track_caller]
pub(crate) fn make(lab: &Lab, name: &str, layers: &str) {
    let manifest = role(lab, layers);
    lab.create(name, &manifest).outcome().success();
}

#[track_caller]
pub(crate) fn assert_config(lab: &Lab, name: &str, layer: &str, lines: &[&str]) {
    let config = lab.read(lab.container(name, "config"));
    config::assert_under_comment(&config, layer, lines);
}

pub(crate) fn rootfs(lab: &Lab, name: &str, path: &str) -> String {
    lab.read(lab.container(name, Path::new("rootfs").join(path)))
}

/// Runs a test as root, and as an ordinary user.
pub(crate) fn as_both(test: fn(&Lab)) {
    for caller in [Caller::Root, Caller::User] {
        if let Some(lab) = Lab::open(caller, &[]) {
            test(&lab);
        }
    }
}

#[test]
fn a_unit_is_enabled_without_systemd() {
    as_both(|lab| {
        let unit = "[Service]\nExecStart=/bin/true\n\n[Install]\nWantedBy=timers.target\n";
        lab.write("work/tidy.timer", unit);
        let name = lab.name("unit");
        let layers = "[[layer]]\nuse = \"systemd-unit\"\nwith = { unit = \"tidy.timer\", \
                      source = \"tidy.timer\", wanted_by = \"timers.target\" }\n";
        make(lab, &name, layers);
        let system = lab.container(&name, "rootfs/etc/systemd/system");
        assert_eq!(lab.read(system.join("tidy.timer")), unit);
        let link = std::fs::read_link(system.join("timers.target.wants/tidy.timer"));
        assert_eq!(link.unwrap(), Path::new("/etc/systemd/system/tidy.timer"));
        // What systemd itself makes of it, where the host has it.
        if Path::new("/usr/bin/systemctl").exists() {
            let root = format!("--root={}", lab.container(&name, "rootfs").display());
            let call = lab.call_as_root(["systemctl", &root, "is-enabled", "tidy.timer"]);
            assert_eq!(call.outcome().success().stdout, "enabled\n");
        }
        lab.destroy(&name);
    });
}

#[test]
fn a_container_knows_its_name() {
    as_both(|lab| {
        let name = lab.name("named");
        let layers =
            "[[layer]]\nuse = \"hostname-and-hosts\"\nwith = { domain = \"example.org\" }\n";
        make(lab, &name, layers);
        assert_config(lab, &name, "hostname-and-hosts", &[&format!("lxc.uts.name = {name}")]);
        assert_eq!(rootfs(lab, &name, "etc/hostname"), format!("{name}\n"));
        if lab.start(&name) {
            assert_eq!(lab.inside(&name, &["/bin/hostname"]), format!("{name}\n"));
            let full = lab.inside(&name, &["/bin/hostname", "-f"]);
            assert_eq!(full, format!("{name}.example.org\n"));
            lab.stop(&name);
        }
        lab.destroy(&name);
    });
}

/// The nested `/proc` is the measure: the kernel allows it only where one is mounted that nothing
/// covers.
#[test]
fn a_container_may_nest() {
    as_both(|lab| {
        let name = lab.name("nest");
        // LXC's own comments in a config speak of nesting.
        make(lab, &name, "[[layer]]\nname = \"inner\"\nuse = \"nesting\"\n");
        let lines = [
            "lxc.apparmor.profile = generated",
            "lxc.apparmor.allow_nesting = 1",
            "lxc.seccomp.allow_nesting = 1",
        ];
        assert_config(lab, &name, "inner", &lines);
        if lab.start(&name) {
            let script = "test -e /dev/.lxc/proc/self && test -e /dev/.lxc/sys/class && \
                          unshare -r -m -p -f mount -t proc proc /mnt && echo nested";
            assert_eq!(lab.inside(&name, &["/bin/sh", "-c", script]), "nested\n");
            lab.stop(&name);
        }
        lab.destroy(&name);
    });
}

#[test]
fn a_container_starts_with_the_host() {
    let Some(lab) = Lab::open(Caller::Root, &["lxc-autostart"]) else {
        return;
    };
    let name = lab.name("auto");
    make(&lab, &name, "[[layer]]\nuse = \"autostart\"\nwith = { order = 7 }\n");
    let lines =
        ["lxc.start.auto = 1", "lxc.start.order = 7", "lxc.start.delay = 0", "lxc.group = onboot"];
    assert_config(&lab, &name, "autostart", &lines);
    let autostart = || {
        let call = lab.call(["lxc-autostart", "--group", "onboot", "-P"]);
        call.arg(lab.lxcpath())
    };
    let listed = autostart().arg("--list").outcome().success().stdout;
    assert!(listed.contains(&name), "{listed}");
    // A first start shows whether LXC starts anything here.
    if lab.start(&name) {
        lab.stop(&name);
        autostart().outcome().success();
        lab.lxc("lxc-wait", &name).args(["-s", "RUNNING", "-t", "20"]).outcome().success();
        lab.stop(&name);
    }
    lab.destroy(&name);
}

/// LXC takes the limits, whatever the host has of them. On one with the older cgroup hierarchies it
/// ignores them with a warning in its log, so that only the process limit shows there.
#[test]
fn a_container_is_limited() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let name = lab.name("limited");
    let layers = "[[layer]]\nuse = \"limits\"\nwith = { memory = \"64M\", \
                  pids = \"100\", open_files = \"512:1024\" }\n";
    make(&lab, &name, layers);
    let lines = [
        "lxc.cgroup2.memory.max = 64M",
        "lxc.cgroup2.memory.swap.max =",
        "lxc.cgroup2.cpu.max =",
        "lxc.cgroup2.cpu.weight =",
        "lxc.cgroup2.pids.max = 100",
        "lxc.prlimit.nofile = 512:1024",
    ];
    assert_config(&lab, &name, "limits", &lines);
    let limits = requirement::limits();
    if !matches!(limits, Limits::Work) {
        requirement::say("the cgroups of this host are not those that LXC could limit");
    }
    if !matches!(limits, Limits::Refused) && lab.start(&name) {
        let files = lab.inside(&name, &["/bin/cat", "/proc/1/limits"]);
        let files: Vec<_> = files
            .lines()
            .filter_map(|line| line.strip_prefix("Max open files"))
            .flat_map(str::split_whitespace)
            .take(2)
            .collect();
        assert_eq!(files, ["512", "1024"]);
        if matches!(limits, Limits::Work) {
            for (key, value) in [("memory.max", "67108864"), ("pids.max", "100")] {
                let call = lab.lxc("lxc-cgroup", &name).arg(key);
                assert_eq!(call.outcome().success().stdout.trim(), value, "{key}");
            }
        }
        lab.stop(&name);
    }
    lab.destroy(&name);
}

/// An ordinary user may have no controllers delegated; what counts is that LXC loads the config.
#[test]
fn an_ordinary_users_container_is_limited() {
    let Some(lab) = Lab::open(Caller::User, &[]) else {
        return;
    };
    let name = lab.name("limited");
    make(&lab, &name, "[[layer]]\nuse = \"limits\"\nwith = { memory = \"64M\" }\n");
    let call = lab.lxc("lxc-info", &name).args(["-c", "lxc.cgroup2.memory.max"]);
    let said = call.outcome().success().stdout;
    assert!(said.contains("64M"), "{said}");
    lab.destroy(&name);
}

#[test]
fn a_container_shares_directories_and_files_of_the_host() {
    as_both(|lab| {
        lab.directory("work/data");
        lab.write("work/data/here", "of the host\n");
        lab.write("work/motd", "a file\n");
        let name = lab.name("shared");
        let layers = r#"
[[layer]]
name = "data"
use = "bind-mount"
with = { source = "data", target = "/srv/its/data", options = "ro" }

[[layer]]
name = "motd"
use = "bind-mount"
with = { source = "motd", target = "/etc/motd", create = "file" }

[[layer]]
name = "absent"
use = "bind-mount"
with = { source = '/no\040where', target = '/with\040blank', options = "optional" }
"#;
        make(lab, &name, layers);
        let data = lab.path("work/data").display().to_string();
        let entry = format!("lxc.mount.entry = {data} ./srv/its/data none bind,ro,create=dir 0 0");
        assert_config(lab, &name, "data", &[&entry]);
        if lab.start(&name) {
            let script = "cat /srv/its/data/here /etc/motd; ls -d /with*; \
                          echo x 2>/dev/null >/srv/its/data/new || echo read-only";
            let said = lab.inside(&name, &["/bin/sh", "-c", script]);
            assert_eq!(said, "of the host\na file\n/with blank\nread-only\n");
            lab.stop(&name);
        }
        lab.destroy(&name);
        assert_eq!(lab.read("work/data/here"), "of the host\n");
    });
}

/// LXC would make something else of them, or nothing, and not say so.
#[test]
fn mounts_that_lxc_would_misread_are_refused() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let name = lab.name("misread");
    for (with, message) in [
        ("source = \"/srv\", target = \"srv\"", "the target begins with a slash: srv"),
        ("source = \"/a b\", target = \"/srv\"", "a blank is written \\040"),
        ("source = \"/srv\", target = \"/a b\"", "a blank is written \\040"),
    ] {
        let layers = format!("[[layer]]\nuse = \"bind-mount\"\nwith = {{ {with} }}\n");
        let outcome = lab.create(&name, &role(&lab, &layers)).outcome().code(1);
        assert!(outcome.stderr.contains(message), "{outcome}");
        lab.assert_absent(&name);
    }
}

#[test]
fn a_variable_reaches_init_and_logins() {
    as_both(|lab| {
        let name = lab.name("environment");
        let layers = r#"
[[layer]]
use = "environment"
with = { variable = "GREETING", value = "say \"it's $5\"" }
"#;
        make(lab, &name, layers);
        assert_config(lab, &name, "environment", &["lxc.environment = GREETING=say \"it's $5\""]);
        if lab.start(&name) {
            let script = "tr '\\0' '\\n' </proc/1/environ | grep ^GREETING=; echo \"$GREETING\"; \
                          unset GREETING; . /etc/profile.d/environment-GREETING.sh; \
                          echo \"$GREETING\"";
            let value = "say \"it's $5\"";
            let said = lab.inside(&name, &["/bin/sh", "-c", script]);
            assert_eq!(said, format!("GREETING={value}\n{value}\n{value}\n"));
            lab.stop(&name);
        }
        lab.destroy(&name);
    });
}

#[test]
fn a_tree_has_the_owner_and_modes_that_are_said() {
    as_both(|lab| {
        lab.directory("work/site");
        lab.directory("work/site/cgi");
        lab.write("work/site/index.html", "hello\n");
        lab.script("work/site/cgi/run", "#!/bin/sh\n");
        let name = lab.name("tree");
        let layer = |target: &str| {
            format!(
                "[[layer]]\nuse = \"file-tree\"\nwith = {{ source = \"site\", target = \
                 \"{target}\", owner = \"nobody:tty\", mode = \"u=rwX,g=rX,o=\" }}\n"
            )
        };
        for broad in ["/srv", "/usr/bin"] {
            let outcome = lab.create(&name, &role(lab, &layer(broad))).outcome().code(1);
            let message = format!("'mode' would change what others have in {broad}");
            assert!(outcome.stderr.contains(&message), "{outcome}");
            lab.assert_absent(&name);
        }
        make(lab, &name, &layer("/srv/site"));
        if lab.start(&name) {
            let script = "cd /srv/site && stat -c '%a %U:%G %n' . cgi cgi/run index.html";
            let said = lab.inside(&name, &["/bin/sh", "-c", script]);
            let expected = "750 nobody:tty .\n750 nobody:tty cgi\n\
                            750 nobody:tty cgi/run\n640 nobody:tty index.html\n";
            assert_eq!(said, expected);
            lab.stop(&name);
        }
        lab.destroy(&name);
    });
}

#[test]
fn a_job_is_where_each_cron_reads_it() {
    as_both(|lab| {
        let name = lab.name("cron");
        let layer = |with: &str| format!("[[layer]]\nuse = \"cron-job\"\nwith = {{ {with} }}\n");
        for (with, message) in [
            ("job = \"a.b\", schedule = \"@daily\", command = \"x\"", "a file called 'a.b'"),
            ("job = \"a\", schedule = \"1 2\", command = \"x\"", "is neither five fields"),
            ("job = \"a\", schedule = \"; 2 3 4 5\", command = \"x\"", "is not a time"),
            ("job = \"a\", schedule = \"@daily\", command = \"x\\ny\"", "more than one line"),
            (
                "job = \"a\", schedule = \"@daily\", command = \"x\", user = \"ann\"",
                "no user 'ann'",
            ),
        ] {
            let outcome = lab.create(&name, &role(lab, &layer(with))).outcome().code(1);
            assert!(outcome.stderr.contains(message), "{outcome}");
            lab.assert_absent(&name);
        }
        let command = "echo 100% $(date +%s) >>/root/ran";
        make(
            lab,
            &name,
            &layer(&format!("job = \"a\", schedule = \"* * * * *\", command = \"{command}\"")),
        );
        let debian = rootfs(lab, &name, "etc/cron.d/a");
        let line = "\n* * * * * root echo 100\\% $(date +\\%s) >>/root/ran\n";
        assert!(debian.ends_with(line), "{debian}");
        let crontab = rootfs(lab, &name, "var/spool/cron/crontabs/root");
        assert_eq!(crontab, format!("* * * * * {command}\n"));
        lab.destroy(&name);
    });
}

#[test]
fn name_servers_are_told_to_libc_and_resolved() {
    as_both(|lab| {
        let name = lab.name("resolver");
        let layer = |dns: &str| {
            format!(
                "[[layer]]\nname = \"link\"\n[[layer.file]]\npath = \"/etc/resolv.conf\"\n\
                 symlink = \"/run/systemd/resolve/stub-resolv.conf\"\n\
                 [[layer]]\nuse = \"resolver\"\nwith = {{ dns = \"{dns}\", search = \
                 \"example.org\", options = \"rotate\" }}\n"
            )
        };
        for (dns, message) in [
            ("", "no name server is given"),
            ("dns.example.org", "'dns.example.org' is not an address"),
            ("192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4", "no more than three"),
        ] {
            let outcome = lab.create(&name, &role(lab, &layer(dns))).outcome().code(1);
            assert!(outcome.stderr.contains(message), "{outcome}");
            lab.assert_absent(&name);
        }
        make(lab, &name, &layer("192.0.2.1 2001:db8::1"));
        let libc = "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.org\n\
                    options rotate\n";
        let found = rootfs(lab, &name, "etc/resolv.conf");
        assert!(found.ends_with(libc), "{found}");
        let resolved = rootfs(lab, &name, "etc/systemd/resolved.conf.d/resolver.conf");
        assert_eq!(resolved, "[Resolve]\nDNS=192.0.2.1 2001:db8::1\nDomains=example.org\n");
        lab.destroy(&name);
    });
}

/// The example of an ordinary user, made and started by one, and by root.
#[test]
fn the_unprivileged_example_serves() {
    as_both(|lab| {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/unprivileged");
        let call = lab.call_as_root(["cp", "-r"]).arg(from).arg(lab.path("work/unprivileged"));
        call.outcome().success();
        lab.call_as_root(["chmod", "-R", "a+rX"])
            .arg(lab.path("work/unprivileged"))
            .outcome()
            .success();
        let name = lab.name("serves");
        lab.create(&name, &lab.path("work/unprivileged/web.toml")).outcome().success();
        if lab.start(&name) {
            let script = "for i in 1 2 3 4 5 6 7 8 9; do \
                          wget -q -O - http://127.0.0.1:8080/ 2>/dev/null && exit; sleep 1; done";
            let page = lab.inside(&name, &["/bin/sh", "-c", script]);
            assert!(page.contains("Served by a container"), "{page}");
            lab.stop(&name);
        }
        lab.destroy(&name);
    });
}
