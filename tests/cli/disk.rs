//! A full disk: a clear failure, and nothing half-written.

use crate::requirement::root;
use crate::sandbox::Sandbox;

/// Runs a chain whose container lies on a small tmpfs, in a mount namespace of its own, and returns
/// what was said and what the container holds then.
fn on_a_small_disk(sandbox: &Sandbox, size: &str, storage: &str) -> (Option<i32>, String, String) {
    sandbox.shell();
    let program = sandbox.program_path();
    let script = format!(
        "mount -t tmpfs -o size={size},nr_inodes=64 tmpfs ../lxc && mkdir -p ../lxc/web1/rootfs && \
         echo 'lxc.uts.name = x' >../lxc/web1/config || exit 99
         status=0; \"$0\" \"$@\" || status=$?
         find ../lxc -mindepth 1 | sort; cat ../lxc/web1/config; exit $status"
    );
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", &script]).arg(program);
    command.args(sandbox.three()).args(["m.toml", &format!("--storage={storage}")]);
    let ran = sandbox.ran(command);
    (ran.output.status.code(), ran.stderr(), ran.stdout())
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_what_was_there() {
    if !root() {
        return;
    }
    let file = "[[layer.file]]\npath = \"/etc/big\"\nsource = \"big\"\n";
    let tree = "[[layer.file]]\npath = \"/etc/tree\"\nsource = \"tree\"\n";
    let merged = "[[layer.file]]\npath = \"/etc\"\nsource = \"tree\"\n";
    for (lines, path) in [(file, "/etc/big"), (tree, "/etc/tree"), (merged, "/etc")] {
        let sandbox = Sandbox::new()
            .file("big", vec![b'x'; 1024 * 1024])
            .file("tree/big", vec![b'x'; 1024 * 1024])
            .upstream("mkdir \"$rootfs/etc\"; echo old >\"$rootfs/etc/big\"")
            .layers(lines);
        let (status, said, left) = on_a_small_disk(&sandbox, "256k", "none");
        assert_eq!(status, Some(5), "{said}");
        let expected = format!(
            "error: file `{path}` of layer `os` could not be dropped: No space left on device (os \
             error 28)\n"
        );
        assert!(said.contains(&expected), "{said}");
        assert_eq!(
            left,
            "../lxc/web1\n../lxc/web1/config\n../lxc/web1/rootfs\n../lxc/web1/rootfs/etc\n\
             ../lxc/web1/rootfs/etc/big\nlxc.uts.name = x\n"
        );
    }
}

#[test]
fn a_config_that_does_not_fit_is_the_old_one() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream("head -c 1M /dev/zero >\"$rootfs/fill\" || :")
        .layers("[layer.config]\nlxc.start.auto = 1\n");
    let (status, said, left) = on_a_small_disk(&sandbox, "64k", "none");
    assert_eq!(status, Some(5), "{said}");
    assert!(
        said.contains("error: config of layer `os` could not be written: No space left on device"),
        "{said}"
    );
    assert!(left.ends_with("lxc.uts.name = x\n"), "{left}");
    assert!(!left.contains("/."), "{left}");
}

#[test]
fn what_is_stored_and_does_not_fit_leaves_the_config_as_it_was() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().file("big", vec![b'x'; 1024 * 1024]).layers(
        "[layer.config]\nlxc.start.auto = 1\n\
         [[layer.file]]\npath = \"/big\"\nsource = \"big\"\n",
    );
    let (status, said, left) = on_a_small_disk(&sandbox, "256k", "copy");
    assert_eq!(status, Some(5), "{said}");
    let expected = "error: store of layer `os` failed (copying what is stored): in \
                    `[DIR]/lxc/web1/rootfs`: `/big`: No space left on device (os error 28)\n";
    assert!(said.contains(expected), "{said}");
    assert!(left.ends_with("lxc.uts.name = x\n"), "{left}");
}

#[test]
fn a_state_directory_that_cannot_be_written_ends_no_run() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .env("LAYERED_TEMPLATE_STATE", "/proc/no/such")
        .layers("post = \"echo ran >>trace\"\n");
    sandbox.chain().exits(0);
    assert_eq!(sandbox.trace(), "ran\n");
    assert_eq!(std::fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
    // A failure's log goes where temporary files go.
    let sandbox = sandbox.layers("post = \"exit 1\"\n");
    std::fs::remove_dir_all(sandbox.container()).unwrap();
    sandbox.chain().exits(6).mentions("  log: [DIR]/tmp/");
}

#[test]
fn a_log_that_is_cut_off_is_told_of_with_the_failure() {
    if !root() {
        return;
    }
    for (step, is_cut) in
        [("head -c 1M /dev/zero | tr '\\\\0' '\\\\n'; exit 3", true), ("exit 3", false)]
    {
        let sandbox = Sandbox::new().layers(&format!("post = \"{step}\"\n"));
        sandbox.shell();
        std::fs::create_dir_all(sandbox.state()).unwrap();
        let script = "mount -t tmpfs -o size=64k tmpfs ../state && exec \"$0\" \"$@\"";
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", script]).arg(sandbox.program_path());
        let words = ["m.toml", "--storage=none"];
        let ran = sandbox.ran({
            command.args(sandbox.three()).args(words);
            command
        });
        ran.exits(6).mentions("  log: [DIR]/state/");
        let told = "the log ends early: No space left on device";
        assert_eq!(ran.stderr().contains(told), is_cut, "{step}");
    }
}

#[test]
fn a_full_disk_of_the_store_is_named() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; head -c 1M /dev/zero >\"$rootfs/etc/zero\"")
        .layers("");
    sandbox.shell();
    std::fs::create_dir(sandbox.path("store")).unwrap();
    let script = "mount -t tmpfs -o size=512k,mode=711 tmpfs ../store && exec \"$0\" \"$@\"";
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--", "/bin/sh", "-c", script]).arg(sandbox.program_path());
    command.args(sandbox.three()).arg("m.toml");
    let ran = sandbox.ran(command);
    ran.exits(4).mentions("hint: the disk of the layer store, `[DIR]/store`, is full; ");
}
