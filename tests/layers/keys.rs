//! What defines the stored layers of the examples: whatever changes here makes each host build them anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layered_template::cache::{
    self, BaseInputs, CachePlan, KeyInputs, Observed, OverlayHost, PLACEHOLDER, Pulling, Purpose,
    Wanted,
};
use layered_template::chain::{self, BindContext, Chain, Container, Role, SetBy};
use layered_template::digest::Digest;
use layered_template::lxc::call::Mapped;
use layered_template::manifest::TemplateRef;
use layered_template::observe::library::HostLibrary;
use layered_template::observe::probe;
use layered_template::plan::{self, EntryId, Plan, Program, ProgramKind, StorageMode, Target};
use layered_template::source::Source;

use crate::{expect, top};

const EXAMPLES: [&str; 9] = [
    "fleet/app",
    "fleet/jobs",
    "fleet/os",
    "fleet/proxy",
    "hello/hello",
    "roles/base",
    "roles/database",
    "roles/web",
    "unprivileged/web",
];

/// A host, as far as it could decide anything.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) lxcpath: &'static str,
    pub(crate) mapped: Option<(u32, u32)>,
    pub(crate) config: &'static str,
    pub(crate) mode: StorageMode,
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

const HOSTS: [Host; 3] = [
    Host {
        name: "web1",
        lxcpath: "/var/lib/lxc",
        mapped: None,
        config: "lxc.net.0.type = empty\n",
        mode: StorageMode::Copy,
        environment: &[],
    },
    Host {
        name: "db-007",
        lxcpath: "/home/ann/.local/share/lxc",
        mapped: Some((1000, 1000)),
        config: "lxc.idmap = u 0 100000 65536\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\n",
        mode: StorageMode::Overlay,
        environment: &[("HOME", "/home/ann"), ("LANG", "de_DE.UTF-8"), ("http_proxy", "http://a/")],
    },
    Host {
        name: "n",
        lxcpath: "/srv/containers",
        mapped: Some((0, 0)),
        config: "",
        mode: StorageMode::Fill,
        environment: &[("PATH", "/opt/bin:/usr/bin:/bin"), ("SUDO_USER", "ann")],
    },
];

/// The role of an example.
fn role(example: &str) -> Role {
    let path = top(&format!("examples/{example}.toml"));
    let text = fs::read_to_string(&path).expect("an example can be read");
    let source = Arc::new(Source::new(&path, path.parent().unwrap(), text));
    let (role, report) = chain::resolve(&source, &mut HostLibrary::default());
    assert!(report.is_empty(), "{}", report.to_text(false));
    role.expect("a role without a fault")
}

fn bind(role: &Role, name: &str) -> Chain {
    let context = BindContext {
        container: Container { name, arch: "amd64" },
        set: &[],
        set_by: SetBy::Set,
        vars_files: &[],
        directory: Path::new("/"),
        lxc: None,
    };
    let (chain, report) = chain::bind(role, &context);
    assert!(report.is_empty(), "{}", report.to_text(false));
    chain.expect("a chain without a fault")
}

/// What of an example a host can store.
fn cached(example: &str, host: &Host) -> CachePlan {
    planned(example, host).1
}

/// The plan of an example on a host, and what of it the host can store.
pub(crate) fn planned(example: &str, host: &Host) -> (Plan, CachePlan) {
    let role = role(example);
    let (chain, twin) = (bind(&role, host.name), bind(&role, PLACEHOLDER));
    let (mut facts, report) = probe::Probe::default().files(&chain);
    assert!(report.is_empty(), "{}", report.to_text(false));
    facts.program = Some(if matches!(chain.upstream.template, TemplateRef::BuiltinBusybox) {
        Program::Busybox(Some(PathBuf::from("/bin/busybox")))
    } else {
        let path = PathBuf::from("/usr/share/lxc/templates/lxc-debian");
        Program::File { path, digest: Digest::of(b"a template"), kind: ProgramKind::Other }
    });
    let environment = host.environment.iter().map(|(name, value)| (name.into(), value.into()));
    facts.environment = environment.collect();
    let path = Path::new(host.lxcpath).join(host.name);
    let target = Target {
        name: host.name.to_owned(),
        arch: "amd64".to_owned(),
        rootfs: path.join("rootfs"),
        path,
        mapped: host.mapped.map(|(uid, gid)| Mapped { uid, gid }),
        args: Vec::new(),
    };
    let plan = match plan::build(&chain, target, &facts) {
        Ok(plan) => plan,
        Err(report) => panic!("{}", report.to_text(false)),
    };
    let observed = Observed {
        inputs: BaseInputs { busybox: Some(Digest::of(b"a busybox")), ..BaseInputs::default() },
        readings: Vec::new(),
        host: OverlayHost { is_mapped: host.mapped.is_some(), ..OverlayHost::default() },
        config: host.config.as_bytes().to_vec(),
    };
    let wanted = Wanted {
        mode: host.mode,
        rebuild: false,
        since: None,
        locked: false,
        pulling: Pulling::No,
        trusts_all: false,
        purpose: Purpose::Make,
    };
    let cache = cache::cache(&plan, (&chain, &twin), &facts, wanted, observed);
    let cache = cache.expect("it can be stored");
    assert_eq!(cache.end, None, "all of an example is stored");
    (plan, cache)
}

/// The inputs of each key, the innermost first.
fn inputs(cache: &CachePlan) -> Vec<(String, KeyInputs)> {
    let mut parent = None;
    let mut all = Vec::new();
    for (index, slot) in cache.slots.iter().enumerate() {
        let (inputs, key) = cache.lookup(index, parent, &|_| Vec::new());
        parent = Some(EntryId { key, generation: 0 });
        all.push((slot.label(), inputs));
    }
    all
}

/// The same for people, without what hosts may differ in.
fn text(inputs: &[(String, KeyInputs)]) -> String {
    let repository = top("").display().to_string();
    let mut text = String::new();
    for (label, inputs) in inputs {
        let _ = writeln!(text, "{label}");
        for field in &inputs.fields {
            let _ = writeln!(text, "    {}", field.what);
            for (name, value) in &field.values {
                let value = match (field.what.as_str(), name.as_str()) {
                    // It holds the key of all that is inside, and when that was made.
                    ("layer inside", _) => "INSIDE".to_owned(),
                    // Whoever checks this project out has a umask.
                    (what, "mode" | "mode of its top") if what.contains("tree /") => {
                        "MODE".to_owned()
                    }
                    _ => value.replace(&repository, "/srv/"),
                };
                let value = value.trim_end().replace('\n', "\n            | ");
                let _ = writeln!(text, "        {name} = {value}");
            }
        }
    }
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn what_defines_the_layers_of_an_example_is_as_expected() {
    for example in EXAMPLES {
        let inputs = inputs(&cached(example, &HOSTS[0]));
        expect(&format!("tests/layers/keys/{}.txt", example.replace('/', "-")), &text(&inputs));
    }
}

#[test]
fn every_host_has_the_same_keys() {
    for example in EXAMPLES {
        let all = HOSTS.map(|host| inputs(&cached(example, &host)));
        for (host, other) in HOSTS.iter().zip(&all) {
            assert_eq!(other, &all[0], "{example} on {}", host.name);
        }
        // Nothing of an example stays out of the store.
        let keys: BTreeSet<_> =
            all[0].iter().map(|(label, inputs)| (label, inputs.key())).collect();
        assert!(keys.len() == all[0].len() && keys.len() > 1, "{keys:?}");
    }
}
