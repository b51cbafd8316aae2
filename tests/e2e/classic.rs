//! The wrapper that people write by hand, against the manifest that replaces it.

use crate::caller::Caller;
use crate::config;
use crate::lab::Lab;
use crate::requirement::TEMPLATES;
use crate::tree::Tree;

/// Says who process 1 is while it runs: LXC itself, as long as it has not become init.
const PROVISION: &str = "#!/bin/sh\ncat /proc/1/comm >>/provisioned\n";

/// What the seed of this program does: it parses what it must know, calls the template that it
/// wraps, writes into the rootfs and appends to the config.
fn wrapper() -> String {
    format!(
        r#"#!/bin/sh
# A template around lxc-busybox that runs a script at every start.
set -eu

path= name= rootfs=
for word; do
    case $word in
        --path=*) path=${{word#*=}} ;;
        --name=*) name=${{word#*=}} ;;
        --rootfs=*) rootfs=${{word#*=}} ;;
    esac
done

# Without these three the template would work on the host's own directories.
if [ -z "$path" ] || [ -z "$name" ] || [ -z "$rootfs" ]; then
    echo "usage: $0 --path=PATH --name=NAME --rootfs=ROOTFS" >&2
    exit 1
fi

{TEMPLATES}/lxc-busybox "$@"

cat >"$rootfs/sbin/provision" <<'SCRIPT'
{PROVISION}SCRIPT
chmod 0755 "$rootfs/sbin/provision"

echo "lxc.hook.start = /sbin/provision" >>"$path/config"
"#
    )
}

const MANIFEST: &str = r#"
manifest = 1

[[layer]]
name = "os"
template = "busybox"

[[layer]]
name = "provisioning"

[layer.config]
lxc.hook.start = "/sbin/provision"

[[layer.file]]
path = "/sbin/provision"
source = "provision.sh"
mode = "0755"
"#;

#[test]
fn a_manifest_makes_what_a_wrapper_script_makes_as_root() {
    compare(Caller::Root);
}

#[test]
fn a_manifest_makes_what_a_wrapper_script_makes_as_an_ordinary_user() {
    compare(Caller::User);
}

fn compare(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let wrapper = lab.script("bin/lxc-wrapper", &wrapper());
    let manifest = lab.write("work/classic.toml", MANIFEST);
    lab.write("work/provision.sh", PROVISION);

    // One after the other under one name: whatever holds a name or a path is the same in both.
    let name = lab.name("classic");
    lab.create_with(&wrapper, &name).outcome().success();
    let by_hand = Container::observe(&lab, &name);
    lab.create(&name, &manifest).outcome().success();
    let layered = Container::observe(&lab, &name);

    layered.rootfs.assert_same(&by_hand.rootfs);
    let (own, rest): (Vec<_>, Vec<_>) = config::body(&layered.config)
        .into_iter()
        .partition(|line| config::names(line, "provisioning"));
    assert_eq!(own.len(), 1, "one comment names the layer: {own:?}");
    assert_eq!(rest, config::body(&by_hand.config));
    assert_eq!(layered.first_process, by_hand.first_process);
}

struct Container {
    rootfs: Tree,
    config: String,
    /// Who process 1 was when the hook ran.
    first_process: Option<String>,
}

impl Container {
    /// Reads a fresh container, starts it, and removes it.
    fn observe(lab: &Lab, name: &str) -> Self {
        let rootfs = Tree::of(&lab.container(name, "rootfs"));
        let config = lab.read(lab.container(name, "config"));
        let first_process = lab.start(name).then(|| {
            let during = lab.read(lab.container(name, "rootfs/provisioned"));
            assert_eq!(lab.inside(name, &["/bin/cat", "/proc/1/comm"]), "init\n");
            assert!(!during.is_empty(), "the script has run");
            assert_ne!(during, "init\n", "the script runs before init");
            lab.stop(name);
            during
        });
        lab.destroy(name);
        Self { rootfs, config, first_process }
    }
}
