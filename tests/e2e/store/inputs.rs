//! Files of the host that a template copies from.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{as_each, create, create_directly, shelf, trace};
use crate::caller::Caller;
use crate::lab::Lab;

/// A template that copies a file and a directory of the host.
const TEMPLATE: &str = r#"#!/bin/sh
set -e
for a; do case $a in --rootfs=*) R=${a#*=};; esac; done
echo called >>"$TRACE"
mkdir -p "$R/etc"
cp -p "$SEEDS/file" "$R/etc/file"
cp -rp "$SEEDS/tree" "$R/etc/tree"
"#;

/// The trace's own path must not count.
fn role(lab: &Lab, inputs: &str) -> std::path::PathBuf {
    lab.script("work/template", TEMPLATE);
    let seeds = lab.path("work/seeds").display().to_string();
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"./template\"\ninputs = {inputs}\n\
         env = {{ TRACE = {{ pass = true }}, SEEDS = \"{seeds}\" }}\n"
    );
    lab.write("work/role.toml", &text)
}

#[test]
fn what_a_template_copies_is_in_its_key() {
    as_each(&[], |lab| {
        lab.directory("work/seeds");
        lab.directory("work/seeds/tree");
        let file = lab.write("work/seeds/file", "one\n");
        lab.write("work/seeds/tree/below", "below\n");
        let tree = lab.path("work/seeds/tree").display().to_string();
        let manifest = role(lab, &format!("[\"seeds/file\", \"{tree}\"]"));
        let made = |words: &[&str]| {
            let name = lab.name("inputs");
            create(lab, &name, &manifest, words).outcome().success();
            let etc = lab.container(&name, "rootfs/etc");
            let read = |path: &str| fs::read_to_string(etc.join(path)).unwrap_or_default();
            let mode = fs::metadata(etc.join("file")).unwrap().permissions().mode() & 0o777;
            let seen =
                format!("{}{:o} {}{}", read("file"), mode, read("tree/below"), read("tree/new"));
            lab.destroy(&name);
            (seen, trace(lab).len())
        };
        assert_eq!(made(&[]), ("one\n644 below\n".into(), 1));
        assert_eq!(made(&[]), ("one\n644 below\n".into(), 0));
        lab.write("work/seeds/file", "two\n");
        assert_eq!(made(&[]), ("two\n644 below\n".into(), 1), "its bytes");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(made(&[]), ("two\n755 below\n".into(), 1), "its mode");
        lab.write("work/seeds/tree/new", "new\n");
        assert_eq!(made(&[]), ("two\n755 below\nnew\n".into(), 1), "a name in a directory");
        assert_eq!(made(&[]).1, 0);
        fs::remove_file(lab.path("work/seeds/tree/new")).unwrap();
        lab.write("work/seeds/file", "one\n");
        assert_eq!(made(&[]), ("one\n644 below\n".into(), 0), "the first of all is still there");
        assert_eq!(shelf::stored(lab).len(), 4);
    });
}

#[test]
fn an_input_that_is_not_there_is_told_with_its_place() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let manifest = role(&lab, "[\"seeds/file\"]");
    for words in [&["--storage=none"][..], &[]] {
        let name = lab.name("inputs");
        let outcome = create_directly(&lab, &name, &manifest, words).outcome();
        assert_eq!(outcome.status.code(), Some(2), "{outcome}");
        assert!(outcome.stderr.contains("role.toml:5:11"), "{outcome}");
        assert!(
            outcome.stderr.contains("seeds/file` cannot be used: it is not there"),
            "{outcome}"
        );
        lab.assert_absent(&name);
    }
}

#[test]
fn an_input_that_changes_while_it_is_copied_is_not_stored() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    lab.directory("work/seeds");
    lab.directory("work/seeds/tree");
    lab.write("work/seeds/file", "one\n");
    let manifest = role(&lab, "[\"seeds/file\"]");
    lab.script(
        "work/template",
        &TEMPLATE.replace("\ncp -p", "\necho more >>\"$SEEDS/file\"\ncp -p"),
    );
    let name = lab.name("inputs");
    let outcome = create_directly(&lab, &name, &manifest, &[]).outcome();
    assert_eq!(outcome.status.code(), Some(4), "{outcome}");
    assert!(shelf::stored(&lab).is_empty());
}

/// The busybox of a container.
fn busybox(lab: &Lab, name: &str) -> Vec<u8> {
    fs::read(lab.container(name, "rootfs/bin/busybox")).expect("the template has copied it")
}

/// A busybox that is another, and does the same.
fn patched(lab: &Lab, at: &str, host: &Path) -> Vec<u8> {
    let mut bytes = fs::read(host).unwrap();
    bytes.extend_from_slice(b"SECURITY FIX");
    let path = lab.script(at, "");
    fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn a_container_has_the_busybox_that_the_host_has_now() {
    let Some(lab) = Lab::open(Caller::Root, &["busybox"]) else { return };
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n";
    let manifest = lab.write("work/role.toml", text);
    let host = ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let host = host.map(|path| Path::new(path).join("busybox"));
    let host = host.iter().find(|path| path.exists()).expect("it was required");
    let host = host.canonicalize().unwrap();
    let first = lab.name("before");
    create(&lab, &first, &manifest, &[]).outcome().success();
    assert_eq!(busybox(&lab, &first), fs::read(&host).unwrap());

    let new = patched(&lab, "work/patched", &host);
    let second = lab.name("after");
    // In a view of the test's own.
    let script = "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"";
    let call = lab.call(["/bin/sh", "-euc", script, "sh"]);
    let call =
        call.arg(lab.path("work/patched")).arg(&host).arg("lxc-create").args(["-n", &second]);
    let call = call.arg("-P").arg(lab.lxcpath()).arg("-f").arg(lab.path("default.conf"));
    let call = call.arg("-t").arg(lab.template()).args(["--", "--manifest"]).arg(&manifest);
    call.outcome().success();
    assert!(busybox(&lab, &second) == new, "it has the busybox of before");
}

#[test]
fn a_container_has_the_busybox_of_the_layer_s_path_or_argument() {
    as_each(&["busybox"], |lab| {
        lab.directory("work/bin");
        let host = Path::new("/usr/bin/busybox").canonicalize().expect("it was required");
        let directory = lab.path("work/bin").display().to_string();
        for (how, count) in [
            (format!("env = {{ PATH = \"{directory}:/usr/sbin:/usr/bin:/sbin:/bin\" }}"), 2),
            (format!("args = {{ busybox-path = \"{directory}/busybox\" }}"), 4),
            (format!("args = [\"--busybox-path\", \"{directory}/busybox\"]"), 6),
        ] {
            let text =
                format!("manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n{how}\n");
            let manifest = lab.write("work/role.toml", &text);
            let old = fs::read(&host).unwrap();
            fs::write(lab.script("work/bin/busybox", ""), &old).unwrap();
            let made = || {
                let name = lab.name("box");
                create(lab, &name, &manifest, &[]).outcome().success();
                let busybox = busybox(lab, &name);
                lab.destroy(&name);
                busybox
            };
            assert!(made() == old, "{how}");
            let new = patched(lab, "work/bin/busybox", &host);
            assert!(made() == new, "{how}: it has the busybox of before");
            assert!(made() == new, "{how}");
            assert_eq!(shelf::stored(lab).len(), count, "{how}");
        }
    });
}
