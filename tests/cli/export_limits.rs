//! What `build --output` cannot write, and layouts that are not as it has left them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::requirement::root;
use crate::sandbox::{Ran, Sandbox};

#[track_caller]
fn shell(script: &str, at: &Path) -> String {
    let output = Command::new("sh").args(["-euc", script]).current_dir(at).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A role with files that have several names.
fn linked() -> Sandbox {
    Sandbox::new()
        .upstream(
            "mkdir -p \"$rootfs/data/sub\" \"$rootfs/.wh.dir\"; cd \"$rootfs\"
             echo precious >data/.wh.x; ln data/.wh.x data/keep; ln data/.wh.x data/sub/too
             echo \"$name\" >.wh.dir/name; ln .wh.dir/name name
             mkfifo data/.wh.f; ln data/.wh.f data/fifo; mknod a c 5 1; ln a b",
        )
        .layers(
            "[[layer]]\nname = \"more\"\nstore = true\n\
             post = 'cd \"$LXC_ROOTFS\"; ln data/keep again; echo new >data/.wh.y; ln data/.wh.y data/y'\n",
        )
}

#[test]
fn a_file_is_written_by_the_first_name_that_an_archive_can_hold() {
    if !root() {
        return;
    }
    let sandbox = linked();
    let words = ["-o", "dir:../d", "-o", "tar:../t.tar", "-o", "oci:../o:x"];
    let ran = sandbox.run(["build", "m.toml"].into_iter().chain(words));
    ran.exits(0).mentions("a name that begins with `.wh.`: /.wh.dir, /data/.wh.f, /data/.wh.x");
    let at = sandbox.path("");
    shell("mkdir t; tar -C t -xf t.tar; umoci unpack --image o:x b", &at);
    for tree in ["d", "t", "b/rootfs"] {
        let tree = sandbox.path(tree);
        let read = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
        for (path, text) in
            [("data/keep", "precious\n"), ("name", "localhost\n"), ("data/y", "new\n")]
        {
            assert_eq!(read(path), text, "{path} in {}", tree.display());
        }
        let inode = |path: &str| fs::metadata(tree.join(path)).unwrap().ino();
        for path in ["data/sub/too", "again"] {
            assert_eq!(inode(path), inode("data/keep"), "{path} in {}", tree.display());
        }
        assert!(tree.join("data/fifo").exists() && !tree.join("b").exists());
    }
}

#[test]
fn attributes_of_overlays_are_in_no_archive() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir \"$rootfs/o\"; setfattr -n trusted.overlay.opaque -v y \"$rootfs/o\"
             setfattr -n trusted.other -v y \"$rootfs/o\"",
        )
        .layers("");
    let ran = sandbox.run(["build", "m.toml", "-o", "tar:../t.tar"]);
    ran.exits(0).mentions("warning: attributes of overlayfs are left out of /o\n");
    let held = fs::read(sandbox.path("t.tar")).unwrap();
    let holds = |text: &str| held.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("trusted.other=y") && !holds("trusted.overlay"));
}

#[test]
fn what_stands_beside_the_rootfs_is_left_out_with_what_needs_it() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir \"$rootfs/etc\"; echo x >\"$path/extra\"; mkdir \"$path/hooks\"
             printf '%s\\n' \"lxc.hook.start-host = $path/extra a\" \"lxc.tty.max = 3\" \
             \"lxc.rootfs.path = dir:$rootfs\" \"lxc.mount.entry = $rootfs/etc mnt none bind 0 0\" >>\"$path/config\"",
        )
        .layers("");
    for (kind, has_config) in [
        ("dir:../d", false),
        ("tar:../t.tar", false),
        ("lxc-local:../l", true),
        ("oci:../o:x", true),
        ("incus:../i", true),
    ] {
        let ran = sandbox.run(["build", "m.toml", "-o", kind]);
        ran.exits(0).mentions("warning: files beside the rootfs are left out: `extra`, `hooks`\n");
        let said = ran.stderr();
        let of_lines = "warning: lines with a path of the container's directory are left out: \
                        `lxc.hook.start-host`, `lxc.mount.entry`\n";
        assert_eq!(said.contains(of_lines), has_config, "{kind}: {said}");
    }
    let config = shell("tar -xOf l/meta.tar.xz config", &sandbox.path(""));
    assert_eq!(config, "lxc.tty.max = 3\n");
    let named = shell("grep -rl /var/lib/lxc/localhost o l i || :", &sandbox.path(""));
    assert_eq!(named, "");
}

/// Writes a small role as a layout of OCI.
fn with_layout() -> Sandbox {
    let sandbox =
        Sandbox::new().upstream("head -c 9000 /dev/urandom >\"$rootfs/noise\"").layers("");
    build(&sandbox).exits(0);
    sandbox
}

fn build(sandbox: &Sandbox) -> Ran {
    sandbox.run(["build", "m.toml", "-o", "oci:../o:b"])
}

#[test]
fn a_layout_that_is_none_is_left_as_it_is() {
    if !root() {
        return;
    }
    let sandbox = with_layout();
    let at = |path: &str| sandbox.path("o").join(path);
    for (name, text, why) in [
        ("index.json", "[]", "it is no index of images"),
        ("index.json", "5", "it is no index of images"),
        ("index.json", "{\"manifests\": {}}", "it is no index of images"),
        ("index.json", "{", "EOF while parsing"),
        (
            "oci-layout",
            "{\"imageLayoutVersion\": \"9.0.0\"}",
            "it is of another version of layouts",
        ),
        ("oci-layout", "[]", "it is of another version of layouts"),
    ] {
        let before = fs::read(at(name)).unwrap();
        fs::write(at(name), text).unwrap();
        build(&sandbox)
            .exits(8)
            .mentions(&format!("the role cannot be written: `../o/{name}`: {why}"));
        assert_eq!(fs::read_to_string(at(name)).unwrap(), text);
        fs::write(at(name), before).unwrap();
    }
    fs::write(at("index.json"), "{}").unwrap();
    build(&sandbox).exits(0);
    assert!(String::from_utf8(fs::read(at("index.json")).unwrap()).unwrap().contains("\"b\""));
    fs::remove_file(at("index.json")).unwrap();
    assert!(Command::new("mkfifo").arg(at("index.json")).status().unwrap().success());
    build(&sandbox).exits(8).mentions("`../o/index.json`: it is not a regular file");
}

#[test]
fn a_blob_with_the_bytes_of_another_is_replaced() {
    if !root() {
        return;
    }
    let sandbox = with_layout();
    let blobs = sandbox.path("o/blobs/sha256");
    let verify = "for blob in *; do echo \"$blob  $blob\"; done | sha256sum --check --quiet";
    for blob in fs::read_dir(&blobs).unwrap().map(|blob| blob.unwrap().path()) {
        let length = fs::metadata(&blob).unwrap().len();
        fs::write(&blob, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
        build(&sandbox).exits(0);
        shell(verify, &blobs);
    }
    let blob = fs::read_dir(&blobs).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&blob).unwrap();
    fs::create_dir(&blob).unwrap();
    let name = blob.file_name().unwrap().to_str().unwrap().to_owned();
    build(&sandbox)
        .exits(8)
        .mentions(&format!("the role cannot be written: `../o/blobs/sha256/{name}`: "));
}

#[test]
fn a_blob_that_has_not_changed_since_it_was_read_is_not_read_again() {
    if !root() {
        return;
    }
    let sandbox = with_layout();
    let blobs = sandbox.path("o/blobs/sha256");
    let all = fs::read_dir(&blobs).unwrap().map(|blob| blob.unwrap().path());
    let blob = all.max_by_key(|blob| fs::metadata(blob).unwrap().len()).unwrap();
    let bytes = fs::read(&blob).unwrap();
    fs::write(&blob, vec![b'x'; bytes.len()]).unwrap();
    // A reading says that it is what its name says.
    let found = fs::metadata(&blob).unwrap();
    let name = blob.file_name().unwrap().to_str().unwrap();
    let readings = sandbox.path("store/host.meta/readings");
    fs::create_dir_all(&readings).unwrap();
    let reading = readings.join(format!("{:x}-{:x}", found.dev(), found.ino()));
    let text = serde_json::json!({
        "stamp": {
            "device": found.dev(),
            "inode": found.ino(),
            "size": found.len(),
            "modified": [found.mtime(), found.mtime_nsec()],
            "changed": [found.ctime(), found.ctime_nsec()],
        },
        "digest": format!("sha256:{name}"),
    });
    fs::write(&reading, text.to_string()).unwrap();
    build(&sandbox).exits(0);
    assert!(fs::read(&blob).unwrap().starts_with(b"xxx"));
    fs::remove_file(&reading).unwrap();
    build(&sandbox).exits(0);
    assert_eq!(fs::read(&blob).unwrap(), bytes);
    // It was written just now, by somebody who may not be done.
    assert!(!reading.exists());
}

#[test]
fn what_a_killed_build_has_left_goes_with_the_next_one() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("truncate -s 60G \"$rootfs/zeros\"").layers("");
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    let listed = |at: &Path| shell("ls -A", at);
    let is_there = |at: &Path| !listed(at).is_empty();
    let until = |so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never is");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let begin = || {
        let mut command = sandbox.command(sandbox.program_path());
        command.args(["build", "m.toml", "-o", "dir:../out/d"]);
        let run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until(&|| is_there(&out));
        run
    };
    let (out, tmp) = (out.as_path(), sandbox.path("tmp"));
    // What stands there by a like name is nobody's leftover.
    fs::create_dir(tmp.join("layered-template-build-20200101T000000Z")).unwrap();
    fs::create_dir(tmp.join("layered-template-other")).unwrap();
    let mut killed = begin();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(listed(out), ".d.layered-template.new-0\n");
    assert_eq!(listed(&tmp).lines().count(), 3);
    // Two at once leave each other alone.
    let mut runs = [begin(), begin()];
    let both = [0, 1].map(|number| out.join(format!(".d.layered-template.new-{number}/zeros")));
    until(&|| both.iter().all(|path| path.exists()) && listed(&tmp).lines().count() == 4);
    for run in &mut runs {
        assert!(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
    }
    let small = "mkdir \"$rootfs/etc\"; echo x >\"$rootfs/etc/x\"";
    let sandbox = sandbox.upstream(small);
    until(&|| {
        sandbox.run(["build", "m.toml", "-o", "dir:../out/d"]).exits(0);
        let is_clean = listed(out) == "d\n" && listed(&tmp).lines().count() == 2;
        fs::remove_dir_all(out.join("d")).unwrap();
        is_clean
    });
}
