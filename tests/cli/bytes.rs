//! Paths that are bytes and no text.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::requirement::root;
use crate::sandbox::{NAME, Ran, Sandbox};

const ROLE: &str = "manifest = 1
[[layer]]
name = 'os'
template = 'fake'
[[layer]]
name = 'app'
[layer.config]
'lxc.start.auto' = 1
[[layer.file]]
path = '/app'
source = 'files'
[[layer]]
name = 'step'
store = true
post = 'echo made >\"$LXC_ROOTFS/made\"'
check = 'test -f \"$LXC_ROOTFS/app/f\"'
";

/// A name that is no text in any encoding of Unicode's.
fn odd(name: &str) -> PathBuf {
    OsStr::from_bytes(&[name.as_bytes(), b"\xff\xfe'1"].concat()).into()
}

/// A role in a directory of such a name, with a template that tells what it was called with.
fn role() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new().upstream(
        "mkdir \"$rootfs/etc\"; echo \"$name $rootfs\" >\"$rootfs/etc/own\"; echo \"# at $path\" >>\"$path/config\"",
    );
    let role = sandbox.path(odd("role"));
    fs::create_dir_all(role.join("files")).unwrap();
    fs::write(role.join("files").join(odd("g")), "g").unwrap();
    fs::write(role.join("files/f"), "f").unwrap();
    fs::write(role.join(odd("m")), ROLE).unwrap();
    (sandbox, role.join(odd("m")))
}

fn words(option: &str, path: &Path) -> OsString {
    [OsStr::new(option), path.as_os_str()].join(OsStr::new("="))
}

/// Asserts that the container is whole, wherever it is.
fn is_whole(sandbox: &Sandbox, container: &Path, rootfs: &Path, storage: &str) {
    let read = |path: PathBuf| fs::read(path).unwrap();
    let own = [b"web1 ", container.as_os_str().as_bytes(), b"/rootfs\n"].concat();
    assert_eq!(read(rootfs.join("etc/own")), own, "{storage}");
    assert_eq!(read(rootfs.join("app/f")), b"f");
    assert_eq!(read(rootfs.join("app").join(odd("g"))), b"g");
    assert_eq!(read(rootfs.join("made")), b"made\n");
    let config = read(container.join("config"));
    let line = [b"lxc.rootfs.path = dir:", container.as_os_str().as_bytes(), b"/rootfs\n"].concat();
    for line in [line, [b"# at ", container.as_os_str().as_bytes(), b"\n"].concat()] {
        assert!(config.windows(line.len()).any(|found| found == line), "{storage}: {config:?}");
    }
    let record: serde_json::Value =
        serde_json::from_slice(&read(container.join("layered-template.json"))).unwrap();
    let manifest =
        format!("{}/role\u{fffd}\u{fffd}'1/m\u{fffd}\u{fffd}'1", sandbox.path("").display());
    assert_eq!(record["manifest"]["path"], manifest.replace("//", "/"));
}

#[test]
fn they_are_what_they_are_in_every_way_of_storage() {
    let (sandbox, manifest) = role();
    let lxcpath = sandbox.path(odd("lxc"));
    fs::create_dir(&lxcpath).unwrap();
    let container = lxcpath.join(NAME);
    let create = |storage: &str| -> Ran {
        let mut command = sandbox.command(sandbox.program_path());
        command.arg("create").arg(&manifest).args(["--name", NAME, "--lxcpath"]).arg(&lxcpath);
        command.arg(format!("--storage={storage}"));
        sandbox.ran(command)
    };
    let template = |storage: &str| -> Ran {
        let rootfs = container.join("rootfs");
        fs::create_dir_all(&rootfs).unwrap();
        let line = [b"lxc.rootfs.path = dir:", rootfs.as_os_str().as_bytes(), b"\n"].concat();
        fs::write(container.join("config"), line).unwrap();
        let mut command = sandbox.within();
        command.arg(words("--path", &container)).arg(format!("--name={NAME}"));
        command.arg(words("--rootfs", &rootfs)).arg("--manifest").arg(&manifest);
        command.arg(format!("--storage={storage}"));
        sandbox.ran(command)
    };
    let doors: [&dyn Fn(&str) -> Ran; 2] = [&template, &create];
    // An ordinary user's files are given to subordinate ids.
    for call in doors.into_iter().take(if root() { 2 } else { 1 }) {
        for storage in ["none", "copy", "copy"] {
            let ran = call(storage);
            ran.exits(0);
            assert!(!ran.stderr().contains("the layer store is not used"), "{}", ran.stderr());
            is_whole(&sandbox, &container, &container.join("rootfs"), storage);
            fs::remove_dir_all(&container).unwrap();
        }
        // Neither the options of an overlay nor its config know a way to write a quote. Nothing has run.
        fs::write(sandbox.path("templates/lxc-fake"), "#!/bin/sh\nexit 77\n").unwrap();
        let why = "the container's path contains a character that overlay options cannot represent";
        call("overlay").exits(8).mentions(why);
        let _ = fs::remove_dir_all(&container);
        let (again, _) = role();
        fs::copy(again.path("templates/lxc-fake"), sandbox.path("templates/lxc-fake")).unwrap();
    }
    for words in
        [&["plan"][..], &["plan", "-v"], &["plan", "--format=json"], &["build"], &["validate"]]
    {
        let mut command = sandbox.command(sandbox.program_path());
        command.args(words).arg(&manifest);
        sandbox.ran(command).exits(0);
    }
    for (words, said) in [
        (&["store", "list"][..], "  step  "),
        (&["store", "list", "--format=json"], "\u{fffd}"),
        (&["store", "verify"], "  sound\n"),
        (&["store", "gc", "--keep=0"], "removed "),
    ] {
        let ran = sandbox.run(words);
        ran.exits(0);
        assert!(ran.stdout().contains(said), "{words:?}: {}", ran.stdout());
    }
}

#[test]
fn a_failure_tells_of_them_in_words_and_as_json() {
    let (sandbox, manifest) = role();
    let sandbox = sandbox.upstream("touch \"$rootfs/f\"; exit 1");
    let state = sandbox.path(odd("state"));
    for format in ["text", "json"] {
        sandbox.shell();
        let mut command = sandbox.within();
        command
            .args(sandbox.three())
            .arg("--manifest")
            .arg(&manifest)
            .env("LAYERED_TEMPLATE_STATE", &state);
        command.args(["--keep-failed", "--log-format", format]);
        let ran = sandbox.ran(command);
        let log = match format {
            "json" => "\"log\":\"[DIR]/state\u{fffd}\u{fffd}'1/",
            _ => "  log: $'[DIR]/state\\377\\376\\'1/",
        };
        ran.exits(4).mentions(log);
        fs::remove_dir_all(sandbox.container()).unwrap();
    }
}

#[test]
fn a_name_that_is_no_text_is_refused_and_named() {
    let (sandbox, manifest) = role();
    let mut command = sandbox.within();
    let [path, _, rootfs] = sandbox.three();
    sandbox.shell();
    command.args([path, rootfs]).arg(words("--name", &odd("c"))).arg(&manifest);
    sandbox
        .ran(command)
        .exits(2)
        .mentions("`--name` cannot be `$'c\\377")
        .mentions("name is UTF-8");
    let mut command = sandbox.command(sandbox.program_path());
    command.arg("create").arg(&manifest).arg("--name").arg(odd("c"));
    sandbox.ran(command).exits(2).mentions("UTF-8");
}
