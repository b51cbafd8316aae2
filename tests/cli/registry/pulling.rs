//! What `pull` and `--from` have from a registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::counter::Counter;
use super::pushing::role;
use super::server::Registry;
use crate::listing;
use crate::sandbox::Sandbox;

/// Makes a key that layers are signed with, and a file that it counts by.
pub(super) fn key(sandbox: &Sandbox, name: &str) -> (PathBuf, PathBuf) {
    let key = sandbox.path(name);
    let words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f"];
    let mut command = Command::new(words[0]);
    assert!(command.args(&words[1..]).arg(&key).status().unwrap().success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let signers = sandbox.path(format!("{name}-signers"));
    fs::write(&signers, format!("{name}@ci {public}")).unwrap();
    (key, signers)
}

/// Lets a host take what these signers have signed, and more that stands in `remote.toml`.
pub(super) fn trust(sandbox: &Sandbox, signers: &Path, more: &str) {
    let directory = sandbox.path("home/.config/layered-template");
    fs::create_dir_all(&directory).unwrap();
    let text = format!("signers = {:?}\n{more}", signers.display().to_string());
    fs::write(directory.join("remote.toml"), text).unwrap();
}

/// Returns what the store of a host holds, but for when its directories were made.
pub(super) fn stored(sandbox: &Sandbox) -> Vec<String> {
    let trees = sandbox.path("store/host/trees");
    let mut names: Vec<_> =
        fs::read_dir(trees).unwrap().map(|tree| tree.unwrap().file_name()).collect();
    names.sort();
    names.iter().map(|name| name.to_str().unwrap().to_owned()).collect()
}

/// A registry with a signed role, and the host that has pushed it.
pub(super) struct Pushed {
    pub(super) registry: Registry,
    pub(super) builder: Sandbox,
    pub(super) key: PathBuf,
    pub(super) signers: PathBuf,
    pub(super) repository: String,
}

pub(super) fn pushed() -> Option<Pushed> {
    pushed_with("gzip")
}

/// Likewise, with layers that are compressed so.
fn pushed_with(compression: &str) -> Option<Pushed> {
    let registry = super::start()?;
    let builder = role();
    let (key, signers) = key(&builder, "ci");
    let repository = registry.repository("web");
    let words = ["push", "m.toml", &repository, "--sign", key.to_str().unwrap()];
    builder.run(words.into_iter().chain(["--compression", compression])).exits(0);
    Some(Pushed { registry, builder, key, signers, repository })
}

/// Another host that is to have the same role.
pub(super) fn puller(pushed: &Pushed) -> Sandbox {
    let sandbox = role();
    trust(&sandbox, &pushed.signers, "");
    sandbox
}

#[test]
fn what_is_pulled_is_what_was_built() {
    for compression in ["gzip", "zstd"] {
        let Some(pushed) = pushed_with(compression) else { return };
        assert_pulled(pushed);
    }
}

#[track_caller]
fn assert_pulled(pushed: Pushed) {
    let host = puller(&pushed);
    let ran = host.run(["pull", "m.toml", "--from", &pushed.repository]);
    ran.exits(0).shows("os  pulled in").shows("3 layers pulled in");
    assert_eq!(stored(&host), stored(&pushed.builder));
    // Nothing is missing any more, and nobody is asked.
    drop(pushed.registry);
    host.run(["pull", "m.toml", "--from", &pushed.repository]).exits(0).shows("3 layers already");
    let make = |sandbox: &Sandbox| {
        sandbox.create(["--storage=overlay"]).exits(0);
        let config = sandbox.config();
        assert!(config.contains("lxc.tty.max = 4\n"), "{config}");
        assert!(config.contains("lxc.environment = STAGE=test\n"), "{config}");
    };
    make(&host);
    make(&pushed.builder);
    host.run(["store", "verify"]).exits(0);
    for id in stored(&host) {
        let tree = |sandbox: &Sandbox| sandbox.path(format!("store/host/trees/{id}/rootfs"));
        let list = |sandbox: &Sandbox| {
            let listed = listing::of(&tree(sandbox));
            // Device nodes are each host's own, and where it was built does not show.
            let is_own = |line: &&str| line.contains("dev/null") || line.contains("etc/hostname");
            listed.lines().filter(|line| !is_own(line)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(list(&host), list(&pushed.builder), "{id}");
    }
}

#[test]
fn a_host_without_zstd_is_told_what_it_lacks() {
    let Some(pushed) = pushed_with("zstd") else { return };
    let host = puller(&pushed);
    // Nothing but what calls the program.
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    for program in ["env", "ssh-keygen"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{program}"), programs.join(program)).unwrap();
    }
    let host = host.env("PATH", programs.to_str().unwrap());
    let ran = host.run(["pull", "m.toml", "--from", &pushed.repository]);
    ran.exits(8).mentions("it is compressed by `zstd`, which is not installed here");
    let host = host.env("PATH", "/usr/bin:/bin");
    host.run(["pull", "m.toml", "--from", &pushed.repository]).exits(0);
}

#[test]
fn only_what_is_missing_travels() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    let counter = Counter::to(pushed.registry.port);
    let from = counter.repository("web");
    // The name of the way to it is another repository to those who sign.
    let words = ["pull", "m.toml", "--allow-untrusted", "--from", &from];
    host.run(words).exits(0);
    let (_, _, received) = counter.take();
    assert!(received > 300_000, "{received}");
    for sandbox in [&host, &pushed.builder] {
        let manifest = sandbox.role().join("m.toml");
        let text = fs::read_to_string(&manifest).unwrap().replace("echo app", "echo more");
        fs::write(&manifest, text).unwrap();
    }
    pushed.builder.run(["push", "m.toml", &pushed.repository]).exits(0);
    host.run(words).exits(0).shows("app  pulled in").shows("1 layer pulled in");
    let (requests, _, received) = counter.take();
    let blobs = requests.iter().filter(|line| line.contains("/blobs/")).count();
    // What is told of the layer, and the layer.
    assert_eq!(blobs, 2, "{requests:#?}");
    assert!(received < 20_000, "{received}");
    host.create([] as [&str; 0]).exits(0);
    assert_eq!(host.read("etc/app"), "more\n");
}

#[test]
fn a_plan_says_what_is_in_the_registry_and_changes_nothing() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    let ran = host.run(["plan", "m.toml", "--from", &pushed.repository]);
    ran.exits(0).shows("[in registry]").shows("kB from 127.0.0.1:").shows("signed by ci@ci");
    assert!(!host.path("store").exists());
    let ran = host.run(["plan", "m.toml", "--from", &pushed.repository, "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_slice(&ran.exits(0).output.stdout).unwrap();
    let pulls: Vec<_> =
        plan["ladder"].as_array().unwrap().iter().filter(|act| act["act"] == "pull").collect();
    assert_eq!(pulls.len(), 3, "{plan:#}");
    assert!(pulls.iter().all(|act| act["vouched"]["principal"] == "ci@ci"), "{pulls:#?}");
}

#[test]
fn a_container_is_made_of_what_is_pulled_or_built() {
    let Some(pushed) = pushed() else { return };
    // What the registry does not have is built on what it has.
    let host = puller(&pushed);
    let manifest = host.role().join("m.toml");
    let text = fs::read_to_string(&manifest).unwrap().replace("echo app", "echo own");
    fs::write(&manifest, text).unwrap();
    let ran = host.create(["--from", &pushed.repository, "--only-pull"]);
    ran.exits(8).mentions("layer `app` is not stored, and nothing is built: ");
    ran.mentions(&format!("{} does not have it", pushed.repository));
    host.create(["--from", &pushed.repository]).exits(0);
    assert_eq!(host.read("etc/app"), "own\n");
    let both = stored(&host);
    assert_eq!(both.iter().filter(|id| stored(&pushed.builder).contains(id)).count(), 2);

    // As LXC calls it, with what the host's file says.
    let host = puller(&pushed);
    trust(&host, &pushed.signers, &format!("from = {:?}\n", pushed.repository));
    host.template(["--manifest", "m.toml", "--only-pull"]).exits(0);
    assert_eq!(host.read("etc/app"), "app\n");
    assert_eq!(stored(&host), stored(&pushed.builder));
}

#[test]
fn a_registry_that_is_down_is_a_warning_unless_nothing_may_be_built() {
    let Some(mut pushed) = pushed() else { return };
    pushed.registry.kill();
    let host = puller(&pushed);
    let ran = host.create(["--from", &pushed.repository, "--only-pull"]);
    ran.exits(8).mentions("does not answer (connection refused)");
    let ran = host.create(["--from", "nowhere.invalid/web", "--only-pull"]);
    ran.exits(8).mentions("nowhere.invalid does not answer (");
    let ran = host.create(["--from", &pushed.repository]);
    ran.exits(0).mentions("the missing layers are built instead");
    assert_eq!(host.read("etc/app"), "app\n");
    let ran = host.run(["pull", "m.toml"]);
    ran.exits(2).mentions("no registry is named");
}

#[test]
fn what_was_pulled_can_be_pushed_again() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    host.run(["pull", "m.toml", "--from", &pushed.repository]).exits(0);
    let ran = host.run(["push", "m.toml", &pushed.repository]);
    ran.exits(0).shows("0 bytes sent\n");
}

#[test]
fn a_host_without_the_template_has_what_it_made_elsewhere() {
    let Some(pushed) = pushed() else { return };
    pushed.builder.run(["lock", "m.toml"]).exits(0);
    let lock = fs::read(pushed.builder.role().join("m.toml.lock")).unwrap();
    let without = |host: Sandbox| {
        fs::remove_file(host.path("templates/lxc-fake")).unwrap();
        host.create([] as [&str; 0]).exits(2).mentions("there is no `lxc-fake`");
        host
    };
    // The lock says what it was, or the role's image does.
    let locked = without(role().file("m.toml.lock", &lock));
    locked.create(["--from", &pushed.repository, "--locked", "--only-pull"]).exits(0);
    let signed = without(puller(&pushed));
    signed.create(["--from", &pushed.repository]).exits(0);
    for host in [&locked, &signed] {
        assert_eq!(host.read("etc/app"), "app\n");
        assert_eq!(stored(host), stored(&pushed.builder));
    }
    // What nobody vouches for is no better for that, and what is not there cannot be built.
    let stranger = without(role());
    stranger.create(["--from", &pushed.repository]).exits(10);
    let elsewhere = pushed.registry.repository("none");
    without(puller(&pushed))
        .create(["--from", &elsewhere])
        .exits(2)
        .mentions("there is no `lxc-fake`");
    let words = ["--from", &pushed.repository, "--", "--release", "other"];
    without(puller(&pushed)).create(words).exits(8).mentions(" does not have it\n");
}

#[test]
fn one_layer_serves_every_id_map() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    let map = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 200000 65536\n";
    fs::write(host.path("start.conf"), map).unwrap();
    let start = host.path("start.conf");
    let start = start.to_str().unwrap();
    host.run(["pull", "m.toml", "-f", start, "--from", &pushed.repository]).exits(0);
    let trees = host.path("store/u100000-65536-g200000-65536/trees");
    for id in stored(&pushed.builder) {
        let own = pushed.builder.path(format!("store/host/trees/{id}/rootfs"));
        let mapped = trees.join(&id).join("rootfs");
        let walk = "find . -printf '%P %y %m %U %G\\n' | grep -v '^dev/null' | sort";
        let listed = |at: &Path| super::pushing::judge(&["sh", "-c", walk], at);
        let shifted: Vec<String> = listed(&own)
            .lines()
            .map(|line| {
                let mut words: Vec<_> = line.rsplitn(3, ' ').collect();
                let shift = |word: &str, by: u32| (word.parse::<u32>().unwrap() + by).to_string();
                let (uid, gid) = (shift(words[1], 100_000), shift(words[0], 200_000));
                (words[1], words[0]) = (&uid, &gid);
                format!("{} {} {}", words[2], words[1], words[0])
            })
            .collect();
        assert_eq!(listed(&mapped).lines().collect::<Vec<_>>(), shifted, "{id}");
    }
    host.create(["-f", start, "--from", &pushed.repository, "--only-pull"]).exits(0);
    assert_eq!(host.read("etc/app"), "app\n");
}
