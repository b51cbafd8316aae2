//! Messages that say what is there, and what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use std::time::Duration;

use rustix::process::Signal;

use crate::requirement;
use crate::running::Running;
use crate::sandbox::Sandbox;

const ROLE: &str = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n";

#[test]
fn a_name_in_use_says_what_has_it() {
    let sandbox = Sandbox::new().manifest(ROLE);
    sandbox.create([""; 0]).exits(0);
    let said = sandbox.create([""; 0]);
    said.exits(2).mentions(
        "error: container `web1` exists already in [DIR]/lxc: it was made from [DIR]/role/m.toml 0 seconds ago\n",
    );
    fs::remove_file(sandbox.container().join("layered-template.json")).unwrap();
    sandbox.create([""; 0]).exits(2).mentions("`web1` exists already in [DIR]/lxc\n");
}

#[test]
fn a_manifest_that_has_moved_is_found_by_its_digest() {
    let sandbox = Sandbox::new().manifest(ROLE);
    sandbox.create([""; 0]).exits(0);
    let lxcpath = sandbox.path("lxc").display().to_string();
    let status = || sandbox.run(["status", "-P", &lxcpath]);
    status().exits(0).shows("  current\n");
    // Another file beside it is none, whatever it is called.
    fs::write(sandbox.role().join("another.toml"), "manifest = 1\n").unwrap();
    fs::rename(sandbox.role().join("m.toml"), sandbox.role().join("renamed.toml")).unwrap();
    let told = "its manifest has moved: it is [DIR]/role/renamed.toml now\n";
    status().exits(0).shows("  current\n").shows(told);
    let renamed = sandbox.role().join("renamed.toml");
    fs::write(&renamed, format!("{ROLE}post = 'true'\n")).unwrap();
    status().exits(0).shows("  unknown\n").shows("is gone\n");
}

#[test]
fn words_of_other_programs_lead_to_those_of_this_one() {
    let sandbox = Sandbox::new();
    for (word, part) in [
        ("ls", "`status` lists containers"),
        ("apply", "`create` makes a container"),
        ("check", "`validate`"),
        ("inspect", "`show`"),
        ("history", "`runs`"),
        ("rm", "`lxc-destroy -n NAME`"),
    ] {
        let ran = sandbox.run([word, "x"]);
        ran.exits(2).mentions(&format!("error: there is no subcommand `{word}`\n")).mentions(part);
    }
    sandbox.run(["creat"]).exits(2).mentions("'create'");
}

#[test]
fn validate_tells_of_what_values_and_of_what_files_are_wrong_at_once() {
    let sandbox = Sandbox::new().manifest(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[layer.config]\n\
         lxc.environment = \"A={{ nothing }}\"\n[[layer.file]]\npath = \"/etc/x\"\n\
         source = \"missing-file\"\n[[layer]]\nname = \"app\"\npost = { script = \"missing-script\" }\n",
    );
    let ran = sandbox.run(["validate", "m.toml"]);
    ran.exits(1)
        .mentions("no variable is named `nothing`")
        .mentions("missing-file` cannot be used: it is not there")
        .mentions("missing-script` cannot be used: it is not there")
        .mentions("1 manifest: 3 errors");
}

#[test]
fn validate_judges_what_is_left_of_a_role_that_cannot_be_read_as_a_whole() {
    let sandbox = Sandbox::new()
        .file(
            "layers/odd.toml",
            "[layer]\nfoo = 1\n[[layer.file]]\npath = \"relative\"\ncontent = \"\"\n",
        )
        .manifest(
            "manifest = 1\nextends = \"gone.toml\"\n[[layer]]\nuse = \"odd\"\n[[layer]]\nuse = \"missing\"\n\
             [[layer]]\npost = [3, { script = \"missing-script\" }]\n[layer.config]\n\
             lxc.start.auto = \"maybe\"\n[[layer.file]]\npath = \"/etc/../../x\"\ncontent = \"\"\n\
             [[layer.file]]\npath = \"/etc/y\"\nsource = \"missing-file\"\n\
             [[layer.file]]\npath = \"/etc/{{ perhaps }}\"\ncontent = \"{{ perhaps }}\"\nrender = true\n",
        );
    let ran = sandbox.run(["validate", "m.toml"]);
    ran.exits(1)
        .mentions("gone.toml: there is no such file")
        .mentions("unknown key `foo` in a layer")
        .mentions("`relative` cannot be a path inside the rootfs")
        .mentions("no reusable layer is named `missing`")
        .mentions("a layer needs a `name`")
        .mentions("expected a string or a table, found an integer")
        .mentions("missing-script` cannot be used: it is not there")
        .mentions("LXC does not take `maybe` for `lxc.start.auto`")
        .mentions("`/etc/../../x` cannot be a path inside the rootfs")
        .mentions("missing-file` cannot be used: it is not there")
        // What the base declares nobody knows.
        .mentions("1 manifest: 10 errors, 0 warnings");
}

#[test]
fn a_missing_file_is_told_of_once_and_what_its_path_is_relative_to() {
    let file = |path: &str, source: &str| {
        format!("[[layer.file]]\npath = \"{path}\"\nsource = \"{source}\"\n")
    };
    let sandbox = Sandbox::new().file("there", "").manifest(&format!(
        "{ROLE}{}{}{}{}",
        file("/a", "missing"),
        file("/b", "missing"),
        file("/c", "/no/such/file"),
        file("/d", "/there")
    ));
    for words in [&["plan", "m.toml"][..], &["validate", "m.toml"]] {
        let ran = sandbox.run(words);
        let told = ran.stderr();
        assert_eq!(
            told.matches("role/missing` cannot be used: it is not there").count(),
            1,
            "{told}"
        );
        ran.mentions("= help: a relative path is relative to the file that names it\n")
            .mentions("and not in the rootfs; put the file beside `m.toml`, and name it by a path without a `/`")
            .mentions("write `there`, which is beside `m.toml`\n");
    }
    // Of several manifests each has its line, and its reason one place.
    let ran = sandbox.run(["plan", "gone.toml", "also-gone.toml"]);
    ran.exits(2).prints("gone.toml: cannot be planned\nalso-gone.toml: cannot be planned\n");
}

#[test]
fn words_for_the_template_have_their_place() {
    let sandbox = Sandbox::new().manifest(ROLE);
    for word in ["--http-port", "word", "--forn"] {
        let ran = sandbox.run(["create", "m.toml", "--name=web1", word]);
        let hint =
            format!("\nhint: arguments for the template come last, behind `--`: `-- {word}`;");
        ran.exits(2).mentions(&hint).mentions("\n\nUsage: layered-template create ");
        assert!(!ran.stderr().contains("as a value"), "{}", ran.stderr());
    }
    let ran = sandbox.run(["status", "--http-port"]);
    assert!(!ran.exits(2).stderr().contains("for the template"), "{}", ran.stderr());
}

#[test]
fn the_manifests_that_failed_are_named_last() {
    let failing = format!("{ROLE}[[layer]]\nname = \"app\"\nstore = true\npost = 'exit 3'\n");
    let sandbox = Sandbox::new()
        .manifest(ROLE)
        .file("one.toml", &failing)
        .file("two.toml", failing.replace("app", "other"));
    let ran = sandbox.run(["build", "one.toml", "m.toml", "two.toml"]);
    let last = ran.exits(6).stdout();
    assert!(last.ends_with("; 2 of 3 roles failed: one.toml and two.toml\n"), "{last}");
    let ran = sandbox.run(["build", "m.toml", "gone.toml", "away.toml"]);
    ran.exits(2).mentions("error: nothing was done: gone.toml and away.toml cannot be used\n");
}

#[test]
fn a_template_that_makes_nothing_is_told_of() {
    let sandbox = Sandbox::new().upstream("true").manifest(ROLE);
    let told = "warning: the rootfs is empty: template `fake` of layer `os` has succeeded, and made nothing in it\n";
    sandbox.create(["--storage=none"]).exits(0).mentions(told);
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").manifest(ROLE);
    let ran = sandbox.create(["--storage=none"]);
    assert!(!ran.exits(0).stderr().contains("is empty"), "{}", ran.stderr());
}

#[test]
fn a_script_that_came_from_windows_is_told_of() {
    let sandbox = Sandbox::new()
        .file("crlf", "#!/bin/sh\r\necho\r\n")
        .file("mark", "\u{feff}#!/bin/sh\necho\n")
        .file("host", "#!/bin/sh\nset -e\napt-get install x\n")
        .manifest(&format!(
            "{ROLE}post = [{{ script = \"crlf\" }}, {{ script = \"mark\" }}, {{ script = \"host\" }}]\n"
        ));
    let ran = sandbox.run(["validate", "m.toml"]);
    ran.exits(0)
        .mentions("role/crlf` end as on Windows, with CR and LF")
        .mentions("role/mark` begins with a byte order mark")
        .mentions("`apt-get` works on the host here, and not in the container")
        .mentions("0 errors, 3 warnings");
}

#[test]
fn a_hook_needs_a_file_that_can_be_run() {
    let hook = |rest: &str| {
        format!(
            "{ROLE}[layer.config]\nlxc.hook.start = \"/opt/hook\"\n[[layer.file]]\npath = \"/opt/hook\"\n{rest}"
        )
    };
    let sandbox = Sandbox::new().file("plain", "#!/bin/sh\n").file("runs", "#!/bin/sh\n");
    fs::set_permissions(sandbox.role().join("runs"), Permissions::from_mode(0o755)).unwrap();
    let told = "`lxc.hook.start` runs `/opt/hook`, which is dropped without a run bit";
    for (rest, is_told) in [
        ("content = 'x'\n", true),
        ("content = 'x'\nmode = '0755'\n", false),
        ("source = 'plain'\n", true),
        ("source = 'plain'\nmode = '0700'\n", false),
        ("source = 'runs'\n", false),
        ("source = 'runs'\nmode = '0600'\n", true),
        ("symlink = '/bin/true'\n", false),
    ] {
        fs::write(sandbox.role().join("m.toml"), hook(rest)).unwrap();
        let ran = sandbox.run(["validate", "m.toml"]);
        ran.exits(0);
        assert_eq!(ran.stderr().contains(told), is_told, "{rest}{}", ran.stderr());
    }
}

#[test]
fn characters_that_only_look_like_those_of_toml_are_named() {
    let sandbox = Sandbox::new();
    for (line, part) in [
        (
            "description = \u{201c}web\u{201d}",
            "`\u{201c}` (U+201C) is no quote of TOML; write `\"`",
        ),
        ("description = \u{2018}web\u{2019}", "(U+2018) is no quote of TOML; write `'`"),
        ("description\u{a0}= \"web\"", "there is a no-break space (U+00A0)"),
        ("description =\u{a0}\"web\"", "there is a no-break space (U+00A0)"),
        ("description = \"C:\\data\"", "in a text in double quotes `\\\\` stands for `\\`"),
    ] {
        fs::write(sandbox.role().join("m.toml"), format!("manifest = 1\n{line}\n")).unwrap();
        sandbox.run(["validate", "m.toml"]).exits(1).mentions(part);
    }
}

#[test]
fn the_interpreter_of_a_script_and_what_inputs_lead_to_are_judged() {
    if !requirement::root() {
        return;
    }
    let sandbox = Sandbox::new().program("open-sh", "#!/bin/sh\n");
    let open = sandbox.path("open-sh");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(sandbox.role().join("in")).unwrap();
    let sandbox = sandbox.file("script", format!("#!{}\ntrue\n", open.display()));
    let step = format!("{ROLE}post = {{ script = \"script\" }}\n");
    let input = format!("{ROLE}inputs = [\"in\"]\n");
    let validate = |role: &str| {
        fs::write(sandbox.role().join("m.toml"), role).unwrap();
        sandbox.run(["validate", "m.toml"])
    };
    validate(&step)
        .mentions("open-sh`, the interpreter of `")
        .mentions("others could have written");
    let shown = open.display();
    let between = sandbox.path("between");
    fs::write(&between, format!("#!{shown}\n")).unwrap();
    fs::set_permissions(&between, Permissions::from_mode(0o755)).unwrap();
    let place = sandbox.path("");
    let place = place.display().to_string();
    let place = place.trim_end_matches('/');
    for line in [
        format!("/usr/bin/env -S A=1 {shown}"),
        format!("/usr/bin/env -S -u FOO {shown} -e"),
        format!("/usr/bin/env -S -i PATH={place}:/bin open-sh"),
        format!("/usr/bin/env -S'{shown}'"),
        format!("/usr/bin/env --split-string={shown}"),
        format!("/usr/bin/env -S -C {place} ./open-sh"),
        format!("/usr/bin/env -S -C {place} PATH=. open-sh"),
        format!("/usr/bin/env -S -C {place} PATH= open-sh"),
        format!("/usr/bin/env -S -C / PATH=/nonexistent:.{place} open-sh"),
        format!("/usr/bin/env -S env -S PATH={place} open-sh"),
        format!("/usr/bin/env -S -C {place} env ./open-sh"),
        format!("/usr/bin/env -S PATH={place}\x0bopen-sh"),
        between.display().to_string(),
        format!("/usr/bin/env {}", between.display()),
    ] {
        fs::write(sandbox.role().join("script"), format!("#!{line}\ntrue\n")).unwrap();
        validate(&step).mentions("open-sh`, the interpreter of `");
        sandbox.chain().exits(10);
    }
    validate(&input).exits(0).mentions("0 warnings");
    symlink(&open, sandbox.role().join("in/link")).unwrap();
    symlink("nowhere", sandbox.role().join("in/dangling")).unwrap();
    validate(&input).mentions("others could have written the input").mentions("open-sh");
    for role in [&step, &input] {
        fs::write(sandbox.role().join("m.toml"), role).unwrap();
        sandbox.chain().exits(10);
    }
}

#[test]
fn what_is_written_to_the_disk_drives_no_terminal() {
    let sandbox = Sandbox::new().manifest(&format!(
        "manifest = 1\ndescription = \"a\\u009b31m\\u202e\"\n{}store = true\npost = 'echo \u{9b}x >/dev/null'\n",
        &ROLE["manifest = 1\n".len()..]
    ));
    sandbox.create([""; 0]).exits(0);
    let mut files = vec![sandbox.container().join("layered-template.json"), sandbox.history()];
    let entries = fs::read_dir(sandbox.path("store/host.meta/entries")).into_iter().flatten();
    files.extend(entries.map(|entry| entry.unwrap().path()));
    assert!(!requirement::root() || files.len() > 2);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let raw = text.chars().find(|c| ('\u{80}'..='\u{9f}').contains(c) || *c == '\u{202e}');
        assert_eq!(raw, None, "{}: {text}", file.display());
    }
    assert_eq!(sandbox.record()["manifest"]["description"], "a\u{9b}31m\u{202e}");
}

#[test]
fn an_interrupted_build_tells_what_it_has_done() {
    let waiting = "store = true\npost = 'touch begun; sleep 30'\n";
    let sandbox = Sandbox::new()
        .manifest(&format!("{ROLE}{waiting}"))
        .file("first.toml", ROLE)
        .file("last.toml", ROLE);
    let mut command = sandbox.within();
    command.args(["build", "first.toml", "m.toml", "last.toml"]);
    let mut running = Running::start(&sandbox, command);
    running.waits_for(|| sandbox.role().join("begun").exists());
    running.signal(Signal::INT);
    let ended = running.ended(Duration::from_secs(15));
    assert_eq!(ended.status.code(), Some(130), "{}", ended.said);
    let last = ended.printed.lines().last().unwrap_or_default();
    assert!(last.starts_with("1 layer built in ") && last.ends_with("; interrupted"), "{last}");
}

#[test]
fn a_template_that_cannot_be_executed_says_how_it_can() {
    let sandbox = Sandbox::new()
        .file("plain", "#!/bin/sh\n")
        .manifest("manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"./plain\"\n");
    sandbox
        .create([""; 0])
        .exits(2)
        .mentions("error: `[DIR]/role/plain` cannot be executed\n")
        .mentions("= help: `chmod +x [DIR]/role/plain` makes it executable\n");
}

#[test]
fn a_template_that_fails_for_the_store_is_shown_with_the_name_of_the_container() {
    let sandbox = Sandbox::new().upstream("exit 3").manifest(ROLE);
    let ran = sandbox.create([""; 0]);
    ran.exits(4).mentions("  it printed nothing\n  command: ");
    let command = ran.stderr();
    let command = command.lines().find(|line| line.starts_with("  command: ")).unwrap();
    assert!(command.contains("--name=web1") && !command.contains("placeholder"), "{command}");
    let log = fs::read_to_string(sandbox.left()[0].join("log")).unwrap();
    let whole = log.lines().find(|line| line.starts_with("command: ")).unwrap();
    assert!(whole.ends_with("/rootfs"), "{log}");
}

#[test]
fn a_script_inside_the_rootfs_is_shown_with_its_source() {
    if !requirement::root() {
        return;
    }
    let sandbox = Sandbox::new().file("fails.sh", "exit 3\n").manifest(
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
         post = { in = \"rootfs\", script = \"fails.sh\" }\n",
    );
    if layered_template::observe::probe::busybox().is_none() {
        return;
    }
    sandbox
        .create(["--storage=none"])
        .exits(6)
        .mentions("/run/layered-template/fails.sh # [DIR]/role/fails.sh\n");
}

#[test]
fn what_cannot_be_a_directory_of_containers_is_told_of() {
    let sandbox = Sandbox::new().file("m.toml", ROLE);
    let ran = sandbox.run(["create", "m.toml", "--name=web1", "--lxcpath=m.toml"]);
    ran.exits(2).mentions("error: `[DIR]/role/m.toml` is a file, not a directory\n");
    let ran = sandbox.run(["create", "m.toml", "--name=web1", "--config=gone.conf"]);
    ran.exits(2)
        .mentions("error: the config `gone.conf` cannot be read: No such file or directory\n");
}

#[test]
fn a_damaged_record_is_told_of_with_its_place() {
    let sandbox = Sandbox::new().manifest(ROLE);
    sandbox.create([""; 0]).exits(0);
    let container = sandbox.container();
    let record = container.join("layered-template.json");
    for (text, part) in [
        ("{", "`layered-template.json` is damaged\n\nhint: the container runs without it"),
        ("{\"record\": 999}", "this program reads up to"),
    ] {
        fs::write(&record, text).unwrap();
        for verb in ["upgrade", "diff", "show"] {
            let ran = sandbox.run([verb, container.to_str().unwrap()]);
            ran.exits(2)
                .mentions("error: the record of `[DIR]/lxc/web1` cannot be used: ")
                .mentions(part)
                .mentions("\nhint: ");
        }
    }
}
