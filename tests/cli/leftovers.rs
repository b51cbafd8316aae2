//! What runs leave, and what they must leave alone.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::requirement;
use crate::sandbox::Sandbox;

const ROLE: &str = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n";

fn age(path: &std::path::Path) {
    let old = SystemTime::now() - Duration::from_secs(48 * 60 * 60);
    fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

#[test]
fn only_runs_of_the_program_are_forgotten() {
    let sandbox = Sandbox::new().manifest(ROLE);
    let state = sandbox.state();
    for index in 0..70 {
        // Somebody else's, and a run's.
        for name in [format!("service{index}"), format!("web-20200101T0000{index:02}Z")] {
            let directory = state.join(name);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("log"), "").unwrap();
            age(&directory.join("log"));
        }
    }
    sandbox.chain().exits(0);
    let names = || fs::read_dir(&state).unwrap().flatten().map(|entry| entry.file_name());
    let services = names().filter(|name| name.to_string_lossy().starts_with("service"));
    assert_eq!(services.count(), 70);
    let runs = names().filter(|name| name.to_string_lossy().starts_with("web-"));
    assert_eq!(runs.count(), 64);
}

#[test]
fn a_mount_that_is_left_in_the_rootfs_swallows_no_drop() {
    if !requirement::root() {
        return;
    }
    let role = format!(
        "{ROLE}post = 'mkdir -p \"$LXC_ROOTFS/a b\"; mount -t tmpfs x \"$LXC_ROOTFS/a b\"; \
         touch \"$LXC_ROOTFS/f\"; for i in 1 2; do mount --bind /dev/null \"$LXC_ROOTFS/f\"; done'\n\
         [[layer]]\nname = \"app\"\n\
         [[layer.file]]\npath = \"/etc/x\"\ncontent = \"x\"\n\
         [[layer.file]]\npath = \"/a b/x\"\ncontent = \"x\"\n\
         [[layer.file]]\npath = \"/f\"\ncontent = \"x\"\n"
    );
    let sandbox = Sandbox::new()
        .manifest(&role)
        .upstream("mkdir \"$rootfs/etc\"; mount -t tmpfs x \"$rootfs/etc\"");
    let ran = sandbox.chain();
    ran.exits(0).mentions("left a mount");
    for path in ["etc/x", "a b/x", "f"] {
        assert_eq!(fs::read_to_string(sandbox.rootfs().join(path)).unwrap(), "x", "{path}");
    }
}

/// One that a template or a step has left on the rootfs itself, or on the container's directory, would have the rest of
/// the container.
#[test]
fn a_mount_that_is_left_over_the_rootfs_swallows_nothing() {
    if !requirement::root() {
        return;
    }
    let over = |place: &str| {
        format!(
            "mkdir -p \"{place}/rootfs/etc\"; mount -t tmpfs x \"{place}\"; mkdir -p \"{place}/rootfs/etc\""
        )
    };
    for (template, post) in [
        ("mount -t tmpfs x \"$rootfs\"; mkdir \"$rootfs/etc\"".to_owned(), "true"),
        (over("$path"), "true"),
        (String::new(), "mount -t tmpfs x \"$LXC_ROOTFS\"; mkdir \"$LXC_ROOTFS/etc\""),
        (String::new(), "for i in 1 2; do mount -t tmpfs x \"$LXC_ROOTFS\"; done"),
    ] {
        for storage in ["none", "copy", "overlay"] {
            let role = format!(
                "{ROLE}post = '{post}'\n[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/etc/x\"\n\
                 content = \"x\"\n"
            );
            let sandbox = Sandbox::new()
                .manifest(&role)
                .upstream(&format!("mkdir \"$rootfs/etc\"; touch \"$rootfs/etc/os\"; {template}"));
            let ran = sandbox.create([&format!("--storage={storage}")]);
            ran.exits(0).mentions("left a mount at [DIR]/lxc/web1");
            let place = if storage == "overlay" { "delta" } else { "rootfs" };
            for (place, file) in [("rootfs", "os"), (place, "x")] {
                let path = sandbox.container().join(place).join("etc").join(file);
                assert!(
                    storage == "overlay" && file == "os" || path.exists(),
                    "{storage} {file}: {template} {post}"
                );
            }
        }
    }
}

#[test]
fn a_mount_that_is_left_beside_the_rootfs_swallows_nothing() {
    if !requirement::root() {
        return;
    }
    let steps = [
        "mkdir $place/data; mount -t tmpfs x $place/data",
        "cp $place/config $place/copy; mount --bind $place/copy $place/config",
    ];
    for (step, storage) in steps.into_iter().flat_map(|step| [(step, "none"), (step, "copy")]) {
        for (template, post) in [(step, "true"), ("true", step)] {
            let role = format!(
                "{ROLE}post = 'place=$LXC_PATH; {post}'\n[[layer]]\nname = \"app\"\n\
                 config = {{ \"lxc.environment\" = \"A=B\" }}\npost = 'test ! -e $LXC_PATH/data || echo x >$LXC_PATH/data/x'\n"
            );
            let sandbox = Sandbox::new()
                .manifest(&role)
                .upstream(&format!("place=$path; mkdir $rootfs/etc; {template}"));
            let ran = sandbox.create([&format!("--storage={storage}")]);
            ran.exits(0).mentions("left a mount at [DIR]/lxc/web1/");
            assert!(sandbox.config().contains("A=B"), "{storage}: {template} {post}");
            let data = sandbox.container().join("data");
            assert!(!data.exists() || data.join("x").exists(), "{storage}: {template} {post}");
        }
    }
}

/// What is done after that would be done where nobody finds it.
#[test]
fn a_step_that_unmounts_the_rootfs_has_failed() {
    if !requirement::root() {
        return;
    }
    for step in [
        "umount $LXC_ROOTFS; touch $LXC_ROOTFS/f",
        "umount $LXC_ROOTFS; mount -t tmpfs x $LXC_ROOTFS",
        "mkdir $LXC_PATH/away; mount --move $LXC_ROOTFS $LXC_PATH/away",
    ] {
        let sandbox = Sandbox::new().manifest(&format!(
            "{ROLE}[[layer]]\nname = \"app\"\nstore = false\npost = '{step}'\n"
        ));
        sandbox
            .create(["--storage=overlay"])
            .exits(6)
            .mentions("error: `post` of layer `app` has unmounted [DIR]/lxc/web1/rootfs\n");
    }
}

#[test]
fn a_config_that_a_step_has_removed_is_missed() {
    let config = "[layer.config]\n\"lxc.environment\" = \"A=B\"\n";
    for (storage, lines) in ["none", "copy"].into_iter().flat_map(|how| [(how, ""), (how, config)])
    {
        let role =
            format!("{ROLE}post = 'rm $LXC_PATH/config'\n[[layer]]\nname = \"app\"\n{lines}");
        let ran = Sandbox::new().manifest(&role).create([&format!("--storage={storage}")]);
        ran.exits(5).mentions("something has removed `config`");
    }
}

#[test]
fn a_rootfs_that_cannot_be_kept_whole_is_not_kept() {
    if !requirement::root() {
        return;
    }
    let role = format!("{ROLE}post = 'head -c 1M /dev/zero >\"$LXC_ROOTFS/etc/f\"; exit 1'\n");
    let sandbox = Sandbox::new().manifest(&role);
    sandbox.shell();
    fs::create_dir(sandbox.state()).unwrap();
    let script = "mount -t tmpfs -o size=256k tmpfs ../state && \"$0\" \"$@\"; status=$?; \
                  find ../state -mindepth 2; exit $status";
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", script]).arg(sandbox.program_path());
    command.args(sandbox.three()).args(["m.toml", "--keep-failed"]);
    let ran = sandbox.ran(command);
    ran.exits(6).mentions("warning: the failed rootfs could not be kept: `/etc/f`: No space left");
    assert!(
        ran.stdout().ends_with("/log\n") && ran.stdout().lines().count() == 1,
        "{}",
        ran.stdout()
    );
}

#[test]
fn a_rootfs_whose_paths_are_too_long_for_any_call_is_kept() {
    let deep = "import os\nfor _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)\n\
                open('f', 'w').write('found')\n";
    let sandbox = Sandbox::new()
        .file("deep.py", deep)
        .upstream(
            "mkdir \"$rootfs/etc\"; cp deep.py \"$rootfs\"; cd \"$rootfs\" && python3 deep.py",
        )
        .layers("post = 'exit 1'\n");
    for storage in ["none", "copy"] {
        let _ = fs::remove_dir_all(sandbox.container());
        let ran = sandbox.template(["m.toml", "--keep-failed", &format!("--storage={storage}")]);
        ran.exits(6).mentions("  rootfs: ");
        let kept = sandbox.left().remove(0);
        let look = "import os\nfor _ in range(30): os.chdir('d' * 200)\nprint(open('f').read())\n";
        let mut command = sandbox.command("python3");
        command.args(["-c", look]).current_dir(kept.join("rootfs"));
        sandbox.ran(command).exits(0).prints("found\n");
        fs::remove_dir_all(kept).unwrap();
    }
}

#[test]
fn a_long_name_has_a_log_all_the_same() {
    let name = "n".repeat(250);
    let role = format!("{ROLE}post = 'exit 1'\n");
    let sandbox = Sandbox::new().manifest(&role);
    let three = sandbox.three();
    sandbox.shell();
    let words = [three[0].clone(), format!("--name={name}"), three[2].clone(), "m.toml".into()];
    sandbox.run(words).exits(6).mentions("  log: ");
}

#[test]
fn a_directory_of_a_run_that_cannot_be_removed_is_told_of() {
    if !requirement::root() {
        return;
    }
    let role = "manifest = 1\n[vars]\nx = { from = \"os\" }\n[[layer]]\nname = \"os\"\n\
                template = \"fake\"\npre = 'echo x=1 >\"$LAYER_ENV\"; at=$(dirname \"$LAYER_ENV\"); \
                mkdir \"$at/busy\"; mount -t tmpfs none \"$at/busy\"'\n";
    let sandbox = Sandbox::new().manifest(role);
    let ran = sandbox.straight();
    ran.exits(0).mentions("warning: `[DIR]/state/").mentions("could not be removed: ");
}
