//! Files that cannot be changed or removed, as `chattr +i` and `+a` make them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::requirement::{root, skip};
use crate::sandbox::Sandbox;

/// A template that leaves some of them; `@` stands for what it does besides.
const UPSTREAM: &str = "mkdir -p \"$rootfs/etc\" \"$rootfs/var/empty\" \"$rootfs/var/log\"; \
    cd \"$rootfs\"; echo nameserver 9.9.9.9 >etc/resolv.conf; echo id >etc/machine-id; \
    echo x >var/log/audit; echo x >var/empty/f; @ chattr +a var/log/audit; \
    chattr +i etc/resolv.conf var/empty";

const LAYERS: &str = "\n[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/etc/app\"\ncontent = \"1\"\n\
    \n[[layer]]\nname = \"steps\"\nstore = true\npost = 'echo 1 >\"$LXC_ROOTFS/etc/two\"'\n";

fn role(besides: &str) -> Sandbox {
    Sandbox::new().upstream(&UPSTREAM.replace('@', besides)).layers(LAYERS)
}

/// Whether this is root, on a filesystem that keeps such attributes.
pub(crate) fn met() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let changed = |change: &str| {
        let run = Command::new("chattr").arg(change).arg(directory.path()).output();
        run.is_ok_and(|run| run.status.success())
    };
    if !root() {
        return false;
    }
    let met = changed("+i") && changed("-i");
    if !met {
        skip("no file can be made immutable here");
    }
    met
}

/// Takes what a failed test has left.
struct Loosened<'a>(&'a Sandbox);

impl Drop for Loosened<'_> {
    fn drop(&mut self) {
        loosen(&self.0.path(""));
    }
}

/// Opens all in a directory to changes.
pub(crate) fn loosen(directory: &Path) {
    let _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(directory).output();
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn gc_takes_what_cannot_be_changed() {
    if !met() {
        return;
    }
    let sandbox = role("");
    let _loosened = Loosened(&sandbox);
    sandbox.chain().exits(0);
    assert_eq!(sandbox.read("etc/resolv.conf"), "nameserver 9.9.9.9\n");
    let store = sandbox.path("store/host");
    assert_eq!([count(&store.join("trees")), count(&store.join("work"))], [3, 0]);
    let ran = sandbox.run(["store", "gc", "--keep=0"]);
    ran.exits(0);
    assert!(ran.stdout().starts_with("removed 3 entries, "), "{}", ran.stdout());
    assert_eq!(count(&store.join("trees")), 0);
    sandbox.run(["store", "gc", "--keep=0"]).exits(0);
}

#[test]
fn what_makes_a_container_itself_is_taken_out_all_the_same() {
    if !met() {
        return;
    }
    for besides in [
        "chattr +i etc/machine-id;",
        "chattr +a etc/machine-id;",
        "chattr +i etc/machine-id etc;",
        "mkdir etc/ssh; echo key >etc/ssh/ssh_host_rsa_key; chattr +i etc/ssh/ssh_host_rsa_key etc/ssh;",
        "trap 'chattr +i .' EXIT;",
    ] {
        let sandbox = role(besides);
        let _loosened = Loosened(&sandbox);
        sandbox.chain().exits(0);
        assert_eq!(sandbox.read("etc/machine-id"), "", "{besides}");
        assert!(!sandbox.rootfs().join("etc/ssh/ssh_host_rsa_key").exists(), "{besides}");
        let store = sandbox.path("store/host");
        assert_eq!([count(&store.join("trees")), count(&store.join("work"))], [3, 0], "{besides}");
        sandbox.run(["store", "verify"]).exits(0);
        sandbox.run(["store", "gc", "--keep=0"]).exits(0);
    }
}

/// Returns what `chattr` has set of these files of a tree.
fn shut(tree: &Path) -> Vec<String> {
    let files =
        ["etc/resolv.conf", "var/log/audit", "var/empty", "etc", "etc/app", "etc/two", "etc/three"];
    let ran = Command::new("lsattr").arg("-d").args(files.map(|file| tree.join(file))).output();
    let text = String::from_utf8(ran.unwrap().stdout).unwrap();
    let flags = text.lines().filter_map(|line| line.split_whitespace().next());
    flags.map(|flags| flags.chars().filter(|flag| "ia".contains(*flag)).collect()).collect()
}

#[test]
fn what_is_shut_is_shut_however_it_comes_to_the_container() {
    if !met() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream(&UPSTREAM.replace('@', "echo \"$name\" >etc/hostname; chattr +i etc/hostname;"))
        .layers(&format!(
            "{LAYERS}\n[[layer]]\nname = \"shut\"\nstore = true\n\
             post = 'cd \"$LXC_ROOTFS\"; echo 1 >etc/three; chattr +i etc/three etc/two'\n\
             [[layer]]\nname = \"last\"\n[[layer.file]]\npath = \"/last\"\ncontent = \"\"\n"
        ));
    let _loosened = Loosened(&sandbox);
    for storage in ["none", "copy", "copy", "overlay"] {
        sandbox.template(["m.toml", &format!("--storage={storage}")]).exits(0);
        let tree = match storage {
            "overlay" => {
                let config = sandbox.config();
                let path = config.lines().find_map(|line| line.split_once("= overlay:")).unwrap().1;
                assert_eq!(
                    fs::read_to_string(sandbox.container().join("delta/etc/hostname")).unwrap(),
                    "web1\n"
                );
                path.split(':').next().unwrap().into()
            }
            _ => {
                assert_eq!(sandbox.read("etc/hostname"), "web1\n");
                sandbox.rootfs()
            }
        };
        assert_eq!(shut(&tree), ["i", "a", "i", "", "", "i", "i"], "{storage}");
        loosen(&sandbox.container());
        fs::remove_dir_all(sandbox.container()).unwrap();
    }
    sandbox.run(["store", "verify"]).exits(0);
    sandbox.run(["store", "gc", "--keep=0", "--forget"]).exits(0);
    assert_eq!(count(&sandbox.path("store/host/trees")), 0);
}

#[test]
fn gc_goes_on_past_what_cannot_go() {
    if !met() {
        return;
    }
    // The tree of the last layer can go.
    let open = "post = 'chattr -R -f -i -a \"$LXC_ROOTFS\" || :; ";
    let sandbox = role("").layers(&LAYERS.replace("post = '", open));
    let _loosened = Loosened(&sandbox);
    sandbox.chain().exits(0);
    let trees = sandbox.path("store/host/trees");
    // As in a container, whose root may not take such an attribute away.
    let mut command = sandbox.command("setpriv");
    command.args(["--bounding-set=-linux_immutable", "--inh-caps=-linux_immutable", "--"]);
    command.arg(sandbox.program_path()).args(["store", "gc", "--keep=0"]);
    let ran = sandbox.ran(command);
    ran.exits(8).mentions("what nobody needs cannot be removed: ");
    ran.mentions("Operation not permitted");
    assert!(ran.stdout().starts_with("removed 1 entry, "), "{}", ran.stdout());
    assert_eq!(count(&trees), 2);
    for directory in ["entries", "lists", "last", "locks", "readings"] {
        assert_eq!(count(&sandbox.path("store/host.meta").join(directory)), 0, "{directory}");
    }
    let rest = "removed 0 entries, 0 B, and what 2 runs that were killed have left\n";
    sandbox.run(["store", "gc", "--keep=0"]).exits(0).prints(rest);
    assert_eq!(count(&trees), 0);
}
