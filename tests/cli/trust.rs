//! Whose files root takes: none that others could have written.
//!
//! The users and groups are ids that no account has, so that nobody shares a group with another.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, setxattr};

use crate::requirement::{host_root, skip};
use crate::sandbox::{Ran, Sandbox};

/// Somebody.
const USER: u32 = 1_900_000_001;

/// A group without members that anybody knows.
const GROUP: u32 = 1_900_000_002;

const REFUSED: i32 = 10;

/// Something that is done to a path before a run.
type Harm = fn(&Path);

fn foreign(path: &Path) {
    lchown(path, Some(USER), None).unwrap();
}

fn mode(path: &Path, bits: u32) {
    let now = fs::metadata(path).unwrap().permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(now | bits)).unwrap();
}

fn by_everybody(path: &Path) {
    mode(path, 0o002);
}

fn by_a_group(path: &Path) {
    chown(path, None, Some(GROUP)).unwrap();
    mode(path, 0o020);
}

/// Gives `USER` the right to write by an access list, as `setfacl -m u:USER:rw` does; `false` where the
/// filesystem has none.
fn list(path: &Path) -> bool {
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 6, USER), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(rights.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    setxattr(path, "system.posix_acl_access", &value, XattrFlags::empty()).is_ok()
}

/// A role that names a file of each kind, and tells in `trace` what runs.
fn role() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("tools")).unwrap();
    fs::copy("/bin/sh", sandbox.path("tools/sh")).unwrap();
    let shell = sandbox.path("tools/sh").display().to_string();
    sandbox
        .upstream("echo template >>trace; mkdir \"$rootfs/etc\"")
        .file(
            "m.toml",
            "manifest = 1
extends = \"base.toml\"
[vars]
word = \"\"
token = { secret = true, file = \"token\" }
[[layer]]
use = \"extra\"
[[layer]]
name = \"app\"
secrets = [\"token\"]
pre = [\"echo pre >>trace\", { script = \"scripts/pre.sh\" }]
[[layer.file]]
path = \"/one\"
source = \"files/one\"
[[layer.file]]
path = \"/tree\"
source = \"files/tree\"
",
        )
        .file("base.toml", BASE.replace("SHELL", &shell))
        .file("seed/d/f", "seed")
        .file("layers/extra.toml", "[layer]\ncheck = \"true\"\n")
        .file("token", "hunter2")
        .file("vars.toml", "word = \"x\"\n")
        .file("scripts/pre.sh", "echo script >>trace\n")
        .file("files/one", "1")
        .file("files/tree/d/f", "f")
}

const BASE: &str = "manifest = 1
[[layer]]
name = \"os\"
template = \"fake\"
inputs = \"seed\"
post = { run = \"true\", shell = \"SHELL -e\" }
";

/// Makes the container by both doors: LXC's, and the program's own.
fn by_both(sandbox: &Sandbox, words: &[&str]) -> [Ran; 2] {
    let words = ["--storage=none", "--vars-file=vars.toml"].iter().chain(words);
    let made = sandbox.create(words.clone());
    let _ = fs::remove_dir_all(sandbox.container());
    let template = sandbox.template(["--manifest", "m.toml"].iter().chain(words));
    let _ = fs::remove_dir_all(sandbox.container());
    [made, template]
}

/// Runs a command of root's beside the manifest.
fn shell(sandbox: &Sandbox, command: &str) {
    let mut shell = std::process::Command::new("sh");
    assert!(shell.args(["-ec", command]).current_dir(sandbox.role()).status().unwrap().success());
}

/// Takes the command that a message says out of it.
fn advised(ran: &Ran) -> String {
    let said = String::from_utf8_lossy(&ran.output.stderr).into_owned();
    let help = said.split("help: `").nth(1).unwrap_or_else(|| panic!("{said}"));
    help.split('`').next().unwrap().to_owned()
}

/// Sees that both doors refuse a role, run nothing, and say what mends it; that `--allow-untrusted` takes it;
/// and that what the message says does mend it.
#[track_caller]
fn refuses(sandbox: &Sandbox, told: &str) {
    let _ = fs::remove_file(sandbox.role().join("trace"));
    let refused = by_both(sandbox, &[]);
    for ran in &refused {
        ran.exits(REFUSED).mentions(told);
        ran.mentions("fixes that; `--allow-untrusted` accepts it anyway");
        assert!(!sandbox.container().exists());
    }
    assert_eq!(sandbox.trace(), "");
    for ran in by_both(sandbox, &["--allow-untrusted"]) {
        ran.exits(0);
    }
    shell(sandbox, &advised(&refused[0]));
    for ran in by_both(sandbox, &[]) {
        ran.exits(0);
    }
}

#[test]
fn root_refuses_what_others_could_have_written() {
    if !host_root() {
        return;
    }
    let harms: [(Harm, &str); 3] = [
        (foreign, "belongs to user 1900000001"),
        (by_everybody, "is writable by everybody"),
        (by_a_group, "is writable by group 1900000002"),
    ];
    let files = [
        ("role/m.toml", "m.toml: others could have written it"),
        ("role/base.toml", "base.toml: others could have written it"),
        ("role/layers/extra.toml", "layers/extra.toml: others could have written it"),
        ("role/layers", "layers/extra.toml: others could have written it"),
        ("role/vars.toml", "vars.toml: others could have written it"),
        ("role/token", "others could have written the secret `token`"),
        ("role/scripts/pre.sh", "others could have written the script `[DIR]/role/scripts/pre.sh`"),
        ("role/scripts", "others could have written the script `[DIR]/role/scripts/pre.sh`"),
        ("role/seed", "others could have written the input `[DIR]/role/seed`"),
        ("role/seed/d", "others could have written the input `[DIR]/role/seed`"),
        ("role/seed/d/f", "others could have written the input `[DIR]/role/seed`"),
        ("tools/sh", "others could have written the shell `[DIR]/tools/sh`"),
        ("tools", "others could have written the shell `[DIR]/tools/sh`"),
        ("lxc", "[DIR]/lxc: others could replace the containers in it"),
        ("role/files/one", "others could have written the source `[DIR]/role/files/one`"),
        ("role/files/tree", "others could have written the source `[DIR]/role/files/tree`"),
        ("role/files/tree/d", "others could have written the source `[DIR]/role/files/tree`"),
        ("role/files/tree/d/f", "others could have written the source `[DIR]/role/files/tree`"),
        ("templates/lxc-fake", "others could have written the template `[DIR]/templates/lxc-fake`"),
        ("templates", "others could have written the template `[DIR]/templates/lxc-fake`"),
        ("role", "m.toml: others could have written it"),
    ];
    for (index, (path, told)) in files.into_iter().enumerate() {
        let (harm, why) = harms[index % harms.len()];
        let sandbox = role();
        harm(&sandbox.path(path));
        refuses(&sandbox, &format!("{told}: `[DIR]/{path}` {why}"));
    }
    for (harm, why) in harms {
        let sandbox = role();
        harm(&sandbox.path(""));
        refuses(&sandbox, &format!("m.toml: others could have written it: `[DIR]` {why}"));
    }
}

#[test]
fn a_message_names_the_file_and_the_place_that_names_it() {
    if !host_root() {
        return;
    }
    let sandbox = role();
    by_everybody(&sandbox.path("role/files/one"));
    by_a_group(&sandbox.path("role/files"));
    foreign(&sandbox.path("role/files"));
    by_both(&sandbox, &[])[0].exits(REFUSED).says(
        "error: others could have written the source `[DIR]/role/files/one`: `[DIR]/role/files` belongs \
         to user 1900000001
  --> m.toml:14:10
   |
14 | source = \"files/one\"
   |          ^^^^^^^^^^^
   |
   = help: `chown root [DIR]/role/files && chmod go-w [DIR]/role/files/one` fixes that; \
         `--allow-untrusted` accepts it anyway

error: others could have written the source `[DIR]/role/files/tree`: `[DIR]/role/files` belongs to user \
         1900000001
  --> m.toml:17:10
   |
17 | source = \"files/tree\"
   |          ^^^^^^^^^^^^
   |
   = help: `chown root [DIR]/role/files` fixes that; `--allow-untrusted` accepts it anyway
",
    );
    foreign(&sandbox.path("role/base.toml"));
    by_both(&sandbox, &[])[1].exits(REFUSED).says(
        "error: base.toml: others could have written it: `[DIR]/role/base.toml` belongs to user 1900000001
 = note: it is extended at m.toml:2
 = help: `chown root [DIR]/role/base.toml` fixes that; `--allow-untrusted` accepts it anyway
",
    );
}

#[test]
fn a_link_is_followed_as_the_kernel_does_and_judged_where_it_stands() {
    if !host_root() {
        return;
    }
    let elsewhere = |sandbox: &Sandbox| {
        for directory in ["open", "safe"] {
            fs::create_dir(sandbox.path(directory)).unwrap();
        }
        fs::rename(sandbox.path("role/m.toml"), sandbox.path("safe/m.toml")).unwrap();
    };
    // The manifest is root's; the directory with the link to it is not root's alone.
    let table: [(&str, Harm, &str); 3] = [
        ("open", by_everybody, "`[DIR]/open` is writable by everybody"),
        ("open/m.toml", foreign, "`[DIR]/open/m.toml` belongs to user 1900000001"),
        ("safe", by_a_group, "`[DIR]/safe` is writable by group 1900000002"),
    ];
    for (path, harm, why) in table {
        let sandbox = role();
        elsewhere(&sandbox);
        symlink("../safe/../safe/m.toml", sandbox.path("open/m.toml")).unwrap();
        symlink(sandbox.path("open/m.toml"), sandbox.path("role/m.toml")).unwrap();
        harm(&sandbox.path(path));
        refuses(&sandbox, &format!("m.toml: others could have written it: {why}"));
    }
    let sandbox = role();
    fs::remove_file(sandbox.path("role/m.toml")).unwrap();
    symlink("m.toml", sandbox.path("role/m.toml")).unwrap();
    by_both(&sandbox, &[])[0].exits(2).mentions("m.toml: Too many levels of symbolic links");
}

#[test]
fn a_sticky_directory_of_root_s_passes_and_what_others_put_into_it_does_not() {
    if !host_root() {
        return;
    }
    let sandbox = role();
    let shared = sandbox.path("");
    mode(&shared, 0o1777);
    for ran in by_both(&sandbox, &[]) {
        ran.exits(0);
    }
    fs::rename(sandbox.path("role/m.toml"), sandbox.path("role/real.toml")).unwrap();
    symlink(sandbox.path("role/real.toml"), shared.join("planted")).unwrap();
    symlink(shared.join("planted"), sandbox.path("role/m.toml")).unwrap();
    for ran in by_both(&sandbox, &[]) {
        ran.exits(0);
    }
    foreign(&shared.join("planted"));
    for ran in by_both(&sandbox, &[]) {
        ran.exits(REFUSED).mentions("`[DIR]/planted` belongs to user 1900000001");
    }
    fs::remove_file(shared.join("planted")).unwrap();
    symlink(sandbox.path("role/real.toml"), shared.join("planted")).unwrap();
    foreign(&shared);
    for ran in by_both(&sandbox, &[]) {
        ran.exits(REFUSED).mentions("`[DIR]` belongs to user 1900000001");
    }
}

#[test]
fn whom_sudo_names_is_trusted() {
    if !host_root() {
        return;
    }
    let all =
        |sandbox: &Sandbox| shell(sandbox, &format!("chown -R {USER} .. && chmod -R go-w .."));
    for (sudo, status) in [
        (USER.to_string(), 0),
        (GROUP.to_string(), REFUSED),
        ("0".to_owned(), REFUSED),
        (format!("{USER}x"), REFUSED),
        (String::new(), REFUSED),
    ] {
        let sandbox = role().env("SUDO_UID", &sudo);
        all(&sandbox);
        for ran in by_both(&sandbox, &[]) {
            ran.exits(status);
        }
    }
    // What both of them share with others is refused all the same.
    let sandbox = role().env("SUDO_UID", USER.to_string());
    all(&sandbox);
    by_a_group(&sandbox.path("role/m.toml"));
    for ran in by_both(&sandbox, &[]) {
        ran.exits(REFUSED).mentions("`[DIR]/role/m.toml` is writable by group 1900000002");
    }
}

#[test]
fn a_program_that_is_its_own_template_knows_whom_sudo_names() {
    if !host_root() {
        return;
    }
    let sandbox = role().env("SUDO_UID", USER.to_string());
    let inner = sandbox.path("role/base.toml");
    let program = sandbox.installed("own");
    let sandbox = sandbox.file(
        "m.toml",
        format!(
            "manifest = 1\n[vars]\nword = \"\"\n[[layer]]\nname = \"outer\"\ntemplate = \"{}\"\n\
             args = [\"--manifest\", \"{}\"]\n",
            program.display(),
            inner.display()
        ),
    );
    foreign(&inner);
    for ran in by_both(&sandbox, &[]) {
        ran.exits(0);
    }
}

#[test]
fn a_group_of_root_s_alone_passes() {
    if !host_root() {
        return;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let group = fs::read_to_string("/etc/group").unwrap();
    let own = passwd.lines().filter(|line| line.split(':').nth(3) == Some("0")).count();
    if own != 1 || !group.lines().any(|line| line == "root:x:0:") {
        skip("root shares its group with others here");
        return;
    }
    let sandbox = role();
    for path in ["role", "role/m.toml", "role/files/tree/d", "role/files/tree/d/f"] {
        mode(&sandbox.path(path), 0o020);
    }
    for ran in by_both(&sandbox, &[]) {
        ran.exits(0);
    }
    for path in ["role/m.toml", "role/files/tree/d/f"] {
        let path = sandbox.path(path);
        if !list(&path) {
            skip("this filesystem has no access lists");
            return;
        }
        let shown = sandbox.redacted(&path.display().to_string());
        let told = format!("`{shown}` is writable by somebody in its access list");
        refuses(&sandbox, &told);
    }
}

#[test]
fn a_file_that_has_no_path_is_judged_by_itself() {
    if !host_root() {
        return;
    }
    // What has no name any more can still be opened by the descriptor.
    let script =
        "exec <m.toml; rm m.toml; exec \"$0\" create /dev/stdin --name=web1 --lxcpath=../lxc";
    let harms: [(Harm, i32, &str); 2] = [
        (|_| (), 0, "os: template fake"),
        (foreign, REFUSED, "/dev/stdin: others could have written it"),
    ];
    for (harm, status, told) in harms {
        let sandbox = Sandbox::new().layers("");
        harm(&sandbox.path("role/m.toml"));
        let mut command = sandbox.command("sh");
        command.args(["-c", script]).arg(sandbox.program_path());
        sandbox.ran(command).exits(status).mentions(told);
    }
}

#[test]
fn plan_and_validate_say_what_a_run_refuses() {
    if !host_root() {
        return;
    }
    let sandbox = role();
    by_everybody(&sandbox.path("role/m.toml"));
    foreign(&sandbox.path("role/layers/extra.toml"));
    foreign(&sandbox.path("role/token"));
    by_a_group(&sandbox.path("templates/lxc-fake"));
    let plan = sandbox.run(["plan", "m.toml"]);
    plan.exits(REFUSED);
    for told in [
        "warning: m.toml: others could have written it: `[DIR]/role/m.toml` is writable by everybody",
        "warning: layers/extra.toml: others could have written it",
        "warning: others could have written the secret `token`",
        "warning: others could have written the template `[DIR]/templates/lxc-fake`",
        "note: a run as root refuses it, and ends with status 10",
    ] {
        plan.mentions(told);
    }
    assert!(plan.stdout().contains("pre"), "{}", plan.stdout());
    let allowed = sandbox.run(["plan", "m.toml", "--allow-untrusted"]);
    allowed.exits(0).says("");
    assert_eq!(allowed.stdout(), plan.stdout());

    let judged = sandbox.run(["validate", "m.toml"]);
    judged
        .exits(0)
        .mentions("1 manifest: 0 errors, 3 warnings")
        .mentions("warning: m.toml: others");
    let judged = sandbox.run(["validate", "m.toml", "--format=json"]);
    judged.exits(0);
    let found: serde_json::Value = serde_json::from_str(&judged.stdout()).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 3, "{found}");
    assert_eq!(found[1]["severity"], "warning", "{found}");
    sandbox.run(["layer", "show", "extra"]).exits(0);

    // What is wrong with all is said once.
    let sandbox = role();
    by_everybody(&sandbox.role());
    let judged = sandbox.run(["validate", "m.toml"]);
    judged.exits(0).mentions("1 manifest: 0 errors, 1 warning");
}

#[test]
fn a_call_that_only_asks_is_refused_too() {
    if !host_root() {
        return;
    }
    let sandbox = role();
    foreign(&sandbox.path("templates/lxc-fake"));
    sandbox.template(["m.toml", "--help"]).exits(REFUSED).mentions("the template");
    sandbox.run(["build", "m.toml"]).exits(REFUSED).mentions("the template");
}

#[test]
fn an_ordinary_user_takes_what_others_could_have_written() {
    if !host_root() {
        return;
    }
    let sandbox = role().nobody();
    shell(&sandbox, "chown -R 65534 ../lxc ../home ../tmp . && chmod -R a+rwX . ../templates");
    shell(&sandbox, &format!("chown {USER} m.toml base.toml files/one ../templates/lxc-fake"));
    sandbox.run(["plan", "m.toml"]).exits(0).says("");
    let ran = sandbox.create(["--storage=none"]);
    if ran.stderr().contains("no user namespace can be entered") {
        skip("this host lets no ordinary user make a user namespace");
        return;
    }
    ran.exits(0);
    assert_eq!(sandbox.trace(), "pre\nscript\ntemplate\n");
}

#[test]
fn root_uses_no_store_that_others_could_put_another_into_the_place_of() {
    if !host_root() {
        return;
    }
    let sandbox = Sandbox::new().layers("");
    let place = sandbox.path("shared/below/store");
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STORE", place.display().to_string());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    by_everybody(&sandbox.path("shared"));
    let told = "`[DIR]/shared` is writable by everybody (`chmod go-w [DIR]/shared` fixes that)";
    sandbox.create([""; 0]).exits(0).mentions(told);
    assert!(!place.exists());
    let doctor = sandbox.run(["doctor"]);
    assert!(
        doctor.stdout().contains("`[DIR]/shared` is writable by everybody"),
        "{}",
        doctor.stdout()
    );
    sandbox.run(["build", "m.toml"]).exits(8).mentions(told);
    shell(&sandbox, "chmod go-w ../shared");
    fs::create_dir(&place).unwrap();
    by_everybody(&place);
    let told = "store `[DIR]/shared/below/store`: it is writable by everybody (`chmod go-w ";
    sandbox.run(["store", "list"]).mentions(told);
    fs::remove_dir(&place).unwrap();
    sandbox.run(["build", "m.toml"]).exits(0);
    assert!(place.exists());
}

#[test]
fn root_uses_no_state_directory_that_others_could_replace() {
    if !host_root() {
        return;
    }
    let sandbox = Sandbox::new().layers("check = \"false\"\n");
    let state = sandbox.path("open/state");
    fs::create_dir_all(&state).unwrap();
    let sandbox = sandbox.env("LAYERED_TEMPLATE_STATE", state.display().to_string());
    by_everybody(&sandbox.path("open"));
    let told = "warning: the state directory `[DIR]/open/state` is not used: `[DIR]/open` is writable by \
                everybody (`chmod go-w [DIR]/open` fixes that)";
    sandbox
        .create([""; 0])
        .exits(7)
        .mentions(told)
        .mentions("log: [DIR]/tmp/layered-template-web1");
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    let doctor = sandbox.run(["doctor"]);
    assert!(doctor.stdout().contains("`[DIR]/open/state` is not used"), "{}", doctor.stdout());
}
