//! Manifests that cannot be read.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::requirement::root;
use crate::sandbox::Sandbox;

/// Judges `role/m.toml` by all three doors.
#[track_caller]
fn refused(sandbox: &Sandbox, message: &str) {
    sandbox.run(["plan", "m.toml"]).exits(2).prints("").says(message);
    sandbox
        .run(["validate", "m.toml"])
        .exits(1)
        .says(&format!("{message}\n1 manifest: 1 error, 0 warnings\n"));
    sandbox.chain().exits(2).says(message);
    // The history alone tells of it.
    assert!(sandbox.left().is_empty());
}

#[test]
fn what_is_no_file_is_refused() {
    refused(&Sandbox::new(), "error: m.toml: there is no such file\n");
    let sandbox = Sandbox::new().file("m.toml/x", "");
    refused(&sandbox, "error: m.toml: it is a directory\n");
    let sandbox = Sandbox::new();
    let fifo = sandbox.role().join("m.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    refused(&sandbox, "error: m.toml: it is not a regular file\n");
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("/dev/zero", sandbox.role().join("m.toml")).unwrap();
    refused(&sandbox, "error: m.toml: it is not a regular file\n");
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("m.toml", sandbox.role().join("m.toml")).unwrap();
    refused(&sandbox, "error: m.toml: Too many levels of symbolic links\n");
}

#[test]
fn what_may_not_be_read_is_refused() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("").nobody();
    let path = sandbox.role().join("m.toml");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.run(["plan", "m.toml"]).exits(2).says("error: m.toml: Permission denied\n");
}

#[test]
fn an_ordinary_user_plans_what_may_be_read() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("").nobody();
    std::fs::create_dir(sandbox.path("store")).unwrap();
    std::os::unix::fs::chown(sandbox.path("store"), Some(65534), Some(65534)).unwrap();
    let (own, placeholder) = ("m", layered_template::cache::PLACEHOLDER);
    for (storage, name) in [("none", own), ("copy", placeholder)] {
        let storage = format!("--storage={storage}");
        let ran = sandbox.run(["plan", "m.toml", "--lxcpath", "/l", &storage]);
        ran.exits(0).says("");
        let call = format!("lxc-fake --path=/l/{name} --name={name} --rootfs=/l/{name}/rootfs");
        assert!(ran.stdout().contains(&call), "{}", ran.stdout());
    }
}

#[test]
fn more_than_a_mebibyte_is_refused() {
    let most = 1024 * 1024;
    let text = |length: usize| {
        let head = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n#";
        head.to_owned() + &"x".repeat(length - head.len())
    };
    Sandbox::new().file("m.toml", text(most)).run(["plan", "m.toml"]).exits(0);
    refused(
        &Sandbox::new().file("m.toml", text(most + 1)),
        "error: m.toml: it is 1048577 bytes long, and 1048576 is the most\n",
    );
}

#[test]
fn bytes_that_are_not_utf_8_are_pointed_at() {
    let help = " = help: TOML is UTF-8; `iconv -f LATIN1 -t UTF-8` may convert the file\n";
    for (bytes, place) in [
        (&b"manifest = 1\n# caf\xe9\n"[..], "line 2, column 6"),
        (b"\xff\xfem\0", "line 1, column 1"),
        ("é = \"ü\"\r\nx = \"é".as_bytes(), ""),
        (b"# \xc3\xa9\xc3", "line 1, column 4"),
    ] {
        let sandbox = Sandbox::new().file("m.toml", bytes);
        if place.is_empty() {
            sandbox.run(["plan", "m.toml"]).exits(2);
            continue;
        }
        refused(&sandbox, &format!("error: m.toml: {place}: a byte that is not UTF-8\n{help}"));
    }
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_read_over() {
    let sandbox =
        Sandbox::new().layers("post = \"\"\"\necho one >>trace\necho two >>trace\n\"\"\"\n");
    let text = std::fs::read_to_string(sandbox.role().join("m.toml")).unwrap();
    let sandbox = sandbox.file("m.toml", format!("\u{feff}{}", text.replace('\n', "\r\n")));
    sandbox.chain().exits(0);
    // TOML normalises the line ends of a text over several lines.
    assert_eq!(sandbox.trace(), "one\ntwo\n");
    // Places are counted without the mark.
    let sandbox = Sandbox::new().file("m.toml", "\u{feff}manifest = 2\r\n");
    sandbox.run(["plan", "m.toml"]).exits(2).mentions(" --> m.toml:1:12\n");
}

#[test]
fn an_unknown_template_is_told_with_what_there_is() {
    let sandbox = Sandbox::new().layers("");
    let text = std::fs::read_to_string(sandbox.role().join("m.toml")).unwrap();
    let sandbox = sandbox.file("m.toml", text.replace("fake", "fakw"));
    sandbox.run(["plan", "m.toml"]).exits(2).says(
        "error: there is no `lxc-fakw` in [DIR]/templates, /usr/share/lxc/templates, /usr/local/share/lxc/templates, /usr/lib/lxc/templates
 --> m.toml:5:12
  |
5 | template = \"fakw\"
  |            ^^^^^^
  |
  = help: did you mean `fake`?
",
    );
    // What a template is depends on the host: a manifest for another one is sound.
    sandbox
        .run(["validate", "m.toml"])
        .exits(0)
        .mentions("warning: there is no `lxc-fakw` in ")
        .mentions("1 manifest: 0 errors, 1 warning\n");
    let sandbox = sandbox.file("m.toml", text.replace("fake", "./no/such"));
    sandbox.run(["plan", "m.toml"]).exits(2).mentions("error: there is no `[DIR]/role/no/such`\n");
}

#[test]
fn a_template_that_cannot_be_run_is_found_out_beforehand() {
    let sandbox = Sandbox::new().layers("").program("templates/lxc-odd", "");
    let text = std::fs::read_to_string(sandbox.role().join("m.toml")).unwrap();
    let odd = sandbox.path("templates/lxc-odd");
    std::fs::set_permissions(odd, std::fs::Permissions::from_mode(0o644)).unwrap();
    let sandbox = sandbox.file("m.toml", text.replace("fake", "odd"));
    sandbox
        .run(["plan", "m.toml"])
        .exits(2)
        .mentions("`[DIR]/templates/lxc-odd` cannot be executed");
    // One whose interpreter is missing shows that only when it is called.
    let sandbox = sandbox.program("templates/lxc-odd", "#!/no/such/shell\n");
    sandbox.chain().exits(4).mentions(
        "template `odd` of layer `os` could not be run: `/no/such/shell`, the interpreter of",
    );
}
