//! What a container is made of does not depend on the directory that it stands in.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::listing::Listing;
use super::{as_each, create_directly, named, seen, shelf};
use crate::call::{Outcome, Running};
use crate::caller::Caller;
use crate::lab::Lab;

/// The storages, one that has to be made first.
const STORAGES: [&str; 4] =
    ["--storage=none", "--storage=copy", "--storage=copy", "--storage=overlay"];

/// Everything that a directory of containers could change.
const UPSTREAM: &str = r"
mkdir -m 2775 srv/group; mkdir -m 1777 srv/sticky; mkdir srv/plain; mkdir -m 0700 srv/own
cp bin/busybox srv/suid; chmod 4755 srv/suid
echo x >srv/plain/f; chmod 0640 srv/plain/f; mkfifo -m 0622 srv/fifo; ln -s plain srv/link
touch -d '2020-01-02 03:04:05.123456789' srv/plain/f srv/plain
setfattr -n user.n -v value srv/plain srv/plain/f
setfacl -m u:7:rwx srv/own; setfacl -d -m u:7:rwx srv/own
";

const LAYERS: &str = r#"
[[layer]]
name = "step"
post = { in = "rootfs", run = '''
mkdir -p /srv/made/deep /srv/plain/made; echo x >/srv/made/deep/f; : >/srv/own/inherits
umask 027; mkdir /srv/made/strict; echo x >/srv/made/strict/f
cp /bin/busybox /srv/made/sgid; chown 7:9 /srv/made/sgid; chmod 2755 /srv/made/sgid
setfattr -n user.made -v value /srv/made/deep
''' }

[[layer]]
name = "drops"
[[layer.file]]
path = "/opt/app/conf"
content = "x\n"
mode = "4750"
owner = "7:9"
[[layer.file]]
path = "/opt/tree"
source = "tree"
[[layer.file]]
path = "/srv/own/dropped"
directory = true
"#;

/// The capability to bind low ports.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn role(lab: &Lab) -> PathBuf {
    lab.directory("work/tree");
    let program = lab.write("work/tree/program", "x\n");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(program, "security.capability", &CAPABILITY, flags).expect("root may");
    let upstream = named::upstream(lab, "upstream", UPSTREAM);
    let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n{LAYERS}");
    lab.write("work/role.toml", &text)
}

/// A tree without the times that are those of its making.
fn kept(listing: Listing) -> (Listing, String) {
    let old = format!("{:?}", listing.0.get(Path::new("srv/plain/f")));
    (listing.timeless(), old)
}

/// What is not the same.
fn unlike(found: &(Listing, String), first: &(Listing, String), what: &str) -> Vec<String> {
    let mut unlike: Vec<_> = found
        .0
        .differing(&first.0)
        .into_iter()
        .map(|path| {
            let (is, should) = (found.0.0.get(&path), first.0.0.get(&path));
            format!("{what}: /{}: {is:?}, not {should:?}", path.display())
        })
        .collect();
    if found.1 != first.1 {
        unlike.push(format!("{what}: {}, not {}", found.1, first.1));
    }
    unlike
}

/// Makes the role in a directory of containers after each command there, with an umask; nothing is to
/// be another than in the first.
#[track_caller]
fn the_same_after(commands: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    as_each(&["setfacl", "setfattr"], |lab| {
        let manifest = role(lab);
        let name = lab.name("place");
        let mut first = None;
        for (how, umask) in commands {
            let call = lab.call(["sh", "-c", &format!("cd \"$1\"; {how}"), "sh"]);
            call.arg(lab.lxcpath()).outcome().success();
            for storage in STORAGES {
                let program = lab.program().display().to_string();
                let script = format!("umask {umask}; exec \"$@\"");
                let what = format!("{:?}: {how}, umask {umask}, {storage}", lab.caller);
                let outcome = lab
                    .call(["sh", "-c", &script, "sh", &program, "create", "--name", &name])
                    .arg(&manifest)
                    .arg("--lxcpath")
                    .arg(lab.lxcpath())
                    .arg("--config")
                    .arg(lab.path("default.conf"))
                    .arg(storage)
                    .outcome();
                if !outcome.status.success() {
                    wrong.push(format!("{what}: {outcome}"));
                    continue;
                }
                let found = kept(seen::listing(lab, &name));
                match &first {
                    None => first = Some(found),
                    Some(first) => wrong.extend(unlike(&found, first, &what)),
                }
                lab.destroy(&name);
            }
        }
        assert_eq!(shelf::stored(lab).len(), 3, "{:?}", lab.caller);
        shelf::assert_sound(lab);
    });
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
}

/// In the key is no such thing, and so everybody who uses the store would have it.
#[test]
fn a_store_with_a_default_access_list_gives_the_same() {
    as_each(&["setfacl", "setfattr"], |lab| {
        let store = lab.path("store");
        let call = lab.call_as_root(["setfacl", "-d", "-m", "u:33:rwx,m::rwx"]).arg(store);
        call.outcome().success();
        let (manifest, name) = (role(lab), lab.name("lists"));
        let mut first = None;
        for storage in ["--storage=none", "--storage=copy", "--storage=copy", "--storage=overlay"] {
            create_directly(lab, &name, &manifest, &[storage]).outcome().success();
            let found = kept(seen::listing(lab, &name));
            let first = first.get_or_insert_with(|| found.clone());
            let wrong = unlike(&found, first, storage);
            assert!(wrong.is_empty(), "{:?}: {wrong:#?}", lab.caller);
            lab.destroy(&name);
        }
        shelf::assert_sound(lab);
    });
}

#[test]
fn a_directory_of_containers_of_any_mode_gives_the_same() {
    the_same_after(&[
        ("chmod 755 .", "022"),
        ("chmod 711 .", "022"),
        ("chmod 1777 .", "022"),
        ("chmod 2775 .", "022"),
        ("chmod 3777 .; setfattr -n user.lxc -v x .", "077"),
        ("setfacl -m u:1234:rwx,m::rwx .", "022"),
        ("setfacl -b .; chmod 755 .", "000"),
        ("chmod 755 .", "0777"),
    ]);
}

#[test]
fn a_default_access_list_above_a_container_gives_the_same() {
    the_same_after(&[
        ("chmod 755 .", "022"),
        ("setfacl -d -m u:1234:rwx,g::rwx,o::rwx,m::rwx .", "022"),
        ("setfacl -d -m u:1234:rwx,g::r-x,o::r-x,m::rwx .", "077"),
    ]);
}

/// Another filesystem where the containers are, as a mount that the host does not see.
struct Mounted {
    _held: Running,
    process: PathBuf,
    at: PathBuf,
}

impl Mounted {
    /// Nothing, where this host has no such filesystem.
    fn open(lab: &Lab, script: &str) -> Option<Self> {
        let at = lab.path("tmp/mounted");
        let _ = fs::create_dir(&at);
        let script = format!("set -e\n{script}\nchmod 755 \"$1\"\nexec sleep 86402");
        let mut held = lab.call_as_root(["sh", "-c", &script, "sh"]).arg(&at).start();
        let process = PathBuf::from(format!("/proc/{}", held.id()));
        let shown = format!(" {} ", at.display());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if held.ended() {
                crate::requirement::skip(&format!("this host cannot do: {script}"));
                return None;
            }
            let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            if command.starts_with("sleep") && mounts.contains(&shown) {
                break;
            }
            assert!(Instant::now() < deadline, "it is not mounted: {script}");
            sleep(Duration::from_millis(5));
        }
        Some(Self { _held: held, process, at })
    }

    /// A command where it is mounted.
    fn call<'lab>(&self, lab: &'lab Lab) -> crate::call::Call<'lab> {
        let mounts = format!("--mount={}", self.process.join("ns/mnt").display());
        lab.call_as_root(["nsenter", &mounts, "--"])
    }

    fn root(&self) -> PathBuf {
        self.process.join("root")
    }

    fn create(&self, lab: &Lab, name: &str, manifest: &Path, storage: &str) -> Outcome {
        self.call(lab)
            .arg(lab.program())
            .args(["create", "--name", name, storage, "--lxcpath"])
            .arg(&self.at)
            .arg("--config")
            .arg(lab.path("default.conf"))
            .arg(manifest)
            .outcome()
    }

    /// What the container sees, from where it is mounted.
    fn listing(&self, lab: &Lab, name: &str) -> Listing {
        let container = self.root().join(self.at.strip_prefix("/").unwrap()).join(name);
        let config = fs::read_to_string(container.join("config")).expect("there is one");
        let rootfs = seen::value(&config, "lxc.rootfs.path").expect("a container has a rootfs");
        let Some(overlay) = rootfs.strip_prefix("overlay:") else {
            return Listing::of(&container.join("rootfs"));
        };
        let (lower, upper) = overlay.split_once(":/").expect("an overlay has two directories");
        let view = lab.path("tmp/view");
        let _ = fs::create_dir(&view);
        let options = format!("ro,lowerdir=/{upper}:{lower}");
        let mount = self.call(lab).args(["mount", "-t", "overlay", "-o", &options, "overlay"]);
        mount.arg(&view).outcome().success();
        let listing = Listing::of(&self.root().join(view.strip_prefix("/").unwrap()));
        self.call(lab).arg("umount").arg(&view).outcome().success();
        listing
    }
}

#[test]
fn a_mount_of_any_kind_below_the_containers_gives_the_same() {
    let Some(lab) = Lab::open(Caller::Root, &["setfacl", "setfattr", "mkfs.ext4"]) else { return };
    let manifest = role(&lab);
    let name = lab.name("place");
    create_directly(&lab, &name, &manifest, &["--storage=none"]).outcome().success();
    let first = kept(seen::listing(&lab, &name));
    lab.destroy(&name);
    let image = lab.path("tmp/image").display().to_string();
    let looped = |make: &str, options: &str| {
        format!(
            "rm -f {image}; truncate -s 600M {image}; {make} {image} >&2; mount -o loop,{options} {image} \"$1\""
        )
    };
    let mut wrong = Vec::new();
    for (what, script) in [
        ("tmpfs", "mount -t tmpfs -o mode=755 none \"$1\"".to_owned()),
        ("nosuid", "mount -t tmpfs -o mode=755,nosuid none \"$1\"".to_owned()),
        ("nodev", "mount -t tmpfs -o mode=755,nodev none \"$1\"".to_owned()),
        ("noatime", "mount -t tmpfs -o mode=755,noatime none \"$1\"".to_owned()),
        ("ext4", looped("mkfs.ext4 -q", "rw")),
        ("ext4, nosuid, nodev, strictatime", looped("mkfs.ext4 -q", "nosuid,nodev,strictatime")),
        ("ext4 with the groups of directories", looped("mkfs.ext4 -q", "grpid")),
        ("ext4, dirsync, sync", looped("mkfs.ext4 -q", "dirsync,sync")),
        ("btrfs", looped("mkfs.btrfs -q", "rw")),
        ("btrfs, compressed", looped("mkfs.btrfs -q", "compress=zstd")),
        ("xfs", looped("mkfs.xfs -q", "rw")),
    ] {
        let Some(mounted) = Mounted::open(&lab, &script) else { continue };
        for storage in STORAGES {
            let outcome = mounted.create(&lab, &name, &manifest, storage);
            if !outcome.status.success() {
                wrong.push(format!("{what}, {storage}: {outcome}"));
                continue;
            }
            let found = kept(mounted.listing(&lab, &name));
            wrong.extend(unlike(&found, &first, &format!("{what}, {storage}")));
            mounted
                .call(&lab)
                .args(["lxc-destroy", "-n", &name, "-P"])
                .arg(&mounted.at)
                .outcome()
                .success();
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(shelf::stored(&lab).len(), 3, "one entry of each layer, wherever it was made");
    shelf::assert_sound(&lab);
}

/// Nothing can be run there, whatever made it; that is said, or it is done.
#[test]
fn a_mount_where_nothing_may_be_run_ends_in_the_same_or_in_a_message() {
    let Some(lab) = Lab::open(Caller::Root, &["setfacl", "setfattr"]) else { return };
    let manifest = role(&lab);
    let name = lab.name("place");
    create_directly(&lab, &name, &manifest, &["--storage=none"]).outcome().success();
    let first = kept(seen::listing(&lab, &name));
    lab.destroy(&name);
    let script = "mount -t tmpfs -o mode=755,noexec none \"$1\"";
    let Some(mounted) = Mounted::open(&lab, script) else { return };
    for storage in STORAGES {
        let outcome = mounted.create(&lab, &name, &manifest, storage);
        if outcome.status.success() {
            let found = kept(mounted.listing(&lab, &name));
            assert_eq!(unlike(&found, &first, storage), [""; 0]);
            mounted
                .call(&lab)
                .args(["lxc-destroy", "-n", &name, "-P"])
                .arg(&mounted.at)
                .outcome()
                .success();
        } else {
            let said = outcome.stderr.to_lowercase();
            assert!(said.contains("noexec") || said.contains("permission denied"), "{outcome}");
        }
    }
}

/// New directories belong to the group of the one that they stand in, which no map of a user has.
#[test]
fn a_directory_of_containers_of_a_foreign_group_gives_the_same() {
    as_each(&["setfacl", "setfattr"], |lab| {
        let (manifest, name) = (role(lab), lab.name("group"));
        let mut first = None;
        for how in ["chmod 1777 \"$1\"", "chgrp 4242 \"$1\"; chmod 3777 \"$1\""] {
            lab.call_as_root(["sh", "-c", how, "sh"]).arg(lab.lxcpath()).outcome().success();
            for storage in STORAGES {
                // LXC itself makes none there for a user.
                let outcome = create_directly(lab, &name, &manifest, &[storage]).outcome();
                assert!(outcome.status.success(), "{:?}: {how}, {storage}: {outcome}", lab.caller);
                let found = kept(seen::listing(lab, &name));
                let first = first.get_or_insert_with(|| found.clone());
                let wrong = unlike(&found, first, storage);
                assert!(wrong.is_empty(), "{:?}: {how}, {storage}: {wrong:#?}", lab.caller);
                lab.destroy(&name);
            }
        }
    });
}
