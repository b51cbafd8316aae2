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

#[test]
fn a_rootfs_that_cannot_be_kept_whole_is_not_kept() {
    let role = format!("{ROLE}post = 'mkfifo \"$LXC_ROOTFS/etc/f\"; exit 1'\n");
    // A copy that fails when it is half done.
    let cp = "#!/bin/sh\nfor to; do :; done\nmkdir -p \"$to/half\"\nexit 1\n";
    let sandbox = Sandbox::new().manifest(&role).program("tmp/cp", cp);
    let path = format!("{}:/usr/bin:/bin", sandbox.path("tmp").display());
    let sandbox = sandbox.env("PATH", path);
    sandbox.template(["m.toml", "--keep-failed"]).exits(6).mentions("could not be kept");
    for run in fs::read_dir(sandbox.state()).unwrap().flatten() {
        assert!(!run.path().join("rootfs").exists(), "{}", run.path().display());
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
