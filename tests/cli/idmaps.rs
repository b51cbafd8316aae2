//! Id maps of more than one piece: one that leaves a hole, for an id that is the host's too.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use crate::requirement::{installed, root};
use crate::sandbox::{NAME, Sandbox};

const PIECES: &str = "0 100000 1000\n1000 1000 1\n1001 101001 64535\n65536 0 1\n";

/// The map of a container of an ordinary user's, with an id that stands for the user.
pub(crate) const WHOLE: &str = "0 100000 65536\n65536 0 1\n";

/// What LXC says of that id.
pub(crate) const CALLER: [&str; 2] = ["--mapped-uid=65536", "--mapped-gid=65536"];

/// A user namespace that only the host's root can make.
pub(crate) struct Namespace {
    id: String,
    holder: Child,
}

impl Namespace {
    /// Makes one with this map, and gives it all that a sandbox has.
    pub(crate) fn new(sandbox: &Sandbox, map: &str) -> Self {
        // The manifest stays root's: behind this map, too, that is who calls.
        let own = ["home", "tmp", "lxc/web1"].map(|name| sandbox.path(name));
        let mut command = sandbox.command("chown");
        command.args(["-R", "100000:100000"]).args(own.iter().filter(|path| path.exists()));
        assert!(command.status().unwrap().success());
        // Its end of the pipe is the end of the namespace.
        let mut command = sandbox.command("unshare");
        command.args(["--user", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let holder = command.spawn().unwrap();
        let id = Pid::from_child(&holder).as_raw_nonzero().to_string();
        // Nobody can map ids of a namespace that is not there yet.
        let own = fs::read_link("/proc/self/ns/user").unwrap();
        while fs::read_link(format!("/proc/{id}/ns/user")).unwrap() == own {
            std::thread::sleep(Duration::from_millis(1));
        }
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{id}/{file}"), map).unwrap();
        }
        Self { id, holder }
    }

    /// Returns the words that run a command as root of it.
    pub(crate) fn words(&self) -> [&str; 7] {
        ["nsenter", "--user", "--target", &self.id, "--setuid=0", "--setgid=0", "--"]
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        self.holder.wait().unwrap();
    }
}

/// Calls the template in such a namespace.
fn mapped(sandbox: &Sandbox, map: &str, words: &[&str]) -> (Option<i32>, String) {
    let namespace = Namespace::new(sandbox, map);
    let [program, rest @ ..] = namespace.words();
    let mut command = sandbox.command(program);
    command.args(rest).arg(sandbox.program_path()).args(sandbox.three()).args(CALLER).args(words);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn ids_that_are_mapped_in_pieces_have_no_store() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/home\"; touch \"$rootfs/home/f\"; chown 1000 \"$rootfs/home/f\"")
        .layers("");
    sandbox.shell();
    let (status, said) = mapped(&sandbox, PIECES, &["m.toml"]);
    assert_eq!(status, Some(0), "{said}");
    let why = "the layer store is not used: the container's ids are mapped in several pieces";
    assert!(said.contains(&format!("warning: {why}")), "{said}");
    assert!(!sandbox.path("store").exists());

    // In one piece they have.
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.shell();
    let (status, said) = mapped(&sandbox, WHOLE, &["m.toml"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("copying the stored tree"), "{said}");
    let stored = fs::read_dir(sandbox.path("store")).unwrap().count();
    assert_eq!(stored, 3, "trees, metadata and links");

    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.shell();
    let (status, said) = mapped(&sandbox, PIECES, &["m.toml", "--storage=overlay"]);
    assert_eq!(status, Some(8), "{said}");
    assert!(said.contains("mapped in several pieces"), "{said}");
}

#[test]
fn whoever_is_mapped_in_pieces_has_no_store() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    let lxcpath = sandbox.path("lxc");
    std::os::unix::fs::chown(&lxcpath, Some(100_000), Some(100_000)).unwrap();
    let namespace = Namespace::new(&sandbox, PIECES);
    let call = |words: &[&str]| {
        let [program, rest @ ..] = namespace.words();
        let mut command = sandbox.command(program);
        command.args(rest).arg(sandbox.program_path()).args(words);
        sandbox.ran(command)
    };
    let lxcpath = lxcpath.display().to_string();
    let create = ["create", "m.toml", "--name", NAME, "--lxcpath", &lxcpath, "--allow-untrusted"];
    call(&create).exits(0).mentions("mapped in several pieces");
    call(&["build", "m.toml", "--allow-untrusted"]).exits(8).mentions("mapped in several pieces");
    assert!(!sandbox.path("store").exists());
}

#[test]
fn only_lxc_makes_containers_whose_ids_are_mapped_in_pieces() {
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("").file(
        "pieces.conf",
        "lxc.idmap = u 0 100000 1000\nlxc.idmap = u 1000 1000 1\nlxc.idmap = g 0 100000 65536\n",
    );
    let config = ["--config", "pieces.conf"];
    sandbox.create(config).exits(2).mentions("maps its ids in several pieces");
    assert!(!sandbox.container().exists());
    fs::create_dir_all(sandbox.rootfs()).unwrap();
    fs::copy(sandbox.role().join("pieces.conf"), sandbox.container().join("config")).unwrap();
    let lxcpath = sandbox.path("lxc").display().to_string();
    let words = ["shell", NAME, "--lxcpath", &lxcpath];
    sandbox.run(words).exits(2).mentions("maps its ids in several pieces");
}

#[test]
fn a_map_is_seen_wherever_lxc_reads_one() {
    if !root() || !installed("busybox") {
        return;
    }
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[[layer]]\nname = 'os'\ntemplate = 'builtin:busybox'\n[[layer]]\nname = 'app'\n\
         [[layer.file]]\npath = '/etc/motd'\ncontent = 'one'\n",
    );
    let map = "lxc.idmap = \"u 0 100000 65536\"\nlxc.idmap = 'g 0 100000 65536'\n";
    let included = sandbox.path("map.conf");
    fs::write(&included, [b"# f\xfcr web\n", map.as_bytes()].concat()).unwrap();
    let includes = format!("lxc.include = \"{}\"\n", included.display());
    let sandbox = sandbox.file("quoted.conf", map).file("includes.conf", includes);
    let owner = |path: &str| fs::symlink_metadata(sandbox.rootfs().join(path)).unwrap().uid();
    let lxcpath = sandbox.path("lxc").display().to_string();
    for config in ["quoted.conf", "includes.conf"] {
        sandbox.create(["--config", config]).exits(0);
        assert_eq!(owner("etc/motd"), 100_000, "{config}");
        let touch = ["--", "/bin/busybox", "touch", "/etc/made"];
        sandbox.run([&["shell", NAME, "--lxcpath", &lxcpath][..], &touch].concat()).exits(0);
        assert_eq!(owner("etc/made"), 100_000, "{config}");
        fs::remove_dir_all(sandbox.container()).unwrap();
    }
}

#[test]
fn an_overlay_that_root_of_the_container_cannot_reach_is_refused() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    let sandbox =
        sandbox.file("mapped.conf", "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n");
    let closed = sandbox.path("closed");
    fs::create_dir(&closed).unwrap();
    let store = closed.join("store").display().to_string();
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STORE", store);
    let why = "the ids of the container may not pass [DIR]/closed, which leads to the store: `chmod o+x \
               [DIR]/closed` lets them\n";
    let plan = ["plan", "m.toml", "--storage=overlay", "--config", "mapped.conf"];
    let close = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    close(0o700);
    sandbox.run(plan).exits(0).shows("may not pass [DIR]/closed");
    sandbox.create(["--storage=overlay", "--config", "mapped.conf"]).exits(8).mentions(why);
    sandbox.shell();
    let (status, said) = mapped(&sandbox, WHOLE, &["m.toml", "--storage=overlay"]);
    assert_eq!(status, Some(8), "{said}");
    assert!(sandbox.redacted(&said).contains(why), "{said}");
    let namespace = Namespace::new(&sandbox, WHOLE);
    let [program, rest @ ..] = namespace.words();
    let mut command = sandbox.command(program);
    command.args(rest).arg(sandbox.program_path()).arg("doctor");
    command.env("LAYERED_TEMPLATE_STORE", closed.join("other"));
    let doctor = sandbox.ran(command);
    doctor
        .exits(1)
        .shows("the ids of your containers may not pass [DIR]/closed: `--storage=overlay`");
    // Nothing keeps a copy from being made, or those whose ids are the host's.
    let (status, said) = mapped(&sandbox, WHOLE, &["m.toml"]);
    assert_eq!(status, Some(0), "{said}");
    fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.create(["--storage=overlay"]).exits(0);
    fs::remove_dir_all(sandbox.container()).unwrap();
    for command in ["chmod 711 ../closed", "chmod 700 ../closed; setfacl -m u:100000:x ../closed"] {
        let mut shell = sandbox.command("/bin/sh");
        shell.args(["-ec", command]);
        sandbox.ran(shell).exits(0);
        sandbox.create(["--storage=overlay", "--config", "mapped.conf"]).exits(0);
        fs::remove_dir_all(sandbox.container()).unwrap();
    }
}

#[test]
fn whose_a_store_is_that_is_not_used_is_told_truly() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("").nobody();
    let state = sandbox.path("state");
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STORE", "relative");
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STATE", "./state");
    let said = "warning: `LAYERED_TEMPLATE_STORE` must be an absolute path; ";
    for verb in ["list", "verify", "gc"] {
        let told = sandbox.run(["store", verb]);
        told.exits(0).mentions(said).mentions("/layered-template/store is used instead\n");
        told.mentions("warning: `LAYERED_TEMPLATE_STATE` must be an absolute path; ");
    }
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STATE", state.display().to_string());
    let store = sandbox.path("store");
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STORE", store.display().to_string());
    let give = |owner: u32, mode| {
        std::os::unix::fs::chown(&store, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&store, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(&store).unwrap();
    for (mode, status, why) in [
        (
            0o711,
            8,
            "error: the layer store `[DIR]/store` cannot be read: it belongs to user 1900000001",
        ),
        (
            0o755,
            0,
            "warning: no run of yours can use the layer store `[DIR]/store`: it belongs to user 1900000001",
        ),
    ] {
        give(1_900_000_001, mode);
        for verb in ["list", "verify", "gc"] {
            sandbox.run(["store", verb]).exits(status).mentions(why);
        }
    }
    // Of whom there is no id behind a map, the number that stands for everybody says nothing.
    let map = "0 100000 65536\n65536 1900000002 1\n";
    let sandbox = Sandbox::new().env("LAYERED_TEMPLATE_STORE", store.display().to_string());
    for (owner, why) in [
        (5000, "it belongs to a user whom this user namespace does not know"),
        (100_007, "it belongs to user 100007"),
        (1_900_000_002, ""),
    ] {
        give(owner, 0o755);
        let namespace = Namespace::new(&sandbox, map);
        let [program, rest @ ..] = namespace.words();
        let mut command = sandbox.command(program);
        command.args(rest).arg(sandbox.program_path()).args(["store", "list"]);
        let ran = sandbox.ran(command);
        assert_eq!(
            ran.exits(0).stderr().contains(": it belongs to"),
            !why.is_empty(),
            "{}",
            ran.stderr()
        );
        ran.mentions(why);
    }
}
