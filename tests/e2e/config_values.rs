//! Values of config keys that LXC does not take: they are errors before anything runs.

use std::fmt::Write as _;

use crate::call::Call;
use crate::caller::Caller;
use crate::lab::Lab;

/// Lines that LXC loads, and whether a container starts with them.
const LOADED: &[(&[(&str, &str)], bool)] = &[
    (&[("lxc.mount.entry", "tmpfs srv tmpfs create=dir")], true),
    (&[("lxc.mount.entry", "# nothing")], true),
    (&[("lxc.mount.entry", "tmpfs srv")], false),
    (&[("lxc.mount.entry", "tmpfs")], false),
    (&[("lxc.prlimit.nofile", "512:1024")], true),
    (&[("lxc.prlimit.7", "1024")], true),
    (&[("lxc.prlimit.nofiles", "1024")], false),
    (&[("lxc.cap.drop", ""), ("lxc.cap.keep", "none")], true),
    (&[("lxc.net.0.type", "veth"), ("lxc.net.0.hwaddr", "00:16:3e:xx:xx:0X")], true),
    (&[("lxc.net.0.type", "veth"), ("lxc.net.0.hwaddr", "00163e010203")], true),
    (&[("lxc.net.0.type", "veth"), ("lxc.net.0.hwaddr", "00:16:3e:01:02:0g")], false),
    (&[("lxc.net.0.type", "veth"), ("lxc.net.0.mtu", "1400")], true),
    (&[("lxc.net.0.type", "veth"), ("lxc.net.0.mtu", "1400 ")], false),
    (
        &[
            ("lxc.cgroup.dir", "layered-a"),
            ("lxc.cgroup.dir.monitor", "layered-b"),
            ("lxc.cgroup.dir.container", "layered-c"),
        ],
        false,
    ),
];

fn validate<'a>(lab: &'a Lab, manifest: &str) -> Call<'a> {
    lab.write("values.toml", manifest);
    lab.call([lab.program()]).arg("validate").arg(lab.path("values.toml"))
}

#[test]
fn a_container_starts_with_what_is_not_refused() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let name = lab.name("values");
    let bare = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n";
    let manifest = lab.write("bare.toml", bare);
    lab.create(&name, &manifest).outcome().success();
    if !lab.can_start() {
        return;
    }
    let config = lab.read(lab.container(&name, "config"));
    for (lines, starts) in LOADED {
        let mut text = bare.to_owned();
        let mut with = config.clone();
        for (number, (key, value)) in lines.iter().enumerate() {
            let _ = writeln!(text, "[[layer]]\nname = \"l{number}\"");
            let _ = writeln!(text, "config.\"{key}\" = \"{value}\"");
            let _ = writeln!(with, "{key} = \"{value}\"");
        }
        lab.write(lab.container(&name, "config"), &with);
        let started = lab.lxc("lxc-start", &name).outcome();
        assert_eq!(started.status.success(), *starts, "{lines:?}: {started}");
        if *starts {
            lab.stop(&name);
        }
        let judged = validate(&lab, &text).outcome();
        assert_eq!(judged.status.success(), *starts, "{lines:?}: {judged}");
    }
    lab.write(lab.container(&name, "config"), &config);
    lab.destroy(&name);
}

#[test]
fn nothing_runs_where_lxc_would_refuse_the_config() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let version = lab.call(["lxc-create", "--version"]).outcome().success().stdout;
    let other = match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(..7) => "lxc.environment.runtime = \"A=1\"",
        _ => "lxc.cgroup.memory.limit_in_bytes = \"64M\"",
    };
    let long = format!("lxc.uts.name = \"{}\"", "{{ lxc.name }}".repeat(9));
    for (line, said) in [
        ("lxc.environment = \"FOO\"", "wants a value for `FOO`"),
        (&long, "has at most 64 bytes"),
        (other, "is installed"),
    ] {
        let name = lab.name("refused");
        let text = format!(
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
             pre = 'touch {}'\n[layer.config]\n{line}\n",
            lab.path("work/ran").display()
        );
        let manifest = lab.write("work/values.toml", &text);
        let outcome = lab.create(&name, &manifest).outcome();
        assert!(!outcome.status.success(), "{outcome}");
        assert!(outcome.to_string().contains(said), "{outcome}");
        assert!(!lab.path("work/ran").exists(), "{outcome}");
        lab.assert_absent(&name);
        for verb in ["plan", "create"] {
            let call = lab.call([lab.program()]).arg(verb).arg(&manifest).args(["--name", &name]);
            call.arg("--lxcpath").arg(lab.lxcpath()).outcome().code(2);
        }
        lab.assert_absent(&name);
    }
}
