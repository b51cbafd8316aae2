//! A rootfs that tries to lead out of itself.

mod drops;
mod plants;
mod stored;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::listing;
use crate::requirement::root;
use crate::sandbox::Sandbox;

/// The ways a link can lead out.
fn ways_out(canary: &Path) -> Vec<PathBuf> {
    let up = "../".repeat(40);
    vec![
        canary.to_path_buf(),
        PathBuf::from(format!("{up}{}", canary.display())),
        PathBuf::from("../../../canary"),
        PathBuf::from(format!("/proc/self/root{}", canary.display())),
        PathBuf::from("/proc/self/cwd/../canary"),
    ]
}

/// Makes a directory outside the rootfs whose content is compared afterwards.
fn canary(sandbox: &Sandbox) -> PathBuf {
    let canary = sandbox.path("canary");
    fs::create_dir_all(canary.join("etc")).unwrap();
    fs::write(canary.join("etc/passwd"), "app:x:1:1::/:\n").unwrap();
    fs::write(canary.join("file"), "canary").unwrap();
    canary
}

const DROPS: [&str; 7] = [
    "path = \"/etc/f\"\ncontent = \"new\"",
    "path = \"/etc/a/b/f\"\ncontent = \"new\"",
    "path = \"/etc/file\"\nremove = true",
    "path = \"/etc/etc\"\nremove = true",
    "path = \"/etc/d\"\ndirectory = true\nmode = \"0777\"",
    "path = \"/etc\"\nsource = \"tree\"",
    "path = \"/\"\nsource = \"whole\"",
];

#[test]
fn a_link_on_the_way_never_leads_out() {
    for drop in DROPS {
        for way in 0..5 {
            let sandbox = Sandbox::new()
                .file("tree/file", "new")
                .file("tree/etc/passwd", "new")
                .file("whole/etc/file", "new")
                .layers(&format!("[[layer.file]]\n{drop}\n"))
                .upstream(":");
            let canary = canary(&sandbox);
            sandbox.shell();
            symlink(&ways_out(&canary)[way], sandbox.rootfs().join("etc")).unwrap();
            let before = listing::of(&canary);
            let ran = sandbox.chain();
            let code = ran.output.status.code();
            assert!([Some(0), Some(5)].contains(&code), "{drop}, {way}: {}", ran.stderr());
            assert_eq!(listing::of(&canary), before, "{drop}, {way}");
            assert_eq!(listing::one(&sandbox.path("lxc/canary")), "nothing");
        }
    }
}

#[test]
fn a_link_at_the_end_is_replaced_and_not_followed() {
    for way in 0..5 {
        let sandbox = Sandbox::new().file("tree/t", "new").upstream(":").layers(
            "[[layer.file]]\npath = \"/f\"\ncontent = \"new\"\n\
             [[layer.file]]\npath = \"/d\"\ndirectory = true\nmode = \"0711\"\n\
             [[layer.file]]\npath = \"/s\"\nsymlink = \"x\"\n\
             [[layer.file]]\npath = \"/r\"\nremove = true\n\
             [[layer.file]]\npath = \"/\"\nsource = \"tree\"\n",
        );
        let canary = canary(&sandbox);
        sandbox.shell();
        let target = &ways_out(&canary)[way];
        for name in ["d", "r"] {
            symlink(target, sandbox.rootfs().join(name)).unwrap();
        }
        for name in ["f", "s", "t"] {
            symlink(target.join("file"), sandbox.rootfs().join(name)).unwrap();
        }
        let before = listing::of(&canary);
        sandbox.chain().exits(0);
        assert_eq!(listing::of(&canary), before);
        let expected = "/d directory 0711\n/f file 0644 \"new\"\n/s -> x\n/t file 0644 \"new\"\n";
        assert_eq!(listing::of(&sandbox.rootfs()), expected);
    }
}

#[test]
fn the_built_in_template_writes_within_its_rootfs_alone() {
    let sandbox = Sandbox::new()
        .manifest("manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n");
    let canary = canary(&sandbox);
    sandbox.shell();
    for name in ["etc", "bin", "sbin", "usr"] {
        symlink(&canary, sandbox.rootfs().join(name)).unwrap();
    }
    let before = listing::of(&canary);
    sandbox.chain().exits(4);
    assert_eq!(listing::of(&canary), before);
}

#[test]
fn a_race_on_the_way_leads_nowhere() {
    let drops = |number| {
        format!(
            "[[layer.file]]\npath = \"/d/s/f{number}\"\ncontent = \"new\"\n\
             [[layer.file]]\npath = \"/d/s/g{number}\"\nremove = true\n\
             [[layer.file]]\npath = \"/d/s/t{number}\"\nsource = \"tree\"\n"
        )
    };
    let names = (0..150).map(drops).collect::<Vec<_>>().concat();
    let sandbox =
        Sandbox::new().file("tree/a/b", "new").file("tree/c", "new").upstream(":").layers(&names);
    let canary = sandbox.path("canary");
    fs::create_dir_all(canary.join("s")).unwrap();
    for number in 0..150 {
        fs::write(canary.join(format!("s/g{number}")), "canary").unwrap();
    }
    let before = listing::of(&canary);
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let mut ended = [0; 2];
    while started.elapsed() < Duration::from_millis(1500) {
        let _ = fs::remove_dir_all(sandbox.container());
        sandbox.shell();
        let rootfs = sandbox.rootfs();
        fs::create_dir_all(rootfs.join("d/s")).unwrap();
        symlink(&canary, rootfs.join("out")).unwrap();
        stop.store(false, Ordering::Relaxed);
        let attacker = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                let (one, other) = (rootfs.join("d"), rootfs.join("out"));
                while !stop.load(Ordering::Relaxed) {
                    let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                }
            })
        };
        let ran = sandbox.chain();
        stop.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
        match ran.output.status.code() {
            Some(0) => ended[0] += 1,
            Some(5) => ended[1] += 1,
            other => panic!("{other:?}: {}", ran.stderr()),
        }
        assert_eq!(listing::of(&canary), before);
        assert!(!listing::of(&sandbox.rootfs()).contains("/.layered-template"));
    }
    assert!(ended[0] + ended[1] > 1, "{ended:?}");
}

#[test]
fn a_rootfs_that_becomes_a_link_is_not_entered() {
    let sandbox = Sandbox::new()
        .upstream("rmdir \"$rootfs\"; ln -s ../../canary \"$rootfs\"")
        .layers("[[layer.file]]\npath = \"/f\"\ncontent = \"new\"\n");
    let canary = canary(&sandbox);
    let before = listing::of(&canary);
    let ran = sandbox.chain();
    assert_eq!(listing::of(&canary), before, "{}", ran.stderr());
    assert!([Some(4), Some(5)].contains(&ran.output.status.code()), "{}", ran.stderr());
}

#[test]
fn a_template_that_leaves_no_rootfs_has_failed() {
    let role = "[[layer.file]]\npath = \"/f\"\ncontent = \"new\"\n";
    for rest in ["", role] {
        let sandbox = Sandbox::new().upstream("rmdir \"$rootfs\"").layers(rest);
        let message = "template `fake` of layer `os` left no rootfs at [DIR]/lxc/web1/rootfs";
        sandbox.chain().exits(4).mentions(message);
    }
    // Whoever takes it away later is named as well, if by the path alone.
    let sandbox = Sandbox::new().layers(&format!(
        "post = 'rm -r \"$LXC_ROOTFS\"'\n{}",
        role.replace("content", "when = \"after-post\"\ncontent")
    ));
    sandbox.chain().exits(5).mentions("the rootfs: No such file or directory");
}

#[test]
fn a_template_that_takes_something_from_the_container_is_named() {
    let table = [
        ("rm \"$path/config\"", "removed the container's config [DIR]/lxc/web1/config"),
        (
            "rmdir \"$rootfs\"; ln -s ../../canary \"$rootfs\"",
            "left a symbolic link at [DIR]/lxc/web1/rootfs, instead of the rootfs",
        ),
        (
            "rmdir \"$rootfs\"; touch \"$rootfs\"",
            "left a file at [DIR]/lxc/web1/rootfs, instead of the rootfs",
        ),
        ("rmdir \"$rootfs\"", "left no rootfs at [DIR]/lxc/web1/rootfs"),
    ];
    for (script, reason) in table {
        for storage in ["none", "copy"] {
            let sandbox = Sandbox::new()
                .upstream(&format!(
                    "touch \"$rootfs/made\"; rm \"$rootfs/made\"; touch \"$path/made\"; {script}"
                ))
                .layers("");
            let canary = canary(&sandbox);
            let before = listing::of(&canary);
            let ran = sandbox.template(["m.toml", &format!("--storage={storage}")]);
            ran.exits(4).mentions(&format!("error: template `fake` of layer `os` {reason}"));
            assert_eq!(listing::of(&canary), before);
        }
    }
}

#[test]
fn what_a_template_leaves_where_an_overlay_has_its_own_is_named() {
    if !root() {
        return;
    }
    for name in ["delta", "work"] {
        let sandbox = Sandbox::new()
            .upstream(&format!("mkdir \"$rootfs/etc\" \"$path/{name}\"; touch \"$path/{name}/f\""))
            .layers("");
        for _ in 0..2 {
            sandbox.template(["m.toml", "--storage=overlay"]).exits(8).mentions(&format!(
                "the template leaves `{name}` beside the rootfs, where an overlay has its own; \
                 `--storage=copy` has none"
            ));
            fs::remove_dir_all(sandbox.container()).unwrap();
        }
        sandbox.template(["m.toml"]).exits(0);
        assert!(sandbox.container().join(name).join("f").exists());
    }
}

/// The names that a run gives to what is not finished, for any id that its process may have.
fn planted_names() -> impl Iterator<Item = String> {
    (1..20).flat_map(|id| (0..20).map(move |count| format!(".layered-template.{id}.{count}")))
}

#[test]
fn names_of_what_is_not_finished_can_be_taken_already() {
    let sandbox = Sandbox::new().file("tree/d/f", "new").upstream(":").layers(
        "[[layer.file]]\npath = \"/d/f\"\ncontent = \"new\"\n\
         [[layer.file]]\npath = \"/d/d\"\ndirectory = true\n\
         [[layer.file]]\npath = \"/d/s\"\nsymlink = \"x\"\n\
         [[layer.file]]\npath = \"/d/t\"\nsource = \"tree\"\n",
    );
    let canary = canary(&sandbox);
    let before = listing::of(&canary);
    sandbox.shell();
    let directory = sandbox.rootfs().join("d");
    fs::create_dir(&directory).unwrap();
    for (number, name) in planted_names().enumerate() {
        match number % 3 {
            0 => fs::write(directory.join(name), "planted").unwrap(),
            1 => fs::create_dir(directory.join(name)).unwrap(),
            _ => symlink(canary.join("file"), directory.join(name)).unwrap(),
        }
    }
    sandbox.chain().exits(0);
    assert_eq!(listing::of(&canary), before);
    let left = listing::of(&directory);
    let planted = |line: &&str| line.starts_with("/.layered-template.");
    assert_eq!(left.lines().filter(planted).count(), planted_names().count());
    let others: Vec<_> = left.lines().filter(|line| !planted(line)).collect();
    let expected = [
        "/d directory 0755",
        "/f file 0644 \"new\"",
        "/s -> x",
        "/t directory 0755",
        "/t/d directory 0755",
        "/t/d/f file 0644 \"new\"",
    ];
    assert_eq!(others, expected);
}

#[test]
fn a_rootfs_that_lxc_gave_as_a_link_is_entered() {
    let sandbox = Sandbox::new().layers("[[layer.file]]\npath = \"/f\"\ncontent = \"new\"\n");
    sandbox.shell();
    fs::remove_dir(sandbox.rootfs()).unwrap();
    fs::create_dir(sandbox.path("elsewhere")).unwrap();
    symlink(sandbox.path("elsewhere"), sandbox.rootfs()).unwrap();
    sandbox.chain().exits(0);
    assert_eq!(fs::read_to_string(sandbox.path("elsewhere/f")).unwrap(), "new");
}

#[test]
fn a_config_that_is_no_file_is_refused() {
    let make = ["ln -s \"$path/../../canary/file\"", "mkfifo", "mkdir"];
    for (make, reason) in make.into_iter().zip([
        "`config` is a symbolic link",
        "`config` is not a regular file",
        "`config` is not a regular",
    ]) {
        let sandbox = Sandbox::new()
            .upstream(&format!(
                "mkdir \"$rootfs/etc\"; rm \"$path/config\"; {make} \"$path/config\""
            ))
            .layers("[layer.config]\n\"lxc.start.auto\" = 1\n");
        let canary = canary(&sandbox);
        let before = listing::of(&canary);
        let ran = sandbox.chain();
        assert_eq!(listing::of(&canary), before);
        assert!([Some(4), Some(5)].contains(&ran.output.status.code()), "{make}: {}", ran.stderr());
        ran.mentions(reason);
    }
}

#[test]
fn a_record_that_is_no_file_is_replaced_or_refused() {
    let table = [
        ("ln -s \"$path/../../canary/file\" \"$path/layered-template.json\"", 0),
        ("mkfifo \"$path/layered-template.json\"", 0),
        ("mkdir \"$path/layered-template.json\"", 5),
    ];
    for (script, status) in table {
        let sandbox =
            Sandbox::new().upstream(&format!("mkdir \"$rootfs/etc\"; {script}")).layers("");
        let canary = canary(&sandbox);
        let before = listing::of(&canary);
        sandbox.straight().exits(status);
        assert_eq!(listing::of(&canary), before);
        if status == 0 {
            assert_eq!(sandbox.record()["name"], "web1");
        }
    }
}

/// A link or a directory of a rootfs, by the number of its name; the names are `n0` to `n3`.
#[derive(Debug, Clone)]
enum Thing {
    Directory,
    Link(String),
}

fn things() -> impl Strategy<Value = Vec<(Vec<usize>, Thing)>> {
    let name = (0..4_usize).prop_map(|number| format!("n{number}"));
    let part = prop_oneof![3 => name, 2 => Just("..".to_owned()), 1 => Just("canary".to_owned())];
    let target =
        (prop::collection::vec(part, 1..5), any::<bool>()).prop_map(|(parts, absolute)| {
            if absolute { "/" } else { "" }.to_owned() + &parts.join("/")
        });
    let thing = prop_oneof![Just(Thing::Directory), target.prop_map(Thing::Link)];
    prop::collection::vec((prop::collection::vec(0..4_usize, 1..3), thing), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever links a rootfs holds, what is dropped or removed lies within it.
    #[test]
    fn no_arrangement_of_links_leads_out(things in things(), paths in prop::collection::vec(prop::collection::vec(0..4_usize, 1..4), 1..5)) {
        let mut lines = String::new();
        let mut seen = std::collections::BTreeSet::new();
        for (index, path) in paths.iter().enumerate() {
            let path = path.iter().map(|number| format!("/n{number}")).collect::<Vec<_>>().concat();
            if !seen.insert(path.clone()) {
                continue;
            }
            let what = ["content = \"new\"", "remove = true", "source = \"tree\"", "directory = true"];
            let _ = writeln!(lines, "[[layer.file]]\npath = \"{path}\"\n{}", what[index % 4]);
        }
        let sandbox = Sandbox::new().file("tree/n0/f", "new").file("tree/n1", "new").upstream(":").layers(&lines);
        // Every name that a link could reach outside is there.
        let outside = sandbox.path("lxc/canary");
        for number in 0..4 {
            fs::create_dir_all(outside.join(format!("n{number}/n0"))).unwrap();
            fs::create_dir_all(sandbox.path(format!("lxc/n{number}/n0"))).unwrap();
        }
        sandbox.shell();
        for (path, thing) in things {
            let names: Vec<_> = path.iter().map(|number| format!("n{number}")).collect();
            let place = sandbox.rootfs().join(names.join("/"));
            // Where the path leads through a link or over something, there is one thing less.
            if fs::symlink_metadata(&place).is_ok()
                || place.ancestors().skip(1).take(names.len() - 1).any(|above| !above.symlink_metadata().is_ok_and(|found| found.is_dir()))
            {
                continue;
            }
            match thing {
                Thing::Directory => fs::create_dir(place).unwrap(),
                Thing::Link(target) => symlink(target, place).unwrap(),
            }
        }
        let listed = |sandbox: &Sandbox| {
            let all = listing::of(&sandbox.path("lxc"));
            all.lines().filter(|line| !line.starts_with("/web1/")).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = listed(&sandbox);
        let ran = sandbox.chain();
        prop_assert!([Some(0), Some(5)].contains(&ran.output.status.code()), "{}", ran.stderr());
        prop_assert_eq!(listed(&sandbox), before);
        let within = listing::of(&sandbox.rootfs());
        prop_assert!(!within.contains("/.layered-template"), "{within}");
    }
}
