//! What a lock pins is what is stored, built, pushed and pulled: nothing else that has its name.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::pulling::{Pushed, puller, pushed, trust};
use super::pushing::role;
use super::refusing::{blob_of, digest};
use crate::sandbox::{Ran, Sandbox};

const REFUSED: i32 = 10;

/// Calls the program with a date that is before all that tests make.
fn dated<const COUNT: usize>(host: &Sandbox, words: [&str; COUNT]) -> Ran {
    let mut command = host.command(host.program_path());
    command.env("SOURCE_DATE_EPOCH", "1700000000").args(words);
    host.ran(command)
}

impl Pushed {
    /// Puts something else in the place of the innermost layer, as whoever may write there can: the name stays.
    fn plant(&self) {
        let tree = self.builder.path("planted");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/evil"), "evil").unwrap();
        let run = |command: &mut Command| {
            let output = command.current_dir(self.builder.path("")).output().unwrap();
            assert!(output.status.success(), "{command:?}");
            output.stdout
        };
        let archive = run(Command::new("tar").args(["-C", "planted", "-c", "."]));
        fs::write(self.builder.path("planted.tar"), &archive).unwrap();
        let blob = run(Command::new("gzip").args(["-nc", "planted.tar"]));

        let tag = format!("key-{}", self.entries()[0].0);
        let (mut manifest, _) = self.manifest(&tag);
        let told = blob_of(&self.registry, manifest["config"]["digest"].as_str().unwrap());
        let mut told: Value = serde_json::from_slice(&fs::read(told).unwrap()).unwrap();
        told["diff_id"] = digest(&archive).into();
        let told = told.to_string().into_bytes();
        for (place, bytes) in [("/config", &told), ("/layers/0", &blob)] {
            let described = manifest.pointer_mut(place).unwrap();
            described["digest"] = digest(bytes).into();
            described["size"] = bytes.len().into();
        }
        self.put(&tag, &manifest, &[&told, &blob]);
    }

    fn lock(&self) -> Vec<u8> {
        fs::read(self.builder.role().join("m.toml.lock")).unwrap()
    }
}

fn forget(host: &Sandbox) {
    let blobs = fs::read_dir(host.path("store/host.meta/blobs")).unwrap();
    for file in blobs.map(|file| file.unwrap().path()) {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn another_content_by_a_locked_name_is_not_taken_for_what_was_locked() {
    let Some(pushed) = pushed() else { return };
    pushed.builder.run(["lock", "m.toml"]).exits(0);
    let lock = pushed.lock();
    let good = role().file("m.toml.lock", &lock);
    pushed.pull(&good, &["--locked"]).exits(0);
    pushed.plant();
    let host = role().file("m.toml.lock", &lock);
    pushed.pull(&host, &["--allow-untrusted"]).exits(0);

    let key = pushed.key.to_str().unwrap();
    let elsewhere = pushed.registry.repository("other");
    let words: [&[&str]; 5] = [
        &["lock", "--check", "m.toml"],
        &["create", "m.toml", "--locked", "--name=c", "--lxcpath=../c"],
        &["build", "m.toml", "--locked", "--output=oci:../o:x"],
        &["push", "m.toml", "--locked", "--sign", key, &elsewhere],
        &["pull", "m.toml", "--locked", "--from", &elsewhere],
    ];
    for is_known in [true, false, true] {
        // What a store knows of archives is no more than a saving of time.
        if !is_known {
            forget(&host);
            forget(&good);
        }
        for words in words {
            let ran = host.run(words.iter().copied());
            let status = if words[0] == "lock" { 1 } else { REFUSED };
            ran.exits(status).mentions("template of layer `os`: what is stored here as ");
            ran.mentions(" is not what was locked\n");
        }
        good.run(["lock", "--check", "m.toml"]).exits(0);
        dated(&good, ["lock", "--check", "m.toml"]).exits(0);
    }
    assert!(!host.path("o").exists() && !host.path("c").exists());
    good.run(["lock", "m.toml"]).exits(0).prints("m.toml.lock  unchanged\n");
    // A new lock says what is stored.
    host.run(["lock", "m.toml"]).exits(0).prints("m.toml.lock  written\n");
    host.run(["lock", "--check", "m.toml"]).exits(0);
    assert_ne!(fs::read(host.role().join("m.toml.lock")).unwrap(), lock);
    // Nobody is given it for what is locked, whoever vouches for it.
    let fresh = role().file("m.toml.lock", &lock);
    for more in [&["--locked"][..], &["--locked", "--allow-untrusted"]] {
        pushed.pull(&fresh, more).exits(REFUSED).mentions("is not what the lock pins");
    }
}

#[test]
fn what_is_pushed_is_what_is_locked_whenever_it_is_dated() {
    let Some(pushed) = pushed() else { return };
    let builder = &pushed.builder;
    builder.run(["lock", "m.toml"]).exits(0);
    let key = pushed.key.to_str().unwrap();
    let repository = pushed.registry.repository("dated");
    let push = ["push", "m.toml", "--locked", "--sign", key, &repository];
    let ran = dated(builder, push);
    ran.exits(REFUSED)
        .mentions("the role cannot be pushed: template of layer `os` is not what was");
    ran.mentions("hint: what an image holds depends on `SOURCE_DATE_EPOCH`");
    let names = pushed.registry.path("data/docker/registry/v2/repositories/dated");
    assert!(!names.exists(), "something was sent");
    // Nor is what somebody has pushed so taken by its signature.
    dated(builder, ["push", "m.toml", "--sign", key, &repository]).exits(0);
    let host = puller(&pushed);
    fs::write(host.role().join("m.toml.lock"), pushed.lock()).unwrap();
    for more in ["", "require = \"lock\"\n"] {
        trust(&host, &pushed.signers, more);
        let ran = host.run(["pull", "m.toml", "--locked", "--from", &repository]);
        ran.exits(REFUSED).mentions("its template is not what the lock pins (in ");
        ran.mentions("`SOURCE_DATE_EPOCH`");
        assert!(!ran.stderr().contains("allowed_signers"), "{}", ran.stderr());
    }

    // Locked with the same date, it is.
    dated(builder, ["lock", "m.toml"]).exits(0).prints("m.toml.lock  written\n");
    builder.run(["lock", "--check", "m.toml"]).exits(0);
    dated(builder, push).exits(0);
    fs::write(host.role().join("m.toml.lock"), pushed.lock()).unwrap();
    host.run(["pull", "m.toml", "--locked", "--from", &repository]).exits(0);
    host.run(["lock", "m.toml"]).exits(0).prints("m.toml.lock  unchanged\n");
}

#[test]
fn a_policy_that_is_a_link_to_nothing_is_no_missing_one() {
    let Some(pushed) = pushed() else { return };
    let host = puller(&pushed);
    let settings = host.path("home/.config/layered-template/remote.toml");
    fs::remove_file(&settings).unwrap();
    std::os::unix::fs::symlink("/nowhere/remote.toml", &settings).unwrap();
    for more in [&[][..], &["--allow-untrusted"]] {
        let ran = pushed.pull(&host, more);
        ran.exits(REFUSED).mentions("remote.toml`: it is a link to nothing\n");
    }
}

#[test]
fn who_uses_no_store_pulls_nothing() {
    if !crate::requirement::root() {
        return;
    }
    let host = role();
    for (words, name) in [
        (&["--only-pull", "--from", "127.0.0.1:1/web"][..], "--only-pull"),
        (&["--only-pull"], "--only-pull"),
        (&["--from", "127.0.0.1:1/web"], "--from"),
    ] {
        let words: Vec<_> = words.iter().chain(&["--storage=none"]).collect();
        let told = format!("`{name}` takes layers from the store, and `--storage=none` uses none");
        host.create(&words).exits(2).mentions(&told);
        host.template(["--manifest", "m.toml"].iter().chain(words.iter().copied()))
            .exits(2)
            .mentions(&told);
        host.run(["plan", "m.toml"].iter().chain(words.iter().copied())).exits(2).mentions(&told);
    }
    // What a file of the host's says is for those who use one.
    let settings = host.path("home/.config/layered-template");
    fs::create_dir_all(&settings).unwrap();
    fs::write(settings.join("remote.toml"), "from = \"127.0.0.1:1/web\"\n").unwrap();
    fs::remove_dir_all(host.container()).unwrap();
    host.create(["--storage=none"]).exits(0);
}
