//! The layer store where an upstream, a step or a host does what it seldom does.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use layered_template::digest::Digest;

use crate::requirement::{root, skip};
use crate::sandbox::{NAME, Sandbox};

const OUTER: &str =
    "\n[[layer]]\nname = \"outer\"\n[[layer.file]]\npath = \"/outer\"\ncontent = \"1\"\n";

fn again(sandbox: &Sandbox) {
    fs::remove_dir_all(sandbox.container()).unwrap();
}

/// Runs the manifest twice, cold and warm, and straight: all must end as expected.
fn every_way(sandbox: &Sandbox, status: i32, check: impl Fn(&str)) {
    for storage in ["copy", "copy", "none"] {
        sandbox.template(["m.toml", &format!("--storage={storage}")]).exits(status);
        check(storage);
        again(sandbox);
    }
}

#[test]
fn a_check_sees_what_its_layer_left_and_the_container_s_own_name() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; echo a >\"$rootfs/f\"; echo \"# $name\" >>\"$path/config\"")
        .layers(
            "check = [\"grep -q a $LXC_ROOTFS/f\", 'grep -q \"# $LXC_NAME\" \"$LXC_PATH/config\"']\n\
             [[layer]]\nname = \"outer\"\ncheck = \"grep -q b $LXC_ROOTFS/f\"\n\
             [[layer.file]]\npath = \"/f\"\ncontent = \"b\"\n",
        );
    every_way(&sandbox, 0, |_| assert_eq!(sandbox.read("/f"), "b"));
}

#[test]
fn what_an_upstream_leaves_beside_the_rootfs_is_the_container_s() {
    let sandbox = Sandbox::new()
        .file("victim", "lt0placeholder-q4nm8vt2w6xk-z7f3a9c5d1h8\n")
        .upstream(
            "mkdir \"$rootfs/etc\" \"$path/hooks\"; echo \"$rootfs $name\" >\"$path/fstab\"; \
             echo \"$path\" >\"$path/hooks/pre.sh\"; head -c 17M /dev/zero >\"$path/disk\"; \
             ln -s \"$PWD/victim\" \"$path/link\"; ln -s \"$path/fstab\" \"$path/own\"",
        )
        .layers(OUTER);
    every_way(&sandbox, 0, |storage| {
        let at = |name: &str| sandbox.container().join(name);
        let rootfs = sandbox.rootfs().display().to_string();
        assert_eq!(fs::read_to_string(at("fstab")).unwrap(), format!("{rootfs} {NAME}\n"));
        let path = format!("{}\n", sandbox.container().display());
        assert_eq!(fs::read_to_string(at("hooks/pre.sh")).unwrap(), path);
        assert_eq!(fs::metadata(at("disk")).unwrap().len(), 17 * 1024 * 1024);
        assert_eq!(fs::read_link(at("own")).unwrap(), at("fstab"));
        let victim = fs::read_to_string(sandbox.role().join("victim")).unwrap();
        assert_eq!(victim, "lt0placeholder-q4nm8vt2w6xk-z7f3a9c5d1h8\n", "{storage}");
        let names: Vec<_> = fs::read_dir(sandbox.container()).unwrap().collect();
        assert_eq!(names.len(), 8, "{names:?}");
    });
}

#[test]
fn a_name_beside_the_rootfs_that_cannot_be_written_keeps_an_upstream_out_of_the_store() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; printf \"$name\\000\" >\"$path/binary\"")
        .layers(OUTER);
    sandbox
        .chain()
        .exits(0)
        .mentions("leaves the container's name in binary beside the rootfs, in a form");
    let binary = fs::read_to_string(sandbox.container().join("binary")).unwrap();
    assert_eq!(binary, format!("{NAME}\0"));

    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\" \"$path/of\"; : >\"$path/of/$name.conf\"")
        .layers(OUTER);
    sandbox.chain().exits(0).mentions("leaves the container's name in of/");
    assert!(sandbox.container().join(format!("of/{NAME}.conf")).exists());
}

#[test]
fn a_record_that_an_upstream_leaves_has_the_name_of_the_container() {
    let upstream = "mkdir \"$rootfs/etc\"; \
                    printf '{\"name\": \"%s\"}' \"$name\" >\"$path/layered-template.json\"";
    let sandbox = Sandbox::new().upstream(upstream).layers(OUTER);
    every_way(&sandbox, 0, |storage| {
        let record = sandbox.record();
        assert_eq!(record["upstream"]["record"]["name"], NAME, "{storage}: {record}");
    });
}

#[test]
fn what_was_refused_is_asked_again_with_rebuild() {
    let upstream =
        "mkdir \"$rootfs/etc\"; [ -e flag ] || exit 0; printf \"$name\\000\" >\"$rootfs/etc/b\"";
    let sandbox = Sandbox::new().file("flag", "").upstream(upstream).layers("");
    sandbox.chain().exits(0).mentions("is not stored, and made in the container itself");
    again(&sandbox);
    fs::remove_file(sandbox.role().join("flag")).unwrap();
    sandbox.template(["m.toml", "--rebuild"]).exits(0);
    let plan = sandbox.run(["plan", "m.toml"]);
    assert!(plan.stdout().contains("template fake  [stored]"), "{}", plan.stdout());
}

#[test]
fn a_pre_step_that_writes_beside_the_config_turns_the_store_off() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; cat \"$path/answers\" >\"$rootfs/etc/answer\"")
        .layers("pre = 'echo yes >\"$LXC_PATH/answers\"'\n");
    let ran = sandbox.chain();
    ran.exits(0).mentions("a pre step has written answers into the container's directory");
    assert_eq!(sandbox.read("/etc/answer"), "yes\n");
}

#[test]
fn what_goes_on_after_its_layer_changes_nothing_that_is_stored() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir \"$rootfs/etc\"; echo early >\"$rootfs/etc/f\"; cd \"$rootfs\"; \
             setsid sh -c 'sleep 0.4; echo late >etc/f; echo late >etc/late' >/dev/null 2>&1 &",
        )
        .layers(
            "\n[[layer]]\nname = \"outer\"\npost = \"sleep 1\"\n[[layer.file]]\n\
             path = \"/outer\"\ncontent = \"1\"\n",
        );
    sandbox.chain().exits(0);
    sandbox.run(["store", "verify"]).exits(0);
    assert_eq!(sandbox.read("/etc/f"), "early\n");
}

/// Writes into a file that it has mapped, and that it has no descriptor of, again and again.
const MAPS: &str = "import mmap, os, sys
file = open(sys.argv[1], 'r+b')
pages = mmap.mmap(file.fileno(), 0)
file.close()
os.closerange(3, 64)
os.chdir('/')
print('mapped', flush=True)
os.close(1)
count = 0
while True:
    count += 1
    pages[:8] = count.to_bytes(8, 'little')
";

#[test]
fn what_has_mapped_a_file_changes_nothing_that_is_stored() {
    if !root() {
        return;
    }
    // A shared mapping outlives its descriptor, which mmap of Python duplicates: it is closed too.
    let sandbox = Sandbox::new()
        .file("maps.py", MAPS)
        .upstream(
            "mkdir \"$rootfs/etc\"; head -c 4096 /dev/zero >\"$rootfs/etc/f\"; \
             setsid python3 maps.py \"$rootfs/etc/f\" 2>/dev/null >mapped & \
             while ! grep -q mapped mapped; do sleep 0.01; done",
        )
        .layers("\n[[layer]]\nname = \"outer\"\npost = \"sleep 0.5\"\n[[layer.file]]\npath = \"/outer\"\ncontent = \"1\"\n");
    sandbox.chain().exits(0);
    sandbox.run(["store", "verify"]).exits(0);
}

#[test]
fn keys_that_cannot_or_need_not_be_made_end_no_run() {
    // Its shell and its ssh-keygen are the host's, which is not static: none can be made.
    let keys = "for kind in rsa ed25519 mldsa44-ed25519 ca; do echo key >\"$rootfs/etc/ssh/ssh_host_${kind}_key\"; done";
    let sandbox = Sandbox::new()
        .file("own", "mine")
        .upstream(&format!(
            "mkdir -p \"$rootfs/etc/ssh\" \"$rootfs/bin\" \"$rootfs/usr/bin\"; {keys}; \
             cp /bin/sh \"$rootfs/bin/sh\"; cp /bin/sh \"$rootfs/usr/bin/ssh-keygen\""
        ))
        .layers(
            "\n[[layer]]\nname = \"own\"\n[[layer.file]]\n\
             path = \"/etc/ssh/ssh_host_ed25519_key\"\nsource = \"own\"\n",
        );
    for _ in 0..2 {
        sandbox.chain().exits(0);
        assert_eq!(sandbox.read("/etc/ssh/ssh_host_ed25519_key"), "mine");
        // What nobody knows how to make is shared no more than others.
        assert!(!sandbox.rootfs().join("etc/ssh/ssh_host_mldsa44-ed25519_key").exists());
        assert_eq!(sandbox.read("/etc/ssh/ssh_host_ca_key"), "key\n");
        again(&sandbox);
    }
}

#[test]
fn a_link_that_leads_around_is_no_fault_and_a_linked_key_is_no_key() {
    let sandbox = Sandbox::new()
        .upstream("mkdir -p \"$rootfs/etc\"; ln -s ssh \"$rootfs/etc/ssh\"")
        .layers("");
    sandbox.chain().exits(0);
    let linked = Sandbox::new()
        .upstream(
            "mkdir -p \"$rootfs/etc/ssh\"; echo key >\"$rootfs/etc/key\"; \
             ln -s ../key \"$rootfs/etc/ssh/ssh_host_rsa_key\"",
        )
        .layers("");
    linked.chain().exits(0);
    assert!(fs::symlink_metadata(linked.rootfs().join("etc/ssh/ssh_host_rsa_key")).is_err());
}

#[test]
fn a_template_that_changes_before_it_runs_is_not_run() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; touch \"$rootfs/etc/ran\"")
        .layers("pre = \"echo '# more' >>../templates/lxc-fake\"\n");
    for storage in ["copy", "none"] {
        let ran = sandbox.template(["m.toml", &format!("--storage={storage}")]);
        ran.exits(4).mentions("template `fake` of layer `os` changed after it was planned");
        again(&sandbox);
    }
}

#[test]
fn a_file_that_changes_while_the_upstream_reads_it_is_not_stored() {
    let sandbox = Sandbox::new()
        .file("data", "1")
        .upstream("mkdir \"$rootfs/etc\"; echo 2 >data")
        .layers("args = { from = \"data\" }\n");
    sandbox.chain().exits(4).mentions("was given a file that changed after it was planned");
    again(&sandbox);
    sandbox.straight().exits(0);
}

#[test]
fn a_directory_as_argument_keeps_the_upstream_out_of_the_store() {
    for word in ["./dir", "--fstree=./dir", "-f./dir", "--url=oci:dir:latest", "--url=dir:./dir"] {
        let sandbox = Sandbox::new()
            .file("dir/f", "1")
            .upstream("echo >>calls; cp -r dir \"$rootfs/dir\"")
            .layers(&format!("args = [\"{word}\"]\n"));
        for text in ["1", "2"] {
            fs::write(sandbox.role().join("dir/f"), text).unwrap();
            sandbox.chain().exits(0);
            assert_eq!(sandbox.read("/dir/f"), text, "{word}");
            again(&sandbox);
        }
        let plan = sandbox.run(["plan", "m.toml", "-v"]);
        assert!(plan.stdout().contains("template fake  [always runs]"), "{}", plan.stdout());
        let why = format!("the argument {word} of the template names a directory");
        assert!(plan.stdout().contains(&why), "{}", plan.stdout());
    }
    // A word is not taken for the name of what happens to stand beside the manifest.
    let sandbox = Sandbox::new()
        .file("bookworm/f", "1")
        .file("main", "1")
        .upstream("mkdir \"$rootfs/etc\"; echo >>calls")
        .layers(
            "args = { release = \"bookworm\", url = \"docker://debian:bookworm\", \
             components = \"main,contrib\", env = \"PATH=/usr/bin:/bin\", tmpfs = \"/run:size=1G\", \
             mount = \"x:/proc/self/pagemap\" }\n",
        );
    let plan = sandbox.run(["plan", "m.toml", "-v"]);
    assert!(plan.stdout().contains("template fake  [to build]"), "{}", plan.stdout());
    for text in ["1", "2"] {
        fs::write(sandbox.role().join("main"), text).unwrap();
        sandbox.chain().exits(0);
        again(&sandbox);
    }
    let calls = fs::read_to_string(sandbox.role().join("calls")).unwrap();
    // Behind a map of one id, what an ordinary user makes may have no store.
    if root() {
        assert_eq!(calls.lines().count(), 1);
    }
}

#[test]
fn a_file_of_the_container_s_own_as_argument_keeps_the_upstream_out_of_the_store() {
    let sandbox = Sandbox::new()
        .file(&format!("{NAME}.seed"), "1")
        .upstream("mkdir \"$rootfs/etc\"; cp \"$name.seed\" \"$rootfs/seed\"")
        .layers("args = { seed = \"{{ lxc.name }}.seed\" }\n");
    every_way(&sandbox, 0, |_| assert_eq!(sandbox.read("/seed"), "1"));
    let plan = sandbox.run(["plan", "m.toml", "-v", "--name", NAME]);
    assert!(plan.stdout().contains("template fake  [always runs]"), "{}", plan.stdout());
    assert!(plan.stdout().contains("names a file by the container's name"), "{}", plan.stdout());
}

#[test]
fn a_directory_of_the_container_s_own_as_argument_keeps_the_upstream_out_of_the_store() {
    let sandbox = Sandbox::new()
        .file(&format!("{NAME}.d/seed"), "1")
        .file("shared.d/seed", "2")
        .upstream("mkdir \"$rootfs/etc\"; cp \"$name.d/seed\" \"$rootfs/seed\"")
        .layers("store = true\nargs = [\"./shared.d\", \"--seed=./{{ lxc.name }}.d\"]\n");
    every_way(&sandbox, 0, |_| assert_eq!(sandbox.read("/seed"), "1"));
    let plan = sandbox.run(["plan", "m.toml", "-v", "--name", NAME]);
    assert!(plan.stdout().contains("template fake  [always runs]"), "{}", plan.stdout());
    assert!(
        plan.stdout().contains("names a directory by the container's name"),
        "{}",
        plan.stdout()
    );
}

#[test]
fn a_long_file_that_a_template_is_given_is_not_read_by_every_run() {
    if !root() {
        return;
    }
    // One that is as old as the host's system: what was just written is read every time.
    let old = ["/bin/bash", "/usr/bin/python3", "/usr/bin/openssl"].into_iter().find(|path| {
        let is_good = ["ext2/ext3", "xfs", "btrfs", "f2fs"];
        let stat = Command::new("stat").args(["--file-system", "--format=%T", path]).output();
        let kind = String::from_utf8(stat.unwrap().stdout).unwrap();
        is_good.contains(&kind.trim()) && fs::metadata(path).is_ok_and(|file| file.len() >= 1 << 20)
    });
    let Some(old) = old else {
        return skip("no long file of the host's is on a filesystem that is relied on");
    };
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; echo run >>calls")
        .layers(&format!("args = {{ image = \"{old}\" }}\n"));
    let readings = sandbox.path("store/host.meta/readings");
    let reading = || -> (std::path::PathBuf, serde_json::Value) {
        let names: Vec<_> = fs::read_dir(&readings).unwrap().map(|name| name.unwrap()).collect();
        let [name] = names.as_slice() else { panic!("{names:?}") };
        (name.path(), serde_json::from_slice(&fs::read(name.path()).unwrap()).unwrap())
    };
    let again_with = |words: &[&str]| {
        again(&sandbox);
        sandbox.template(["m.toml", "--storage=copy"].iter().chain(words)).exits(0);
        fs::read_to_string(sandbox.role().join("calls")).unwrap().lines().count()
    };
    sandbox.chain().exits(0);
    let (path, true_one) = reading();
    assert_eq!(again_with(&[]), 1);

    // What is remembered is taken for what the file holds, which nobody but root could change here.
    let mut other = true_one.clone();
    other["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    fs::write(&path, other.to_string()).unwrap();
    let plan = sandbox.run(["plan", "m.toml", "-v", "--name", NAME]);
    assert!(plan.stdout().contains("to build"), "{}", plan.stdout());
    // A run that makes everything anew reads it, and remembers that.
    assert_eq!(again_with(&["--rebuild"]), 2);
    assert_eq!(reading().1, true_one);

    // Neither what was remembered of another file nor what was never written whole counts.
    for (field, text) in [("size", "1"), ("inode", "7"), ("changed", "[1, 2]")] {
        let mut stale = other.clone();
        stale["stamp"][field] = serde_json::from_str(text).unwrap();
        fs::write(&path, stale.to_string()).unwrap();
        assert_eq!(again_with(&[]), 2, "{field}");
        assert_eq!(reading().1, true_one, "{field}");
    }
    fs::write(&path, &other.to_string()[..40]).unwrap();
    assert_eq!(again_with(&[]), 2);
    sandbox.run(["store", "gc"]).exits(0);
    assert_eq!(fs::read_dir(&readings).unwrap().count(), 0);
}

#[test]
fn a_name_that_cannot_be_reached_any_more_is_no_fault() {
    let deep = "import os\nfor _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)\n\
                open('f', 'w').write('lt0placeholder-q4nm8vt2w6xk-z7f3a9c5d1h8')\n";
    let sandbox = Sandbox::new()
        .file("deep.py", deep)
        .upstream(
            "mkdir -p \"$rootfs/etc/foo\"; echo \"$name\" | tee \"$rootfs/etc/foo/conf\" >\"$rootfs/etc/own\"; \
             cp deep.py \"$rootfs\"; (cd \"$rootfs\" && python3 deep.py)",
        )
        .layers(
            "[[layer]]\nname = \"app\"\nstore = true\n\
             post = 'rm -r $LXC_ROOTFS/etc/foo && ln -s foo $LXC_ROOTFS/etc/foo'\n",
        );
    every_way(&sandbox, 0, |_| {
        assert_eq!(sandbox.read("/etc/own"), format!("{NAME}\n"));
        assert_eq!(fs::read_link(sandbox.rootfs().join("etc/foo")).unwrap(), Path::new("foo"));
    });
}

#[test]
fn gc_keeps_what_a_container_stands_on_while_lxc_writes_its_config() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers("");
    sandbox.template(["m.toml", "--storage=overlay"]).exits(0);
    let config = sandbox.container().join("config");
    let whole = sandbox.config();
    let at = whole.find("trees/").unwrap();
    let entries = || fs::read_dir(sandbox.path("store/host/trees")).unwrap().count();
    let gc = || sandbox.run(["store", "gc", "--keep=0"]);
    // LXC puts a header of its own in front when the template has ended: it begins with nothing.
    fs::write(&config, "").unwrap();
    gc().exits(0).mentions("does not say what it uses");
    assert_eq!(entries(), 1);
    // It may be as far as the middle of the line.
    fs::write(sandbox.container().join("partial"), "").unwrap();
    fs::write(&config, &whole[..at + 10]).unwrap();
    gc().exits(0).says("");
    assert_eq!(entries(), 1);
    fs::remove_file(sandbox.container().join("partial")).unwrap();
    // Somebody may have put the line elsewhere.
    fs::write(&config, "lxc.include = /elsewhere\n").unwrap();
    gc().exits(0).mentions("does not say what it uses");
    assert_eq!(entries(), 1);
    fs::write(&config, &whole).unwrap();
    gc().exits(0).prints("removed 0 entries, 0 B\n").says("");
    // On something else it does not stand on this.
    fs::write(&config, "lxc.rootfs.path = dir:/elsewhere\n").unwrap();
    gc().exits(0).mentions("stays for a day");
    assert_eq!(entries(), 1);
    sandbox.run(["store", "gc", "--keep=0", "--forget"]).exits(0);
    assert_eq!(entries(), 0);
}

#[test]
fn what_is_dated_in_the_future_is_made_anew_all_the_same() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"; echo run >>calls").layers("");
    sandbox.chain().exits(0);
    // The clock was put back since then.
    let directory = |of: &str| sandbox.path("store").join(of);
    let trees = fs::read_dir(directory("host/trees")).unwrap().map(|entry| entry.unwrap());
    let name = trees.last().unwrap().file_name().into_string().unwrap();
    let (key, generation) = name.split_once('.').unwrap();
    let later = (generation.parse::<u64>().unwrap() + 3_600_000).to_string();
    for of in ["host/trees", "host.meta/lists", "host.meta/entries"] {
        let to = directory(of).join(format!("{key}.{later}"));
        fs::rename(directory(of).join(&name), to).unwrap();
    }
    let document = directory("host.meta/entries").join(format!("{key}.{later}"));
    let text = fs::read_to_string(&document).unwrap();
    let text = text.split_once('\n').unwrap().1.replace(generation, &later);
    fs::write(&document, format!("{}\n{text}", Digest::of(text.as_bytes()))).unwrap();

    let calls = || fs::read_to_string(sandbox.role().join("calls")).unwrap().lines().count();
    again(&sandbox);
    sandbox.chain().exits(0);
    assert_eq!(calls(), 1, "it is used");
    again(&sandbox);
    sandbox.template(["m.toml", "--rebuild"]).exits(0);
    assert_eq!(calls(), 2);
}

#[test]
fn no_other_container_is_in_reach_of_an_upstream() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir \"$rootfs/etc\"; ls >\"$rootfs/etc/here\"; \
             ls \"${path%/*}\" >\"$rootfs/etc/there\"; cat note >\"$rootfs/etc/note\"; \
             for one in here linked; do touch \"${path%/*}/$one/f\" \"$one/f\" 2>/dev/null || :; done",
        )
        .layers("");
    for real in ["lxc/here", "disk/real"] {
        fs::create_dir_all(sandbox.path(real)).unwrap();
        fs::write(sandbox.path(real).join("config"), "lxc.uts.name = real\n").unwrap();
    }
    symlink("../disk/real", sandbox.path("lxc/linked")).unwrap();
    fs::write(sandbox.path("lxc/note"), "note").unwrap();
    sandbox.shell();
    let from = |directory: &str, storage: &str| {
        let mut command = sandbox.within();
        command.current_dir(sandbox.path(directory)).args(sandbox.three());
        command.arg(sandbox.role().join("m.toml"));
        command.args(["--rebuild", &format!("--storage={storage}")]);
        sandbox.ran(command)
    };
    // The caller may stand in the directory of containers itself.
    for storage in ["copy", "overlay"] {
        from("lxc", storage).exits(0);
        for real in ["lxc/here", "disk/real"] {
            assert!(!sandbox.path(real).join("f").exists(), "{real}");
        }
        if storage == "copy" {
            for file in ["/etc/here", "/etc/there"] {
                let mut seen: Vec<_> = sandbox.read(file).lines().map(str::to_owned).collect();
                seen.sort();
                assert_eq!(seen, ["note", NAME]);
            }
            assert_eq!(sandbox.read("/etc/note"), "note");
        }
        again(&sandbox);
        sandbox.shell();
    }
    // In one of them he has what an upstream may be given by a path from there.
    fs::write(sandbox.path("lxc/here/note"), "own").unwrap();
    from("lxc/here", "overlay").exits(8).mentions("lxc/here` is a container's");
    from("lxc/here", "copy").exits(0).mentions("warning: the layer store is not used: ");
    assert_eq!(sandbox.read("/etc/note"), "own");
}

#[test]
fn whoever_stays_in_a_layer_with_mounts_of_its_own_is_ended() {
    if !root() {
        return;
    }
    let writes = "while :; do date +%N >etc/now; sleep 0.01; done";
    let table = [
        format!("cd \"$1\"; {writes}"),
        // Its root is the rootfs: no path of it leads below anything.
        format!("cd \"$1\" && mkdir old && pivot_root . old && {writes}"),
        // Whoever is ended is begun anew.
        format!("cd /; while :; do (cd \"$1\"; {writes}); done"),
    ];
    for script in table {
        // What stands in for the host's is there in the new root as well.
        let sandbox = Sandbox::new()
            .file("stay", &script)
            .upstream(
                "mkdir \"$rootfs/etc\"; cp -a --parents /bin /usr/bin/date /usr/bin/sleep /usr/bin/dash \
                 /lib /lib64 $(ldd /usr/bin/date /usr/bin/dash | sed -n 's,.*\\(/lib[^ ]*\\).*,\\1,p') \
                 \"$rootfs\" 2>/dev/null || :; mount --bind \"$rootfs\" \"$rootfs\" || :; \
                 unshare --mount sh stay \"$rootfs\" >/dev/null 2>&1 & \
                 for _ in $(seq 1000); do [ -e \"$rootfs/etc/now\" ] && break; sleep 0.01; done; \
                 umount --lazy \"$rootfs\" || :",
            )
            .layers(OUTER);
        sandbox.chain().exits(0);
        assert!(sandbox.rootfs().join("etc/now").exists(), "nobody was at work: {script}");
        assert_eq!(crate::processes::within(&sandbox), Vec::<String>::new(), "{script}");
        sandbox.run(["store", "verify"]).exits(0);
    }
}

#[test]
fn whoever_stays_in_a_layer_is_ended_where_proc_is_another_namespace_s_too() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; cd \"$rootfs\"; sleep 300 >/dev/null 2>&1 &")
        .layers("");
    sandbox.shell();
    // Of a /proc that is covered in part, nobody behind an id map gets another.
    let script = "mount -t tmpfs none /proc/fs && exec unshare --user --map-root-user \"$@\"";
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(sandbox.program_path());
    command.args(sandbox.three()).arg("m.toml");
    let ran = sandbox.ran(command);
    ran.exits(0).mentions("os: copying the stored tree\n");
    assert_eq!(crate::processes::within(&sandbox), Vec::<String>::new());
}

#[test]
fn a_layer_made_elsewhere_than_what_it_stands_on_has_no_path_of_there() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir \"$rootfs/etc\"; echo \"$path\" >\"$rootfs/etc/where\"; ln -s \"$path\" \"$rootfs/up\"; \
             echo \"$rootfs\" >\"$path/fstab\"; echo \"lxc.mount.fstab = $path/fstab\" >>\"$path/config\"",
        )
        .layers(
            "[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/etc/app\"\nsource = \"app\"\n",
        )
        .file("app", "1");
    // The upstream is made in one directory of containers, and the layer in each of the others.
    for (version, lxcpath) in [("1", "one"), ("2", "two"), ("3", "three")] {
        fs::create_dir(sandbox.path(lxcpath)).unwrap();
        fs::write(sandbox.role().join("app"), version).unwrap();
        for name in ["web1", "web2"] {
            let lxcpath = sandbox.path(lxcpath);
            let words = ["create", "m.toml", "--name", name, "--lxcpath"].map(OsStr::new);
            sandbox.run(words.into_iter().chain([lxcpath.as_os_str()])).exits(0);
            let container = lxcpath.join(name);
            let at = |path: &str| fs::read_to_string(container.join(path)).unwrap();
            assert_eq!(at("rootfs/etc/app"), version);
            assert_eq!(at("rootfs/etc/where"), format!("{}\n", container.display()));
            assert_eq!(fs::read_link(container.join("rootfs/up")).unwrap(), container);
            assert_eq!(at("fstab"), format!("{}/rootfs\n", container.display()));
            let line = format!("\nlxc.mount.fstab = {}/fstab\n", container.display());
            assert!(at("config").contains(&line), "{}", at("config"));
        }
    }
}

#[test]
fn a_linked_directory_of_containers_has_the_store_too() {
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(OUTER);
    fs::create_dir(sandbox.path("disk")).unwrap();
    fs::remove_dir(sandbox.path("lxc")).unwrap();
    symlink("disk", sandbox.path("lxc")).unwrap();
    let ran = sandbox.chain();
    ran.exits(0);
    assert!(!ran.stderr().contains("warning"), "{}", ran.stderr());
    assert_eq!(sandbox.read("/outer"), "1");
}

#[test]
fn two_containers_whose_template_is_told_their_names_share_what_is_stored() {
    let sandbox = Sandbox::new()
        .upstream("echo >>calls; mkdir \"$rootfs/etc\"; echo \"$4\" >\"$rootfs/etc/host\"")
        .layers("args = [\"--host={{ lxc.name }}\"]\n");
    if !root() {
        return;
    }
    for name in ["one", "two"] {
        let words = ["create", "m.toml", "--name", name, "--lxcpath", "../lxc"];
        sandbox.run(words).exits(0);
        let host = fs::read_to_string(sandbox.path(format!("lxc/{name}/rootfs/etc/host"))).unwrap();
        assert_eq!(host, format!("--host={name}\n"));
    }
    assert_eq!(fs::read_to_string(sandbox.role().join("calls")).unwrap().lines().count(), 1);
}

#[test]
fn gc_keeps_what_a_container_stands_on_that_it_cannot_see_or_that_was_moved() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(OUTER);
    let words = |name: &'static str| {
        ["create", "m.toml", "--storage=overlay", "--name", name, "--lxcpath", "../disk"]
    };
    sandbox.run(words("here")).exits(0);
    let entries = || fs::read_dir(sandbox.path("store/host/trees")).unwrap().count();
    assert_eq!(entries(), 2);
    // Moved under another name: the link leads nowhere, and twice nothing is removed.
    fs::rename(sandbox.path("disk/here"), sandbox.path("disk/there")).unwrap();
    for _ in 0..2 {
        sandbox.run(["store", "gc", "--keep=0"]).exits(0).prints("removed 0 entries, 0 B\n");
    }
    // Another directory stands where the disk was.
    fs::rename(sandbox.path("disk"), sandbox.path("unmounted")).unwrap();
    fs::create_dir(sandbox.path("disk")).unwrap();
    let gc = sandbox.run(["store", "gc", "--keep=0"]);
    gc.exits(0).prints("removed 0 entries, 0 B\n").mentions("cannot be reached");
    sandbox.run(["store", "gc", "--keep=0", "--forget"]).exits(0);
    assert_eq!(entries(), 0);
}

#[test]
fn of_a_deep_role_only_the_inner_layers_are_stored() {
    let mut layers = String::new();
    for number in 1..=80 {
        let _ = write!(
            layers,
            "\n[[layer]]\nname = \"l{number}\"\n[[layer.file]]\npath = \"/f{number}\"\n\
             content = \"{number}\"\n"
        );
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(&layers);
    let plan = sandbox.run(["plan", "m.toml"]).stdout();
    assert_eq!(plan.matches("[to build]").count(), 64);
    assert_eq!(plan.matches("[always runs]").count(), 80 + 1 - 64);
    for _ in 0..2 {
        sandbox.chain().exits(0);
        for number in [1, 63, 64, 80] {
            assert_eq!(sandbox.read(&format!("/f{number}")), number.to_string());
        }
        again(&sandbox);
    }
}

#[test]
fn a_layer_that_does_nothing_under_another_name_is_made_in_the_container() {
    for storage in ["copy", "overlay"] {
        if storage == "overlay" && !root() {
            continue;
        }
        let sandbox = Sandbox::new().file(&format!("{NAME}.conf"), "own\n").layers(
            "[[layer]]\nname = \"own\"\n[[layer.file]]\npath = \"/file\"\n\
             source = \"{{ lxc.name }}.conf\"\n[[layer]]\nname = \"outer\"\n[[layer.file]]\n\
             path = \"/file\"\ncontent = \"outer\"\n",
        );
        for state in ["cold", "warm"] {
            sandbox.create([format!("--storage={storage}")]).exits(0);
            let made = match storage {
                "copy" => sandbox.rootfs(),
                _ => sandbox.container().join("delta"),
            };
            let file = fs::read_to_string(made.join("file")).unwrap_or_default();
            assert_eq!(file, "outer", "{storage}, {state}");
            fs::remove_dir_all(sandbox.container()).unwrap();
        }
    }
}
