//! Sources that vanish or change after they were planned.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::listing;
use crate::sandbox::Sandbox;

const FILE: &str = "[[layer.file]]\npath = \"/etc/f\"\nsource = \"files/f\"\n";
const TREE: &str = "[[layer.file]]\npath = \"/etc/t\"\nsource = \"files\"\n";
const MERGED: &str = "[[layer.file]]\npath = \"/etc\"\nsource = \"files\"\n";

#[test]
fn a_source_that_is_not_as_planned_ends_the_run_and_leaves_nothing() {
    let gone = "its source `[DIR]/role/files/f`: No such file or directory";
    let changed = "its source `[DIR]/role/files/f` changed after it was planned";
    let no_file = "its source `[DIR]/role/files/f`: it is no longer a file";
    let table = [
        (FILE, "rm files/f", gone),
        (FILE, "echo other >files/f", changed),
        (FILE, ": >files/f", changed),
        (FILE, "rm files/f; mkdir files/f", no_file),
        (FILE, "rm files/f; mkfifo files/f", no_file),
        (TREE, "rm files/f", gone),
        (TREE, "echo other >files/f", changed),
        (TREE, "echo longer than it was >>files/f", changed),
        (TREE, "rm files/f; mkdir files/f", no_file),
        (TREE, "rm files/f; mkfifo files/f", no_file),
        (TREE, "rm files/f; ln -s /etc/passwd files/f", no_file),
        (TREE, "rm -r files", "its source `[DIR]/role/files`: No such file or directory"),
        (TREE, "rm -r files; touch files", "its source `[DIR]/role/files`: Not a directory"),
        (MERGED, "echo other >files/f", changed),
        (MERGED, "rm files/f", gone),
        (MERGED, "rm -r files/d", "its source `[DIR]/role/files/d`: No such file or directory"),
        (TREE, "rm -r files/d; touch files/d", "its source `[DIR]/role/files/d`: Not a directory"),
    ];
    for (lines, script, reason) in table {
        let sandbox = Sandbox::new()
            .file("files/f", "planned")
            .file("files/d/g", "g")
            .upstream(&format!("mkdir \"$rootfs/etc\"; {script}"))
            .layers(lines);
        let ran = sandbox.straight();
        ran.exits(5);
        assert!(ran.stderr().contains(reason), "{script}: {}", ran.stderr());
        ran.mentions("could not be dropped: ").mentions("--> m.toml:7\n");
        if lines != MERGED {
            assert_eq!(listing::of(&sandbox.rootfs()), "/etc directory 0755\n", "{script}");
        }
        assert!(!listing::of(&sandbox.rootfs()).contains(".layered-template"), "{script}");
    }
}

/// What is stored is known by what was planned.
#[test]
fn of_a_directory_the_planned_mode_and_attributes_count() {
    let mark = |path: &Path, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(path, "user.mark", value, flags).is_ok()
    };
    for storage in ["none", "copy"] {
        let sandbox = Sandbox::new().file("files/d/f", "f").layers(TREE).upstream(
            "mkdir \"$rootfs/etc\"; chmod 0700 files files/d; test ! -e more || cp -a more/. files",
        );
        let storage = format!("--storage={storage}");
        sandbox.create([&storage]).exits(0);
        let made = listing::of(&sandbox.rootfs());
        assert!(made.contains("/etc/t directory 0755\n/etc/t/d directory 0755\n"), "{made}");
        fs::remove_dir_all(sandbox.container()).unwrap();
        for path in ["", "d", "d/f"] {
            let (own, more) = (sandbox.role().join("files"), sandbox.role().join("more"));
            fs::create_dir_all(more.join("d")).unwrap();
            fs::write(more.join("d/f"), "f").unwrap();
            if !mark(&own.join(path), b"planned") || !mark(&more.join(path), b"other") {
                return;
            }
            let shown = Path::new("[DIR]/role/files").join(path);
            let shown = shown.to_str().unwrap().trim_end_matches('/').to_owned();
            let ran = sandbox.create(["--rebuild", &storage]);
            ran.exits(5).mentions(&format!("its source `{shown}` changed after it was planned"));
            fs::remove_dir_all(&more).unwrap();
        }
    }
}

#[test]
fn a_large_source_that_changes_is_not_half_there() {
    let sandbox = Sandbox::new()
        .file("big", vec![b'x'; 3_000_000])
        .upstream("mkdir \"$rootfs/etc\"; echo old >\"$rootfs/etc/big\"; echo more >>big")
        .layers("[[layer.file]]\npath = \"/etc/big\"\nsource = \"big\"\n");
    sandbox.straight().exits(5).mentions("changed after it was planned");
    assert_eq!(
        listing::of(&sandbox.rootfs()),
        "/etc directory 0755\n/etc/big file 0644 \"old\\n\"\n"
    );
}

#[test]
fn what_a_link_was_replaced_by_is_not_lost_when_the_tree_fails() {
    let sandbox = Sandbox::new()
        .file("files/f", "planned")
        .upstream("mkdir \"$rootfs/etc\"; ln -s no/where \"$rootfs/etc/t\"; echo other >files/f")
        .layers(TREE);
    sandbox.straight().exits(5).mentions("changed after it was planned");
    assert_eq!(listing::of(&sandbox.rootfs()), "/etc directory 0755\n/etc/t -> no/where\n");
}

#[test]
fn a_script_that_vanishes_is_a_step_that_fails() {
    let sandbox = Sandbox::new()
        .file("s.sh", "echo ran >>trace\n")
        .upstream("rm s.sh; mkdir \"$rootfs/etc\"")
        .layers("post = { script = \"s.sh\" }\n");
    sandbox.chain().exits(6).mentions("`post` of layer `os` ended with status");
    assert_eq!(sandbox.trace(), "");
}

#[test]
fn a_missing_source_or_script_is_found_before_anything_runs() {
    let sandbox = Sandbox::new().layers(
        "pre = \"touch ran\"\npost = { script = \"no.sh\" }\n\
         [[layer.file]]\npath = \"/x\"\nsource = \"no/file\"\n",
    );
    sandbox.chain().exits(2).says(
        "error: the script `[DIR]/role/no.sh` cannot be used: it is not there
 --> m.toml:7:19
  |
7 | post = { script = \"no.sh\" }
  |                   ^^^^^^^
  |
  = help: a relative path is relative to the file that names it

error: the source `[DIR]/role/no/file` cannot be used: it is not there
  --> m.toml:10:10
   |
10 | source = \"no/file\"
   |          ^^^^^^^^^
   |
   = help: a relative path is relative to the file that names it
",
    );
    assert!(!sandbox.role().join("ran").exists());
}

#[test]
fn a_source_that_has_no_end_is_refused_at_once() {
    let growing = "it has more bytes than its length says: it grows, or is made while it is read";
    for (key, path, reason) in [
        ("source", "/proc/self/pagemap", growing),
        ("source", "/proc/cpuinfo", growing),
        ("source", "endless", growing),
        ("source", "/dev/zero", "it is a device"),
        ("source", "/dev/stdin", "it is a device"),
        ("source", "fifo", "it is a fifo"),
        ("render", "/proc/self/pagemap", "cannot be used: "),
        ("script", "/proc/self/pagemap", "cannot be used: "),
        ("script", "fifo", "it is not a regular file"),
        ("script", "/dev/zero", "it is not a regular file"),
    ] {
        let lines = match key {
            "script" => format!("post = {{ script = \"{path}\" }}\n"),
            _ => {
                let render = if key == "render" { "render = true\n" } else { "" };
                format!("[[layer.file]]\npath = \"/f\"\nsource = \"{path}\"\n{render}")
            }
        };
        let sandbox = Sandbox::new().layers(&lines);
        let [fifo, endless] = ["fifo", "endless"].map(|name| sandbox.role().join(name));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        symlink("/proc/self/pagemap", endless).unwrap();
        for verb in ["validate", "plan"] {
            let mut command = sandbox.command("timeout");
            command.args(["30", sandbox.program_path().to_str().unwrap(), verb, "m.toml"]);
            let ran = sandbox.ran(command);
            let status = if verb == "validate" { 1 } else { 2 };
            ran.exits(status).mentions(&format!("the {} `", key.replace("render", "source")));
            ran.mentions(reason);
        }
    }
}
