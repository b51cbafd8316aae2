//! Planted rootfs that are stored, scrubbed, kept and entered.

use std::fs;
use std::path::{Path, PathBuf};

use super::plants::{self, Plant, Site};
use crate::idmaps::{CALLER, Namespace, WHOLE};
use crate::listing;
use crate::requirement::{root, skip};
use crate::sandbox::{NAME, Ran, Sandbox};

/// A role whose template copies what is planted in `planted` into the rootfs.
fn role(lines: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new().upstream("cp -a planted/. \"$rootfs\"").layers(lines);
    fs::create_dir(sandbox.role().join("planted")).unwrap();
    let canary = super::canary(&sandbox);
    (sandbox, canary)
}

/// Plants something for the template at a path of the rootfs.
fn plant_at(sandbox: &Sandbox, canary: &Path, plant: &Plant, path: &str) {
    let rootfs = sandbox.role().join("planted");
    let at = rootfs.join(path);
    let above = at.parent().unwrap();
    fs::create_dir_all(above.join("inside")).unwrap();
    fs::write(above.join("file"), "file").unwrap();
    (plant.make)(&Site { at, rootfs: &rootfs, canary });
}

/// Returns what `cp` can copy and a listing can read: no path is too long for a call, and no file.
fn copied() -> Vec<Plant> {
    let mut plants = plants::plain();
    plants.retain(|plant| !plant.name.contains("too long") && !plant.name.contains("terabytes"));
    plants
}

/// Calls the template, in a namespace if there is one.
fn call(sandbox: &Sandbox, namespace: Option<&Namespace>, words: &[&str]) -> Ran {
    let mut all: Vec<&str> =
        namespace.map(|namespace| namespace.words().to_vec()).unwrap_or_default();
    let (program, three) = (sandbox.program_path(), sandbox.three());
    all.extend(["timeout", "--kill-after=1", "60", program.to_str().unwrap()]);
    all.extend(three.iter().map(String::as_str));
    if namespace.is_some() {
        all.extend(CALLER);
    }
    all.extend(words);
    let mut command = sandbox.command(all[0]);
    command.args(&all[1..]);
    sandbox.ran(command)
}

#[test]
fn a_planted_tree_is_stored_as_it_is() {
    if !root() {
        return;
    }
    for mapped in [false, true] {
        let (sandbox, canary) =
            role("[[layer]]\nname = 'app'\n[[layer.file]]\npath = '/app'\ncontent = ''\n");
        let more = if mapped { Vec::new() } else { plants::of_root() };
        for (number, plant) in copied().into_iter().chain(more).enumerate() {
            plant_at(&sandbox, &canary, &plant, &format!("p{number}/t"));
        }
        let mut listed = Vec::new();
        let mut known = Vec::new();
        for storage in ["none", "copy", "copy"] {
            sandbox.shell();
            let namespace = mapped.then(|| Namespace::new(&sandbox, WHOLE));
            if known.is_empty() {
                known = plants::known_by(&canary);
            }
            let storage = format!("--storage={storage}");
            call(&sandbox, namespace.as_ref(), &["m.toml", &storage]).exits(0);
            listed.push(listing::of(&sandbox.rootfs()));
            fs::remove_dir_all(sandbox.container()).unwrap();
        }
        assert_eq!(listed[0], listed[1]);
        assert_eq!(listed[0], listed[2]);
        for verb in [&["list"][..], &["verify"], &["gc", "--keep=0"]] {
            sandbox.run(["store"].iter().chain(verb)).exits(0);
        }
        assert_eq!(plants::known_by(&canary), known);
    }
}

#[test]
fn what_is_planted_for_an_identity_leads_nowhere() {
    const PLACES: [&str; 5] = [
        "etc/machine-id",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "var/lib/dbus/machine-id",
        "i",
    ];
    for plant in copied() {
        let (sandbox, canary) = role("[[layer]]\nname = 'app'\nidentity = ['/i']\n");
        for path in PLACES {
            plant_at(&sandbox, &canary, &plant, path);
        }
        let known = plants::known_by(&canary);
        sandbox.shell();
        call(&sandbox, None, &["m.toml"]).exits(0);
        assert_eq!(plants::known_by(&canary), known, "{}", plant.name);
        sandbox.run(["store", "verify"]).exits(0);
        sandbox.run(["store", "gc", "--keep=0"]).exits(0);
        assert_eq!(plants::known_by(&canary), known, "{}", plant.name);
    }
}

#[test]
fn accounts_that_are_planted_give_nobody_away() {
    for (number, plant) in copied().into_iter().enumerate() {
        let name = ["passwd", "group"][number % 2];
        let owner = ["app", "root:app"][number % 2];
        let file = format!("[[layer.file]]\npath = '/f'\ncontent = ''\nowner = '{owner}'\n");
        let (sandbox, canary) = role(&file);
        fs::copy(canary.join("etc/passwd"), canary.join("etc/group")).unwrap();
        plant_at(&sandbox, &canary, &plant, &format!("etc/{name}"));
        let known = plants::known_by(&canary);
        sandbox.shell();
        let ran = call(&sandbox, None, &["m.toml", "--storage=none"]);
        ran.exits(5).mentions(&format!("could not be dropped: /etc/{name} of the rootfs"));
        assert_eq!(listing::one(&sandbox.rootfs().join("f")), "nothing", "{}", plant.name);
        assert_eq!(plants::known_by(&canary), known, "{}", plant.name);
    }
}

#[test]
fn a_planted_rootfs_that_failed_is_kept_as_it_is() {
    let (sandbox, canary) = role("post = 'exit 1'\n");
    let more = if root() { plants::of_root() } else { Vec::new() };
    for (number, plant) in copied().into_iter().chain(more).enumerate() {
        plant_at(&sandbox, &canary, &plant, &format!("p{number}/t"));
    }
    let known = plants::known_by(&canary);
    sandbox.shell();
    call(&sandbox, None, &["m.toml", "--storage=none", "--keep-failed"]).exits(6);
    let kept = sandbox.left().remove(0);
    assert_eq!(listing::of(&kept.join("rootfs")), listing::of(&sandbox.rootfs()));
    assert_eq!(plants::known_by(&canary), known);
}

#[test]
fn what_is_planted_where_a_sandbox_mounts_leads_nowhere() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .manifest("manifest = 1\n[[layer]]\nname = 'os'\ntemplate = 'builtin:busybox'\n");
    let canary = super::canary(&sandbox);
    if sandbox.create(["--storage=none"]).output.status.code() != Some(0) {
        return skip("this host has no static busybox");
    }
    let known = plants::known_by(&canary);
    let lxcpath = sandbox.path("lxc").display().to_string();
    let groups: [&[&str]; 2] =
        [&["etc/resolv.conf", "usr/sbin/policy-rc.d"], &["dev", "proc", "sys", "run", "tmp"]];
    let rootfs = sandbox.rootfs();
    let take = |path: &Path| {
        let _ = fs::remove_dir_all(path);
        let _ = fs::remove_file(path);
    };
    for plant in plants::plain() {
        for places in groups {
            for path in places {
                let at = rootfs.join(path);
                take(&at);
                fs::create_dir_all(at.parent().unwrap().join("inside")).unwrap();
                (plant.make)(&Site { at, rootfs: &rootfs, canary: &canary });
            }
            let one = |path: &&str| match plant.name.contains("terabytes") {
                true => String::new(),
                false => listing::one(&rootfs.join(path)),
            };
            let before: Vec<_> = places.iter().map(one).collect();
            let mut command = sandbox.command("timeout");
            command.args(["--kill-after=1", "60"]).arg(sandbox.program_path());
            command.args([
                "shell",
                NAME,
                "--lxcpath",
                &lxcpath,
                "--network",
                "--",
                "/bin/busybox",
                "true",
            ]);
            let ran = sandbox.ran(command);
            let status = ran.output.status.code();
            assert!(
                [Some(0), Some(6)].contains(&status),
                "{}: {status:?} {}",
                plant.name,
                ran.stderr()
            );
            assert_eq!(
                places.iter().map(one).collect::<Vec<_>>(),
                before,
                "{}: {}",
                plant.name,
                ran.stderr()
            );
            assert_eq!(plants::known_by(&canary), known, "{}", plant.name);
            for path in places {
                let at = rootfs.join(path);
                let own = at.file_stem().unwrap();
                for entry in fs::read_dir(at.parent().unwrap()).unwrap().flatten() {
                    if entry.path().file_stem() == Some(own) {
                        take(&entry.path());
                    }
                }
                if places[0] == "dev" {
                    fs::create_dir(rootfs.join(path)).unwrap();
                }
            }
        }
    }
}
