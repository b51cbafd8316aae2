//! What `build --output` writes, judged by the programs that read it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::requirement::root;
use crate::sandbox::Sandbox;

/// A tree of everything that an archive can hold, and a few things that none can.
const UPSTREAM: &str = r#"
cd "$rootfs"; umask 022
mkdir -p etc usr/bin var/log srv dev d/sub opaque "$(printf 'odd\n\377')" "$(printf 'deep/%.0s' $(seq 60))"
echo "$name lives in $path" >etc/hostname; chown 3000000:5 etc/hostname
ln -s "$name" etc/own
echo hi >usr/bin/a; chmod 4755 usr/bin/a; ln usr/bin/a usr/bin/b; ln -s a usr/bin/c
setfattr -n user.y -v "$(printf 'a\n=b')" usr/bin/a; setfacl -m u:1234:r usr/bin/a
setfacl -d -m g:77:rwx d; setfattr -n user.dir -v 1 d
mkfifo d/f; truncate -s 20M var/log/hole; touch -d '1969-12-31 23:59:58.5' srv
touch usr/turns d/sub/x d/sub/y d/gone d/becomes "d/$(printf 'n%.0s' $(seq 255))" "opaque/$(printf 'o%.0s' $(seq 252))" opaque/stays
ln -s "$(printf 'long/%.0s' $(seq 300))" d/long
mknod dev/null c 1 3; mknod d/device c 5 1; touch d/.wh.mine
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("d/socket")'
"#;

const LAYERS: &str = r#"
[[layer]]
name = "app"
config = { "lxc.environment" = ["STAGE=test"], "lxc.tty.max" = 2 }
[[layer.file]]
path = "/etc/app"
content = "{{ lxc.name }}"
render = true
[[layer]]
name = "changes"
store = true
post = '''
cd "$LXC_ROOTFS"; rm d/gone usr/bin/c; rm -r d/sub; mkdir d/sub; ln usr/bin/a usr/bin/z
rm d/nnnn* opaque/oooo*; mv srv srv2; rm -r odd*; echo no >"$(printf 'odd\n\377')"
rm d/becomes; mkdir d/becomes; rm usr/turns; mknod usr/turns c 5 1; echo more >>etc/app; chmod 700 d
'''
"#;

fn role() -> Sandbox {
    Sandbox::new().upstream(UPSTREAM).layers(LAYERS)
}

/// Calls a judge, and returns what it prints.
#[track_caller]
fn judge(words: &[&str], at: &Path) -> String {
    let output = Command::new(words[0]).args(&words[1..]).current_dir(at).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What there is in a tree: each path with all that an archive carries of it.
const LIST: &str = r"
import hashlib, os, stat, sys
top = os.fsencode(sys.argv[1])
first = {}
for directory, names, files in os.walk(top):
    names.sort()
    for name in [b'.'] + sorted(names + files):
        path = os.path.normpath(os.path.join(directory, name))
        found = os.lstat(path)
        kind = stat.S_IFMT(found.st_mode)
        if kind in (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK) or name.startswith(b'.wh.'):
            continue
        data = b''
        if kind == stat.S_IFREG:
            data = hashlib.sha256(open(path, 'rb').read()).hexdigest().encode()
        elif kind == stat.S_IFLNK:
            data = os.readlink(path)
        attributes = sorted((a, os.getxattr(path, a, follow_symlinks=False))
                            for a in os.listxattr(path, follow_symlinks=False))
        link = first.setdefault((found.st_dev, found.st_ino), os.path.relpath(path, top))
        if kind == stat.S_IFDIR:
            link = b''
        print(os.path.relpath(path, top), oct(found.st_mode), found.st_uid, found.st_gid,
              found.st_mtime_ns, data, attributes, link)
";

fn listed(tree: &Path) -> BTreeMap<String, String> {
    let text = judge(&["python3", "-c", LIST, tree.to_str().unwrap()], Path::new("/"));
    let split = |line: &str| {
        let (path, rest) = line.split_once(' ').unwrap();
        (path.to_owned(), rest.to_owned())
    };
    text.lines().map(split).collect()
}

/// Sees that a tree is the stored one, but for the name.
#[track_caller]
fn assert_stored(sandbox: &Sandbox, tree: &Path) {
    let trees = fs::read_dir(sandbox.path("store/host/trees")).unwrap();
    let mut trees = trees.map(|tree| tree.unwrap().path().join("rootfs"));
    let stored = trees.find(|tree| tree.join("srv2").exists()).expect("the last layer is stored");
    let (mut stored, mut written) = (listed(&stored), listed(tree));
    for named in ["b'etc/hostname'", "b'etc/own'", "b'etc/app'"] {
        assert!(stored.remove(named).is_some() && written.remove(named).is_some(), "{named}");
    }
    assert!(stored.len() > 70, "{stored:#?}");
    for (path, what) in &stored {
        assert_eq!(written.get(path), Some(what), "{path}");
    }
    assert_eq!(written.len(), stored.len());
    let read = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    assert_eq!(read("etc/hostname"), "localhost lives in /var/lib/lxc/localhost\n");
    assert_eq!(read("etc/app"), "localhostmore\n");
    assert_eq!(fs::read_link(tree.join("etc/own")).unwrap(), PathBuf::from("localhost"));
    assert!(!read("etc/hostname").contains("placeholder"));
}

#[test]
fn an_image_unpacks_to_what_is_stored() {
    if !root() {
        return;
    }
    let sandbox = role();
    let ran = sandbox.run(["build", "m.toml", "-o", "oci:../image:web", "-o", "tar:../web.tar"]);
    ran.exits(0).shows("written to ../image\n");
    ran.mentions("no archive can hold a socket: /d/socket\n");
    ran.mentions("device nodes are left out: /d/device, /usr/turns\n");
    ran.mentions("no archive can hold a name that begins with `.wh.`: /d/.wh.mine\n");
    let at = sandbox.path("");
    judge(&["umoci", "unpack", "--image", "image:web", "bundle"], &at);
    assert_stored(&sandbox, &sandbox.path("bundle/rootfs"));
    fs::create_dir(sandbox.path("tree")).unwrap();
    judge(&["tar", "--xattrs", "--xattrs-include=*", "-C", "tree", "-xpf", "web.tar"], &at);
    assert_stored(&sandbox, &sandbox.path("tree"));

    let config = judge(&["skopeo", "inspect", "--config", "oci:image:web"], &at);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let environment = config["config"]["Env"].as_array().unwrap();
    assert!(environment.contains(&"STAGE=test".into()), "{environment:?}");
    let label = config["config"]["Labels"]["org.layered-template.lxc-config"].as_str().unwrap();
    assert!(label.contains("lxc.tty.max = 2\n") && !label.contains("placeholder"), "{label}");
    // Another image of the layout stays, and both can be copied.
    sandbox.run(["build", "m.toml", "--output", "oci:../image:other"]).exits(0);
    for tag in ["web", "other"] {
        judge(
            &["skopeo", "copy", "-q", &format!("oci:image:{tag}"), &format!("dir:copy-{tag}")],
            &at,
        );
    }
}

#[test]
fn layers_by_zstd_hold_the_same_as_those_by_gzip() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.run(["build", "m.toml", "-o", "oci:../image:web"]).exits(0);
    let words = ["build", "m.toml", "-o", "oci:../image:small", "--compression=zstd"];
    sandbox.run(words).exits(0);
    let at = sandbox.path("");
    let shown = |words: &[&str], tag: &str| -> serde_json::Value {
        let image = format!("oci:image:{tag}");
        let words = [&["skopeo", "inspect"], words, &[&image]].concat();
        serde_json::from_str(&judge(&words, &at)).unwrap()
    };
    let diff_ids = |tag: &str| shown(&["--config"], tag)["rootfs"]["diff_ids"].clone();
    assert_eq!(diff_ids("small"), diff_ids("web"));
    let manifest = shown(&["--raw"], "small");
    let (layers, diff_ids) = (manifest["layers"].as_array().unwrap(), diff_ids("small"));
    assert_eq!(layers.len(), diff_ids.as_array().unwrap().len());
    for (layer, diff_id) in layers.iter().zip(diff_ids.as_array().unwrap()) {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        let digest = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let text = format!("zstd -dc image/blobs/sha256/{digest} | sha256sum");
        let found = judge(&["sh", "-c", &text], &at);
        assert_eq!(format!("sha256:{}", found.split(' ').next().unwrap()), *diff_id);
    }
    judge(&["skopeo", "copy", "-q", "oci:image:small", "oci:copy:small"], &at);
    let unknown = ["build", "m.toml", "-o", "tar:../web.tar", "--compression=zstd"];
    sandbox.run(unknown).exits(2).mentions("`--compression` is for `--output=oci:DIR:TAG`");
}

#[test]
fn an_image_is_made_once() {
    if !root() {
        return;
    }
    let sandbox = role();
    let words = ["build", "m.toml", "-o", "oci:../image:web"];
    let first = sandbox.run(words).exits(0).stderr();
    let blobs = sandbox.path("store/host.meta/blobs");
    let listed = || judge(&["sh", "-c", "ls -i | sort -k2"], &blobs);
    let before = listed();
    // What is known of the archives of three entries stands beside them.
    assert_eq!(before.lines().count(), 2 * 4 + 3, "{before}");
    fs::remove_dir_all(sandbox.path("image")).unwrap();
    // What no archive can hold is told again.
    let again = sandbox.run(words).exits(0).stderr();
    let warnings = |text: &str| text.lines().filter(|line| line.starts_with("warning")).count();
    assert_eq!((warnings(&again), listed()), (warnings(&first), before.clone()));
    // One that is gone, or damaged, is made again.
    let largest = judge(&["sh", "-c", "ls -S | head -1"], &blobs);
    fs::write(blobs.join(largest.trim()), "").unwrap();
    fs::remove_dir_all(sandbox.path("image")).unwrap();
    sandbox.run(words).exits(0);
    judge(&["umoci", "unpack", "--image", "image:web", "bundle"], &sandbox.path(""));
    assert_stored(&sandbox, &sandbox.path("bundle/rootfs"));
    // They go with the entries that they were made of.
    fs::write(blobs.join("new-killed"), "").unwrap();
    sandbox.run(["store", "gc"]).exits(0);
    assert!(!blobs.join("new-killed").exists());
    assert_eq!(judge(&["ls"], &blobs).lines().count(), 2 * 4 + 3);
    sandbox.run(["store", "gc", "--keep=0"]).exits(0);
    assert_eq!(judge(&["ls"], &blobs), "");
}

#[test]
fn what_is_written_is_the_same_byte_for_byte() {
    if !root() {
        return;
    }
    // What compresses can be told much by its environment.
    let environments = [("XZ_OPT", "-0", "XZ_DEFAULTS", "-T1"), ("ZSTD_CLEVEL", "1", "A", "b")];
    let outputs: Vec<_> = environments
        .into_iter()
        .map(|(one, value, other, more)| {
            let sandbox = role().env("SOURCE_DATE_EPOCH", "1700000000");
            let sandbox = sandbox.env(one, value).env(other, more);
            let words =
                ["oci:../image:web", "tar:../w.tar.gz", "tar:../w.tar.xz", "tar:../w.tar.zst"];
            let words = words.iter().flat_map(|word| ["-o", word]);
            let words = words.chain(["--compression=zstd"]);
            sandbox.run(["build", "m.toml", "--quiet"].into_iter().chain(words)).exits(0);
            let at = sandbox.path("");
            judge(&["sh", "-c", "sha256sum image/index.json image/blobs/sha256/* w.tar.*"], &at)
        })
        .collect();
    assert_eq!(outputs[0].lines().count(), 1 + 6 + 3, "{}", outputs[0]);
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn what_cannot_be_written_is_told_and_leaves_nothing() {
    if !root() {
        return;
    }
    let sandbox = role();
    for (target, why) in [
        ("zip:x", "expected `dir:DIR`, `tar:FILE`, `oci:DIR:TAG`, `lxc-local:DIR` or `incus:DIR`"),
        ("oci:x", "needs a tag"),
        ("tar:", "names no file"),
    ] {
        sandbox.run(["build", "m.toml", "-o", target]).exits(2).mentions(why);
    }
    sandbox
        .run(["build", "m.toml", "m.toml", "-o", "tar:x"])
        .exits(2)
        .mentions("a single manifest");
    sandbox
        .run(["build", "m.toml", "-o", "tar:/nowhere/x.tar"])
        .exits(2)
        .mentions("there is no directory `/nowhere`");
    assert!(!sandbox.role().join("x").exists());
    // What each container has of its own is in no image.
    let own = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"own\"\n\
               post = \"true\"\n";
    fs::write(sandbox.role().join("own.toml"), own).unwrap();
    let ran = sandbox.run(["build", "own.toml", "-o", "tar:../own.tar"]);
    ran.exits(8).mentions("layer `own` is made in each container");
    assert!(!sandbox.path("own.tar").exists());
}

#[test]
fn a_signal_ends_the_writing_and_nothing_is_left() {
    if !root() {
        return;
    }
    // Zeros for a long time.
    let sandbox = Sandbox::new().upstream("truncate -s 60G \"$rootfs/zeros\"").layers("");
    let (out, blobs) = (sandbox.path("out"), sandbox.path("store/host.meta/blobs"));
    fs::create_dir(&out).unwrap();
    for (signal, status, target) in [
        ("TERM", Some(143), "tar:../out/w.tar.gz"),
        ("KILL", None, "tar:../out/w.tar.gz"),
        ("INT", Some(130), "oci:../out/image:web"),
        ("KILL", None, "oci:../out/image:web"),
    ] {
        let mut command = sandbox.command(sandbox.program_path());
        command.args(["build", "m.toml", "-o", target]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = command.spawn().unwrap();
        let is_written = || {
            // What has no name yet is seen by whoever has it open.
            let opened = fs::read_dir(format!("/proc/{}/fd", run.id())).unwrap().flatten();
            let mut opened = opened.map(|entry| entry.path());
            opened.any(|path| {
                let is_below = fs::read_link(&path)
                    .is_ok_and(|file| file.starts_with(&out) || file.starts_with(&blobs));
                is_below && fs::metadata(&path).is_ok_and(|file| file.len() > 100_000)
            })
        };
        let begun = Instant::now();
        while !is_written() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{target}: it does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        judge(&["kill", &format!("-{signal}"), &run.id().to_string()], &out);
        assert_eq!(run.wait().unwrap().code(), status, "{target}");
        for place in [&out, &blobs] {
            assert_eq!(judge(&["find", ".", "-type", "f"], place), "", "{target}");
        }
    }
}

#[test]
fn nothing_is_written_through_what_others_have_put_there() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    let (out, precious) = (sandbox.path("out"), sandbox.path("precious"));
    fs::create_dir(&out).unwrap();
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, out.join("w.tar")).unwrap();
    for number in 0..4 {
        symlink(&precious, out.join(format!(".layered-template.new-{number}"))).unwrap();
    }
    sandbox.run(["build", "m.toml", "-o", "tar:../out/w.tar"]).exits(0);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(fs::symlink_metadata(out.join("w.tar")).unwrap().is_file());
}

#[test]
fn whoever_may_not_read_the_caller_s_files_may_not_read_these() {
    if !root() {
        return;
    }
    for (umask, expected) in [(0o022, "644 755"), (0o077, "600 700")] {
        let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("").umask(umask);
        let words = ["build", "m.toml", "-o", "tar:../w.tar", "-o", "oci:../image:web"];
        sandbox.run(words.into_iter().chain(["-o", "lxc-local:../local"])).exits(0);
        let find = "find w.tar image local -printf '%m %y\\n' | sort -u | tr '\\n' ' '";
        let (file, directory) = expected.split_once(' ').unwrap();
        let expected = format!("{file} f {directory} d ");
        assert_eq!(judge(&["sh", "-c", find], &sandbox.path("")), expected);
    }
}

#[test]
fn several_tags_of_a_layout_are_written_at_once() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    sandbox.run(["build", "m.toml"]).exits(0);
    let runs: Vec<_> = (0..12)
        .map(|number| {
            let mut command = sandbox.command(sandbox.program_path());
            command.args(["build", "m.toml", "-q", "-o", &format!("oci:../image:v{number}")]);
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    let index = fs::read_to_string(sandbox.path("image/index.json")).unwrap();
    for number in 0..12 {
        assert!(index.contains(&format!("\"v{number}\"")), "v{number}: {index}");
    }
}

#[test]
fn runc_runs_an_image() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n[[layer]]\n\
         name = \"app\"\nconfig = { \"lxc.environment\" = [\"STAGE=test\"] }\n\
         post = { in = \"rootfs\", run = \"echo built >/etc/built\" }\n",
    );
    sandbox.run(["build", "m.toml", "-o", "oci:../image:web"]).exits(0);
    let at = sandbox.path("");
    judge(&["umoci", "unpack", "--image", "image:web", "bundle"], &at);
    let path = at.join("bundle/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["/sbin/init"]));
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", "cat /etc/built; echo $STAGE"]);
    fs::write(&path, config.to_string()).unwrap();
    let name = format!("lt-{}", std::process::id());
    let said = judge(&["runc", "--root", "state", "run", "--bundle", "bundle", &name], &at);
    assert_eq!(said, "built\ntest\n");
}

#[test]
fn a_full_disk_is_the_reason_that_is_told() {
    if !root() {
        return;
    }
    let upstream = "head -c 24M /dev/urandom >\"$rootfs/noise\"";
    let sandbox = Sandbox::new().upstream(upstream).layers("");
    sandbox.run(["build", "m.toml"]).exits(0);
    let small = sandbox.path("small");
    fs::create_dir(&small).unwrap();
    for target in ["tar:w.tar", "tar:w.tar.gz", "tar:w.tar.xz", "tar:w.tar.zst", "lxc-local:w"] {
        let (kind, name) = target.split_once(':').unwrap();
        let script = format!(
            "mount -t tmpfs -o size=1m tmpfs ../small || exit 99
             status=0; \"$0\" build m.toml -o {kind}:../small/{name} || status=$?
             find ../small -type f; exit $status"
        );
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", &script]).arg(sandbox.program_path());
        let ran = sandbox.ran(command);
        let said = ran.exits(8).stderr();
        let about = format!("error: the role cannot be written: `../small/{name}");
        let told = said.lines().find(|line| line.starts_with(&about)).unwrap_or_default();
        assert!(told.contains("No space left on device"), "{said}");
        assert!(!ran.stdout().contains("../small/"), "{}", ran.stdout());
    }
}

#[test]
fn a_directory_of_others_is_refused_before_anything_is_built() {
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    let others = sandbox.path("others");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("precious"), "").unwrap();
    for (target, expected) in [
        (
            "oci:../others:web",
            "`../others` is not empty, and no OCI layout: it has no `oci-layout`",
        ),
        (
            "lxc-local:../others",
            "`../others` is not empty, and none for `lxc-create -t local`: it has no `rootfs.tar.xz`",
        ),
        (
            "tar:../nowhere/web.tar",
            "there is no directory `[DIR]/role/../nowhere`\n\n\
             hint: `mkdir -p [DIR]/role/../nowhere` makes it",
        ),
        ("tar:../others", "`../others` is a directory"),
        ("oci:../others/precious:web", "`../others/precious` is no directory"),
        ("lxc-local:../others/precious", "`../others/precious` is no directory"),
    ] {
        let ran = sandbox.run(["build", "m.toml", "-o", target]);
        ran.exits(2).says(&format!("error: `--output={target}`: {expected}\n"));
        assert!(!sandbox.path("store").exists());
    }
    let names: Vec<_> = fs::read_dir(&others).unwrap().collect();
    assert_eq!(names.len(), 1);
    if !root() {
        return;
    }
    fs::create_dir(sandbox.path("empty")).unwrap();
    for target in ["oci:../empty:web", "oci:../empty:other", "lxc-local:../new", "lxc-local:../new"]
    {
        sandbox.run(["build", "m.toml", "-o", target]).exits(0);
    }
}

#[test]
fn what_leads_to_no_file_is_refused_before_anything_is_built_and_stays() {
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    let out = sandbox.path("out");
    fs::create_dir_all(out.join("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(out.join("fifo")).status().unwrap().success());
    for (name, leads) in [
        // As `/dev/stdout` is.
        ("stdout", "/proc/self/fd/1"),
        ("stdout-of-others", "stdout"),
        ("null", "/dev/null"),
        ("to-fifo", "fifo"),
        ("to-directory", "directory"),
        ("nowhere", "nothing"),
        ("round", "round"),
    ] {
        symlink(leads, out.join(name)).unwrap();
    }
    let no_file = "is no file, and nothing else is replaced by one";
    let no_directory = "is no directory";
    for (kind, end, name, expected) in [
        ("tar", "", "fifo", no_file),
        ("tar", "", "stdout", no_file),
        ("tar", "", "stdout-of-others", no_file),
        ("tar", "", "null", no_file),
        ("tar", "", "to-fifo", no_file),
        ("tar", "", "to-directory", "is a directory"),
        ("tar", "", "round", no_file),
        ("dir", "", "to-directory", "is a link"),
        ("dir", "", "nowhere", "is a link"),
        ("dir", "", "stdout", "is a link"),
        ("oci", ":web", "nowhere", "is a link to nothing"),
        ("lxc-local", "", "nowhere", "is a link to nothing"),
        ("incus", "", "nowhere", "is a link to nothing"),
        ("incus", "", "fifo", no_directory),
    ] {
        let target = format!("{kind}:../out/{name}{end}");
        let before = fs::symlink_metadata(out.join(name)).unwrap().ino();
        let mut command = sandbox.command(sandbox.program_path());
        // Where `/dev/stdout` leads is a file then.
        command.stdout(fs::File::create(out.join("printed")).unwrap());
        command.args(["build", "m.toml", "-o", &target]);
        let ran = sandbox.ran(command);
        ran.exits(2).says(&format!("error: `--output={target}`: `../out/{name}` {expected}\n"));
        assert!(!sandbox.path("store").exists(), "{target}");
        assert_eq!(fs::symlink_metadata(out.join(name)).unwrap().ino(), before, "{target}");
    }
}

#[test]
fn a_directory_is_what_is_stored() {
    if !root() {
        return;
    }
    let sandbox = role();
    let (out, rootfs) = (sandbox.path("out"), sandbox.path("out/rootfs"));
    fs::create_dir(&out).unwrap();
    let ran = sandbox.run(["build", "m.toml", "-o", "dir:../out/rootfs"]);
    ran.exits(0).shows("written to ../out/rootfs\n");
    ran.mentions("device nodes are left out: /d/device, /usr/turns\n");
    let hole = fs::metadata(rootfs.join("var/log/hole")).unwrap();
    assert_eq!((hole.len(), hole.blocks()), (20 << 20, 0));
    assert_stored(&sandbox, &rootfs);
    let names = || judge(&["ls", "-A", "."], &out);
    assert_eq!(names(), "rootfs\n");
    // What is there stays as it is.
    sandbox
        .run(["build", "m.toml", "-o", "dir:../out/rootfs"])
        .exits(2)
        .mentions("`../out/rootfs` is not empty, and a rootfs is written into none that holds");
    fs::write(out.join("file"), "").unwrap();
    symlink("rootfs", out.join("link")).unwrap();
    sandbox
        .run(["build", "m.toml", "-o", "dir:../out/file"])
        .exits(2)
        .mentions("`../out/file` is no directory");
    sandbox.run(["build", "m.toml", "-o", "dir:../out/link"]).exits(2).mentions("is a link");
    for target in ["dir:..", "dir:/"] {
        sandbox.run(["build", "m.toml", "-o", target]).exits(2).mentions("is not empty");
    }
    // An empty directory is taken, and both are the same.
    fs::create_dir(out.join("empty")).unwrap();
    sandbox.run(["build", "m.toml", "-o", "dir:../out/empty/"]).exits(0);
    assert_eq!(listed(&out.join("empty")), listed(&rootfs));
    assert_eq!(names(), "empty\nfile\nlink\nrootfs\n");
}

#[test]
fn a_directory_that_is_interrupted_is_not_there() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("truncate -s 60G \"$rootfs/zeros\"").layers("");
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    let mut command = sandbox.command(sandbox.program_path());
    command.args(["build", "m.toml", "-o", "dir:../out/rootfs"]);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !judge(&["find", "."], &out).contains("/zeros") {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    judge(&["kill", "-TERM", &run.id().to_string()], &out);
    assert_eq!(run.wait().unwrap().code(), Some(143));
    assert_eq!(judge(&["find", "."], &out), ".\n");
}

#[test]
fn an_image_of_incus_has_what_incus_asks_for() {
    if !root() {
        return;
    }
    let upstream = "mkdir -p \"$rootfs/etc\" \"$rootfs/usr/lib\"; echo $name >\"$rootfs/etc/hostname\"
        printf 'ID=debian\\nVERSION_ID=\"12\"\\nPRETTY_NAME=\"Debian 12\"\\n' >\"$rootfs/usr/lib/os-release\"
        ln -s ../usr/lib/os-release \"$rootfs/etc/os-release\"";
    let layers = "[[layer]]\nname = \"app\"\n[layer.config]\nlxc.environment = [\"STAGE=a: b\"]\n\
                  lxc.tty.max = 2\nlxc.prlimit.nofile = 64\nlxc.hook.start = \"/sbin/x\"\n\
                  lxc.mount.entry = \"/srv srv none bind,optional 0 0\"\nlxc.cgroup2.cpu.weight = 50\n";
    let written: Vec<_> = (0..2)
        .map(|_| {
            let sandbox = Sandbox::new().upstream(upstream).layers(layers);
            let sandbox = sandbox.env("SOURCE_DATE_EPOCH", "1700000000");
            let ran = sandbox.run(["build", "m.toml", "-o", "incus:../web"]);
            ran.exits(0).shows("written to ../web\n");
            ran.mentions(
                "warning: Incus takes no such lines of the config: `lxc.cgroup2.cpu.weight = 50`\n",
            );
            ran.mentions("warning: the profile mounts what must be on each host of Incus: `/srv`\n");
            let at = sandbox.path("web");
            let members = judge(&["tar", "-tf", "incus.tar.xz"], &at);
            assert_eq!(members, "metadata.yaml\ntemplates/\ntemplates/hostname.tpl\n");
            let metadata = judge(&["tar", "-xOf", "incus.tar.xz", "metadata.yaml"], &at);
            let expected = "architecture: \"x86_64\"\ncreation_date: 1700000000\nproperties:\n  \
                architecture: \"x86_64\"\n  description: \"Debian 12\"\n  os: \"debian\"\n  \
                release: \"12\"\ntemplates:\n  /etc/hostname:\n    when: [\"create\", \"copy\"]\n    \
                template: \"hostname.tpl\"\n";
            assert_eq!(metadata, expected);
            let profile = judge(&["cat", "profile.yaml"], &at);
            let expected = "description: \"The config of a role\"\nconfig:\n  \
                environment.STAGE: \"a: b\"\n  limits.kernel.nofile: \"64\"\n  raw.lxc: |\n    \
                lxc.tty.max = 2\n    lxc.hook.start = /sbin/x\n    \
                lxc.mount.entry = /srv srv none bind,optional 0 0\n\
                devices: {}\n";
            assert_eq!(profile, expected);
            let members = judge(&["tar", "-tf", "rootfs.tar.xz"], &at);
            assert!(members.starts_with("./\n./etc/\n./etc/hostname\n"), "{members}");
            judge(&["sha256sum", "incus.tar.xz", "rootfs.tar.xz", "profile.yaml"], &at)
        })
        .collect();
    assert_eq!(written[0], written[1]);
}

#[test]
fn what_proxmox_does_not_take_is_told() {
    if !root() {
        return;
    }
    let release =
        |text: &str| format!("mkdir \"$rootfs/etc\"; echo {text} >\"$rootfs/etc/os-release\"");
    let owner = "touch \"$rootfs/x\"; chown 65536:0 \"$rootfs/x\"";
    let unknown = "Proxmox does not know the system, and needs `--ostype unmanaged`; it looks at \
                   /etc/os-release\n";
    let version = "Proxmox needs, for its version of Debian, /etc/debian_version\n";
    let ids = "an unprivileged container of 65536 ids has no owner such as that of /x\n";
    let device = "mknod \"$rootfs/null\" c 1 3";
    let devices = "device nodes are left out: /null\n";
    let empty = "the rootfs is empty: template `fake` of layer `os` has succeeded, and made nothing in it\n";
    for (upstream, warning) in [
        (release("ID=void"), Some(unknown)),
        (release("NAME=x"), Some(unknown)),
        (release("ID=debian"), Some(version)),
        (owner.to_owned(), Some(ids)),
        (device.to_owned(), Some(devices)),
        (release("'ID=\"alpine\"'"), None),
        ("true".to_owned(), Some(empty)),
    ] {
        let sandbox = Sandbox::new().upstream(&upstream).layers("");
        let ran = sandbox.run(["build", "m.toml", "-o", "tar:../web.tar"]);
        ran.exits(0);
        match warning {
            Some(warning) => {
                ran.mentions(&format!("warning: {warning}"));
            }
            None => assert!(!ran.stderr().contains("warning"), "{upstream}: {}", ran.stderr()),
        }
        let members = judge(&["tar", "-tf", "web.tar"], &sandbox.path(""));
        assert!(members.lines().all(|name| name.starts_with("./")), "{members}");
        let kinds = judge(&["tar", "-tvf", "web.tar"], &sandbox.path(""));
        assert!(!kinds.lines().any(|line| line.starts_with(['b', 'c'])), "{kinds}");
    }
}
