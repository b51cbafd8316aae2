//! The lock beside a manifest: what is written, what is refused, and what is taken.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::requirement::root;
use crate::sandbox::Sandbox;

const REFUSED: i32 = 10;
const STORE: i32 = 8;

/// A role with a file of each kind that a lock names. Its template tells in `calls` that it was called.
fn role() -> Sandbox {
    Sandbox::new()
        .upstream("echo called >>calls; mkdir \"$rootfs/etc\"; echo x >\"$rootfs/etc/words\"")
        .file("input", "what the template copies\n")
        .file(
            "base.toml",
            "manifest = 1\n[vars]\nsize = \"1\"\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n\
             inputs = [\"input\"]\nargs = [\"--size={{ size }}\"]\n",
        )
        .file(
            "layers/extra.toml",
            "[layer]\n[[layer.file]]\npath = \"/etc/extra\"\ncontent = \"x\"\n",
        )
        .file("files/app.conf", "a\n")
        .file("files/tree/one", "1\n")
        .file("steps/post.sh", "echo done >\"$LXC_ROOTFS/etc/done\"\n")
        .manifest(
            "manifest = 1
extends = \"base.toml\"
[[layer]]
use = \"extra\"
[[layer]]
name = \"app\"
store = true
post = [{ script = \"steps/post.sh\" }]
[[layer.file]]
path = \"/etc/app.conf\"
source = \"files/app.conf\"
[[layer.file]]
path = \"/srv\"
source = \"files/tree\"
",
        )
}

fn locked(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.role().join("m.toml.lock")).unwrap()
}

fn calls(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.role().join("calls")).unwrap_or_default().lines().count()
}

/// Returns the sandbox with its role built and locked.
fn built() -> Sandbox {
    let sandbox = role();
    sandbox.run(["build", "m.toml"]).exits(0);
    sandbox.run(["lock", "m.toml"]).exits(0).prints("m.toml.lock  written\n").says("");
    sandbox
}

#[test]
fn a_lock_is_sorted_and_comes_out_the_same_each_time() {
    let sandbox = role();
    sandbox.run(["lock", "m.toml"]).exits(0).mentions("does not pin template of layer `os`, which is not built yet\nhint: `layered-template build m.toml`");
    assert!(!locked(&sandbox).contains("entry = "));
    sandbox.run(["build", "m.toml"]).exits(0);
    sandbox.run(["lock", "m.toml"]).exits(0);
    let text = locked(&sandbox);
    for fact in [
        "\n[manifests]\n\"base.toml\" = \"sha256:",
        "\n\"m.toml\" = \"sha256:",
        "\n[used]\nextra = \"sha256:",
        "\n[template]\nfake = \"sha256:",
        "\n\"input input\" = \"sha256:",
        "\n\"files/app.conf\" = \"sha256:",
        "\n\"files/tree\" = \"sha256:",
        "\n\"steps/post.sh\" = \"sha256:",
        "\n[layers.app]\nkey = \"sha256:",
        "\n[upstream]\nkey = \"sha256:",
    ] {
        assert!(text.contains(fact), "{fact} is not in\n{text}");
    }
    assert_eq!(text.matches("\nentry = ").count(), 3, "{text}");
    assert_eq!(text.matches("\ncontent = ").count(), 3, "{text}");
    assert!(!text.contains(sandbox.path("").to_str().unwrap()), "no path of this host: {text}");
    sandbox.run(["lock", "m.toml"]).exits(0).prints("m.toml.lock  unchanged\n");
    sandbox.run(["lock", "--check", "m.toml"]).exits(0).prints("m.toml.lock is up to date\n");
    assert_eq!(locked(&sandbox), text);
    // Without what is stored, the same is locked as before.
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    sandbox.run(["lock", "m.toml"]).exits(0).prints("m.toml.lock  unchanged\n");
}

/// Something that is changed of a role, and what is said of it.
type Change = (&'static str, fn(&Sandbox), &'static [&'static str], &'static str);

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, before + text).unwrap();
}

const CHANGES: [Change; 11] = [
    ("manifest", |s| append(&s.role().join("m.toml"), "# more\n"), &[], "manifest m.toml: digest "),
    (
        "base",
        |s| append(&s.role().join("base.toml"), "# more\n"),
        &[],
        "manifest base.toml: digest ",
    ),
    (
        "reusable layer",
        |s| append(&s.role().join("layers/extra.toml"), "# more\n"),
        &[],
        "reusable layer extra: digest ",
    ),
    (
        "source",
        |s| append(&s.role().join("files/app.conf"), "b\n"),
        &[],
        "source files/app.conf: digest ",
    ),
    (
        "a file of a tree",
        |s| append(&s.role().join("files/tree/one"), "b\n"),
        &[],
        "source files/tree: digest ",
    ),
    (
        "a new file of a tree",
        |s| fs::write(s.role().join("files/tree/two"), "").unwrap(),
        &[],
        "source files/tree: digest ",
    ),
    (
        "script",
        |s| append(&s.role().join("steps/post.sh"), "# more\n"),
        &[],
        "script steps/post.sh: digest ",
    ),
    (
        "template",
        |s| append(&s.path("templates/lxc-fake"), "# more\n"),
        &[],
        "template fake: digest ",
    ),
    (
        "input",
        |s| append(&s.role().join("input"), "more\n"),
        &[],
        "template's 'input input': digest ",
    ),
    ("variable", |_| {}, &["--set", "size=2"], "template's arguments: digest "),
    (
        "url",
        |s| {
            let url = "[[layer.file]]\npath = \"/u\"\nurl = \"http://127.0.0.1:9/x\"\nsha256 = \"";
            append(&s.role().join("m.toml"), &format!("{url}{}\"\n", "0".repeat(64)));
        },
        &[],
        "url http://127.0.0.1:9/x is not in the lock",
    ),
];

#[test]
fn whatever_has_changed_is_refused_and_named() {
    for (what, change, words, said) in CHANGES {
        let sandbox = built();
        let before = calls(&sandbox);
        change(&sandbox);
        let with = |start: &[&'static str]| -> Vec<&'static str> { [start, words].concat() };
        let checked = sandbox.run(with(&["lock", "--check", "m.toml"]));
        checked.exits(1).mentions(said).mentions("`m.toml` has changed since it was locked:\n");
        sandbox.run(with(&["plan", "m.toml", "--locked"])).exits(REFUSED).mentions(said);
        sandbox.run(with(&["build", "m.toml", "--locked"])).exits(REFUSED).mentions(said);
        for storage in ["--storage=copy", "--storage=overlay"] {
            sandbox.create(with(&["--locked", storage])).exits(REFUSED).mentions(said);
            let ran = sandbox.template(with(&["m.toml", "--locked", storage]));
            ran.exits(REFUSED).mentions(said);
            fs::remove_dir_all(sandbox.container()).unwrap();
        }
        assert_eq!(calls(&sandbox), before, "{what}: nothing is built");
        // Unless it is held to the lock, a role is only said to differ.
        sandbox
            .run(with(&["plan", "m.toml"]))
            .exits(0)
            .mentions("m.toml.lock: it is out of date: ");
        if !["template", "input", "variable"].contains(&what) {
            let validated = sandbox.run(with(&["validate", "m.toml"]));
            validated.exits(0).mentions("it is out of date: ").mentions("1 warning");
        }
        sandbox.run(with(&["lock", "m.toml"])).exits(0);
        sandbox.run(with(&["lock", "--check", "m.toml"])).exits(0);
        sandbox.run(with(&["plan", "m.toml"])).exits(0).says("");
    }
}

#[test]
fn what_is_locked_is_taken_and_never_rebuilt() {
    let sandbox = built();
    let first = locked(&sandbox);
    sandbox.run(["build", "m.toml", "--rebuild"]).exits(0);
    assert_eq!(calls(&sandbox), 2);
    // The later generation is not the one that is locked.
    sandbox.run(["lock", "--check", "m.toml"]).exits(0);
    let entry = first.split("[layers.app]").nth(1).unwrap();
    let entry = entry.split("entry = \"").nth(1).unwrap().split('"').next().unwrap();
    sandbox.run(["plan", "m.toml", "--locked", "-v"]).exits(0).shows(entry);
    assert!(!sandbox.run(["plan", "m.toml", "-v"]).exits(0).stdout().contains(entry));
    for storage in ["copy", "overlay"] {
        if storage == "overlay" && !root() {
            continue;
        }
        sandbox.create(["--locked", &format!("--storage={storage}")]).exits(0);
        assert_eq!(sandbox.record()["stored"]["entry"], entry);
        fs::remove_dir_all(sandbox.container()).unwrap();
        sandbox.template(["m.toml", "--locked", &format!("--storage={storage}")]).exits(0);
        assert_eq!(sandbox.record()["stored"]["entry"], entry);
        fs::remove_dir_all(sandbox.container()).unwrap();
    }
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    let said = "its template is locked to ";
    for storage in ["--storage=copy", "--storage=overlay"] {
        sandbox.create(["--locked", storage]).exits(STORE).mentions(said);
        assert!(!sandbox.container().exists());
    }
    sandbox.run(["build", "--locked", "m.toml"]).exits(STORE).mentions(said);
    sandbox
        .run(["plan", "--locked", "m.toml"])
        .exits(STORE)
        .shows("template of layer `os` is locked");
    assert_eq!(calls(&sandbox), 2, "nothing is rebuilt");
    for words in [["--locked", "--storage=none"], ["--locked", "--rebuild"]] {
        sandbox.template([&["m.toml"], &words[..]].concat()).exits(2).mentions("`--locked` ");
        sandbox.create(words).exits(2);
    }
}

#[test]
fn a_layer_that_was_not_built_when_it_was_locked_is_built() {
    let sandbox = role();
    sandbox.run(["lock", "m.toml"]).exits(0);
    sandbox.create(["--locked"]).exits(0);
    assert_eq!(calls(&sandbox), 1);
}

#[test]
fn what_is_locked_needs_no_template() {
    let sandbox = built();
    fs::remove_file(sandbox.path("templates/lxc-fake")).unwrap();
    sandbox.create(["--storage=copy"]).exits(2).mentions("there is no `lxc-fake`");
    sandbox.run(["lock", "--check", "m.toml"]).exits(0);
    sandbox.run(["lock", "m.toml"]).exits(0).prints("m.toml.lock  unchanged\n");
    sandbox.create(["--locked"]).exits(0);
    assert_eq!(sandbox.read("/etc/app.conf"), "a\n");
    fs::remove_dir_all(sandbox.container()).unwrap();
    let said = "template's arguments: digest ";
    sandbox.create(["--locked", "--", "--more"]).exits(REFUSED).mentions(said);
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    sandbox.create(["--locked"]).exits(STORE).mentions("is locked to ");
}

#[test]
fn a_lock_that_cannot_be_used_is_refused_before_anything_runs() {
    let sandbox = role();
    let said = "there is no `m.toml.lock`\n\nhint: `layered-template lock m.toml` writes it\n";
    sandbox.create(["--locked"]).exits(2).mentions(said);
    sandbox.run(["lock", "--check", "m.toml"]).exits(2).mentions(said);
    for (text, said) in [
        ("<<<<<<< ours\n", "m.toml.lock:1:9"),
        ("format = 2\n", "its format is 2"),
        ("format = 1\n[layers.os]\nentry = 1\n", "m.toml.lock:3:9"),
    ] {
        fs::write(sandbox.role().join("m.toml.lock"), text).unwrap();
        sandbox.create(["--locked"]).exits(2).mentions(said);
        sandbox.run(["lock", "--check", "m.toml"]).exits(2).mentions(said);
        sandbox.run(["validate", "m.toml"]).exits(1).mentions(said);
        sandbox.run(["lock", "m.toml"]).exits(0).mentions("warning: ").mentions(said);
        sandbox.run(["lock", "--check", "m.toml"]).exits(0);
    }
    assert_eq!(calls(&sandbox), 0);
}

#[test]
fn what_has_the_containers_name_in_its_path_is_not_locked() {
    let sandbox = Sandbox::new().file("web1.conf", "1\n").file("m.conf", "2\n").layers(
        "[[layer]]\nname = \"own\"\n[[layer.file]]\npath = \"/own\"\nsource = \"{{ lxc.name }}.conf\"\n",
    );
    sandbox.run(["build", "m.toml"]).exits(0);
    sandbox.run(["lock", "m.toml"]).exits(0).mentions("no further layer is locked: ");
    assert!(!locked(&sandbox).contains(".conf"));
    sandbox.create(["--locked"]).exits(0);
    assert_eq!(sandbox.read("/own"), "1\n");
}

#[test]
fn two_hosts_and_two_maps_lock_the_same_content() {
    if !root() {
        return;
    }
    let content = |map: Option<&str>, home: &str| -> Vec<String> {
        let sandbox = role().env("SOURCE_DATE_EPOCH", "1000000000").env("OTHER", home);
        let config = format!("lxc.tty.max = 1\n{}", map.unwrap_or_default());
        fs::write(sandbox.path("start.conf"), config).unwrap();
        let start = sandbox.path("start.conf");
        let start = start.to_str().unwrap();
        sandbox.run(["build", "m.toml", "-f", start]).exits(0);
        sandbox.run(["lock", "m.toml", "-f", start]).exits(0);
        let text = locked(&sandbox);
        // These tell when it was built.
        let is_dated =
            |line: &&str| ["entry", "key", "document"].iter().any(|of| line.starts_with(of));
        text.lines().filter(|line| !is_dated(line)).map(str::to_owned).collect()
    };
    let host = content(None, "/a");
    assert!(host.iter().any(|line| line.starts_with("content = ")));
    let map = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
    assert_eq!(content(Some(map), "/b"), host);
}

#[test]
fn an_entry_that_only_has_the_name_of_the_locked_one_is_refused() {
    let sandbox = built();
    let documents = sandbox.path("store").join("host.meta/entries");
    let documents = if documents.exists() {
        documents
    } else {
        let maps = fs::read_dir(sandbox.path("store")).unwrap().map(|map| map.unwrap().path());
        maps.map(|map| map.join("entries")).find(|path| path.exists()).unwrap()
    };
    let mut entries = fs::read_dir(&documents).unwrap().map(|entry| entry.unwrap().path());
    let is_of_app =
        |path: &std::path::PathBuf| fs::read_to_string(path).unwrap().contains("\"layer `app`\"");
    let path = entries.find(is_of_app).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (_, document) = text.split_once('\n').unwrap();
    let mut document: serde_json::Value = serde_json::from_str(document).unwrap();
    document["made_at"] = 7.into();
    let document = serde_json::to_vec(&document).unwrap();
    let sealed = format!("{}\n", layered_template::digest::Digest::of(&document));
    fs::write(&path, [sealed.as_bytes(), &document].concat()).unwrap();
    sandbox.create(["--storage=none"]).exits(0);
    fs::remove_dir_all(sandbox.container()).unwrap();
    let said = "layer `app`: what is stored here as ";
    sandbox.create(["--locked"]).exits(REFUSED).mentions(said);
    sandbox.run(["lock", "--check", "m.toml"]).exits(1).mentions(said);
    sandbox.create([] as [&str; 0]).exits(0);
}

#[test]
fn a_lock_whose_parts_do_not_belong_together_is_refused() {
    let sandbox = built();
    let text = locked(&sandbox);
    let entry_of = |layer: &str| {
        let own = text.split(&format!("[layers.{layer}]")).nth(1).unwrap();
        own.split("entry = \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let (app, extra) = (entry_of("app"), entry_of("extra"));
    fs::write(sandbox.role().join("m.toml.lock"), text.replace(&app, &extra)).unwrap();
    let said = "layer `app`: the lock names ";
    sandbox.create(["--locked"]).exits(REFUSED).mentions(said);
    sandbox.run(["lock", "--check", "m.toml"]).exits(1).mentions(said);
    sandbox.run(["lock", "m.toml"]).exits(0);
    assert_eq!(locked(&sandbox), text);
}

#[test]
fn a_variable_of_what_is_not_stored_is_locked_too() {
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[vars]\nnet = \"a\"\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\n\
         name = \"own\"\nstore = false\n[layer.config]\nlxc.environment = \"NET={{ net }}\"\n",
    );
    sandbox.run(["build", "m.toml"]).exits(0);
    sandbox.run(["lock", "m.toml"]).exits(0);
    let said = "variable net: digest ";
    sandbox.create(["--locked", "--set", "net=b"]).exits(REFUSED).mentions(said);
    sandbox.run(["lock", "--check", "m.toml", "--set=net=b"]).exits(1).mentions(said);
    sandbox.create(["--locked"]).exits(0);
}

#[test]
fn a_role_is_locked_whatever_its_name_is() {
    let sandbox = built();
    let name = OsStr::from_bytes(b"r\xffle.toml");
    fs::copy(sandbox.role().join("m.toml"), sandbox.role().join(name)).unwrap();
    sandbox.run([OsStr::new("lock"), name]).exits(0);
    for words in [&["lock", "--check"][..], &["build", "--locked"]] {
        sandbox.run(words.iter().map(OsStr::new).chain([name])).exits(0);
    }
    append(&sandbox.role().join(name), "# more\n");
    sandbox.run(["lock", "--check"].map(OsStr::new).into_iter().chain([name])).exits(1);
}

#[test]
fn a_lock_is_written_through_no_link() {
    let sandbox = built();
    let path = sandbox.role().join("m.toml.lock");
    fs::rename(&path, sandbox.role().join("other")).unwrap();
    std::os::unix::fs::symlink("other", &path).unwrap();
    fs::write(sandbox.role().join("files/app.conf"), "new\n").unwrap();
    sandbox.run(["lock", "m.toml"]).exits(2).mentions("it exists, and is not a regular file");
    assert!(path.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_signal_ends_the_digesting_and_no_lock_is_left() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("truncate -s 60G \"$rootfs/zeros\"").layers("");
    sandbox.run(["build", "m.toml"]).exits(0);
    let mut command = sandbox.command("timeout");
    command.args(["--preserve-status", "--signal=TERM", "2"]).arg(sandbox.program_path());
    command.args(["lock", "m.toml"]);
    let ran = sandbox.ran(command);
    ran.exits(143).mentions("`m.toml.lock` is not written: interrupted by SIGTERM");
    assert!(!sandbox.role().join("m.toml.lock").exists());
}

#[test]
fn what_is_stored_is_compared_within_its_id_map() {
    if !root() {
        return;
    }
    let mapped =
        role().file("start.conf", "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 200000 65536\n");
    for (sandbox, more, owner) in
        [(mapped, &["-f", "start.conf"][..], "0"), (role().nobody(), &[], "65534")]
    {
        let top = sandbox.path("");
        let given = Command::new("chown").args(["-R", owner]).arg(&top).status().unwrap();
        assert!(given.success());
        let call = |words: &[&str]| sandbox.run(words.iter().chain(more).copied());
        call(&["build", "m.toml"]).exits(0);
        call(&["lock", "m.toml"]).exits(0);
        // Nothing is known of the archives any more.
        let maps = fs::read_dir(sandbox.path("store")).unwrap().map(|map| map.unwrap().path());
        let metas = maps.filter(|map| map.extension().is_some_and(|end| end == "meta"));
        let known: Vec<_> = metas
            .flat_map(|meta| fs::read_dir(meta.join("blobs")).unwrap())
            .map(|file| file.unwrap().path())
            .collect();
        assert_eq!(known.len(), 3, "{known:?}");
        for file in &known {
            fs::remove_file(file).unwrap();
        }
        call(&["lock", "--check", "m.toml"]).exits(0);
        assert!(known.iter().all(|file| file.exists()), "{known:?}");
        let text = locked(&sandbox);
        let content = text.lines().find(|line| line.starts_with("content")).unwrap();
        let other = text.replace(content, &format!("content = \"sha256:{}\"", "0".repeat(64)));
        fs::write(sandbox.role().join("m.toml.lock"), other).unwrap();
        let ran = call(&["lock", "--check", "m.toml"]);
        ran.exits(1).mentions(" is not what was locked");
    }
}

#[test]
fn a_directory_whose_group_is_not_mapped_is_said_to_be_why() {
    if !root() {
        return;
    }
    let map = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 200000 65536\n";
    let sandbox = role().file("start.conf", map);
    sandbox.run(["build", "m.toml", "-f", "start.conf"]).exits(0);
    std::os::unix::fs::chown(sandbox.role(), None, Some(7)).unwrap();
    let why = "the group of . has no id in the container's id map, within which layers are read";
    sandbox.run(["lock", "m.toml", "-f", "start.conf"]).exits(2).mentions(&format!("hint: {why}"));
    for target in ["tar:x.tar", "dir:d", "oci:o:x"] {
        let ran = sandbox.run(["build", "m.toml", "-f", "start.conf", "-o", target]);
        ran.exits(8).mentions("Permission denied").mentions(&format!("({why}"));
    }
    std::os::unix::fs::chown(sandbox.role(), None, Some(0)).unwrap();
    sandbox.run(["lock", "m.toml", "-f", "start.conf"]).exits(0);
}

/// Sees that a role which is held to its lock cannot be had of this store, in any way.
#[track_caller]
fn no_store(sandbox: &Sandbox, why: &str) {
    for storage in ["--storage=copy", "--storage=overlay"] {
        let words = ["plan", "m.toml", "--locked", storage];
        sandbox.run(words).exits(STORE).shows(why).shows("; the run would end here");
        let words = ["plan", "m.toml", "--locked", "--format=json", storage];
        sandbox.run(words).exits(STORE).shows(why);
        let template = || sandbox.template(["m.toml", "--locked", storage]);
        for ran in [sandbox.create(["--locked", storage]), template()] {
            let said = ran.exits(STORE).mentions(why).stderr();
            assert!(!said.contains("`--from`"), "{said}");
            assert!(said.contains("layer `os` cannot be taken from the layer store: "), "{said}");
        }
        // As LXC does.
        fs::remove_dir_all(sandbox.container()).unwrap();
    }
    let words = ["build", "--locked", "m.toml"];
    sandbox.run(words).exits(STORE).mentions("cannot be stored: ").mentions(why);
}

#[test]
fn a_store_that_cannot_be_used_is_what_keeps_a_locked_role() {
    if !root() {
        return;
    }
    let sandbox = built();
    let store = sandbox.path("store");
    fs::set_permissions(&store, Permissions::from_mode(0o777)).unwrap();
    no_store(&sandbox, "`[DIR]/store`: it is writable by everybody (`chmod go-w [DIR]/store` ");
    fs::set_permissions(&store, Permissions::from_mode(0o711)).unwrap();
    fs::rename(store.join("host.meta/entries"), store.join("kept")).unwrap();
    fs::write(store.join("host.meta/entries"), "").unwrap();
    no_store(&sandbox, "host.meta/entries`");
    fs::remove_file(store.join("host.meta/entries")).unwrap();
    fs::rename(store.join("kept"), store.join("host.meta/entries")).unwrap();
    sandbox.create(["--locked"]).exits(0);
}

#[test]
fn a_store_of_somebody_else_is_what_keeps_a_locked_role() {
    if !root() {
        return;
    }
    let sandbox = role().nobody();
    for name in ["role", "lxc", "tmp", "home", "store", "state"] {
        fs::create_dir_all(sandbox.path(name)).unwrap();
        chown(sandbox.path(name), Some(65534), Some(65534)).unwrap();
    }
    fs::create_dir(sandbox.path("theirs")).unwrap();
    let store = sandbox.path("theirs").to_str().unwrap().to_owned();
    sandbox.run(["build", "m.toml"]).exits(0);
    sandbox.run(["lock", "m.toml"]).exits(0);
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STORE", store);
    for storage in ["--storage=copy", "--storage=overlay"] {
        let words = ["plan", "m.toml", "--locked", storage];
        sandbox
            .run(words)
            .exits(STORE)
            .shows("`[DIR]/theirs` cannot be written: Permission denied");
        let why =
            "layer `os` cannot be taken from the layer store: `[DIR]/theirs`: it belongs to a user";
        let said = sandbox.create(["--locked", storage]).exits(STORE).mentions(why).stderr();
        assert!(!said.contains("`--from`"), "{said}");
    }
}

#[test]
fn a_read_only_store_serves_copies_alone() {
    if !root() {
        return;
    }
    let sandbox = built();
    let run = |words: &[&str]| {
        let store = sandbox.path("store");
        let prelude =
            format!("mount --bind {0} {0}; mount -o remount,ro,bind {0}", store.display());
        let mut command = sandbox.command("unshare");
        command.args(["-m", "sh", "-c", &format!("{prelude}; exec \"$@\""), "sh"]);
        command.arg(sandbox.program_path()).args(words);
        sandbox.ran(command)
    };
    let why = "store/roots` cannot be written: Read-only file system";
    run(&["plan", "m.toml", "--locked", "--storage=overlay"]).exits(STORE).shows(why);
    run(&["plan", "m.toml", "--storage=overlay"]).exits(0).shows(why);
    run(&["plan", "m.toml", "--locked"]).exits(0).shows("[stored]");
    let lxcpath = sandbox.path("lxc");
    let create = ["create", "m.toml", "--name", "web1", "--lxcpath", lxcpath.to_str().unwrap()];
    let ran = run(&[&create[..], &["--locked", "--storage=overlay"]].concat());
    ran.exits(STORE).mentions("cannot be taken from the layer store: ").mentions(why);
    let ran = run(&[&create[..], &["--storage=overlay"]].concat());
    ran.exits(STORE)
        .mentions("cannot have an overlay: ")
        .mentions(why)
        .mentions("`--storage=copy`");
    run(&[&create[..], &["--locked"]].concat()).exits(0);
}

#[test]
fn what_another_version_has_stored_is_said_of_what_is_locked() {
    let sandbox = built();
    for entry in fs::read_dir(sandbox.path("store/host.meta/entries")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split_once('\n').unwrap().1.replace("\"format\":6", "\"format\":99");
        let digest = layered_template::digest::Digest::of(text.as_bytes());
        fs::write(&path, format!("{digest}\n{text}")).unwrap();
    }
    let why = "which another version of this program has stored here";
    sandbox.run(["plan", "m.toml", "--locked"]).exits(STORE).shows(why);
    sandbox.create(["--locked"]).exits(STORE).mentions(why);
    sandbox.run(["build", "m.toml", "--locked"]).exits(STORE).mentions(why);
}
